-- Substring search over a million contacts.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- CreateEnum
CREATE TYPE "ContactOutcome" AS ENUM ('CONTACTED', 'VOICEMAIL', 'NO_ANSWER', 'ESCALATED', 'INTERESTED', 'NOT_INTERESTED');

-- CreateEnum
CREATE TYPE "ContactImportStatus" AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');

-- CreateTable
CREATE TABLE "contact_folders" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "contact_count" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "contact_folders_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "contacts" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "folder_id" UUID NOT NULL,
    "phone_number" TEXT NOT NULL,
    "first_name" TEXT,
    "last_name" TEXT,
    "email" TEXT,
    "company_name" TEXT,
    "industry" TEXT,
    "location" TEXT,
    "pin_code" TEXT,
    "keywords" TEXT,
    "timezone" TEXT,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "last_call_outcome" "ContactOutcome",
    "call_count" INTEGER NOT NULL DEFAULT 0,
    "last_called_at" TIMESTAMPTZ(3),
    "search_text" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "contacts_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "contact_imports" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "folder_id" UUID NOT NULL,
    "filename" TEXT NOT NULL,
    "status" "ContactImportStatus" NOT NULL,
    "mapping" JSONB NOT NULL,
    "default_country" TEXT,
    "update_existing" BOOLEAN NOT NULL,
    "size_bytes" BIGINT NOT NULL,
    "bytes_read" BIGINT NOT NULL DEFAULT 0,
    "rows_read" INTEGER NOT NULL DEFAULT 0,
    "imported_count" INTEGER NOT NULL DEFAULT 0,
    "updated_count" INTEGER NOT NULL DEFAULT 0,
    "skipped_count" INTEGER NOT NULL DEFAULT 0,
    "failed_count" INTEGER NOT NULL DEFAULT 0,
    "failure" TEXT,
    "lease_until" TIMESTAMPTZ(3),
    "lease_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "contact_imports_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "contact_import_chunks" (
    "import_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "content" BYTEA NOT NULL,

    CONSTRAINT "contact_import_chunks_pkey" PRIMARY KEY ("import_id","position")
);

-- CreateTable
CREATE TABLE "contact_import_problems" (
    "import_id" UUID NOT NULL,
    "row" INTEGER NOT NULL,
    "phone_number" TEXT,
    "reason" TEXT NOT NULL,

    CONSTRAINT "contact_import_problems_pkey" PRIMARY KEY ("import_id","row")
);

-- CreateTable
CREATE TABLE "do_not_call_entries" (
    "organization_id" UUID NOT NULL,
    "phone_number" TEXT NOT NULL,
    "reason" TEXT,
    "source" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "do_not_call_entries_pkey" PRIMARY KEY ("organization_id","phone_number")
);

-- CreateIndex
CREATE INDEX "contact_folders_organization_id_created_at_id_idx" ON "contact_folders"("organization_id", "created_at", "id");

-- CreateIndex
CREATE UNIQUE INDEX "contact_folders_organization_id_id_key" ON "contact_folders"("organization_id", "id");

-- CreateIndex
CREATE INDEX "contacts_organization_id_created_at_id_idx" ON "contacts"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "contacts_organization_id_folder_id_created_at_id_idx" ON "contacts"("organization_id", "folder_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "contacts_organization_id_phone_number_idx" ON "contacts"("organization_id", "phone_number");

-- CreateIndex
CREATE INDEX "contacts_search_text_idx" ON "contacts" USING GIN ("search_text" gin_trgm_ops);

-- CreateIndex
CREATE UNIQUE INDEX "contacts_organization_id_id_key" ON "contacts"("organization_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "contacts_folder_id_phone_number_key" ON "contacts"("folder_id", "phone_number");

-- CreateIndex
CREATE INDEX "contact_imports_organization_id_created_at_id_idx" ON "contact_imports"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "contact_imports_status_created_at_idx" ON "contact_imports"("status", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "contact_imports_organization_id_id_key" ON "contact_imports"("organization_id", "id");

-- CreateIndex
CREATE INDEX "do_not_call_entries_organization_id_created_at_phone_number_idx" ON "do_not_call_entries"("organization_id", "created_at", "phone_number");

-- AddForeignKey
ALTER TABLE "contact_folders" ADD CONSTRAINT "contact_folders_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contacts" ADD CONSTRAINT "contacts_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contacts" ADD CONSTRAINT "contacts_organization_id_folder_id_fkey" FOREIGN KEY ("organization_id", "folder_id") REFERENCES "contact_folders"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contact_imports" ADD CONSTRAINT "contact_imports_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contact_imports" ADD CONSTRAINT "contact_imports_organization_id_folder_id_fkey" FOREIGN KEY ("organization_id", "folder_id") REFERENCES "contact_folders"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contact_import_chunks" ADD CONSTRAINT "contact_import_chunks_import_id_fkey" FOREIGN KEY ("import_id") REFERENCES "contact_imports"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "contact_import_problems" ADD CONSTRAINT "contact_import_problems_import_id_fkey" FOREIGN KEY ("import_id") REFERENCES "contact_imports"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "do_not_call_entries" ADD CONSTRAINT "do_not_call_entries_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- How many contacts a folder holds, kept by the database itself, once per statement.
CREATE FUNCTION count_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE contact_folders f SET contact_count = f.contact_count + n.count
    FROM (SELECT folder_id, count(*) FROM new_rows GROUP BY folder_id) n WHERE f.id = n.folder_id;
  ELSIF TG_OP = 'DELETE' THEN
    UPDATE contact_folders f SET contact_count = f.contact_count - o.count
    FROM (SELECT folder_id, count(*) FROM old_rows GROUP BY folder_id) o WHERE f.id = o.folder_id;
  ELSE
    UPDATE contact_folders f SET contact_count = f.contact_count + d.change
    FROM (
      SELECT folder_id, sum(change)::int AS change FROM (
        SELECT folder_id, 1 AS change FROM new_rows UNION ALL SELECT folder_id, -1 FROM old_rows
      ) c GROUP BY folder_id HAVING sum(change) <> 0
    ) d WHERE f.id = d.folder_id;
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER contacts_inserted AFTER INSERT ON contacts REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER contacts_deleted AFTER DELETE ON contacts REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER contacts_updated AFTER UPDATE ON contacts REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
