/** Handles creation requests that Ultravox did not accept. */
import { ensureAgentIsSent, resendAgent } from '../../agents/sync.ts';
import type { App } from '../../app.ts';
import type { UserErrorCode } from '../../errors.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { isDataRefused } from '../../infra/database/database-errors.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import {
  countRequest,
  holdAfterUnknownSeconds,
  holdCreations,
  recordRefusal,
} from './creation-hold.ts';
import type { CallWithParts } from './creation-request.ts';
import { moveCalls } from './placement-state.ts';
import { failCall, postponeCall, releaseClaim } from './requeue.ts';

const DEFAULT_RETRY_SECONDS = 5;
/** Minimum and maximum delay of a call whose earlier request could not be looked up. */
const LOOK_UP_AGAIN_MS = { min: 5_000, max: 60_000 };
/** Delay of a call if the call of its earlier request was found, but could not be stored. */
const STORE_AGAIN_MS = 30_000;
/** Maximum time that a refused call holds its slot, unless Ultravox has asked for a longer pause. */
const REFUSED_WITH_SLOT_SECONDS = 10;
/** Maximum delay until a call with an unknown outcome is looked up. */
const LOOK_UP_SECONDS = 2;
/** Allowance for clock differences, so that the look-up is late enough by the database clock too. */
const CLOCKS_DIFFER_SECONDS = 0.2;

/**
 * Requeues the call, ends it, or leaves it to the reconciler, depending on the error.
 *
 * @param call as it was read before the request.
 * @returns when this call or other waiting calls can be placed; null if the failure holds none back.
 */
export async function handleFailedRequest(
  app: App,
  call: CallWithParts,
  error: UltravoxError,
): Promise<Date | null> {
  // A WebRTC call rings no phone: if it was created after all, it merely expires.
  if (error.isRefusal && error.outcomeUnknown && call.medium !== 'WEBRTC') {
    return handleDoubtfulRefusal(app, call, error);
  }
  if (error.outcomeUnknown && !error.isRefusal) return handleUnknownOutcome(app, call, error);
  if (error.kind === 'not_found') {
    await countRequest(app);
    return handleMissingAgent(app, call);
  }
  if (error.kind === 'capacity' || error.kind === 'unreachable') {
    const resumeAt = await recordRefusal(app, holdSeconds(error));
    await postponeCall(app, call.id);
    return resumeAt;
  }
  const failureCode = FAILURE_CODES[error.kind];
  await failCall(app, call.id, {
    transition: 'REFUSE',
    failure: error.detail,
    ...(failureCode ? { failureCode } : {}),
  });
  return null;
}

/**
 * Sends the agent to Ultravox again, in case it was deleted there: once for all calls whose requests began before that.
 * The call waits for it, once: it fails if Ultravox still does not have the agent afterwards. Each call remembers that
 * for itself, since the 404 of another call may be about an agent that has been created again since.
 */
async function handleMissingAgent(app: App, call: CallWithParts): Promise<Date | null> {
  const failure = await whyStillMissing(app, call);
  if (failure === null) return waitForAgent(app, call, 'POSTPONE');
  await failCall(app, call.id, { transition: 'REFUSE', failure, failureCode: 'AGENT_NOT_READY' });
  return null;
}

/** Null if the agent was not sent again for this call before the request, or was created again during the request. */
async function whyStillMissing(
  app: App,
  { agent, resentAgentRevision }: CallWithParts,
): Promise<string | null> {
  if (resentAgentRevision === null) return null;
  const isDone = (revision: number | null) => revision !== null && revision >= resentAgentRevision;
  const { syncedRevision, refusedRevision, syncError } = agent;
  if (!isDone(syncedRevision) && !isDone(refusedRevision)) return null;
  const where = { id: agent.id };
  const { remoteId } = await app.db.agent.findUniqueOrThrow({ where, select: { remoteId: true } });
  if (remoteId !== agent.remoteId) return null;
  const missing = 'Ultravox reports that it does not have the agent';
  return isDone(syncedRevision)
    ? `${missing}, although the agent was sent to it again. Nobody was called.`
    : `${missing}, and has refused its latest revision. Nobody was called. Reason: ${syncError ?? 'unknown'}`;
}

/** Handles a refusal by what may be a gateway that had already passed the request on. */
async function handleDoubtfulRefusal(app: App, call: Call, error: UltravoxError): Promise<Date> {
  const hold = holdSeconds(error);
  await recordLostResponse(
    app,
    call,
    Math.max(hold, refusedWithSlotSeconds(app)) + CLOCKS_DIFFER_SECONDS,
    true,
  );
  return holdCreations(app, hold);
}

async function handleUnknownOutcome(
  app: App,
  call: Call,
  error: UltravoxError,
): Promise<Date | null> {
  app.log.warn(
    { call: call.id, error: error.message },
    'The outcome of a call creation is unknown; the call will be looked up',
  );
  await recordLostResponse(
    app,
    call,
    Math.min(LOOK_UP_SECONDS, app.config.CALL_CHECK_SECONDS),
    false,
  );
  const refused = error.kind === 'capacity' ? holdSeconds(error) : 0;
  const hold = Math.max(refused, await holdAfterUnknownSeconds(app));
  return hold > 0 ? holdCreations(app, hold) : null;
}

/**
 * Sends the agent to Ultravox; after the first refusal of the call, even if Ultravox is supposed to have it. The call,
 * which was not sent or not carried out, waits for it, and with it all other waiting calls of the agent. If Ultravox
 * refuses the content of the agent, a call without an owner fails, as new calls do; an owner decides for itself.
 *
 * @returns when to try again; null if the call has failed.
 */
export async function waitForAgent(
  app: App,
  call: CallWithParts,
  transition: 'RELEASE' | 'POSTPONE',
): Promise<Date | null> {
  if (!call.owner && call.agent.status === 'FAILED') {
    await failCall(app, call.id, {
      transition: transition === 'RELEASE' ? 'WITHDRAW' : 'REFUSE',
      failure: `Ultravox refused the agent. Nobody was called. Reason: ${call.agent.syncError ?? 'unknown'}`,
      failureCode: 'AGENT_NOT_READY',
    });
    return null;
  }
  const isFirst = transition === 'POSTPONE' && call.resentAgentRevision === null;
  const resentAgentRevision = isFirst ? await resendAgent(app, call.agent) : null;
  if (!isFirst) await ensureAgentIsSent(app, call.agent);
  const notBefore = new Date(app.now().getTime() + DEFAULT_RETRY_SECONDS * 1000);
  if (transition === 'RELEASE') await releaseClaim(app, call.id, notBefore);
  else await postponeCall(app, call.id, { notBefore, resentAgentRevision });
  return new Date(Date.now() + DEFAULT_RETRY_SECONDS * 1000);
}

/**
 * Releases a call that cannot be sent until it is known what became of an earlier request. Only this call waits: a list
 * of calls that fails does not mean that creations would. A call fails if what Ultravox has can never be stored.
 *
 * @param error null if the look-up is still under way.
 * @returns when to try again; null if the call has failed.
 */
export async function waitForLookUp(
  app: App,
  call: Call,
  error: Error | null,
): Promise<Date | null> {
  if (error) {
    app.failures.record('lookUpCall', error, {
      message: 'A call waits because it is not known what became of an earlier request',
      callId: call.id,
    });
  }
  if (isDataRefused(error)) {
    const failure = 'Ultravox has a call of an earlier request, which could not be stored.';
    await failCall(app, call.id, { transition: 'WITHDRAW', failure });
    return null;
  }
  const ms = error ? lookUpDelayMs(app, call, error) : LOOK_UP_AGAIN_MS.min;
  await releaseClaim(app, call.id, new Date(app.now().getTime() + ms));
  return new Date(Date.now() + ms);
}

/** Delay before the next look-up: the longer, the longer the call has waited. */
function lookUpDelayMs(app: App, { refusedAt, createdAt }: Call, error: Error): number {
  if (!(error instanceof UltravoxError)) return STORE_AGAIN_MS;
  const { min, max } = LOOK_UP_AGAIN_MS;
  const waitedMs = app.now().getTime() - (refusedAt ?? createdAt).getTime();
  const requestedMs = (error.retryAfterSeconds ?? 0) * 1000;
  return Math.min(Math.max(min, waitedMs / 4, requestedMs), max);
}

/** Records that only a look-up, in `seconds`, can tell the outcome of the request. */
async function recordLostResponse(
  app: App,
  { id }: Call,
  seconds: number,
  isRefused: boolean,
): Promise<void> {
  const nextCheckAt = new Date(app.now().getTime() + seconds * 1000);
  const where = Prisma.sql`id = ${id}::uuid`;
  await moveCalls(app.db, { transition: 'LOSE_RESPONSE', nextCheckAt, isRefused }, { where });
}

/**
 * Whether a refused call may give up its slot and wait to be placed again, because a look-up that started at `at`, by
 * the database clock, did not find it: it was late enough after the refusal.
 */
export function isRefusalConfirmed(app: App, { refusedAt }: Call, at: Date): boolean {
  const seconds = refusedWithSlotSeconds(app);
  return refusedAt !== null && at.getTime() - refusedAt.getTime() >= seconds * 1000;
}

function refusedWithSlotSeconds({ config }: App): number {
  return Math.min(config.CALL_REFUSED_AFTER_SECONDS, REFUSED_WITH_SLOT_SECONDS);
}

/** Seconds to hold creations back after a refusal. */
function holdSeconds({ retryAfterSeconds }: UltravoxError): number {
  return Math.max(1, retryAfterSeconds ?? DEFAULT_RETRY_SECONDS);
}

/** Code of the user error for each kind of rejection. */
const FAILURE_CODES: Partial<Record<UltravoxError['kind'], UserErrorCode>> = {
  billing: 'PAYMENT_REQUIRED',
  credentials: 'ULTRAVOX_UNAVAILABLE',
};
