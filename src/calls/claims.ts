/**
 * Claims: the right to ask Ultravox for a call, once. A claim is made in a transaction that holds all
 * processes to the limits, taken right before the request, and may be recalled until then.
 */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { holdLimits } from './limits.ts';

/** Much less than a claim is given before anybody looks for what became of it. */
const CLAIM_GOOD_SECONDS = 10;
/** Whoever asked for a call does not want it hours later. */
const MAX_WAIT_SECONDS = 3600;
/** The end of a call that is heard of wakes the placement earlier. */
const ORGANIZATION_FULL_MS = 5_000;

export interface Claims {
  ids: string[];
  /** When a slot may be free for those still waiting; null when none waits. */
  retryAt: Date | null;
}

/**
 * In one transaction: claims the oldest waiting calls that the limits have room for, those of each
 * organization in turn and none beyond what an organization may have.
 */
export async function claimWaitingCalls(app: App): Promise<Claims> {
  return app.db.$transaction(async (tx) => {
    const room = await holdLimits(app, tx);
    if (room.waiting === 0) return { ids: [], retryAt: null };
    if (room.free === 0) return { ids: [], retryAt: room.againAt(0) };
    const claimed = await tx.$queryRaw<{ id: string }[]>`
      UPDATE calls SET ${claimOf(app)}
      WHERE id IN (
        SELECT id FROM (
          SELECT id, organization_id, created_at, row_number() OVER (
            PARTITION BY organization_id ORDER BY created_at, id) AS turn
          FROM calls
          WHERE status = 'CREATED' AND placing_at IS NULL AND end_requested_at IS NULL
            AND campaign_id IS NULL AND created_at > ${oldestWorthPlacing(app)}
        ) ranked
        WHERE turn <= ${app.config.ORGANIZATION_MAX_CONCURRENT_CALLS} - (
          SELECT count(*) FROM calls a WHERE a.placing_at IS NOT NULL AND a.ended_at IS NULL
            AND a.organization_id = ranked.organization_id)
        ORDER BY turn, created_at, id LIMIT ${room.free})
        AND placing_at IS NULL AND status = 'CREATED' AND end_requested_at IS NULL
      RETURNING id`;
    if (claimed.length === room.waiting) return { ids: claimed.map(({ id }) => id), retryAt: null };
    // With room left, what waits does so for its organization.
    const full = claimed.length === 0;
    return {
      ids: claimed.map(({ id }) => id),
      retryAt: full ? new Date(Date.now() + ORGANIZATION_FULL_MS) : room.againAt(claimed.length),
    };
  });
}

/**
 * What claiming sets on a call, to be followed by `placeClaimedCalls` after the commit. Whoever
 * claims holds the limits (`holdLimits`) in the same transaction.
 */
export function claimOf(app: App): Prisma.Sql {
  const now = app.now();
  return Prisma.sql`placing_at = clock_timestamp(), place_not_before = NULL,
    next_check_at = ${new Date(now.getTime() + (app.config.ULTRAVOX_TIMEOUT_SECONDS + 5) * 1000)},
    settle_by = ${now}::timestamptz
      + (join_timeout_seconds + max_duration_seconds + ${app.config.CALL_SETTLE_SECONDS})
        * interval '1 second'`;
}

export function oldestWorthPlacing(app: App): Date {
  return new Date(app.now().getTime() - MAX_WAIT_SECONDS * 1000);
}

/**
 * Right before the request: takes the claim, if it is still good. It is not when somebody has ended
 * the call since, or put its number on the do-not-call list, when its campaign has recalled it or its
 * window has closed, or when this process was held up for so long that others may have given the
 * claim back. Once it is taken, nobody else can know whether the request was sent.
 */
export async function takeClaim(
  app: App,
  id: string,
): Promise<{ placeBefore: Date | null } | null> {
  const [taken] = await app.db.$queryRaw<{ placeBefore: Date | null }[]>`
    UPDATE calls SET sending_at = clock_timestamp() WHERE id = ${id}::uuid
      AND ended_at IS NULL AND end_requested_at IS NULL AND ultravox_id IS NULL
      AND (place_before IS NULL OR place_before > ${app.now()})
      AND sending_at IS NULL
      AND placing_at > clock_timestamp() - make_interval(secs => ${CLAIM_GOOD_SECONDS})
      AND NOT EXISTS (SELECT 1 FROM do_not_call_entries e
        WHERE e.organization_id = calls.organization_id AND e.phone_number = calls.phone_number)
    RETURNING place_before AS "placeBefore"`;
  return taken ?? null;
}

/**
 * Keeps those calls of campaigns that are claimed, and surely not sent yet, from being sent: their
 * claims are given back, and they are decided on anew. The caller holds the campaigns.
 */
export async function recallClaims(tx: Tx, campaignIds: readonly string[]): Promise<void> {
  await tx.$executeRaw`
    UPDATE calls SET place_before = 'epoch' WHERE id IN (
      SELECT id FROM calls WHERE placing_at IS NOT NULL AND ended_at IS NULL
        AND campaign_id = ANY(${[...campaignIds]}::uuid[]) AND sending_at IS NULL
      ORDER BY id FOR NO KEY UPDATE)
    AND sending_at IS NULL`;
}

/** Which claims were never sent and are too old to be. */
export const DEAD_CLAIM = Prisma.sql`
  placing_at < statement_timestamp() - make_interval(secs => ${CLAIM_GOOD_SECONDS + 1})
  AND status = 'CREATED' AND sending_at IS NULL AND ultravox_id IS NULL AND ended_at IS NULL`;
