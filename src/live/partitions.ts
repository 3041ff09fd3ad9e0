/**
 * Partitions of the event log. Each holds the events that got their cursors on certain consecutive days (UTC),
 * and is dropped as a whole.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';

const DAY_MS = 86_400_000;
/** Key of an advisory lock: any number, but the same in all processes. */
const DROP_LOCK = 7_384_120_565;
const DROP_TIMEOUT_MS = 600_000;
/** Time between the expiry of cursors and the removal of their events. Readers check their cursors more often. */
export const EXPIRY_GRACE_MS = 2_000;

/** SQL condition for events that have no cursor yet. They are in a partition of their own. */
export const WITHOUT_CURSOR = Prisma.sql`cursor = 0 AND logged_on = '1970-01-01'`;

/** Date in UTC, such as `2026-11-28`. */
export function utcDay(at: Date): string {
  return at.toISOString().slice(0, 10);
}

/**
 * SQL condition for events of objects created at these times. It excludes earlier partitions.
 * Clocks may differ by up to a day.
 */
export function loggedSince(created: readonly Date[]): Prisma.Sql {
  const first = Math.min(...created.map((at) => at.getTime()));
  return Prisma.sql`logged_on >= ${utcDay(new Date(first - DAY_MS))}::date`;
}

/** Days per partition: a tenth of the retention time, at least 1. So the number of partitions does not grow with it. */
export function partitionDays(retentionDays: number): number {
  return Math.max(1, Math.floor(retentionDays / 10));
}

/**
 * Drops partitions whose events are all older than the retention time, and creates those of today
 * and tomorrow. The counters first record what is dropped, so that older cursors are refused instead of
 * silently skipping events.
 */
export async function dropExpiredEvents(app: App): Promise<void> {
  const now = app.now().getTime();
  const { EVENT_RETENTION_DAYS: days } = app.config;
  for (const at of [now, now + DAY_MS]) {
    const day = utcDay(new Date(at));
    await app.db.$queryRaw`
      SELECT 1 FROM ensure_event_partition(${day}::date, ${partitionDays(days)}::integer)`;
  }
  const before = utcDay(new Date(now - days * DAY_MS));
  const work = async (tx: Tx): Promise<void> => {
    const [lock] = await tx.$queryRaw<{ taken: boolean }[]>`
      SELECT pg_try_advisory_xact_lock(${DROP_LOCK}) AS taken`;
    if (!lock?.taken) return;
    const expired = await tx.$queryRaw<Partition[]>`
      SELECT name, attached, detaching FROM event_partitions
      WHERE ends_on <= ${before}::date ORDER BY starts_on`;
    // Also ends the previous statement, whose snapshot a FINALIZE would wait for.
    await tx.$executeRaw`SET LOCAL idle_in_transaction_session_timeout = 0`;
    for (const partition of expired) {
      if (app.closing.aborted) return;
      await drop(app, partition);
    }
  };
  // The transaction only holds the lock: partitions are detached outside of any transaction.
  await app.db.$transaction(work, { timeout: DROP_TIMEOUT_MS });
}

interface Partition {
  name: string;
  attached: boolean;
  /** Whether a process started to detach it and did not finish. */
  detaching: boolean;
}

async function drop(app: App, { name, attached, detaching }: Partition): Promise<void> {
  const table = Prisma.raw(`"${name}"`);
  if (attached && !detaching) {
    await app.db.$executeRaw`
      UPDATE event_counters c SET expired_through = dropped.through
      FROM (
        SELECT organization_id, (
          SELECT max(cursor) FROM ${table} e
          WHERE e.organization_id = o.organization_id AND cursor > 0) AS through
        FROM event_counters o) AS dropped
      WHERE c.organization_id = dropped.organization_id AND c.expired_through < dropped.through`;
    await pause(EXPIRY_GRACE_MS, undefined, { signal: app.closing }).catch(() => undefined);
    if (app.closing.aborted) return;
    // Waits for transactions that use the log, and blocks none.
    await app.db.$executeRaw`ALTER TABLE events DETACH PARTITION ${table} CONCURRENTLY`;
  } else if (attached) {
    await app.db.$executeRaw`ALTER TABLE events DETACH PARTITION ${table} FINALIZE`;
  }
  await app.db.$executeRaw`DROP TABLE ${table}`;
  app.log.info({ partition: name }, 'Dropped expired events');
}
