-- CreateTable
CREATE TABLE "call_facts" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "agent_id" UUID NOT NULL,
    "campaign_id" UUID,
    "phone_number_id" UUID,
    "end_reason" "CallEndReason",
    "answered_by" "AnsweredBy",
    "answered" BOOLEAN NOT NULL,
    "handle_ms" INTEGER,
    "success" BOOLEAN,
    "cost_micros" BIGINT,
    "cost_currency" TEXT,
    "tokens" INTEGER,

    CONSTRAINT "call_facts_pkey" PRIMARY KEY ("call_id")
)
-- Room for the changes of a live call in place: no indexed column of it changes.
WITH (fillfactor = 80);

CREATE FUNCTION call_handle_ms(answered timestamptz, ended timestamptz) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN answered IS NOT NULL AND ended IS NOT NULL THEN
    least(greatest(extract(epoch FROM ended - answered) * 1000, 0), 2147483647)::int END
$$;

-- Each trigger writes the columns of its own table, so that two transactions at once lose nothing.
CREATE FUNCTION call_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.deleted_at IS NOT NULL THEN
    DELETE FROM call_facts WHERE call_id = NEW.id;
    RETURN NULL;
  END IF;
  INSERT INTO call_facts (call_id, organization_id, created_at, agent_id, campaign_id, phone_number_id,
    end_reason, answered_by, answered, handle_ms, cost_micros, cost_currency)
  VALUES (NEW.id, NEW.organization_id, NEW.created_at, NEW.agent_id, NEW.campaign_id,
    NEW.phone_number_id, NEW.end_reason, NEW.answered_by, NEW.answered_at IS NOT NULL,
    call_handle_ms(NEW.answered_at, NEW.ended_at), (NEW.cost_amount * 1000000)::bigint,
    NEW.cost_currency)
  ON CONFLICT (call_id) DO UPDATE SET
    created_at = excluded.created_at, agent_id = excluded.agent_id,
    campaign_id = excluded.campaign_id, phone_number_id = excluded.phone_number_id,
    end_reason = excluded.end_reason, answered_by = excluded.answered_by,
    answered = excluded.answered, handle_ms = excluded.handle_ms,
    cost_micros = excluded.cost_micros, cost_currency = excluded.cost_currency;
  RETURN NULL;
END $$;

CREATE FUNCTION call_analysis_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE call_facts SET success = NEW.success,
    tokens = CASE WHEN NEW.input_tokens IS NOT NULL OR NEW.output_tokens IS NOT NULL
      THEN coalesce(NEW.input_tokens, 0) + coalesce(NEW.output_tokens, 0) END
  WHERE call_id = coalesce(NEW.call_id, OLD.call_id);
  RETURN NULL;
END $$;

CREATE TRIGGER call_inserted AFTER INSERT ON calls
  FOR EACH ROW EXECUTE FUNCTION call_changed();
CREATE TRIGGER call_updated AFTER UPDATE ON calls
  FOR EACH ROW WHEN (
    (OLD.created_at, OLD.agent_id, OLD.campaign_id, OLD.phone_number_id, OLD.end_reason, OLD.answered_by, OLD.answered_at, OLD.ended_at,
      OLD.cost_amount, OLD.cost_currency, OLD.deleted_at)
    IS DISTINCT FROM
    (NEW.created_at, NEW.agent_id, NEW.campaign_id, NEW.phone_number_id, NEW.end_reason, NEW.answered_by, NEW.answered_at, NEW.ended_at,
      NEW.cost_amount, NEW.cost_currency, NEW.deleted_at))
  EXECUTE FUNCTION call_changed();
CREATE TRIGGER call_analysis_changed AFTER INSERT OR UPDATE OR DELETE ON call_analyses
  FOR EACH ROW EXECUTE FUNCTION call_analysis_changed();

INSERT INTO call_facts (call_id, organization_id, created_at, agent_id, campaign_id, phone_number_id,
  end_reason, answered_by, answered, handle_ms, success, cost_micros, cost_currency, tokens)
SELECT c.id, c.organization_id, c.created_at, c.agent_id, c.campaign_id, c.phone_number_id,
  c.end_reason, c.answered_by, c.answered_at IS NOT NULL,
  call_handle_ms(c.answered_at, c.ended_at),
  a.success, (c.cost_amount * 1000000)::bigint, c.cost_currency,
  CASE WHEN a.input_tokens IS NOT NULL OR a.output_tokens IS NOT NULL
    THEN coalesce(a.input_tokens, 0) + coalesce(a.output_tokens, 0) END
FROM calls c LEFT JOIN call_analyses a ON a.call_id = c.id
WHERE c.deleted_at IS NULL ORDER BY c.created_at;

-- CreateIndex
CREATE UNIQUE INDEX "call_facts_organization_id_call_id_key" ON "call_facts"("organization_id", "call_id");

-- CreateIndex
CREATE INDEX "call_facts_organization_id_created_at_idx" ON "call_facts"("organization_id", "created_at");

-- CreateIndex
CREATE INDEX "call_facts_organization_id_agent_id_created_at_idx" ON "call_facts"("organization_id", "agent_id", "created_at");

-- CreateIndex
CREATE INDEX "call_facts_of_campaign" ON "call_facts"("organization_id", "campaign_id", "created_at") WHERE (campaign_id IS NOT NULL);

-- AddForeignKey
ALTER TABLE "call_facts" ADD CONSTRAINT "call_facts_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
