-- CreateTable
CREATE TABLE "call_discovery" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "up_to" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "call_discovery_pkey" PRIMARY KEY ("id")
);
