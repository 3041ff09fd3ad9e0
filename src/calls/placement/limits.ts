/** Enforces Ultravox's creation limits across all processes. */
import type { App, Tx } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { NO_OWNED_CALLS } from '../listeners.ts';
import {
  ACCEPTED_SINCE_REFUSAL,
  HOLD_UNTIL,
  isRecent,
  ON_TRIAL,
  RECENT_REFUSALS,
} from './creation-hold.ts';
import { CLAIM_VALID_SECONDS, HOLDS_SLOT } from './placement-state.ts';
import type { OrganizationUsage, SlotLimits } from './slot-shares.ts';

/** Advisory lock that serializes counting against the limits. */
const LIMIT_LOCK = 7_411_001;
/** Fallback delay; the end of a call wakes the placement earlier. */
const CONCURRENCY_RECHECK_MS = 5_000;
/** Delay until the outcome of a trial call may be known. */
const TRIAL_RECHECK_MS = 1_000;
const MAX_CLAIMS = 50;
/** Maximum idle time of a transaction that holds the limits. */
const MAX_IDLE_MS = 5_000;
/** Seconds from the use of a claim until its request, if it has no response yet, is taken to have arrived. */
const ARRIVES_WITHIN_SECONDS = 3;
/**
 * A request that may still arrive counts as one that arrived so long ago. Less than a second, so that it counts against
 * the calls per second; not 0, so that the time for the next claim is not a whole second away.
 */
const ARRIVING_COUNTS_SECONDS = 0.8;

/** What may be claimed in this transaction: at most `free` calls, shared out by `shareSlots`. */
export interface LimitCapacity extends SlotLimits {
  /** Number of waiting calls without an owner that may be claimed. */
  waiting: number;
  /** Number of owned calls that could be claimed, by organization; enough of them to use all slots. */
  owned: ReadonlyMap<string, number>;
  /** Milliseconds since an owned call was claimed; null if none was in the last minute. */
  sinceOwnedClaimMs: number | null;
  /** Whether there are owned calls whose claim was released. */
  hasReleased: boolean;
  /** Minimum difference between the clock of this process and the database clock. */
  clockDifferenceMs: number;
  /** Earliest time with room for more calls, once `claimed` calls are claimed. */
  nextCapacityAt(claimed: number): Date;
}

/**
 * SQL condition on calls: the deadline has passed neither by the clock of this process nor by the database clock. One
 * of them may be slow, and nobody may be called after a deadline.
 */
export function beforeDeadline(now: Date): Prisma.Sql {
  return Prisma.sql`(place_before IS NULL
    OR place_before > greatest(${now}::timestamptz, clock_timestamp()))`;
}

/** SQL condition on calls: no owner, and waiting to be placed. */
export const IS_WAITING = Prisma.sql`(placement = 'QUEUED' AND owner IS NULL)`;

/**
 * Maximum number of waiting calls of an organization: more than the limits of most plans allow to place in the hour that
 * a call may wait.
 */
export const MAX_WAITING_CALLS = 10_000;

/** Class of the advisory locks that serialize the calls of an organization whose queue is nearly full. */
const QUEUE_LOCK_CLASS = 7_411_002;
/** More calls than can be created while one transaction inserts a call. */
const NEARLY_FULL = 1_000;

/**
 * Whether so many calls of an organization are waiting that it may not add another one. If the queue is nearly full,
 * only one transaction at a time adds a call, so that parallel ones do not exceed the maximum.
 */
export async function hasFullQueue(tx: Tx, organizationId: string): Promise<boolean> {
  if (!(await hasMoreWaiting(tx, organizationId, MAX_WAITING_CALLS - NEARLY_FULL))) return false;
  await tx.$executeRaw`
    SELECT pg_advisory_xact_lock(${QUEUE_LOCK_CLASS}::int, hashtext(${organizationId}))`;
  return hasMoreWaiting(tx, organizationId, MAX_WAITING_CALLS - 1);
}

async function hasMoreWaiting(tx: Tx, organizationId: string, than: number): Promise<boolean> {
  const [next] = await tx.$queryRaw<unknown[]>`
    SELECT 1 FROM calls WHERE organization_id = ${organizationId}::uuid AND ${IS_WAITING}
    OFFSET ${than} LIMIT 1`;
  return next !== undefined;
}

/** Maximum time that a call may wait; it fails afterwards. */
const MAX_WAIT_SECONDS = 3600;

/** SQL condition on waiting calls: a person waits for the call in a browser. */
export const IS_URGENT = Prisma.sql`(medium = 'WEBRTC')`;

/** Maximum time that a test call waits for a slot, since a person waits for it. */
export const MAX_TEST_CALL_WAIT_MS = 5_000;
/** Time by which the clocks of processes may differ. */
const CLOCKS_DIFFER_MS = 5_000;

/**
 * SQL condition on waiting calls: waiting for too long to be placed. A test call waits longer than its request only if
 * the process of the request died.
 */
export function waitsTooLong(now: Date): Prisma.Sql {
  const time = now.getTime();
  return Prisma.sql`(created_at <= CASE WHEN ${IS_URGENT}
    THEN ${new Date(time - MAX_TEST_CALL_WAIT_MS - CLOCKS_DIFFER_MS)}::timestamptz
    ELSE ${new Date(time - MAX_WAIT_SECONDS * 1000)}::timestamptz END)`;
}

/**
 * SQL condition: whether there is such a queued call, with an owner or without. Sorted, and not EXISTS, so that the
 * planner reads the index on these calls: after a backlog it expects so many that it would search the whole table.
 */
export function hasQueuedCall(condition: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`((SELECT true FROM calls WHERE ${condition}
    ORDER BY organization_id, created_at, id LIMIT 1) IS NOT NULL)`;
}

/** SQL condition: whether a call without an owner is waiting to be placed. */
export const HAS_WAITING_CALLS = hasQueuedCall(IS_WAITING);

/**
 * SQL condition on calls: no owner, neither late nor waiting for too long, and nothing missing but a slot. While a call
 * waits for its agent to be created or sent again at Ultravox, the others of that agent wait as well: they would only be
 * refused. A call that waits for another reason waits on its own.
 */
export function claimable(now: Date): Prisma.Sql {
  return Prisma.sql`(${IS_WAITING} AND NOT ${waitsTooLong(now)}
    AND (place_not_before IS NULL OR place_not_before <= ${now}::timestamptz)
    AND agent_id <> ALL (ARRAY(SELECT w.agent_id FROM calls w JOIN agents a ON a.id = w.agent_id
      WHERE w.placement = 'QUEUED' AND w.place_not_before > ${now}::timestamptz
        AND (a.remote_id IS NULL OR coalesce(greatest(a.synced_revision, a.refused_revision), 0) < a.revision)))
    AND ${beforeDeadline(now)})`;
}

/** The use of the limits, as read from the database. */
interface Usage {
  at: Date;
  second: bigint;
  minute: bigint;
  active: bigint;
  second_at: Date | null;
  minute_at: Date | null;
  organizations: (OrganizationUsage & { id: string; owned: number })[];
  since_owned_claim_ms: number | null;
  has_released: boolean;
  hold_until: Date | null;
  on_trial: boolean;
  accepted_since_refusal: bigint | null;
  in_flight: bigint;
}

/**
 * Counts the use of the limits and locks them until the transaction ends. The caller claims at most `free` calls.
 *
 * Ultravox counts a request when it arrives, at some time between sending and response. So a request that
 * may still arrive counts as arriving now, and others as of their response.
 *
 * While Ultravox has asked for a pause, no call is claimed. Requests that it refused count as well. While outcomes are
 * unknown, and after a pause, there is room for one request at a time; after a pause, for one more with each that is
 * accepted.
 *
 * @param owned SQL relation (`organization_id`, `calls`): owned calls that could be claimed. Default: none.
 */
export async function lockLimits(
  app: App,
  tx: Tx,
  owned: Prisma.Sql = NO_OWNED_CALLS,
): Promise<LimitCapacity> {
  const { config, now } = app;
  // A process that hangs or loses its connection must not block the others, whether it holds or awaits the lock.
  await tx.$executeRaw`
    SELECT set_config('idle_in_transaction_session_timeout', ${`${MAX_IDLE_MS}`}, true),
      pg_advisory_xact_lock(${LIMIT_LOCK})`;
  const queriedAt = Date.now();
  const [usage] = await tx.$queryRaw<[Usage]>(usageQuery(config, now(), owned));
  const { organizations } = usage;
  const capacity = {
    organizationMax: config.ORGANIZATION_MAX_CONCURRENT_CALLS,
    organizations: new Map(organizations.map((one) => [one.id, one])),
    waiting: organizations.reduce((sum, { waiting }) => sum + waiting, 0),
    owned: new Map(organizations.map(({ id, owned: calls }) => [id, calls])),
    sinceOwnedClaimMs: usage.since_owned_claim_ms,
    hasReleased: usage.has_released,
    clockDifferenceMs: minDifference(usage.at, queriedAt, Date.now()),
  };
  const holdUntil = usage.hold_until;
  if (holdUntil) {
    const afterHold = () => new Date(Math.max(holdUntil.getTime(), Date.now() + 200));
    return { ...capacity, free: 0, limitedBy: 'NEW_CALLS', nextCapacityAt: afterHold };
  }
  const perSecond = config.ULTRAVOX_MAX_CALLS_PER_SECOND - Number(usage.second);
  const perMinute = config.ULTRAVOX_MAX_CALLS_PER_MINUTE - Number(usage.minute);
  const concurrent = config.ULTRAVOX_MAX_CONCURRENT_CALLS - Number(usage.active);
  const sinceRefusal = usage.accepted_since_refusal;
  const mayBeInFlight = usage.on_trial
    ? 1
    : sinceRefusal === null
      ? Number.POSITIVE_INFINITY
      : 1 + Number(sinceRefusal);
  const trial = Math.min(MAX_CLAIMS, mayBeInFlight - Number(usage.in_flight));
  const newCalls = Math.min(perSecond, perMinute, trial, MAX_CLAIMS);
  return {
    ...capacity,
    free: Math.max(0, Math.min(concurrent, newCalls)),
    limitedBy: concurrent <= newCalls ? 'ACTIVE_CALLS' : 'NEW_CALLS',
    nextCapacityAt(claimed) {
      const from = Date.now();
      return new Date(
        Math.max(
          from + 200,
          perSecond <= claimed ? (usage.second_at?.getTime() ?? from) + 1_000 : 0,
          perMinute <= claimed ? (usage.minute_at?.getTime() ?? from) + 60_000 : 0,
          concurrent <= claimed ? from + CONCURRENCY_RECHECK_MS : 0,
          trial <= claimed ? from + TRIAL_RECHECK_MS : 0,
        ),
      );
    },
  };
}

/**
 * Query of the `Usage`. `statement_timestamp()` is late enough, since the statement starts after the lock is held;
 * `clock_timestamp()` would prevent the use of the index.
 */
function usageQuery(config: App['config'], now: Date, owned: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
    WITH recent AS (
      SELECT CASE
        WHEN (placement = 'CLAIMED'
            AND claimed_at > statement_timestamp() - make_interval(secs => ${CLAIM_VALID_SECONDS + 1}))
          OR (placement IN ('SENDING', 'UNKNOWN') AND ended_at IS NULL
            AND sent_at > statement_timestamp() - make_interval(secs => ${ARRIVES_WITHIN_SECONDS}))
        THEN greatest(claimed_at, statement_timestamp() - make_interval(secs => ${ARRIVING_COUNTS_SECONDS}))
        ELSE greatest(claimed_at, sent_at, ringing_at)
      END AS created_by
      FROM calls WHERE ${isRecent(Prisma.sql`claimed_at`)}
      UNION ALL SELECT created_by FROM ${RECENT_REFUSALS} AS refusals
    ), last_second AS (
      SELECT created_by FROM recent WHERE created_by > statement_timestamp() - interval '1 second'
    ), last_minute AS (
      SELECT created_by FROM recent WHERE created_by > statement_timestamp() - interval '1 minute'
    ), ${organizationUsage(now, owned)}
    SELECT statement_timestamp() AS at,
      (SELECT count(*) FROM last_second) AS second,
      (SELECT min(created_by) FROM last_second) AS second_at,
      (SELECT count(*) FROM last_minute) AS minute,
      (SELECT min(created_by) FROM last_minute) AS minute_at,
      (SELECT coalesce(sum(calls), 0) FROM active)::bigint AS active,
      (SELECT coalesce(jsonb_agg(o), '[]') FROM organizations o) AS organizations,
      (SELECT extract(epoch FROM statement_timestamp() - max(owned_claimed_at)) * 1000
        FROM claimed)::float AS since_owned_claim_ms,
      ${hasQueuedCall(Prisma.sql`placement = 'QUEUED' AND owner IS NOT NULL`)} AS has_released,
      ${HOLD_UNTIL} AS hold_until,
      ${ON_TRIAL} AS on_trial,
      ${ACCEPTED_SINCE_REFUSAL} AS accepted_since_refusal,
      (SELECT count(*) FROM calls WHERE ${HOLDS_SLOT} AND (placement = 'CLAIMED'
        OR (placement = 'SENDING' AND sent_at > statement_timestamp()
          - make_interval(secs => ${config.ULTRAVOX_TIMEOUT_SECONDS})))) AS in_flight`;
}

/** SQL expression: when the last call of an organization ended; null if none has. */
export function lastEndOf(organizationId: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`(SELECT max(ended.ended_at) FROM calls ended
    WHERE ended.organization_id = ${organizationId} AND ended.ended_at IS NOT NULL)`;
}

/**
 * Common table expressions: `active`, `claimed`, and `organizations` with those that have active, recent, waiting or
 * owned calls. Of those with owned calls only, as many as could get all slots are enough: the longest unused ones.
 */
function organizationUsage(now: Date, owned: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
    active AS (
      SELECT organization_id, count(*) AS calls, max(claimed_at) AS claimed_at
      FROM calls WHERE ${HOLDS_SLOT} GROUP BY 1
    ), claimed AS (
      SELECT organization_id, count(*) AS calls,
        max(claimed_at) FILTER (WHERE owner IS NOT NULL) AS owned_claimed_at
      FROM calls WHERE claimed_at > statement_timestamp() - interval '1 minute' GROUP BY 1
    ), waiting AS (
      SELECT organization_id, count(*) AS calls, count(*) FILTER (WHERE ${IS_URGENT}) AS urgent
      FROM calls WHERE ${claimable(now)} GROUP BY 1
    ), owned AS (
      SELECT organization_id, sum(calls) AS calls FROM ${owned} AS o
      GROUP BY 1 HAVING sum(calls) > 0
    ), used AS (
      SELECT u.*, greatest(u.claimed_at, CASE
        WHEN u.waiting + u.owned > 0 THEN ${lastEndOf(Prisma.sql`u.id`)} END) AS last_used
      FROM (
        SELECT organization_id AS id, coalesce(active.calls, 0) AS active, active.claimed_at,
          coalesce(claimed.calls, 0) AS recent, coalesce(waiting.calls, 0) AS waiting,
          coalesce(waiting.urgent, 0) AS urgent, coalesce(owned.calls, 0) AS owned
        FROM active FULL JOIN claimed USING (organization_id)
        FULL JOIN waiting USING (organization_id) FULL JOIN owned USING (organization_id)
      ) u
    ), organizations AS (
      SELECT id, active, recent, waiting, urgent, owned,
        extract(epoch FROM last_used) * 1000 AS "lastUsedAt"
      FROM (
        SELECT used.*, row_number() OVER (
          PARTITION BY active + recent + waiting = 0 ORDER BY last_used NULLS FIRST, id) AS number
        FROM used
      ) ranked
      WHERE active + recent + waiting > 0 OR number <= ${MAX_CLAIMS}
    )`;
}

/** Minimum difference between two clocks, if one showed `at` while the other advanced from `from` to `to`. */
function minDifference(at: Date, from: number, to: number): number {
  return Math.max(0, from - at.getTime(), at.getTime() - to);
}
