-- AlterTable
ALTER TABLE "contact_imports" ADD COLUMN     "warning_count" INTEGER NOT NULL DEFAULT 0;

-- CreateTable
CREATE TABLE "contact_import_warnings" (
    "import_id" UUID NOT NULL,
    "row" INTEGER NOT NULL,
    "phone_number" TEXT,
    "reason" TEXT NOT NULL,

    CONSTRAINT "contact_import_warnings_pkey" PRIMARY KEY ("import_id","row")
);

-- AddForeignKey
ALTER TABLE "contact_import_warnings" ADD CONSTRAINT "contact_import_warnings_import_id_fkey" FOREIGN KEY ("import_id") REFERENCES "contact_imports"("id") ON DELETE CASCADE ON UPDATE CASCADE;
