-- CreateEnum
CREATE TYPE "AnsweredBy" AS ENUM ('HUMAN', 'VOICEMAIL', 'UNKNOWN');

-- CreateEnum
CREATE TYPE "RecordingStatus" AS ENUM ('PENDING', 'AVAILABLE', 'FAILED', 'EXPIRED');

-- CreateEnum
CREATE TYPE "TurnSpeaker" AS ENUM ('AGENT', 'USER', 'TOOL');

-- CreateEnum
CREATE TYPE "PostCallStepKind" AS ENUM ('TRANSCRIPT', 'SUMMARY', 'RECORDING', 'ANALYSIS', 'EVENT');

-- CreateEnum
CREATE TYPE "PostCallStepStatus" AS ENUM ('PENDING', 'DONE', 'SKIPPED', 'FAILED');

-- CreateEnum
CREATE TYPE "AnalysisStatus" AS ENUM ('PENDING', 'DONE', 'SKIPPED', 'FAILED');

-- AlterEnum
-- This migration adds more than one value to an enum.
-- With PostgreSQL versions 11 and earlier, this is not possible
-- in a single migration. This can be worked around by creating
-- multiple migrations, each migration adding only one value to
-- the enum.


ALTER TYPE "EventType" ADD VALUE 'CALL_TRANSCRIPT_TURN';
ALTER TYPE "EventType" ADD VALUE 'CALL_ANALYZED';

-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "answered_by" "AnsweredBy",
ADD COLUMN     "answered_by_evidence" TEXT,
ADD COLUMN     "dnc_quote" TEXT,
ADD COLUMN     "recording_content_type" TEXT,
ADD COLUMN     "recording_seconds" DOUBLE PRECISION,
ADD COLUMN     "recording_status" "RecordingStatus",
ADD COLUMN     "short_summary" TEXT,
ADD COLUMN     "summary" TEXT;

-- AlterTable
ALTER TABLE "campaigns" ADD COLUMN     "retry_voicemail" BOOLEAN NOT NULL DEFAULT false;

-- AlterTable
ALTER TABLE "organizations" ADD COLUMN     "add_do_not_call_requests" BOOLEAN NOT NULL DEFAULT false;

-- CreateTable
CREATE TABLE "post_call_steps" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "kind" "PostCallStepKind" NOT NULL,
    "status" "PostCallStepStatus" NOT NULL DEFAULT 'PENDING',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "next_attempt_at" TIMESTAMPTZ(3),
    "detail" TEXT,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "lease_id" UUID,
    "lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "post_call_steps_pkey" PRIMARY KEY ("call_id","kind")
);

-- CreateTable
CREATE TABLE "call_transcripts" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "words" TEXT[],
    "turn_count" INTEGER NOT NULL,
    "stored_at" TIMESTAMPTZ(3) NOT NULL,
    "expired_at" TIMESTAMPTZ(3),

    CONSTRAINT "call_transcripts_pkey" PRIMARY KEY ("call_id")
);

-- CreateTable
CREATE TABLE "call_turns" (
    "call_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "organization_id" UUID NOT NULL,
    "speaker" "TurnSpeaker" NOT NULL,
    "text" TEXT NOT NULL,
    "start_seconds" DOUBLE PRECISION,
    "end_seconds" DOUBLE PRECISION,
    "tool_name" TEXT,
    "tool_arguments" JSONB,
    "tool_result" TEXT,
    "tool_error" TEXT,
    "stage" INTEGER NOT NULL,

    CONSTRAINT "call_turns_pkey" PRIMARY KEY ("call_id","position")
);

-- CreateTable
CREATE TABLE "call_turn_watches" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "lease_id" UUID,
    "lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "call_turn_watches_pkey" PRIMARY KEY ("call_id")
);

-- CreateTable
CREATE TABLE "call_analyses" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "status" "AnalysisStatus" NOT NULL,
    "success" BOOLEAN,
    "reason" TEXT,
    "extracted_data" JSONB,
    "error" TEXT,
    "omitted" TEXT,
    "model" TEXT,
    "seconds" DOUBLE PRECISION,
    "input_tokens" INTEGER,
    "output_tokens" INTEGER,
    "analyzed_at" TIMESTAMPTZ(3),

    CONSTRAINT "call_analyses_pkey" PRIMARY KEY ("call_id")
);

-- CreateIndex
CREATE INDEX "post_call_steps_due" ON "post_call_steps"("next_attempt_at") WHERE (next_attempt_at IS NOT NULL);

-- CreateIndex
CREATE INDEX "call_transcripts_words_idx" ON "call_transcripts" USING GIN ("words");

-- CreateIndex
CREATE INDEX "call_transcripts_to_expire" ON "call_transcripts"("stored_at") WHERE (expired_at IS NULL);

-- CreateIndex
CREATE UNIQUE INDEX "call_transcripts_organization_id_call_id_key" ON "call_transcripts"("organization_id", "call_id");

-- CreateIndex
CREATE UNIQUE INDEX "call_turn_watches_organization_id_call_id_key" ON "call_turn_watches"("organization_id", "call_id");

-- CreateIndex
CREATE UNIQUE INDEX "call_analyses_organization_id_call_id_key" ON "call_analyses"("organization_id", "call_id");

-- CreateIndex
CREATE INDEX "calls_with_dnc_request" ON "calls"("organization_id", "created_at", "id") WHERE (dnc_quote IS NOT NULL);

-- AddForeignKey
ALTER TABLE "post_call_steps" ADD CONSTRAINT "post_call_steps_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_transcripts" ADD CONSTRAINT "call_transcripts_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_turns" ADD CONSTRAINT "call_turns_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_turn_watches" ADD CONSTRAINT "call_turn_watches_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_analyses" ADD CONSTRAINT "call_analyses_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
