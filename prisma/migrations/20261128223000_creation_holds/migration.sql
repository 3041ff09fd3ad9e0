-- A hold without a refused creation.
ALTER TABLE "creation_refusals" ALTER COLUMN "refused_at" DROP NOT NULL;
