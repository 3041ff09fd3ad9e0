/**
 * Looks up at Ultravox what no webhook reported: calls whose creation is uncertain, and missing ends and bills. It
 * guarantees that every call ends.
 */
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { isDataRefused } from '../../infra/database/database-errors.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { lockCall } from '../lock.ts';
import { requestEndsWithin } from '../placement/claims.ts';
import { holdCreations } from '../placement/creation-hold.ts';
import { requestedEnd } from '../placement/dial-block-reasons.ts';
import { isRefusalConfirmed } from '../placement/failed-request.ts';
import { placeRefusedCall, placeWaitingCalls } from '../placement/placement.ts';
import { isEnded } from '../status.ts';
import { announceUpdate, nextCheck } from '../updates/call-update.ts';
import { hangUp } from '../updates/end.ts';
import { closeLostCall, endCallLocally, refusedUntil } from '../updates/local-end.ts';
import { findByOurId } from './find-by-our-id.ts';
import { hangUpIfUnwanted, ingestCall } from './ingest.ts';

const BATCH = 50;
const CONCURRENCY = 10;
/** Time for which a due call is reserved for one process. */
const CLAIM_SECONDS = 60;
/** Maximum delay before repeating a look-up that failed or found nothing. */
const RECHECK_SECONDS = 5;
/** How long to keep looking up a refused call while Ultravox cannot be reached. */
const MAX_REFUSED_MS = 24 * 3_600_000;
/** Extra time that creations are held back while a call with an uncertain creation is looked up again. */
const HOLD_LONGER_SECONDS = 5;

/** SQL condition: whether a call is due to be looked up. */
export function hasDueCallChecks(app: App): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM calls WHERE next_check_at <= ${app.now()})`;
}

/** Looks up all calls that are due, in batches. */
export async function checkCalls(app: App): Promise<void> {
  for (;;) {
    const { due, claim } = await claimDueCalls(app);
    for (let start = 0; start < due.length; start += CONCURRENCY) {
      await Promise.all(
        due.slice(start, start + CONCURRENCY).map((call) => checkOne(app, call, claim)),
      );
    }
    if (due.length < BATCH || app.closing.aborted) return;
  }
}

/** A claim of due calls: until when, and when it was made by the database clock. */
interface LookUpClaim {
  until: Date;
  at: Date;
}

async function claimDueCalls(app: App): Promise<{ due: Call[]; claim: LookUpClaim }> {
  const now = app.now();
  const claimedUntil = new Date(now.getTime() + CLAIM_SECONDS * 1000);
  const rows = await app.db.$queryRaw<{ id: string; at: Date }[]>`
    UPDATE calls SET next_check_at = ${claimedUntil} WHERE id IN (
      SELECT id FROM calls WHERE next_check_at <= ${now}
      ORDER BY next_check_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)
    RETURNING id, statement_timestamp() AS at`;
  const due = await app.db.call.findMany({ where: { id: { in: rows.map(({ id }) => id) } } });
  return { due, claim: { until: claimedUntil, at: rows[0]?.at ?? now } };
}

async function checkOne(app: App, call: Call, claim: LookUpClaim): Promise<void> {
  try {
    const seen = await lookUp(app, call);
    if (seen) await applyLookUp(app, call, seen, claim);
    else await handleNotFound(app, call, claim.at);
  } catch (error) {
    if (error instanceof UltravoxError) await handleUnreachable(app, call, error, claim.at);
    else await handleFailure(app, call, error);
  }
}

/**
 * Handles a result that was not stored. The call is looked up again, unless it is overdue and what Ultravox reports can
 * never be stored: after a deadlock, for example, the next look-up still finds the end of the call.
 */
async function handleFailure(app: App, call: Call, error: unknown): Promise<void> {
  app.failures.record('checkCall', error, { level: 'error', callId: call.id });
  if (!isDataRefused(error) || !isOverdue(app, call, lostAtOf(call))) return;
  await closeAsLost(app, call, 'The end of the call could not be stored.').catch(
    app.failures.recorder('closeLostCall'),
  );
}

function isOverdue({ now }: App, { status }: Call, lostAt: Date | null): boolean {
  return lostAt !== null && lostAt <= now() && !isEnded(status);
}

async function closeAsLost(app: App, call: Call, failure: string): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    return locked ? [locked, await closeLostCall(app, tx, locked, failure)] : [null, null];
  });
  if (after) announceUpdate(app, before, after);
}

/** Looks up a call by its Ultravox ID, or by our ID in the metadata. Null if Ultravox has no such call. */
async function lookUp(app: App, call: Call): Promise<UltravoxCall | null> {
  if (!call.ultravoxId) return findByOurId(app, call.id);
  try {
    return await app.ultravox.calls.get(call.ultravoxId);
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_found') return null;
    throw error;
  }
}

async function applyLookUp(
  app: App,
  call: Call,
  seen: UltravoxCall,
  claim: LookUpClaim,
): Promise<void> {
  const ingested = await app.db.$transaction((tx) =>
    ingestCall(app, tx, { seen, source: 'LOOK_UP' }),
  );
  const after = ingested?.after ?? call;
  if (ingested) {
    announceUpdate(app, ingested.before, after);
    hangUpIfUnwanted(app, ingested);
    // The requested hang-up has not taken effect yet: request it again.
    if (
      after.endRequestedAt &&
      ingested.before?.status === 'IN_PROGRESS' &&
      !isEnded(after.status)
    ) {
      await hangUp(app, after);
    }
  }
  if (isOverdue(app, after, after.lostAt)) {
    await closeOverdueCall(app, after);
    return;
  }
  if (isEnded(after.status) && !isEnded(call.status)) await placeWaitingCalls(app);
  await app.db.call.updateMany({
    where: {
      id: call.id,
      placement: after.placement,
      endedAt: after.endedAt,
      billingStatus: after.billingStatus,
      // Otherwise another look-up was requested after this one began.
      nextCheckAt: after === ingested?.before ? claim.until : after.nextCheckAt,
    },
    data: { nextCheckAt: nextCheck(app, after, app.now()) },
  });
}

/**
 * Closes a call that Ultravox still reports as live after its latest possible end: hangs it up at Ultravox, and frees
 * its slot here.
 */
async function closeOverdueCall(app: App, call: Call): Promise<void> {
  app.log.warn({ call: call.id }, 'A call is live beyond its maximum duration; closing it as lost');
  await hangUp(app, call).catch((error: unknown) => {
    app.failures.record('hangUpOverdueCall', error, { callId: call.id });
  });
  await closeAsLost(app, call, 'Ultravox did not report the end of the call in time.');
  await placeWaitingCalls(app);
}

/**
 * Handles a call that Ultravox does not have. If its Ultravox ID is known, it was removed there. If its creation is
 * uncertain, it may still appear until the time limit; a refused call is queued again once its refusal is confirmed.
 * Time is measured by the database clock, which also set `sentAt`, up to the start of the look-up.
 */
async function handleNotFound(app: App, call: Call, startedAt: Date): Promise<void> {
  const known = call.placement === 'ACCEPTED';
  if (hasEndedInDoubt(call)) {
    const until = refusedUntil(app, call);
    const nextCheckAt = until && until > startedAt ? inMs(app, nextLookupMs(app)) : null;
    await app.db.call.updateMany({ where: isSameRequest(call), data: { nextCheckAt } });
    return;
  }
  if (isRefused(call) && isRefusalConfirmed(app, call, startedAt)) {
    return placeRefusedCall(app, call);
  }
  if (isRefused(call) || (!known && !hasBeenSearchedLongEnough(app, call, startedAt))) {
    const nextCheckAt = inMs(app, nextLookupMs(app));
    await app.db.call.updateMany({ where: isSameRequest(call), data: { nextCheckAt } });
    return;
  }
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    // Queued, sent again or found in the meantime: the look-up is outdated.
    const same =
      locked?.ultravoxId === call.ultravoxId && locked.sentAt?.getTime() === call.sentAt?.getTime();
    if (!locked || !same) return [null, null];
    if (known) {
      const closed = await closeLostCall(app, tx, locked, 'Ultravox no longer knows this call.');
      await tx.call.update({ where: { id: call.id }, data: { nextCheckAt: null } });
      return [locked, closed];
    }
    const end = locked.endRequestedAt ? await requestedEnd(tx, locked) : NEVER_CREATED;
    return [
      locked,
      await endCallLocally(app, tx, locked, { ...end, transition: 'CONFIRM_NOT_CREATED' }),
    ];
  });
  if (!after) return;
  announceUpdate(app, before, after);
  await placeWaitingCalls(app);
}

/**
 * Whether the call was refused, so that it is looked up until Ultravox answers, for at most a day. A refusal does not
 * use up an attempt, however long an outage lasts.
 */
function isRefused({ placement, refusedAt }: Call): boolean {
  return placement === 'UNKNOWN' && refusedAt !== null;
}

/**
 * Whether the call ended here as not created although one of its requests was refused, possibly by a gateway that had
 * passed it on. It is looked up so that a person who is called after all is hung up on, and the call is billed.
 */
function hasEndedInDoubt({ endedAt, placement, refusedAt }: Call): boolean {
  return endedAt !== null && placement !== 'ACCEPTED' && refusedAt !== null;
}

/**
 * Time after which a call without a report is closed as lost and frees its slot. A refused one is not placed again, and
 * no longer looked up if it has ended.
 */
function lostAtOf(call: Call): Date | null {
  if (!isRefused(call) && !hasEndedInDoubt(call)) return call.lostAt;
  return new Date((call.refusedAt?.getTime() ?? 0) + MAX_REFUSED_MS);
}

function hasBeenSearchedLongEnough(app: App, call: Call, at: Date): boolean {
  const sentAt = (call.sentAt ?? call.createdAt).getTime();
  // Not before the request itself has certainly ended.
  const seconds = Math.max(app.config.CALL_LOST_AFTER_SECONDS, requestEndsWithin(app));
  return at.getTime() - sentAt > seconds * 1000;
}

const NEVER_CREATED = {
  status: 'FAILED',
  endReason: 'SYSTEM_ERROR',
  failure:
    'The creation of the call was interrupted, and Ultravox has no such call. Nobody was called.',
} as const;

function inMs({ now }: App, ms: number): Date {
  return new Date(now().getTime() + ms);
}

function nextLookupMs({ config }: App): number {
  return Math.min(RECHECK_SECONDS, config.CALL_CHECK_SECONDS) * 1000;
}

/** Filter that matches the call unless its placement has changed since it was read. */
function isSameRequest({ id, placement, sentAt }: Call) {
  return { id, placement, sentAt };
}

/** Schedules another look-up after a failed one, or closes the call as lost if it is overdue. */
async function handleUnreachable(
  app: App,
  call: Call,
  error: UltravoxError,
  startedAt: Date,
): Promise<void> {
  const now = app.now();
  app.failures.record('lookUpCall', error, {
    message: 'Could not look up a call at Ultravox; will retry',
    callId: call.id,
  });
  const lostAt = lostAtOf(call);
  if (isOverdue(app, call, lostAt)) {
    const failure = 'The end of the call was never reported, and Ultravox could not be reached.';
    await closeAsLost(app, call, failure);
    return;
  }
  if (hasEndedInDoubt(call) && lostAt !== null && lostAt <= now) {
    await app.db.call.updateMany({ where: isSameRequest(call), data: { nextCheckAt: null } });
    return;
  }
  const wait = Math.max(nextLookupMs(app), (error.retryAfterSeconds ?? 0) * 1000);
  const soon = now.getTime() + Math.min(wait, app.config.CALL_CHECK_SECONDS * 1000);
  const fails = error.kind === 'unreachable' || error.kind === 'capacity';
  if (fails && !call.ultravoxId && !hasBeenSearchedLongEnough(app, call, startedAt)) {
    // Another creation would be no more likely to succeed.
    await holdCreations(app, (soon - now.getTime()) / 1000 + HOLD_LONGER_SECONDS);
  }
  const nextCheckAt = new Date(Math.min(soon, lostAt?.getTime() ?? soon));
  await app.db.call.updateMany({
    where: isSameRequest(call),
    data: { nextCheckAt: nextCheckAt > now ? nextCheckAt : new Date(soon) },
  });
}
