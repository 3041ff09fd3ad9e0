/** Ultravox's limits on creating calls, held to by all processes together. */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';

/** Any two that count against the limits do so one after the other. */
const LIMIT_LOCK = 7_411_001;
/** For an end that is not heard of; one that is wakes the placement itself. */
const LOOK_AGAIN_MS = 5_000;
const MAX_AT_ONCE = 50;
const LONGEST_PAUSE_MS = 15_000;
/** How long after the claim a call may be sent, and after the sending still be on its way. */
const SENT_WITHIN_SECONDS = 11;
const ARRIVES_WITHIN_SECONDS = 3;

export interface Room {
  /** How many calls may be claimed now, in this transaction. */
  free: number;
  /** Calls that somebody asked for one by one and that wait. */
  waiting: number;
  /** Those of them that their organizations have lines for: they go before calls of campaigns. */
  ahead: number;
  /** Once `claimed` of them are: when there may be room again. */
  againAt(claimed: number): Date;
}

/**
 * The calls that take up the lines of their organizations as far as campaigns go: also those that
 * were asked for one by one and wait for such a line.
 */
export const BUSY_LINES = Prisma.sql`(
  SELECT organization_id FROM calls WHERE placing_at IS NOT NULL AND ended_at IS NULL
  UNION ALL
  SELECT organization_id FROM calls
  WHERE status = 'CREATED' AND placing_at IS NULL AND campaign_id IS NULL
) AS busy`;

/**
 * Counts what the limits count, and keeps every other process from counting until the transaction
 * ends. Whoever claims calls in it sets their `placing_at`, and claims no more than are free.
 *
 * Ultravox counts when a request arrives, which is some time between when we send it and its answer;
 * a claim may be sent as long as it is good. So a call that may still arrive counts as one that
 * arrives now, and others as of their answer.
 *
 * While Ultravox has asked one call to wait, none overtakes it.
 *
 * The statement begins after the lock is held, so its own time is late enough; `clock_timestamp()`
 * would keep it from using an index, and have it read every call there ever was.
 */
export async function holdLimits({ config }: App, tx: Tx): Promise<Room> {
  // A process that hangs or is cut off must not keep all others from calling.
  await tx.$executeRaw`
    SELECT set_config('idle_in_transaction_session_timeout', ${`${LONGEST_PAUSE_MS}`}, true),
      pg_advisory_xact_lock(${LIMIT_LOCK})`;
  const [use] = await tx.$queryRaw<
    {
      second: bigint;
      minute: bigint;
      active: bigint;
      second_at: Date | null;
      minute_at: Date | null;
      waiting: bigint;
      ahead: bigint;
      not_before: Date | null;
    }[]
  >`
    WITH recent AS (
      SELECT CASE
        WHEN ultravox_id IS NULL AND ended_at IS NULL AND (
          (sending_at IS NULL
            AND placing_at > statement_timestamp() - make_interval(secs => ${SENT_WITHIN_SECONDS}))
          OR sending_at > statement_timestamp() - make_interval(secs => ${ARRIVES_WITHIN_SECONDS}))
        THEN greatest(placing_at, statement_timestamp() - interval '800 milliseconds')
        ELSE greatest(placing_at, sending_at, ringing_at)
      END AS created_by
      FROM calls WHERE placing_at > statement_timestamp() - interval '75 seconds'
    ), last_second AS (
      SELECT created_by FROM recent WHERE created_by > statement_timestamp() - interval '1 second'
    ), last_minute AS (
      SELECT created_by FROM recent WHERE created_by > statement_timestamp() - interval '1 minute'
    ), active AS (
      SELECT organization_id, count(*) AS calls FROM calls
      WHERE placing_at IS NOT NULL AND ended_at IS NULL GROUP BY 1
    ), waiting AS (
      SELECT organization_id, count(*) AS calls FROM calls
      WHERE status = 'CREATED' AND placing_at IS NULL AND campaign_id IS NULL GROUP BY 1
    )
    SELECT
      (SELECT count(*) FROM last_second) AS second,
      (SELECT min(created_by) FROM last_second) AS second_at,
      (SELECT count(*) FROM last_minute) AS minute,
      (SELECT min(created_by) FROM last_minute) AS minute_at,
      (SELECT coalesce(sum(calls), 0) FROM active)::bigint AS active,
      (SELECT coalesce(sum(calls), 0) FROM waiting)::bigint AS waiting,
      (SELECT coalesce(sum(least(w.calls, greatest(0,
          ${config.ORGANIZATION_MAX_CONCURRENT_CALLS} - coalesce(a.calls, 0)))), 0)
        FROM waiting w LEFT JOIN active a USING (organization_id))::bigint AS ahead,
      (SELECT max(place_not_before) FROM calls WHERE status = 'CREATED' AND placing_at IS NULL
        AND place_not_before > statement_timestamp()) AS not_before`;
  const waiting = Number(use?.waiting ?? 0);
  const ahead = Number(use?.ahead ?? 0);
  const notBefore = use?.not_before;
  if (notBefore) return { free: 0, waiting, ahead, againAt: () => notBefore };
  const perSecond = config.ULTRAVOX_MAX_CALLS_PER_SECOND - Number(use?.second ?? 0);
  const perMinute = config.ULTRAVOX_MAX_CALLS_PER_MINUTE - Number(use?.minute ?? 0);
  const concurrent = config.ULTRAVOX_MAX_CONCURRENT_CALLS - Number(use?.active ?? 0);
  return {
    free: Math.max(0, Math.min(perSecond, perMinute, concurrent, MAX_AT_ONCE)),
    waiting,
    ahead,
    againAt(claimed) {
      const now = Date.now();
      return new Date(
        Math.max(
          now + 200,
          perSecond <= claimed ? (use?.second_at?.getTime() ?? now) + 1_000 : 0,
          perMinute <= claimed ? (use?.minute_at?.getTime() ?? now) + 60_000 : 0,
          concurrent <= claimed ? now + LOOK_AGAIN_MS : 0,
        ),
      );
    },
  };
}
