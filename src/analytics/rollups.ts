/**
 * Rollups: figures of days with many calls, aggregated by quarter-hours and by days (UTC). The rows of single calls
 * remain the source of truth. A trigger records each change to a day that is rolled up, in the transaction of the
 * change; until the day is rolled up again, its calls are counted one by one.
 */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { FIRST_ID } from '../infra/ids.ts';

const DAY_MS = 86_400_000;
/** By then most changes to calls, such as bills, have been made. */
const ROLL_UP_AFTER_DAYS = 2;
/** With fewer calls per day, counting them is as fast. */
const MIN_CALLS = 1_000;
const MAX_ORGANIZATIONS = 100;
/** Number of days scanned by one statement. */
const WINDOW_DAYS = 60;
const MAX_CHANGED_DAYS = 500;
const ROLL_UP_TIMEOUT_MS = 600_000;

export type Grain = 'QUARTER_HOUR' | 'DAY';

export const ROLLUP_MS: Record<Grain, number> = { QUARTER_HOUR: 900_000, DAY: DAY_MS };

const DIMENSIONS: Record<Grain, Prisma.Sql> = {
  QUARTER_HOUR: Prisma.sql`NULL::uuid, NULL::uuid, NULL::uuid`,
  DAY: Prisma.sql`agent_id, campaign_id, phone_number_id`,
};

/** Returns the days (starts in UTC) for which an organization's rollups are current, ascending. */
export async function rolledUpDays(
  db: Pick<Tx, '$queryRaw'>,
  organizationId: string,
  { from, to }: { from: Date; to: Date },
): Promise<number[]> {
  const rows = await db.$queryRaw<{ day: Date }[]>`
    SELECT day FROM call_rollup_days AS d
    WHERE organization_id = ${organizationId}::uuid
      AND day BETWEEN (${from}::timestamptz AT TIME ZONE 'UTC')::date
        AND (${to}::timestamptz AT TIME ZONE 'UTC')::date
      AND NOT EXISTS (SELECT 1 FROM call_rollup_changes AS c
        WHERE c.organization_id = d.organization_id AND c.day = d.day)
    ORDER BY day`;
  return rows.map(({ day }) => day.getTime());
}

/**
 * Rolls up past days, and again those that have changed. Safe to run in several processes at once. An organization for
 * which it fails is retried in the next run, and does not delay the others.
 */
export async function rollUpCalls(app: App, { minCalls = MIN_CALLS } = {}): Promise<void> {
  const changed = await app.db.$queryRaw<OrganizationDay[]>`
    SELECT DISTINCT organization_id AS "organizationId", day FROM call_rollup_changes
    LIMIT ${MAX_CHANGED_DAYS}`;
  for (const day of changed) {
    if (app.closing.aborted) return;
    await rollUpDay(app, day, { again: true }).catch(failureRecorder(app, day.organizationId));
  }
  const end = new Date(Math.floor(app.now().getTime() / DAY_MS - ROLL_UP_AFTER_DAYS) * DAY_MS);
  for (let after = FIRST_ID; ; ) {
    const behind = await app.db.$queryRaw<{ id: string; from: Date | null }[]>`
      SELECT o.id, coalesce(p.through, (SELECT (min(created_at) AT TIME ZONE 'UTC')::date
        FROM call_facts WHERE organization_id = o.id)) AS "from"
      FROM organizations AS o LEFT JOIN call_rollup_progress AS p ON p.organization_id = o.id
      WHERE o.id > ${after}::uuid AND (p.through IS NULL OR p.through < ${end}::date)
      ORDER BY o.id LIMIT ${MAX_ORGANIZATIONS}`;
    for (const { id, from } of behind) {
      await catchUp(app, id, { from: from ?? end, end, minCalls }).catch(failureRecorder(app, id));
    }
    const last = behind.at(-1);
    if (!last || app.closing.aborted) return;
    after = last.id;
  }
}

function failureRecorder(app: App, organizationId: string): (error: unknown) => void {
  return app.failures.recorder('rollUpCalls', {
    message: 'Could not roll up the calls of an organization; will retry',
    organizationId,
  });
}

interface OrganizationDay {
  organizationId: string;
  day: Date;
}

/** Rolls up the days of an organization that have enough calls, and records its progress. */
async function catchUp(
  app: App,
  organizationId: string,
  { from, end, minCalls }: { from: Date; end: Date; minCalls: number },
): Promise<void> {
  let start = from.getTime();
  do {
    const through = new Date(Math.min(start + WINDOW_DAYS * DAY_MS, end.getTime()));
    const days = await app.db.$queryRaw<{ day: Date }[]>`
      SELECT (created_at AT TIME ZONE 'UTC')::date AS day FROM call_facts
      WHERE organization_id = ${organizationId}::uuid
        AND created_at >= ${new Date(start)} AND created_at < ${through}
      GROUP BY 1 HAVING count(*) >= ${minCalls}`;
    for (const { day } of days) {
      if (app.closing.aborted || !(await rollUpDay(app, { organizationId, day }, { again: false })))
        return;
    }
    await app.db.callRollupProgress.upsert({
      where: { organizationId },
      create: { organizationId, through },
      update: { through },
    });
    start = through.getTime();
  } while (start < end.getTime());
}

/**
 * Rolls up a day. Holds a lock that changes to the day's calls share until their commit, so none is missed; changes
 * that come in the meantime do not wait, and are recorded. If a day is to be rolled up `again` but has never been, its
 * records come from changes that could not see that; they are deleted.
 *
 * @returns false if such a change is in progress.
 */
async function rollUpDay(
  app: App,
  { organizationId, day }: OrganizationDay,
  { again }: { again: boolean },
): Promise<boolean> {
  const work = async (tx: Tx): Promise<boolean> => {
    const [row] = await tx.$queryRaw<{ locked: boolean }[]>`
      SELECT pg_try_advisory_xact_lock(call_rollup_lock(${organizationId}::uuid, ${day}::date)) AS locked`;
    if (!row?.locked) return false;
    const where = { organizationId, day };
    const end = new Date(day.getTime() + DAY_MS);
    await tx.callRollupChange.deleteMany({ where });
    if (again && (await tx.callRollupDay.count({ where })) === 0) return true;
    await tx.callRollup.deleteMany({
      where: { organizationId, startsAt: { gte: day, lt: end } },
    });
    for (const grain of ['QUARTER_HOUR', 'DAY'] as const) {
      await tx.$executeRaw`
        INSERT INTO call_rollups (organization_id, grain, starts_at, agent_id, campaign_id,
          phone_number_id, end_reason, answered_by, cost_currency, calls, answered, judged, successful,
          handled, handle_ms, tokens, cost_micros)
        SELECT organization_id, ${grain}::"CallRollupGrain",
          date_bin(${ROLLUP_MS[grain]} * interval '1 millisecond', created_at, ${day}),
          ${DIMENSIONS[grain]}, end_reason, answered_by, cost_currency, count(*),
          count(*) FILTER (WHERE answered), count(success), count(*) FILTER (WHERE success),
          count(handle_ms), coalesce(sum(handle_ms), 0), coalesce(sum(tokens), 0),
          coalesce(sum(cost_micros), 0)
        FROM call_facts WHERE organization_id = ${organizationId}::uuid
          AND created_at >= ${day} AND created_at < ${end}
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9`;
    }
    await tx.callRollupDay.createMany({ data: [where], skipDuplicates: true });
    return true;
  };
  return app.db.$transaction(work, { timeout: ROLL_UP_TIMEOUT_MS });
}
