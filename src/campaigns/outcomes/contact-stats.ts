/**
 * Updates the call statistics of contacts from the calls of campaigns. This is a separate step because contacts may be
 * locked by long edits, for which no slot may wait. Each call is counted once.
 */
import type { App } from '../../app.ts';
import { answeredByMayChange } from '../../calls/post-call/findings.ts';
import { addCallStats } from '../../contacts/call-stats.ts';
import { Prisma } from '../../generated/prisma/client.ts';

const BATCH = 1_000;
const LOCK_WAIT = '2s';

const WITHOUT_STATS = Prisma.sql`a.outcome_recorded_at IS NOT NULL AND a.stats_recorded_at IS NULL`;

/** Outcome as far as the call alone shows it. */
const OUTCOME = Prisma.sql`CASE
  WHEN k.answered_by = 'VOICEMAIL' THEN 'VOICEMAIL'
  WHEN k.status = 'COMPLETED' THEN 'CONTACTED'
  WHEN k.end_reason IN ('NO_ANSWER', 'BUSY', 'UNREACHABLE') THEN 'NO_ANSWER'
  END`;

/** SQL condition: whether any call is not counted yet. */
export function hasUncountedCalls(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM campaign_attempts a WHERE ${WITHOUT_STATS})`;
}

/**
 * Counts all calls that are not counted yet. Locked rows, and calls for which it is not known yet who answered, are
 * left to a later run.
 */
export async function recordContactStats(app: App): Promise<void> {
  const organizations = await app.db.$queryRaw<{ id: string }[]>`
    SELECT DISTINCT a.organization_id AS id FROM campaign_attempts a WHERE ${WITHOUT_STATS}`;
  for (const { id } of organizations) {
    while (!app.closing.aborted && (await recordStatsOf(app, id)) === BATCH);
  }
}

/** Returns the number of calls counted. */
async function recordStatsOf(app: App, organizationId: string): Promise<number> {
  try {
    return await app.db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT set_config('lock_timeout', ${LOCK_WAIT}, true)`;
      return tx.$executeRaw`
        WITH uncounted AS (
          SELECT k.id, k.ringing_at, ${OUTCOME} AS outcome, cc.contact_id
          FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
          JOIN campaign_contacts cc ON cc.id = a.campaign_contact_id
          WHERE ${WITHOUT_STATS} AND a.organization_id = ${organizationId}::uuid
            AND NOT ${answeredByMayChange('k')}
          ORDER BY a.outcome_recorded_at LIMIT ${BATCH} FOR NO KEY UPDATE OF a SKIP LOCKED
        ), stats AS (
          SELECT contact_id, count(*)::int AS calls, max(ringing_at) AS at,
            (array_agg(outcome ORDER BY ringing_at DESC)
              FILTER (WHERE outcome IS NOT NULL))[1] AS outcome
          FROM uncounted WHERE contact_id IS NOT NULL GROUP BY contact_id
        ), updated AS (
          ${addCallStats({ organizationId, now: app.now() }, Prisma.sql`stats`)}
        )
        UPDATE campaign_attempts a SET stats_recorded_at = ${app.now()}::timestamptz
        FROM uncounted t WHERE a.call_id = t.id`;
    });
  } catch (error) {
    app.failures.record('recordContactStats', error, {
      message: 'Could not update contact statistics; will retry',
      organizationId,
    });
    return 0;
  }
}
