/**
 * The contacts from which a campaign's copies were made learn how often and how they were called. It
 * is done after settling and apart from it, because whoever edits contacts may hold them for long,
 * and no slot waits for that. Each call is told of once, whatever dies in between.
 */
import type { App } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';

const BATCH = 1_000;
const LOCK_WAIT = '2s';

const UNTOLD = Prisma.sql`k.campaign_id IS NOT NULL AND k.settled_at IS NOT NULL
  AND k.told_at IS NULL AND k.ringing_at IS NOT NULL`;

/** Whether somebody was interested takes an analysis; a call itself tells no more than this. */
const OUTCOME = Prisma.sql`CASE
  WHEN k.status = 'COMPLETED' THEN 'CONTACTED'
  WHEN k.end_reason IN ('NO_ANSWER', 'BUSY', 'UNREACHABLE') THEN 'NO_ANSWER'
  END`;

/** All that is left to tell. What is locked is left to a later time. */
export async function tellContacts(app: App): Promise<void> {
  const organizations = await app.db.$queryRaw<{ id: string }[]>`
    SELECT DISTINCT k.organization_id AS id FROM calls k WHERE ${UNTOLD}`;
  for (const { id } of organizations) {
    while (!app.closing.aborted && (await tellOf(app, id)) === BATCH);
  }
}

/** @returns how many calls were told of. */
async function tellOf(app: App, organizationId: string): Promise<number> {
  try {
    return await app.db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT set_config('lock_timeout', ${LOCK_WAIT}, true)`;
      return tx.$executeRaw`
        WITH calls_to_tell AS (
          SELECT k.id, k.ringing_at, ${OUTCOME} AS outcome, cc.contact_id
          FROM calls k JOIN campaign_contacts cc ON cc.id = k.campaign_contact_id
          WHERE ${UNTOLD} AND k.organization_id = ${organizationId}::uuid
          ORDER BY k.settled_at LIMIT ${BATCH} FOR NO KEY UPDATE OF k SKIP LOCKED
        ), news AS (
          SELECT contact_id, count(*)::int AS calls, max(ringing_at) AS at,
            (array_agg(outcome ORDER BY ringing_at DESC)
              FILTER (WHERE outcome IS NOT NULL))[1] AS outcome
          FROM calls_to_tell WHERE contact_id IS NOT NULL GROUP BY contact_id
        ), locked AS (
          SELECT c.id FROM contacts c JOIN news n ON n.contact_id = c.id
          WHERE c.organization_id = ${organizationId}::uuid
          ORDER BY c.id FOR NO KEY UPDATE OF c
        ), contacts_told AS (
          UPDATE contacts c SET call_count = c.call_count + n.calls,
            last_called_at = greatest(c.last_called_at, n.at),
            last_call_outcome = coalesce(n.outcome::"ContactOutcome", c.last_call_outcome),
            updated_at = ${app.now()}::timestamptz
          FROM news n JOIN locked l ON l.id = n.contact_id WHERE c.id = l.id
        )
        UPDATE calls k SET told_at = ${app.now()}::timestamptz
        FROM calls_to_tell t WHERE k.id = t.id`;
    });
  } catch (error) {
    app.log.debug({ err: error, organizationId }, 'Contacts could not be told of their calls yet');
    return 0;
  }
}
