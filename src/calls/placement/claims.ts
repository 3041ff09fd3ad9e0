/**
 * Claims: the exclusive right to send the creation request of a call. A claim is made in a transaction that enforces
 * the limits. It is used right before the request, and can be revoked until then.
 */
import type { App, Tx } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { createBatches } from '../../infra/jobs/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { ownedCallsDue } from '../listeners.ts';
import { HOLD_UNTIL } from './creation-hold.ts';
import { hasFinalCall } from './final-call.ts';
import { beforeDeadline, claimable, IS_URGENT, type LimitCapacity, lockLimits } from './limits.ts';
import { CLAIM_VALID_SECONDS, type MovedCall, moveCalls } from './placement-state.ts';
import { type SlotShares, shareSlots, totalOf } from './slot-shares.ts';

/** Maximum time from the use of a claim to its request; one that would start later is not sent. */
const SENT_AFTER_USE_SECONDS = 5;
/** Maximum delay between the timeout of a request and the look-up of the call at Ultravox. */
const MAX_LOOKUP_DELAY_SECONDS = 5;
/** Time that the owner may take to claim calls for the slots left to it, besides the interval of its runs. */
const OWNER_DELAY_MS = 5_000;
/** Time for which waiting calls then get all slots, before some are left to the owner again, which may be back. */
const OWNER_ABSENT_MS = 30_000;
/** Fallback delay while an organization has no free slot; the end of a call wakes the placement earlier. */
const ORGANIZATION_FULL_MS = 5_000;

export interface Claims {
  ids: string[];
  /** When to try again for calls that are still waiting; null if there are none. */
  retryAt: Date | null;
}

/**
 * Claims the next waiting calls, in one transaction: as many as are certain to be among the calls that `shareSlots`
 * allows. Slots that may belong to owned calls are left to the owner, which shares out all of them.
 */
export async function claimWaitingCalls(app: App): Promise<Claims> {
  return app.db.$transaction(async (tx) => {
    const capacity = await lockLimits(app, tx, ownedCallsDue(app));
    const { waiting, free } = capacity;
    const { shares, limitedUntil } = sharesBesideOwner(app, capacity);
    if (waiting === 0) return { ids: [], retryAt: null };
    if (free === 0) return { ids: [], retryAt: capacity.nextCapacityAt(0) };
    const ids = await claimShares(app, tx, shares);
    if (ids.length === waiting) return { ids, retryAt: null };
    if (limitedUntil) return { ids, retryAt: earlier(limitedUntil, capacity.nextCapacityAt(free)) };
    const isFull = ids.length === 0;
    return {
      ids,
      // Nothing was claimed although there is room: the calls wait for slots of their organizations.
      retryAt: isFull
        ? new Date(Date.now() + ORGANIZATION_FULL_MS)
        : capacity.nextCapacityAt(ids.length),
    };
  });
}

const earlier = (a: Date, b: Date): Date => (a < b ? a : b);

interface Patience {
  /** Until when this process leaves slots to the owner, in milliseconds since the epoch; null if it leaves none. */
  endsAt: number | null;
}

const patience = perInstance((_app: App): Patience => ({ endsAt: null }));

/**
 * The shares of waiting calls if the owner claims what it may, and until when they are limited to that. If the owner
 * claims nothing for some time after slots were left to it, its process has died or is stuck, and waiting calls get all
 * slots for a while. Then some are left to it again: it cannot claim any while waiting calls take every slot.
 */
function sharesBesideOwner(
  app: App,
  capacity: LimitCapacity,
): { shares: SlotShares; limitedUntil: Date | null } {
  const state = patience(app);
  const now = app.now().getTime();
  const ms = app.config.RUN_INTERVAL_SECONDS * 1000 + OWNER_DELAY_MS;
  const ownerClaimedAt = now - (capacity.sinceOwnedClaimMs ?? Number.POSITIVE_INFINITY);
  const hasClaimed = state.endsAt !== null && state.endsAt - ms < ownerClaimedAt;
  const mayBeBack = state.endsAt !== null && now - state.endsAt > OWNER_ABSENT_MS;
  if (hasClaimed || mayBeBack || totalOf(capacity.owned) === 0) state.endsAt = null;
  const shares = shareSlots(capacity, capacity.owned);
  const all = shareSlots(capacity, new Map());
  if (totalOf(shares.waiting) === totalOf(all.waiting)) return { shares, limitedUntil: null };
  state.endsAt ??= now + ms;
  return now < state.endsAt
    ? { shares, limitedUntil: new Date(Date.now() + state.endsAt - now) }
    : { shares: all, limitedUntil: null };
}

/** Claims waiting calls of each organization, oldest urgent first, as many as its share. The caller holds the limits. */
export async function claimShares(
  app: App,
  tx: Tx,
  { waiting }: Pick<SlotShares, 'waiting'>,
): Promise<string[]> {
  const rows = [...waiting].flatMap(([id, calls]) => (calls > 0 ? { id, calls } : []));
  if (rows.length === 0) return [];
  const claimed = await moveCalls(
    tx,
    { transition: 'CLAIM' },
    {
      where: Prisma.sql`calls.id IN (
        SELECT oldest.id
        FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS share(id uuid, calls int)
        CROSS JOIN LATERAL (
          SELECT id FROM calls WHERE organization_id = share.id AND ${claimable(app.now())}
          ORDER BY NOT ${IS_URGENT}, created_at, id LIMIT share.calls
        ) oldest)`,
    },
  );
  return claimed.map(({ id }) => id);
}

/**
 * Uses the claim right before the request; concurrent uses are batched. Null if the call is no longer claimed, its
 * deadline has passed, its number is on the do-not-call list, its contact has had a FINAL call, Ultravox has asked for
 * a pause, or the claim is so old that another process may release it. Afterwards the outcome is unknown until
 * Ultravox responds.
 */
export function useClaim(app: App, id: string): Promise<MovedCall | null> {
  return claimBatches(app).add(id);
}

const USE_BATCH_SIZE = 50;

const claimBatches = perInstance((app: App) =>
  createBatches<string, MovedCall | null>({
    size: USE_BATCH_SIZE,
    async work(ids) {
      const used = new Map((await useClaims(app, ids)).map((call) => [call.id, call]));
      return ids.map((id) => used.get(id) ?? null);
    },
  }),
);

/** Only the returned calls may be sent. If the response is lost, none is sent, and all are looked up. */
async function useClaims(app: App, ids: readonly string[]): Promise<MovedCall[]> {
  const { config } = app;
  const now = app.now();
  const lookupAfterSeconds =
    config.ULTRAVOX_TIMEOUT_SECONDS + Math.min(MAX_LOOKUP_DELAY_SECONDS, config.CALL_CHECK_SECONDS);
  const used = await moveCalls(
    app.rows,
    {
      transition: 'SEND',
      nextCheckAt: new Date(now.getTime() + lookupAfterSeconds * 1000),
      lostAt: Prisma.sql`${now}::timestamptz + (join_timeout_seconds + max_duration_seconds
        + ${config.CALL_LOST_AFTER_SECONDS}) * interval '1 second'`,
    },
    {
      where: Prisma.sql`id IN (
          SELECT id FROM calls WHERE id = ANY(${[...ids]}::uuid[]) ORDER BY id FOR NO KEY UPDATE)
        AND ${beforeDeadline(now)}
        AND claimed_at > clock_timestamp() - make_interval(secs => ${CLAIM_VALID_SECONDS})
        AND ${HOLD_UNTIL} IS NULL
        AND NOT ${hasFinalCall(Prisma.sql`calls.campaign_contact_id`)}
        AND NOT EXISTS (SELECT 1 FROM do_not_call_entries e
          WHERE e.organization_id = calls.organization_id
            AND e.phone_number = ANY(phone_number_forms(calls.phone_number)))`,
    },
  );
  return used.map((call) => ({ ...call, placeBefore: deadlineByOwnClock(app, call) }));
}

/** Converts the deadline to the clock of this process, if that is behind the database clock. */
function deadlineByOwnClock(app: App, { placeBefore, sentAt }: MovedCall): Date | null {
  if (!placeBefore || !sentAt) return placeBefore;
  const behindMs = Math.max(0, sentAt.getTime() - app.now().getTime());
  return new Date(placeBefore.getTime() - behindMs);
}

/**
 * Whether the request of a used claim may no longer be sent, because the process or the database stalled: the call
 * will soon count as never created, and may be retried.
 */
export function isClaimStale({ config, now }: App, usedAt: Date): boolean {
  const seconds = Math.min(SENT_AFTER_USE_SECONDS, config.ULTRAVOX_TIMEOUT_SECONDS);
  return now().getTime() - usedAt.getTime() > seconds * 1000;
}

/**
 * Time at which a request without a response is abandoned: the end of the calling window, which is `placeBefore` plus
 * the margin. Null: at its timeout.
 */
export function abandonAt({ config }: App, { placeBefore }: MovedCall): Date | null {
  return (
    placeBefore && new Date(placeBefore.getTime() + config.CALLING_WINDOW_MARGIN_SECONDS * 1000)
  );
}

/** Seconds after the use of a claim within which its request has certainly ended. */
export function requestEndsWithin({ config }: App): number {
  return config.ULTRAVOX_TIMEOUT_SECONDS * 2;
}

/**
 * SQL condition on calls: the claim was never used and is too old to be used. The placement implies that the call has
 * not ended; the condition repeats that so that the index on active calls applies.
 */
export const DEAD_CLAIM = Prisma.sql`(placement = 'CLAIMED' AND ended_at IS NULL
  AND claimed_at < statement_timestamp() - make_interval(secs => ${CLAIM_VALID_SECONDS + 1}))`;
