/** Updates the call statistics of contacts. */
import { Prisma } from '../generated/prisma/client.ts';

/**
 * SQL: the UPDATE that adds calls to the statistics of their contacts, as part of a statement that marks the calls as
 * counted. It locks the contacts in the order of their IDs.
 *
 * @param calls name of a relation with one row for each contact: `contact_id`, the number of `calls`, the time
 *   `at` of the last one, and its `outcome` or null.
 */
export function addCallStats(
  { organizationId, now }: { organizationId: string; now: Date },
  calls: Prisma.Sql,
): Prisma.Sql {
  return Prisma.sql`
    WITH locked AS (
      SELECT c.id FROM contacts c JOIN ${calls} n ON n.contact_id = c.id
      WHERE c.organization_id = ${organizationId}::uuid
      ORDER BY c.id FOR NO KEY UPDATE OF c
    )
    UPDATE contacts c SET call_count = c.call_count + n.calls,
      last_called_at = greatest(c.last_called_at, n.at),
      last_call_outcome = coalesce(n.outcome::"ContactOutcome", c.last_call_outcome),
      updated_at = ${now}::timestamptz
    FROM ${calls} n JOIN locked l ON l.id = n.contact_id WHERE c.id = l.id`;
}
