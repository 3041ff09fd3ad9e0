/**
 * Places calls: the only file that makes a phone ring.
 *
 * A call is committed (QUEUED), then claimed in a transaction that enforces Ultravox's creation limits over all
 * processes (CLAIMED). The request is sent after that, outside any transaction (SENDING):
 *
 * - Accepted: the call continues from the response (ACCEPTED).
 * - Certainly not carried out: it waits for another claim (QUEUED), or fails (REFUSED).
 * - Not sent, since the process died before: the claim is released (QUEUED).
 * - Unknown (a timeout, the end of the calling window, a crash): the request is never sent again (UNKNOWN). The
 *   reconciler looks the call up by our ID in its metadata, and adopts it, or fails it if it was never created
 *   (NOT_CREATED).
 * - Refused with 503, which may come from a gateway that had passed the request on: looked up in the same way,
 *   but placed again if it was not created.
 *
 * Owned calls are claimed by their owner and placed here like any other. A released owned call waits for its
 * owner.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { recreateAgent } from '../../agents/sync.ts';
import type { App } from '../../app.ts';
import { isOnDoNotCallList } from '../../contacts/do-not-call.ts';
import type { UserErrorCode } from '../../errors.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { Checks } from '../../infra/checks.ts';
import { runUntil } from '../../infra/deadline.ts';
import { createWakeTimer } from '../../infra/jobs/wake-timer.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { canonicalPhoneNumber } from '../../infra/phone-number.ts';
import { phoneNumberRules } from '../../organizations/service.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { StartAgentCallRequest } from '../../ultravox/wire.ts';
import { notifyClaimsReleased } from '../listeners.ts';
import { lockCall } from '../lock.ts';
import { announceUpdate, endCallLocally } from '../ultravox/apply-update.ts';
import { applyCreationResponse } from '../ultravox/responses.ts';
import {
  abandonedAt,
  claimWaitingCalls,
  DEAD_CLAIM,
  isClaimStale,
  oldestWorthPlacing,
  takeClaim,
} from './claims.ts';
import {
  creationHold,
  holdAfterUnknownSeconds,
  holdCreations,
  recordRefusal,
} from './creation-hold.ts';
import { type CallWithParts, requestFor, withParts } from './creation-request.ts';
import { CALLS_WAIT } from './limits.ts';
import { canMove, type EndTransition, moveCalls } from './placement-state.ts';

const DEFAULT_RETRY_SECONDS = 5;
/** Longest delay until a call with an unknown request is looked up. */
const LOOK_UP_SECONDS = 2;
/** Longest time after a refusal in which a request that was passed on nevertheless becomes a call. */
const REFUSAL_DOUBT_SECONDS = 10;
/** So that the look-up after it is late enough by the clock of the database too. */
const CLOCKS_DIFFER_SECONDS = 0.2;
const LOOK_MS = 100;

const STALE_BATCH = 200;

/** Placements in progress in this process, by call, so that a request can wait for its own. */
const placements = perInstance((_app: App) => new Map<string, Promise<void>>());

/** Wakes for the next call that may be placed. The periodic task is the fallback. */
const wakeTimer = perInstance((app: App) =>
  createWakeTimer({
    wake: () => app.background('placeWaitingCalls', () => placeWaitingCalls(app)),
    signal: app.closing,
    minDelayMs: 20,
  }),
);

/**
 * Claims as many waiting calls as the limits allow, oldest first, and places them in the background.
 * Resolves once they are claimed. Safe in any number of processes.
 */
export async function placeWaitingCalls(app: App): Promise<void> {
  if (app.closing.aborted || !(await anyWaits(app))) return;
  const { ids, retryAt } = await claimWaitingCalls(app);
  placeClaimedCalls(app, ids);
  if (retryAt) wakeTimer(app).wakeAt(retryAt);
}

/** Checked without the lock of the limits. */
async function anyWaits(app: App): Promise<boolean> {
  const [row] = await app.db.$queryRaw<{ waits: boolean }[]>`SELECT ${CALLS_WAIT} AS waits`;
  return row?.waits === true;
}

/**
 * Places claimed calls in the background. The caller has committed the claims.
 *
 * @returns a promise that resolves when all are over, to whether Ultravox accepted all. It never rejects.
 */
export async function placeClaimedCalls(app: App, ids: readonly string[]): Promise<boolean> {
  if (ids.length === 0) return true;
  const mine = placements(app);
  const loaded = app.db.call.findMany({ where: { id: { in: [...ids] } }, include: withParts });
  const calls = loaded.then((rows) => new Map(rows.map((row) => [row.id, row])));
  const accepted = new Set<string>();
  const placings = ids.map((id) => {
    const placing = calls
      .then(async (rows) => {
        const call = rows.get(id);
        if (call && (await placeClaimedCall(app, call))) accepted.add(id);
      })
      .finally(() => mine.delete(id));
    mine.set(id, placing);
    app.background('placeCall', () => placing);
    return placing;
  });
  await Promise.allSettled(placings);
  return accepted.size === ids.length;
}

/**
 * Resolves when the placement of the call is over, in whichever process it runs. Resolves at once if the
 * call is not being placed.
 */
export async function placementOf(app: App, id: string): Promise<void> {
  const ours = placements(app).get(id);
  if (ours) return ours;
  while (!app.closing.aborted && (await isBeingPlaced(app, id))) await pause(LOOK_MS);
}

async function isBeingPlaced(app: App, id: string): Promise<boolean> {
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.claimedAt || call.endedAt) return false;
  // A WebRTC call is complete only with its join URL, which only the response contains.
  const joinable = call.medium !== 'WEBRTC' || call.joinUrl !== null;
  if (call.placement === 'UNKNOWN' || (call.placement === 'ACCEPTED' && joinable)) return false;
  return Date.now() - call.claimedAt.getTime() < app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000;
}

/**
 * Fails calls that have waited until their deadline, or for more than an hour, so that no phone rings hours
 * after the request.
 */
export async function failStaleCalls(app: App): Promise<void> {
  for (let ids = await staleCalls(app); ids.length > 0; ids = await staleCalls(app)) {
    for (const id of ids) {
      await updateCall(app, id, async (tx, call) => {
        if (call.placement !== 'QUEUED') return call;
        const { placeBefore } = call;
        const waited =
          placeBefore && placeBefore <= app.now() ? 'until `placeBefore`' : 'for more than an hour';
        return endCallLocally(app, tx, call, {
          transition: 'WITHDRAW',
          status: 'FAILED',
          endReason: 'SYSTEM_ERROR',
          failure: `The call waited ${waited} for capacity at Ultravox. Nobody was called.`,
        });
      });
    }
    if (ids.length < STALE_BATCH || app.closing.aborted) return;
  }
}

async function staleCalls(app: App): Promise<string[]> {
  const rows = await app.db.call.findMany({
    where: {
      placement: 'QUEUED',
      owner: null,
      OR: [{ createdAt: { lte: oldestWorthPlacing(app) } }, { placeBefore: { lte: app.now() } }],
    },
    select: { id: true },
    take: STALE_BATCH,
  });
  return rows.map(({ id }) => id);
}

/** Returns whether Ultravox accepted the call. */
async function placeClaimedCall(app: App, call: CallWithParts): Promise<boolean> {
  const request = await prepareRequest(app, call);
  const { id, agent } = call;
  if (!request || !agent.remoteId) return false;
  const usedAt = app.now();
  const claim = await takeClaim(app, id);
  if (!claim) {
    if (await isListed(app, call)) await failUnwanted(app, id, ON_DO_NOT_CALL_LIST);
    else await giveUpClaim(app, id);
    return false;
  }
  const { remoteId } = agent;
  try {
    // Checked again, since the statement may have taken long. Nothing slow follows before the request.
    const isLate = claim.placeBefore !== null && claim.placeBefore <= app.now();
    if (isLate || isClaimStale(app, usedAt)) {
      await postpone(app, id);
      return false;
    }
    const seen = await runUntil(app, abandonedAt(app, claim), (signal) =>
      app.ultravox.agents.startCall(remoteId, request, { signal }),
    );
    await applyCreationResponse(app, { id, seen }, { isAwaited: call.owner === null });
    return true;
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    await placementFailed(app, call, error);
    return false;
  }
}

/** Null if the call cannot be sent: it has failed then, or its claim is released. */
async function prepareRequest(
  app: App,
  call: CallWithParts,
): Promise<StartAgentCallRequest | null> {
  const { id, agent } = call;
  const objection = await objectionTo(app, call);
  if (objection) {
    await failUnwanted(app, id, objection);
  } else if (agent.deletedAt && call.owner) {
    await release(app, id);
  } else if (agent.deletedAt) {
    const failure = 'The agent was deleted before the call was dialed.';
    await fail(app, id, { transition: 'WITHDRAW', failure, failureCode: 'AGENT_NOT_READY' });
  } else if (!call.owner && call.number && call.number.outboundAgentId !== agent.id) {
    const failure = `${call.number.phoneNumber} is no longer an outbound number of the agent. Nobody was called.`;
    await fail(app, id, {
      transition: 'WITHDRAW',
      failure,
      failureCode: 'PHONE_NUMBER_NOT_ASSIGNED',
    });
  } else if (!agent.remoteId) {
    await waitForAgent(app, call, 'RELEASE');
  } else {
    try {
      return requestFor(app, call);
    } catch (error) {
      app.log.error({ err: error, call: id }, 'A call could not be prepared');
      const failure = 'The call could not be prepared. Nobody was called.';
      await fail(app, id, { transition: 'WITHDRAW', failure });
    }
  }
  return null;
}

/** Why a number must not be dialed, as the end of its call. */
interface Objection {
  failureCode: UserErrorCode;
  endReason: 'SYSTEM_ERROR' | 'INVALID_NUMBER';
  failure: string;
}

/** End of a call that was not sent because its number is on the do-not-call list. */
export const ON_DO_NOT_CALL_LIST = {
  transition: 'WITHDRAW',
  status: 'FAILED',
  failureCode: 'DO_NOT_CALL',
  endReason: 'SYSTEM_ERROR',
  failure: 'The number was added to the do-not-call list before it was dialed.',
} as const;

/** The only number of a campaign may be among its contacts. */
const IS_CALLER_ID: Objection = {
  failureCode: 'INVALID_INPUT',
  endReason: 'INVALID_NUMBER',
  failure: 'The number is the caller ID itself. Nobody was called.',
};

async function failUnwanted(app: App, id: string, objection: Objection): Promise<void> {
  await updateCall(app, id, (tx, call) =>
    endCallLocally(app, tx, call, { transition: 'WITHDRAW', status: 'FAILED', ...objection }),
  );
}

/**
 * Checks the number again right before it is dialed, because the contact may have been stored under older
 * rules. The statement that uses the claim checks the do-not-call list for all forms of a canonical number.
 * A failing query is thrown, so that nothing is dialed.
 */
async function objectionTo(app: App, call: CallWithParts): Promise<Objection | null> {
  const { phoneNumber } = call;
  if (phoneNumber === null) return null;
  const isCanonical = canonicalPhoneNumber(phoneNumber) === phoneNumber;
  if (!isCanonical && (await isListed(app, call))) return ON_DO_NOT_CALL_LIST;
  if (canonicalPhoneNumber(phoneNumber) === call.ownNumber) return IS_CALLER_ID;
  const checks = new Checks();
  checks.phoneNumber(phoneNumber, ['phoneNumber'], { allowPremium: false });
  const [problem] = checks.problems;
  if (!problem) return null;
  if (problem.code === 'PREMIUM_NUMBER' && (await phoneNumberRules(app, call)).allowPremium) {
    return null;
  }
  const { code: failureCode, message: failure } = problem;
  return { failureCode, endReason: 'INVALID_NUMBER', failure };
}

async function isListed(app: App, { organizationId, phoneNumber }: Call): Promise<boolean> {
  return phoneNumber !== null && (await isOnDoNotCallList(app.db, organizationId, phoneNumber));
}

/** Releases the claim of a call, unless it was used or released meanwhile. */
async function release(app: App, id: string, notBefore: Date | null = null): Promise<void> {
  const where = Prisma.sql`id = ${id}::uuid`;
  await moveCalls(app.db, { transition: 'RELEASE', notBefore }, { where });
}

/** Releases a claim that could not be used. If creations are held back, placement resumes after the hold. */
async function giveUpClaim(app: App, id: string): Promise<void> {
  await release(app, id);
  const hold = await creationHold(app);
  if (hold) wakeTimer(app).wakeAt(hold);
}

/** SQL condition: whether a claim was made by a process that died. */
export function hasDeadClaims(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM calls WHERE ${DEAD_CLAIM})`;
}

/** Releases claims of processes that died before they sent the request. Their calls are placed again. */
export async function releaseDeadClaims(app: App): Promise<void> {
  const released = await moveCalls(
    app.db,
    { transition: 'RELEASE', notBefore: null },
    { where: DEAD_CLAIM },
  );
  if (released.length === 0) return;
  await notifyClaimsReleased(app, new Set(released.flatMap(({ owner }) => owner ?? [])));
  await placeWaitingCalls(app);
}

/** Creates the agent at Ultravox again. The call is not sent, or was not carried out, and waits for it. */
async function waitForAgent(
  app: App,
  call: CallWithParts,
  transition: 'RELEASE' | 'POSTPONE',
): Promise<void> {
  if (isTooLate(app, call)) {
    return fail(app, call.id, {
      transition: transition === 'RELEASE' ? 'WITHDRAW' : 'REFUSE',
      failure: 'The agent does not exist at Ultravox.',
    });
  }
  await recreateAgent(app, call.agent);
  const notBefore = new Date(app.now().getTime() + DEFAULT_RETRY_SECONDS * 1000);
  if (transition === 'RELEASE') await release(app, call.id, notBefore);
  else await postpone(app, call.id, { notBefore });
  wakeTimer(app).wakeAt(new Date(Date.now() + DEFAULT_RETRY_SECONDS * 1000));
}

async function placementFailed(app: App, call: CallWithParts, error: UltravoxError): Promise<void> {
  // Without a phone, a call that was created nevertheless only expires.
  if (error.isRefusal && error.outcomeUnknown && call.medium !== 'WEBRTC') {
    const hold = holdSeconds(error);
    await loseAnswer(app, call, Math.max(hold, doubtSeconds(app)) + CLOCKS_DIFFER_SECONDS, true);
    wakeTimer(app).wakeAt(await holdCreations(app, hold));
    return;
  }
  if (error.outcomeUnknown && !error.isRefusal) {
    app.log.warn(
      { call: call.id, error: error.message },
      'The outcome of a call creation is unknown; the call will be looked up',
    );
    await loseAnswer(app, call, Math.min(LOOK_UP_SECONDS, app.config.CALL_CHECK_SECONDS), false);
    const refused = error.kind === 'capacity' ? holdSeconds(error) : 0;
    const hold = Math.max(refused, await holdAfterUnknownSeconds(app));
    if (hold > 0) wakeTimer(app).wakeAt(await holdCreations(app, hold));
    return;
  }
  if (error.kind === 'not_found') {
    await recordRefusal(app, 0);
    return waitForAgent(app, call, 'POSTPONE');
  }
  const waits =
    error.kind === 'capacity' || (error.kind === 'unreachable' && !isTooLate(app, call));
  if (waits) {
    const resumeAt = await recordRefusal(app, holdSeconds(error));
    await postpone(app, call.id);
    wakeTimer(app).wakeAt(resumeAt);
    return;
  }
  const failureCode = FAILURE_CODES[error.kind];
  await fail(app, call.id, {
    transition: 'REFUSE',
    failure: error.detail,
    ...(failureCode ? { failureCode } : {}),
  });
}

/** Records that only a look-up, in `seconds`, tells what became of the request. */
async function loseAnswer(
  app: App,
  { id }: Call,
  seconds: number,
  isRefused: boolean,
): Promise<void> {
  const nextCheckAt = new Date(app.now().getTime() + seconds * 1000);
  const where = Prisma.sql`id = ${id}::uuid`;
  await moveCalls(app.db, { transition: 'LOSE_ANSWER', nextCheckAt, isRefused }, { where });
}

function doubtSeconds({ config }: App): number {
  return Math.min(REFUSAL_DOUBT_SECONDS, config.CALL_LOST_AFTER_SECONDS);
}

/**
 * Whether a request that was refused may be sent again, since a look-up that began at `at`, by the clock of the
 * database, has not found its call: late enough after the refusal to find one.
 */
export function isRefusalConfirmed(app: App, { refusedAt }: Call, at: Date): boolean {
  return refusedAt !== null && at.getTime() - refusedAt.getTime() >= doubtSeconds(app) * 1000;
}

/** Places a call again whose request was refused, unless that has changed since the call was read. */
export async function placeRefusedCall(app: App, { id, owner, refusedAt }: Call): Promise<void> {
  // The call itself counts against the rates no longer.
  await recordRefusal(app, 0);
  await postpone(app, id, { refusedAt });
  if (owner) await notifyClaimsReleased(app, new Set([owner]));
  else await placeWaitingCalls(app);
}

/** For how long creations are held back after a refusal. */
function holdSeconds({ retryAfterSeconds }: UltravoxError): number {
  return Math.max(1, retryAfterSeconds ?? DEFAULT_RETRY_SECONDS);
}

/** Code of the user error for each kind of rejection. */
const FAILURE_CODES: Partial<Record<UltravoxError['kind'], UserErrorCode>> = {
  billing: 'PAYMENT_REQUIRED',
  unreachable: 'ULTRAVOX_UNAVAILABLE',
  credentials: 'ULTRAVOX_UNAVAILABLE',
};

/**
 * Whether a call has waited too long to be placed once Ultravox is reachable again. The owner of a call
 * decides that itself.
 */
function isTooLate(app: App, call: CallWithParts): boolean {
  if (call.owner) return false;
  return app.now().getTime() - call.createdAt.getTime() > app.config.CALL_LOST_AFTER_SECONDS * 1000;
}

/** End of a call that was not created, and whose end was requested. */
const CANCELLED = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;

/**
 * Requeues a call whose request was certainly not carried out, or ends the call if that was requested. It is
 * not claimed before `notBefore`. With `refusedAt` only if it was refused then.
 */
async function postpone(
  app: App,
  id: string,
  { notBefore = null, refusedAt }: { notBefore?: Date | null; refusedAt?: Date | null } = {},
): Promise<void> {
  await updateCall(app, id, async (tx, call) => {
    if (!canMove(call, 'POSTPONE')) return call;
    if (refusedAt !== undefined && call.refusedAt?.getTime() !== refusedAt?.getTime()) return call;
    if (call.endRequestedAt) {
      return endCallLocally(app, tx, call, { transition: 'REFUSE', ...CANCELLED });
    }
    const where = Prisma.sql`id = ${id}::uuid`;
    await moveCalls(tx, { transition: 'POSTPONE', notBefore }, { where });
    return call;
  });
}

async function fail(
  app: App,
  id: string,
  end: { transition: EndTransition; failure: string; failureCode?: UserErrorCode },
): Promise<void> {
  const { transition, failure, failureCode = 'ULTRAVOX_REFUSED' } = end;
  const failed = { status: 'FAILED', endReason: 'SYSTEM_ERROR', failure, failureCode } as const;
  await updateCall(app, id, (tx, call) =>
    endCallLocally(app, tx, call, {
      transition,
      // Its owner might call again after some failures.
      ...(call.endRequestedAt ? CANCELLED : failed),
    }),
  );
}

async function updateCall(
  app: App,
  id: string,
  change: (
    tx: Parameters<typeof lockCall>[0],
    call: NonNullable<Awaited<ReturnType<typeof lockCall>>>,
  ) => Promise<Call>,
): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    return call ? [call, await change(tx, call)] : [null, null];
  });
  if (after) announceUpdate(app, before, after);
}
