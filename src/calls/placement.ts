/**
 * Places calls: a person's phone rings because of this file and no other.
 *
 * A call is committed first and claimed next, once, in a transaction that also holds all processes
 * together to Ultravox's creation limits. Only then is Ultravox asked, outside any transaction:
 *
 * - It answers: the call goes on from there.
 * - It certainly did nothing (full, unreachable, refused): the claim is given back or the call fails.
 * - Nobody asked (a crash between the claim and the mark set right before the request): the claim is
 *   given back.
 * - Nobody knows (a timeout, a crash): the claim stays, and nobody ever asks again. The reconciler
 *   looks for the call by our id in its metadata, and takes it up or, when it was never made, fails it.
 *
 * The calls of campaigns are claimed by the campaigns' own dispatcher, which asks all its questions
 * again each time, and placed here like any other. One that is given back waits for the dispatcher.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { bringAgentBack } from '../agents/sync.ts';
import { firstSpeakerSettings } from '../agents/template.ts';
import type { App } from '../app.ts';
import { isOnDoNotCallList } from '../contacts/do-not-call.ts';
import type { UserErrorCode } from '../errors.ts';
import type { PhoneNumber, Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { mediumForNumber } from '../phone-numbers/service.ts';
import { UltravoxError } from '../ultravox/error.ts';
import type { CallMedium, StartAgentCallRequest } from '../ultravox/wire.ts';
import { claimWaitingCalls, DEAD_CLAIM, oldestWorthPlacing, takeClaim } from './claims.ts';
import { runCampaignsJob } from './jobs.ts';
import { afterProgress, applyUltravoxCall, endCallLocally, lockCall } from './progress.ts';
import type { CallSettings } from './settings.ts';

const DEFAULT_RETRY_SECONDS = 5;
const LOOK_MS = 100;

/** Placements of this process that are on their way, so that a request can wait for its own. */
const underway = new WeakMap<App, Map<string, Promise<void>>>();
const timers = new WeakMap<App, { at: Date; timer: NodeJS.Timeout }>();

/**
 * Claims as many waiting calls as the limits allow, oldest first, and places them. Comes back once
 * they are claimed; the placing goes on in the background. Any process may do this at any time.
 */
export async function placeWaitingCalls(app: App): Promise<void> {
  if (app.closing.aborted || !(await anyWaits(app))) return;
  const { ids, retryAt } = await claimWaitingCalls(app);
  placeClaimedCalls(app, ids);
  if (retryAt) wakeAt(app, retryAt);
}

/** Asked without the lock that all who claim wait for. */
async function anyWaits(app: App): Promise<boolean> {
  const waiting = await app.db.$queryRaw<unknown[]>`
    SELECT 1 FROM calls WHERE status = 'CREATED' AND placing_at IS NULL AND campaign_id IS NULL
    LIMIT 1`;
  return waiting.length > 0;
}

/**
 * Places calls that the caller has claimed and committed, in the background.
 *
 * @returns a promise of the end of all of them, which is never refused.
 */
export function placeClaimedCalls(app: App, ids: readonly string[]): Promise<unknown> {
  const mine = underway.get(app) ?? new Map<string, Promise<void>>();
  underway.set(app, mine);
  const placings = ids.map((id) => {
    const placing = placeClaimedCall(app, id).finally(() => mine.delete(id));
    mine.set(id, placing);
    app.background('placeCall', () => placing);
    return placing;
  });
  return Promise.allSettled(placings);
}

/**
 * Comes back when the placement of the call, if one is under way, is over. Whoever runs it: another
 * request or process may have claimed the call first.
 */
export async function placementOf(app: App, id: string): Promise<void> {
  const ours = underway.get(app)?.get(id);
  if (ours) return ours;
  while (!app.closing.aborted && (await isBeingPlaced(app, id))) await pause(LOOK_MS);
}

async function isBeingPlaced(app: App, id: string): Promise<boolean> {
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.placingAt || call.endedAt) return false;
  // A browser call is of use only with its address, which comes with the answer alone.
  if (call.medium === 'WEBRTC' ? call.joinUrl : call.ultravoxId) return false;
  return Date.now() - call.placingAt.getTime() < app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000;
}

/**
 * One timer for each process, for the earliest instant asked for: whoever then looks finds the next
 * one. The periodic task is the net below it.
 */
function wakeAt(app: App, at: Date): void {
  const known = timers.get(app);
  if (known && known.at <= at) return;
  clearTimeout(known?.timer);
  const delay = Math.max(20, at.getTime() - Date.now());
  const timer = setTimeout(() => {
    timers.delete(app);
    app.background('placeWaitingCalls', () => placeWaitingCalls(app));
  }, delay);
  timer.unref();
  timers.set(app, { at, timer });
}

/** Ends the calls that have waited for too long: nobody's phone rings hours after it was asked for. */
export async function failStaleCalls(app: App): Promise<void> {
  const stale = await app.db.call.findMany({
    where: {
      status: 'CREATED',
      placingAt: null,
      campaignId: null,
      createdAt: { lte: oldestWorthPlacing(app) },
    },
    select: { id: true },
    take: 200,
  });
  for (const { id } of stale) {
    await progress(app, id, async (tx, call) =>
      call.placingAt
        ? call
        : endCallLocally(app, tx, call, {
            status: 'FAILED',
            endReason: 'SYSTEM_ERROR',
            failure: 'It waited for more than an hour for room at Ultravox. Nobody was called.',
          }),
    );
  }
}

const withParts = { agent: true, number: true } satisfies Prisma.CallInclude;
type CallWithParts = Prisma.CallGetPayload<{ include: typeof withParts }>;

async function placeClaimedCall(app: App, id: string): Promise<void> {
  const call = await app.db.call.findUnique({ where: { id }, include: withParts });
  if (!call) return;
  if (await mustNotBeCalled(app, call)) return failUnwanted(app, id);
  if (call.agent.deletedAt) {
    if (call.campaignId) return notSent(app, id);
    return fail(app, id, 'The agent was deleted before the call was dialled.');
  }
  let request: StartAgentCallRequest;
  try {
    request = requestFor(app, call);
  } catch (error) {
    app.log.error({ err: error, call: id }, 'A call could not be prepared');
    return fail(app, id, 'The call could not be prepared. Nobody was called.');
  }
  const claim = await takeClaim(app, id);
  if (!claim) {
    return (await mustNotBeCalled(app, call)) ? failUnwanted(app, id) : notSent(app, id);
  }
  try {
    if (!call.agent.ultravoxId) return await waitForAgent(app, call);
    // The statement may have taken its time; from here to the request nothing does.
    if (claim.placeBefore && claim.placeBefore <= app.now()) return await giveBack(app, id, null);
    const seen = await app.ultravox.agents.startCall(call.agent.ultravoxId, request);
    await progress(app, id, (tx, locked) => applyUltravoxCall(app, tx, locked, seen));
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    if (error.kind === 'not_found') await waitForAgent(app, call);
    else await placementFailed(app, call, error);
  }
}

function failUnwanted(app: App, id: string): Promise<void> {
  const failure = 'The number was put on the do-not-call list before it was dialled.';
  return fail(app, id, failure, 'DO_NOT_CALL');
}

/** Asked once more, as a call may have waited. When it cannot be asked, nothing is dialled. */
async function mustNotBeCalled(app: App, call: CallWithParts): Promise<boolean> {
  const { organizationId, phoneNumber } = call;
  return phoneNumber !== null && isOnDoNotCallList(app.db, organizationId, phoneNumber);
}

/** The claim of a call that was surely not sent: the call ends if it should, and else waits again. */
async function notSent(app: App, id: string): Promise<void> {
  await progress(app, id, async (tx, call) => {
    // Given back meanwhile, and sent by whoever claimed it then.
    if (call.endedAt || call.ultravoxId || call.sendingAt) return call;
    if (call.endRequestedAt) {
      const end = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;
      return endCallLocally(app, tx, call, end);
    }
    return tx.call.update({
      where: { id },
      data: { placingAt: null, nextCheckAt: null, settleBy: null },
    });
  });
}

/**
 * Gives back the claims of processes that died before they sent anything: those calls are placed
 * like any other that waits, unless somebody has ended them since.
 */
export async function giveBackDeadClaims(app: App): Promise<void> {
  const given = await app.db.$queryRaw<{ campaign_id: string | null }[]>`
    UPDATE calls SET placing_at = NULL, next_check_at = NULL, settle_by = NULL
    WHERE ${DEAD_CLAIM} AND end_requested_at IS NULL
    RETURNING campaign_id`;
  const unwanted = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM calls WHERE ${DEAD_CLAIM} AND end_requested_at IS NOT NULL`;
  for (const { id } of unwanted) await notSent(app, id);
  if (given.length === 0) return;
  if (given.some((call) => call.campaign_id)) await app.jobs.enqueue(app.db, runCampaignsJob, {});
  await placeWaitingCalls(app);
}

/** Ultravox has no such agent, or not yet: it is brought there again, and the call waits for it. */
async function waitForAgent(app: App, call: CallWithParts): Promise<void> {
  if (isTooLate(app, call)) return fail(app, call.id, 'The agent is not at Ultravox.');
  await bringAgentBack(app, call.agent);
  const notBefore = new Date(Date.now() + DEFAULT_RETRY_SECONDS * 1000);
  await giveBack(app, call.id, notBefore);
  wakeAt(app, notBefore);
}

/** Exported for its unit test: what Ultravox is asked for. */
export function requestFor(app: App, call: CallWithParts): StartAgentCallRequest {
  const settings = call.settings as CallSettings;
  return {
    medium: call.number ? mediumOf(app, call, call.number) : { webRtc: {} },
    metadata: {
      callId: publicId('cal', call.id),
      organizationId: publicId('org', call.organizationId),
      ...(call.campaignId ? { campaignId: publicId('cmp', call.campaignId) } : {}),
    },
    templateContext: call.variables as Record<string, string>,
    recordingEnabled: call.recordingEnabled,
    ...(settings.maxDuration ? { maxDuration: settings.maxDuration } : {}),
    ...(settings.joinTimeout ? { joinTimeout: settings.joinTimeout } : {}),
    ...(settings.greeting
      ? {
          firstSpeakerSettings: firstSpeakerSettings({
            ...(call.agent.greetingSettings as Record<string, never> | null),
            text: settings.greeting,
          }),
        }
      : {}),
  };
}

function mediumOf(app: App, call: CallWithParts, number: PhoneNumber): CallMedium {
  if (!call.phoneNumber) throw new Error(`Call ${call.id} has a number but nobody to call`);
  return mediumForNumber(app, number, call.phoneNumber);
}

async function placementFailed(app: App, call: CallWithParts, error: UltravoxError): Promise<void> {
  if (error.outcomeUnknown) {
    app.log.warn(
      { call: call.id, error: error.message },
      'It is not known whether a call was placed',
    );
    const soon = new Date(Date.now() + 2_000);
    await app.db.call.updateMany({
      where: { id: call.id, ultravoxId: null },
      data: { nextCheckAt: soon },
    });
    return;
  }
  const waits =
    error.kind === 'capacity' || (error.kind === 'unreachable' && !isTooLate(app, call));
  if (waits) {
    const seconds = Math.max(1, error.retryAfterSeconds ?? DEFAULT_RETRY_SECONDS);
    const notBefore = new Date(Date.now() + seconds * 1000);
    await giveBack(app, call.id, notBefore);
    wakeAt(app, notBefore);
    return;
  }
  await fail(app, call.id, error.detail, FAILURE_CODES[error.kind] ?? 'ULTRAVOX_REFUSED');
}

/** The user error that goes with what kept Ultravox from placing a call. */
const FAILURE_CODES: Partial<Record<UltravoxError['kind'], UserErrorCode>> = {
  billing: 'PAYMENT_REQUIRED',
  unreachable: 'ULTRAVOX_UNAVAILABLE',
  credentials: 'ULTRAVOX_UNAVAILABLE',
};

/**
 * Whoever asked for a call does not want it much later, when Ultravox happens to be back. A campaign
 * does, and takes the call back when its time is over.
 */
function isTooLate(app: App, call: CallWithParts): boolean {
  if (call.campaignId) return false;
  return app.now().getTime() - call.createdAt.getTime() > app.config.CALL_SETTLE_SECONDS * 1000;
}

/**
 * The claim is undone: Ultravox has surely not dialled. While this call waits for an instant, all
 * others do.
 */
async function giveBack(app: App, id: string, notBefore: Date | null): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    await tx.call.updateMany({
      where: { id, ultravoxId: null, endedAt: null },
      data: {
        placingAt: null,
        sendingAt: null,
        placeNotBefore: notBefore,
        nextCheckAt: null,
        settleBy: null,
      },
    });
    const call = await lockCall(tx, id);
    if (!call?.endRequestedAt || call.placingAt) return [null, null];
    const end = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;
    return [call, await endCallLocally(app, tx, call, end)];
  });
  if (after) afterProgress(app, before, after);
}

async function fail(
  app: App,
  id: string,
  failure: string,
  failureCode: UserErrorCode = 'ULTRAVOX_REFUSED',
): Promise<void> {
  const end = { status: 'FAILED', endReason: 'SYSTEM_ERROR', failure, failureCode } as const;
  await progress(app, id, (tx, call) => endCallLocally(app, tx, call, end));
}

async function progress(
  app: App,
  id: string,
  change: (
    tx: Parameters<typeof lockCall>[0],
    call: NonNullable<Awaited<ReturnType<typeof lockCall>>>,
  ) => ReturnType<typeof applyUltravoxCall>,
): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    return call ? [call, await change(tx, call)] : [null, null];
  });
  if (after) afterProgress(app, before, after);
}
