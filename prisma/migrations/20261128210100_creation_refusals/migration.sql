-- CreateTable
CREATE TABLE "creation_refusals" (
    "id" BIGSERIAL NOT NULL,
    "refused_at" TIMESTAMPTZ(3) NOT NULL,
    "resume_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "creation_refusals_pkey" PRIMARY KEY ("id")
);

-- Until now the hold of the account was kept at the calls that waited for it.
INSERT INTO creation_refusals (refused_at, resume_at)
SELECT now(), max(place_not_before) FROM calls
WHERE placement = 'QUEUED' HAVING max(place_not_before) > now();
