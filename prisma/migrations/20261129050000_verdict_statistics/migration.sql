-- Verdicts are frequent in some organizations and rare in others. Without the frequencies of each, PostgreSQL
-- would look for a rare verdict in all calls of an organization, in the order of the list.
CREATE STATISTICS "call_facts_verdicts" (mcv) ON organization_id, success FROM "call_facts";
ANALYZE "call_facts";
