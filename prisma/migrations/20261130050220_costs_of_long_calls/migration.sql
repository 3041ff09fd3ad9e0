-- The longest call at the highest price. The table is not rewritten, since only the precision grows.
DROP TRIGGER call_updated ON calls;

-- AlterTable
ALTER TABLE "calls" ALTER COLUMN "cost_amount" SET DATA TYPE DECIMAL(18,6);

CREATE TRIGGER call_updated AFTER UPDATE ON calls
  FOR EACH ROW WHEN (
    (OLD.created_at, OLD.agent_id, OLD.campaign_id, OLD.phone_number_id, OLD.end_reason, OLD.answered_by, OLD.answered_at, OLD.ended_at,
      OLD.cost_amount, OLD.cost_currency, OLD.deleted_at)
    IS DISTINCT FROM
    (NEW.created_at, NEW.agent_id, NEW.campaign_id, NEW.phone_number_id, NEW.end_reason, NEW.answered_by, NEW.answered_at, NEW.ended_at,
      NEW.cost_amount, NEW.cost_currency, NEW.deleted_at))
  EXECUTE FUNCTION call_changed();
