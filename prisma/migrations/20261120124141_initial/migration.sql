-- Substring search over a million contacts.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- CreateEnum
CREATE TYPE "ApiKeyScope" AS ENUM ('READ', 'WRITE', 'ADMIN');

-- CreateEnum
CREATE TYPE "SyncStatus" AS ENUM ('DRAFT', 'CREATING', 'ACTIVE', 'FAILED');

-- CreateEnum
CREATE TYPE "VoiceType" AS ENUM ('SYSTEM', 'REFERENCE');

-- CreateEnum
CREATE TYPE "KnowledgeSourceKind" AS ENUM ('DOCUMENT', 'WEB');

-- CreateEnum
CREATE TYPE "IndexingStatus" AS ENUM ('EMPTY', 'INITIALIZING', 'READY', 'UPDATING');

-- CreateEnum
CREATE TYPE "PhoneNumberProvider" AS ENUM ('TWILIO', 'TELNYX', 'SIP');

-- CreateEnum
CREATE TYPE "CallDirection" AS ENUM ('INBOUND', 'OUTBOUND');

-- CreateEnum
CREATE TYPE "CallMedium" AS ENUM ('TWILIO', 'TELNYX', 'SIP', 'WEBRTC');

-- CreateEnum
CREATE TYPE "CallStatus" AS ENUM ('CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "CallEndReason" AS ENUM ('HANGUP', 'AGENT_HANGUP', 'NO_ANSWER', 'BUSY', 'REJECTED', 'INVALID_NUMBER', 'UNREACHABLE', 'MAX_DURATION', 'CONNECTION_ERROR', 'SYSTEM_ERROR', 'CANCELLED', 'UNKNOWN');

-- CreateEnum
CREATE TYPE "CallBillingStatus" AS ENUM ('PENDING', 'BILLED', 'FREE', 'REFUNDED');

-- CreateEnum
CREATE TYPE "ContactOutcome" AS ENUM ('CONTACTED', 'VOICEMAIL', 'NO_ANSWER', 'ESCALATED', 'INTERESTED', 'NOT_INTERESTED');

-- CreateEnum
CREATE TYPE "ContactImportStatus" AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "EventType" AS ENUM ('CALL_CREATED', 'CALL_RINGING', 'CALL_IN_PROGRESS', 'CALL_COMPLETED', 'CALL_FAILED', 'CALL_CANCELLED', 'CALL_BILLED', 'CALL_DELETED', 'AGENT_CREATED', 'AGENT_UPDATED', 'AGENT_SYNCED', 'AGENT_FAILED', 'AGENT_DELETED');

-- CreateTable
CREATE TABLE "organizations" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "organizations_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "settings" (
    "name" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "settings_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "api_keys" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "hash" TEXT NOT NULL,
    "scopes" "ApiKeyScope"[],
    "ip_allow_list" TEXT[],
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "voices" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "type" "VoiceType" NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "provider" TEXT,
    "provider_voice_id" TEXT,
    "definition" JSONB,
    "language" TEXT,
    "language_label" TEXT,
    "preview_url" TEXT,
    "withdrawn_at" TIMESTAMPTZ(3),
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "voices_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "tools" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "model_tool_name" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "definition" JSONB NOT NULL,
    "secrets" TEXT,
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "tools_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "knowledge_bases" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "indexing_status" "IndexingStatus" NOT NULL DEFAULT 'EMPTY',
    "chunk_count" INTEGER NOT NULL DEFAULT 0,
    "document_count" INTEGER NOT NULL DEFAULT 0,
    "next_check_at" TIMESTAMPTZ(3),
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "knowledge_bases_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "knowledge_sources" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "knowledge_base_id" UUID NOT NULL,
    "kind" "KnowledgeSourceKind" NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "urls" TEXT[],
    "max_depth" INTEGER,
    "max_documents" INTEGER,
    "filename" TEXT,
    "content_type" TEXT,
    "size_bytes" INTEGER,
    "content" BYTEA,
    "ultravox_document_id" TEXT,
    "indexing_status" "IndexingStatus" NOT NULL DEFAULT 'INITIALIZING',
    "document_count" INTEGER NOT NULL DEFAULT 0,
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "knowledge_sources_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "agents" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "voice_id" UUID NOT NULL,
    "system_prompt" TEXT NOT NULL,
    "model" TEXT NOT NULL,
    "temperature" DOUBLE PRECISION NOT NULL,
    "recording_enabled" BOOLEAN NOT NULL,
    "language_hint" TEXT,
    "join_timeout" TEXT,
    "max_duration" TEXT,
    "time_exceeded_message" TEXT,
    "greeting_settings" JSONB,
    "inactivity_messages" JSONB NOT NULL DEFAULT '[]',
    "vad_settings" JSONB,
    "built_in_config" JSONB,
    "success_criteria" TEXT,
    "extraction_schema" JSONB,
    "crm_webhook_url" TEXT,
    "crm_webhook_secret" TEXT,
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "agents_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "agent_tools" (
    "organization_id" UUID NOT NULL,
    "agent_id" UUID NOT NULL,
    "tool_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,

    CONSTRAINT "agent_tools_pkey" PRIMARY KEY ("agent_id","tool_id")
);

-- CreateTable
CREATE TABLE "agent_knowledge_bases" (
    "organization_id" UUID NOT NULL,
    "agent_id" UUID NOT NULL,
    "knowledge_base_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,

    CONSTRAINT "agent_knowledge_bases_pkey" PRIMARY KEY ("agent_id","knowledge_base_id")
);

-- CreateTable
CREATE TABLE "telephony_configs" (
    "provider" "PhoneNumberProvider" NOT NULL,
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "organization_id" UUID NOT NULL,
    "account_sid" TEXT NOT NULL,
    "credentials" TEXT NOT NULL,
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "ultravox_id" TEXT,
    "status" "SyncStatus" NOT NULL DEFAULT 'DRAFT',
    "revision" INTEGER NOT NULL DEFAULT 1,
    "synced_revision" INTEGER,
    "sync_error" TEXT,
    "refused_revision" INTEGER,
    "sync_attempts" INTEGER NOT NULL DEFAULT 0,
    "remote_attempt_at" TIMESTAMPTZ(3),
    "sync_lease_id" UUID,
    "sync_lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "telephony_configs_pkey" PRIMARY KEY ("provider")
);

-- CreateTable
CREATE TABLE "phone_numbers" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "phone_number" TEXT NOT NULL,
    "name" TEXT,
    "provider" "PhoneNumberProvider" NOT NULL,
    "sip_server" TEXT,
    "sip_username" TEXT,
    "credentials" TEXT,
    "inbound_agent_id" UUID,
    "outbound_agent_id" UUID,
    "released_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "phone_numbers_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "calls" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "agent_id" UUID NOT NULL,
    "phone_number_id" UUID,
    "direction" "CallDirection" NOT NULL,
    "medium" "CallMedium" NOT NULL,
    "status" "CallStatus" NOT NULL,
    "end_reason" "CallEndReason",
    "phone_number" TEXT,
    "own_number" TEXT,
    "variables" JSONB NOT NULL DEFAULT '{}',
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "metadata_entries" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "settings" JSONB NOT NULL DEFAULT '{}',
    "recording_enabled" BOOLEAN NOT NULL DEFAULT false,
    "max_duration_seconds" INTEGER NOT NULL,
    "join_timeout_seconds" INTEGER NOT NULL,
    "join_url" TEXT,
    "ultravox_id" TEXT,
    "failure" TEXT,
    "failure_code" TEXT,
    "placing_at" TIMESTAMPTZ(3),
    "sending_at" TIMESTAMPTZ(3),
    "place_not_before" TIMESTAMPTZ(3),
    "end_requested_at" TIMESTAMPTZ(3),
    "next_check_at" TIMESTAMPTZ(3),
    "settle_by" TIMESTAMPTZ(3),
    "event_count" INTEGER NOT NULL DEFAULT 0,
    "billing_status" "CallBillingStatus" NOT NULL DEFAULT 'PENDING',
    "billed_duration_seconds" INTEGER,
    "cost_amount" DECIMAL(12,6),
    "cost_currency" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "ringing_at" TIMESTAMPTZ(3),
    "answered_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "deleted_at" TIMESTAMPTZ(3),
    "ultravox_removed_at" TIMESTAMPTZ(3),

    CONSTRAINT "calls_pkey" PRIMARY KEY ("id")
);

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

-- CreateTable
CREATE TABLE "events" (
    "organization_id" UUID NOT NULL,
    "cursor" BIGINT NOT NULL,
    "type" "EventType" NOT NULL,
    "call_id" UUID,
    "sequence" INTEGER,
    "agent_id" UUID,
    "data" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "events_pkey" PRIMARY KEY ("organization_id","cursor")
);

-- CreateTable
CREATE TABLE "event_counters" (
    "organization_id" UUID NOT NULL,
    "last_cursor" BIGINT NOT NULL DEFAULT 0,
    "expired_through" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "event_counters_pkey" PRIMARY KEY ("organization_id")
);

-- CreateTable
CREATE TABLE "ultravox_webhooks" (
    "id" UUID NOT NULL,
    "ultravox_call_id" TEXT NOT NULL,
    "event" TEXT NOT NULL,
    "payload" JSONB NOT NULL,
    "received_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "processed_at" TIMESTAMPTZ(3),
    "error" TEXT,
    "attempts" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "ultravox_webhooks_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "idempotency_keys" (
    "organization_id" UUID NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" TEXT NOT NULL,
    "response" TEXT,
    "lease_until" TIMESTAMPTZ(3),
    "lease_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("organization_id","key")
);

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_hash_key" ON "api_keys"("hash");

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_organization_id_id_key" ON "api_keys"("organization_id", "id");

-- CreateIndex
CREATE INDEX "voices_organization_id_name_idx" ON "voices"("organization_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "voices_organization_id_id_key" ON "voices"("organization_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "voices_organization_id_ultravox_id_key" ON "voices"("organization_id", "ultravox_id");

-- CreateIndex
CREATE INDEX "tools_organization_id_created_at_idx" ON "tools"("organization_id", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "tools_organization_id_id_key" ON "tools"("organization_id", "id");

-- CreateIndex
CREATE INDEX "knowledge_bases_organization_id_created_at_idx" ON "knowledge_bases"("organization_id", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "knowledge_bases_organization_id_id_key" ON "knowledge_bases"("organization_id", "id");

-- CreateIndex
CREATE INDEX "knowledge_sources_organization_id_knowledge_base_id_created_idx" ON "knowledge_sources"("organization_id", "knowledge_base_id", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "knowledge_sources_organization_id_id_key" ON "knowledge_sources"("organization_id", "id");

-- CreateIndex
CREATE INDEX "agents_organization_id_created_at_id_idx" ON "agents"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "agents_organization_id_voice_id_idx" ON "agents"("organization_id", "voice_id");

-- CreateIndex
CREATE UNIQUE INDEX "agents_organization_id_id_key" ON "agents"("organization_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "agents_ultravox_id_key" ON "agents"("ultravox_id");

-- CreateIndex
CREATE INDEX "agent_tools_organization_id_tool_id_idx" ON "agent_tools"("organization_id", "tool_id");

-- CreateIndex
CREATE INDEX "agent_knowledge_bases_organization_id_knowledge_base_id_idx" ON "agent_knowledge_bases"("organization_id", "knowledge_base_id");

-- CreateIndex
CREATE UNIQUE INDEX "telephony_configs_id_key" ON "telephony_configs"("id");

-- CreateIndex
CREATE INDEX "phone_numbers_organization_id_created_at_id_idx" ON "phone_numbers"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "phone_numbers_organization_id_inbound_agent_id_idx" ON "phone_numbers"("organization_id", "inbound_agent_id");

-- CreateIndex
CREATE INDEX "phone_numbers_organization_id_outbound_agent_id_idx" ON "phone_numbers"("organization_id", "outbound_agent_id");

-- CreateIndex
CREATE UNIQUE INDEX "phone_numbers_organization_id_id_key" ON "phone_numbers"("organization_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "phone_numbers_in_use" ON "phone_numbers"("organization_id", "phone_number") WHERE (released_at IS NULL);

-- CreateIndex
CREATE UNIQUE INDEX "calls_ultravox_id_key" ON "calls"("ultravox_id");

-- CreateIndex
CREATE INDEX "calls_organization_id_created_at_id_idx" ON "calls"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "calls_organization_id_agent_id_created_at_id_idx" ON "calls"("organization_id", "agent_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "calls_organization_id_phone_number_id_created_at_id_idx" ON "calls"("organization_id", "phone_number_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "calls_organization_id_status_created_at_id_idx" ON "calls"("organization_id", "status", "created_at", "id");

-- CreateIndex
CREATE INDEX "calls_metadata_entries_idx" ON "calls" USING GIN ("metadata_entries");

-- CreateIndex
CREATE INDEX "calls_placing_at_idx" ON "calls"("placing_at");

-- CreateIndex
CREATE INDEX "calls_to_check" ON "calls"("next_check_at") WHERE (next_check_at IS NOT NULL);

-- CreateIndex
CREATE INDEX "calls_waiting" ON "calls"("created_at", "id") WHERE (status = 'CREATED' AND placing_at IS NULL);

-- CreateIndex
CREATE INDEX "calls_to_remove" ON "calls"("deleted_at") WHERE (deleted_at IS NOT NULL AND ultravox_removed_at IS NULL);

-- CreateIndex
CREATE INDEX "calls_active" ON "calls"("placing_at") WHERE (placing_at IS NOT NULL AND ended_at IS NULL);

-- CreateIndex
CREATE UNIQUE INDEX "calls_organization_id_id_key" ON "calls"("organization_id", "id");

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

-- CreateIndex
CREATE INDEX "events_created_at_idx" ON "events"("created_at");

-- CreateIndex
CREATE UNIQUE INDEX "events_call_id_sequence_key" ON "events"("call_id", "sequence");

-- CreateIndex
CREATE INDEX "ultravox_webhooks_processed_at_received_at_idx" ON "ultravox_webhooks"("processed_at", "received_at");

-- CreateIndex
CREATE UNIQUE INDEX "ultravox_webhooks_ultravox_call_id_event_key" ON "ultravox_webhooks"("ultravox_call_id", "event");

-- CreateIndex
CREATE INDEX "idempotency_keys_created_at_idx" ON "idempotency_keys"("created_at");

-- AddForeignKey
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "voices" ADD CONSTRAINT "voices_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "tools" ADD CONSTRAINT "tools_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "knowledge_bases" ADD CONSTRAINT "knowledge_bases_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "knowledge_sources" ADD CONSTRAINT "knowledge_sources_organization_id_knowledge_base_id_fkey" FOREIGN KEY ("organization_id", "knowledge_base_id") REFERENCES "knowledge_bases"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agents" ADD CONSTRAINT "agents_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agents" ADD CONSTRAINT "agents_organization_id_voice_id_fkey" FOREIGN KEY ("organization_id", "voice_id") REFERENCES "voices"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_tools" ADD CONSTRAINT "agent_tools_organization_id_agent_id_fkey" FOREIGN KEY ("organization_id", "agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_tools" ADD CONSTRAINT "agent_tools_organization_id_tool_id_fkey" FOREIGN KEY ("organization_id", "tool_id") REFERENCES "tools"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_knowledge_bases" ADD CONSTRAINT "agent_knowledge_bases_organization_id_agent_id_fkey" FOREIGN KEY ("organization_id", "agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_knowledge_bases" ADD CONSTRAINT "agent_knowledge_bases_organization_id_knowledge_base_id_fkey" FOREIGN KEY ("organization_id", "knowledge_base_id") REFERENCES "knowledge_bases"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "telephony_configs" ADD CONSTRAINT "telephony_configs_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "phone_numbers" ADD CONSTRAINT "phone_numbers_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "phone_numbers" ADD CONSTRAINT "phone_numbers_organization_id_inbound_agent_id_fkey" FOREIGN KEY ("organization_id", "inbound_agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "phone_numbers" ADD CONSTRAINT "phone_numbers_organization_id_outbound_agent_id_fkey" FOREIGN KEY ("organization_id", "outbound_agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "calls" ADD CONSTRAINT "calls_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "calls" ADD CONSTRAINT "calls_organization_id_agent_id_fkey" FOREIGN KEY ("organization_id", "agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "calls" ADD CONSTRAINT "calls_organization_id_phone_number_id_fkey" FOREIGN KEY ("organization_id", "phone_number_id") REFERENCES "phone_numbers"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

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

-- AddForeignKey
ALTER TABLE "events" ADD CONSTRAINT "events_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "events" ADD CONSTRAINT "events_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "event_counters" ADD CONSTRAINT "event_counters_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

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
