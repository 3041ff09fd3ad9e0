-- What an attempt of a step after a call has kept for the next one.
ALTER TABLE "post_call_steps" ADD COLUMN "partial_result" JSONB;
