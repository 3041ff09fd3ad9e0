/**
 * Places calls: the only file that makes a phone ring.
 *
 * A call is committed (QUEUED), then claimed in a transaction that enforces Ultravox's creation limits across all
 * processes (CLAIMED). The request is sent after that, outside any transaction (SENDING). Outcomes:
 *
 * - Accepted: the call continues from the response (ACCEPTED).
 * - Certainly not carried out: the call waits for another claim (QUEUED), or fails (REFUSED).
 * - Not sent, because the process died first: the claim is released (QUEUED).
 * - Unknown (a timeout, the end of the calling window, a crash): the request is never sent again (UNKNOWN). The
 *   reconciler looks up the call by our ID in its metadata, and adopts it, or fails it if it was never created
 *   (NOT_CREATED).
 * - Refused with 503, possibly by a gateway that had passed the request on: looked up in the same way, but queued
 *   again if it is not found, and looked up once more right before it is sent again.
 *
 * Owned calls are claimed by their owner and placed here like any other. A released owned call waits for its
 * owner.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { runUntil } from '../../infra/jobs/deadline.ts';
import { oneAtATime } from '../../infra/jobs/one-at-a-time.ts';
import { createWakeTimer } from '../../infra/jobs/wake-timer.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { StartAgentCallRequest } from '../../ultravox/wire.ts';
import { notifyClaimsReleased } from '../listeners.ts';
import { applyCreationResponse } from '../ultravox/responses.ts';
import { abandonAt, claimWaitingCalls, DEAD_CLAIM, isClaimStale, useClaim } from './claims.ts';
import { creationHold, recordRefusal } from './creation-hold.ts';
import { type CallWithParts, requestFor, withParts } from './creation-request.ts';
import { findDialBlockReason, isListed, ON_DO_NOT_CALL_LIST } from './dial-block-reasons.ts';
import {
  adoptDoubtfulCalls,
  type DoubtfulRequest,
  doubtfulRequestsBefore,
} from './doubtful-requests.ts';
import { handleFailedRequest, waitForAgent, waitForLookUp } from './failed-request.ts';
import { HAS_WAITING_CALLS } from './limits.ts';
import { moveCalls } from './placement-state.ts';
import { failBlockedCall, failCall, postponeCall, releaseClaim } from './requeue.ts';

const POLL_MS = 100;

/** Placements in progress in this process, by call ID, so that a request can wait for its own. */
const placements = perInstance((_app: App) => new Map<string, Promise<void>>());

/** Wakes the placement when the next call may be placed. The periodic task is the fallback. */
const wakeTimer = perInstance((app: App) =>
  createWakeTimer({
    wake: () => app.background('placeWaitingCalls', () => placeWaitingCalls(app)),
    signal: app.closing,
    minDelayMs: 20,
  }),
);

/**
 * Claims as many waiting calls as the limits and the shares of organizations allow, and places them in the background.
 * Of those of an organization, test calls are claimed first, then the oldest. Resolves once they are claimed. Safe in
 * any number of processes.
 */
export function placeWaitingCalls(app: App): Promise<void> {
  return claims(app)();
}

/** One run at a time, since each run waits for the lock of the limits on its own connection. */
const claims = perInstance((app: App) => oneAtATime(() => claimAndPlace(app)));

async function claimAndPlace(app: App): Promise<void> {
  if (app.closing.aborted || !(await hasWaitingCalls(app))) return;
  const { ids, retryAt } = await claimWaitingCalls(app);
  placeClaimedCalls(app, ids);
  wakeAt(app, retryAt);
}

/** Checks for waiting calls without the lock of the limits. */
async function hasWaitingCalls(app: App): Promise<boolean> {
  const [row] = await app.db.$queryRaw<{ waits: boolean }[]>`SELECT ${HAS_WAITING_CALLS} AS waits`;
  return row?.waits === true;
}

/**
 * Places claimed calls in the background. The caller has committed the claims.
 *
 * @returns a promise that never rejects; it resolves when all placements are over, to whether Ultravox accepted all.
 */
export async function placeClaimedCalls(app: App, ids: readonly string[]): Promise<boolean> {
  if (ids.length === 0) return true;
  const mine = placements(app);
  const loaded = Promise.all([
    app.db.call.findMany({ where: { id: { in: [...ids] } }, include: withParts }),
    doubtfulRequestsBefore(app, ids),
  ]);
  const accepted = new Set<string>();
  const placings = ids.map((id) => {
    const placing = loaded
      .then(async ([calls, doubtful]) => {
        const call = calls.find((one) => one.id === id);
        if (call && (await placeClaimedCall(app, call, doubtful.get(id) ?? []))) accepted.add(id);
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
 * Waits until the call is not being placed, whichever process places it.
 *
 * @returns the call as it was then: nobody was placing it, unless the placement takes too long.
 */
export async function waitForPlacement(app: App, id: string): Promise<Call> {
  await placements(app).get(id);
  for (;;) {
    const call = await app.db.call.findUniqueOrThrow({ where: { id } });
    if (app.closing.aborted || !isBeingPlaced(app, call)) return call;
    await pause(POLL_MS);
  }
}

function isBeingPlaced({ config }: App, call: Call): boolean {
  const { placement, claimedAt, endedAt, medium, joinUrl } = call;
  if (!claimedAt || endedAt) return false;
  // A WebRTC call is complete only with its join URL, which only the response contains.
  const joinable = medium !== 'WEBRTC' || joinUrl !== null;
  if (placement === 'UNKNOWN' || (placement === 'ACCEPTED' && joinable)) return false;
  return Date.now() - claimedAt.getTime() < config.ULTRAVOX_TIMEOUT_SECONDS * 1000;
}

/**
 * Returns whether Ultravox accepted the call.
 *
 * @param doubtful requests to be looked up before this one is sent.
 */
async function placeClaimedCall(
  app: App,
  call: CallWithParts,
  doubtful: readonly DoubtfulRequest[],
): Promise<boolean> {
  const request = await prepareRequest(app, call);
  const { id, agent } = call;
  if (!request || !agent.remoteId) return false;
  if (doubtful.length > 0 && (await creationHold(app))) {
    await giveUpClaim(app, id);
    return false;
  }
  const found = await adoptDoubtfulCalls(app, doubtful);
  if (!(found instanceof Set)) {
    wakeAt(app, await waitForLookUp(app, call, found));
    return false;
  }
  if (found.has(id)) return true;
  const usedAt = app.now();
  const claim = await useClaim(app, id);
  if (!claim) {
    if (await isListed(app.db, call)) await failBlockedCall(app, id, ON_DO_NOT_CALL_LIST);
    else await giveUpClaim(app, id);
    return false;
  }
  const { remoteId } = agent;
  try {
    // Checked again, since the statement may have been slow. Nothing slow follows before the request.
    const isLate = claim.placeBefore !== null && claim.placeBefore <= app.now();
    if (isLate || isClaimStale(app, usedAt)) {
      await postponeCall(app, id);
      return false;
    }
    const seen = await runUntil(app, abandonAt(app, claim), (signal) =>
      app.ultravox.agents.startCall(remoteId, request, { signal }),
    );
    await applyCreationResponse(app, { id, seen }, { isAwaited: call.owner === null });
    return true;
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    wakeAt(app, await handleFailedRequest(app, call, error));
    return false;
  }
}

/** Null if the call cannot be sent: it has then failed, or its claim was released. */
async function prepareRequest(
  app: App,
  call: CallWithParts,
): Promise<StartAgentCallRequest | null> {
  const { id, agent } = call;
  const blockReason = await findDialBlockReason(app, call);
  if (blockReason) {
    await failBlockedCall(app, id, blockReason);
  } else if (agent.deletedAt && call.owner) {
    await releaseClaim(app, id);
  } else if (agent.deletedAt) {
    const failure = 'The agent was deleted before the call was dialed.';
    await failCall(app, id, { transition: 'WITHDRAW', failure, failureCode: 'AGENT_NOT_READY' });
  } else if (!call.owner && call.number && call.number.outboundAgentId !== agent.id) {
    const failure = `${call.number.phoneNumber} is no longer an outbound number of the agent. Nobody was called.`;
    await failCall(app, id, {
      transition: 'WITHDRAW',
      failure,
      failureCode: 'PHONE_NUMBER_NOT_ASSIGNED',
    });
  } else if (!agent.remoteId) {
    wakeAt(app, await waitForAgent(app, call, 'RELEASE'));
  } else {
    try {
      return requestFor(app, call);
    } catch (error) {
      app.log.error({ err: error, call: id }, 'A call could not be prepared');
      const failure = 'The call could not be prepared. Nobody was called.';
      await failCall(app, id, { transition: 'WITHDRAW', failure });
    }
  }
  return null;
}

/** Releases a claim that could not be used. If creations are held back, placement resumes after the hold. */
async function giveUpClaim(app: App, id: string): Promise<void> {
  await releaseClaim(app, id);
  wakeAt(app, await creationHold(app));
}

/** Schedules the next placement. With null, the end of a call or the periodic task wakes it. */
function wakeAt(app: App, at: Date | null): void {
  if (at) wakeTimer(app).wakeAt(at);
}

/** SQL condition: whether a claim was made by a process that died. */
export function hasDeadClaims(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM calls WHERE ${DEAD_CLAIM})`;
}

/** Releases claims of processes that died before sending the request. Their calls are placed again. */
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

/**
 * Queues a refused call again, unless its refusal has changed since the call was read. It is placed after
 * CALL_REFUSED_AFTER_SECONDS, and looked up once more before.
 */
export async function placeRefusedCall(app: App, { id, owner, refusedAt }: Call): Promise<void> {
  // The call itself no longer counts against the rate limits.
  await recordRefusal(app, 0);
  const waitMs = app.config.CALL_REFUSED_AFTER_SECONDS * 1000;
  const notBefore = refusedAt && new Date(refusedAt.getTime() + waitMs);
  await postponeCall(app, id, { refusedAt, notBefore });
  wakeAt(app, notBefore);
  if (owner) await notifyClaimsReleased(app, new Set([owner]));
  else await placeWaitingCalls(app);
}
