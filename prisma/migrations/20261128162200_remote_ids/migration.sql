-- The id of a remote resource is called so in every table that has one.
ALTER TABLE "voices" RENAME COLUMN "ultravox_id" TO "remote_id";
ALTER TABLE "tools" RENAME COLUMN "ultravox_id" TO "remote_id";
ALTER TABLE "knowledge_bases" RENAME COLUMN "ultravox_id" TO "remote_id";
ALTER TABLE "knowledge_sources" RENAME COLUMN "ultravox_id" TO "remote_id";
ALTER TABLE "agents" RENAME COLUMN "ultravox_id" TO "remote_id";
ALTER TABLE "telephony_configs" RENAME COLUMN "ultravox_id" TO "remote_id";

ALTER INDEX "voices_organization_id_ultravox_id_key" RENAME TO "voices_organization_id_remote_id_key";
ALTER INDEX "agents_ultravox_id_key" RENAME TO "agents_remote_id_key";
