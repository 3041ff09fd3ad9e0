/** Ultravox's limits on creating calls, held to by all processes together. */
import type { App, Tx } from '../app.ts';

/** Any two that count against the limits do so one after the other. */
const LIMIT_LOCK = 7_411_001;
/** For an end that is not heard of; one that is wakes the placement itself. */
const LOOK_AGAIN_MS = 5_000;
const MAX_AT_ONCE = 50;

export interface Room {
  /** How many calls may be claimed now, in this transaction. */
  free: number;
  /** Once `claimed` of them are: when there may be room again. */
  againAt(claimed: number): Date;
}

/**
 * Counts what the limits count, and keeps every other process from counting until the transaction
 * ends. Whoever claims calls in it sets their `placing_at`, and claims no more than are free.
 *
 * Ultravox counts when a request arrives, which is some time between our claim and its answer:
 * within the second, a call counts until its answer is a second old (three seconds after the claim
 * without one).
 */
export async function holdLimits({ config }: App, tx: Tx): Promise<Room> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${LIMIT_LOCK})`;
  const [use] = await tx.$queryRaw<
    {
      second: bigint;
      minute: bigint;
      active: bigint;
      second_at: Date | null;
      minute_at: Date | null;
    }[]
  >`
    WITH recent AS (
      SELECT placing_at, CASE
        WHEN ultravox_id IS NULL AND ended_at IS NULL
          AND placing_at > clock_timestamp() - interval '3 seconds'
        THEN greatest(placing_at, clock_timestamp() - interval '800 milliseconds')
        ELSE greatest(placing_at, ringing_at)
      END AS created_by
      FROM calls WHERE placing_at > clock_timestamp() - interval '1 minute'
    ), last_second AS (
      SELECT created_by FROM recent WHERE created_by > clock_timestamp() - interval '1 second')
    SELECT
      (SELECT count(*) FROM last_second) AS second,
      (SELECT min(created_by) FROM last_second) AS second_at,
      (SELECT count(*) FROM recent) AS minute,
      (SELECT min(placing_at) FROM recent) AS minute_at,
      (SELECT count(*) FROM calls WHERE placing_at IS NOT NULL AND ended_at IS NULL) AS active`;
  const perSecond = config.ULTRAVOX_MAX_CALLS_PER_SECOND - Number(use?.second ?? 0);
  const perMinute = config.ULTRAVOX_MAX_CALLS_PER_MINUTE - Number(use?.minute ?? 0);
  const concurrent = config.ULTRAVOX_MAX_CONCURRENT_CALLS - Number(use?.active ?? 0);
  return {
    free: Math.max(0, Math.min(perSecond, perMinute, concurrent, MAX_AT_ONCE)),
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
