-- AlterTable
ALTER TABLE "agents" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "knowledge_bases" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "knowledge_sources" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "telephony_configs" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "tools" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "voices" ADD COLUMN     "sync_retry_at" TIMESTAMPTZ(3);
