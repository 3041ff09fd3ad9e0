/** Calls as users see them: made, ended, deleted. How they are dialled is in `placement.ts`. */
import { isReadyForCalls } from '../agents/service.ts';
import type { App, Tx } from '../app.ts';
import { isOnDoNotCallList } from '../contacts/do-not-call.ts';
import { type Problem, type UserErrorCode, UserInputError, userError } from '../errors.ts';
import type { Agent, Call, CallMedium } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { chooseOutboundNumber } from '../phone-numbers/service.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { placementOf, placeWaitingCalls } from './placement.ts';
import {
  afterProgress,
  applyUltravoxCall,
  createdEvent,
  endCallLocally,
  lockCall,
} from './progress.ts';
import { boundsOf, type CallSettings } from './settings.ts';
import { isEnded } from './status.ts';

/** What one call may be asked for, and no longer than Ultravox lets a call last or ring. */
const LIMITS = {
  variables: { maxEntries: 100, maxValue: 10_000 },
  metadata: { maxEntries: 50, maxValue: 2_000 },
  greeting: 2_000,
  maxDuration: { min: 1, max: 24 * 3600 },
  joinTimeout: { min: 1, max: 600 },
} as const;

/** One call's rows under the rules of visibility: the viewer's own, and not deleted. */
export function visibleCalls(viewer: Viewer) {
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(viewer.onlyCallId ? { id: viewer.onlyCallId } : {}),
    ...(viewer.onlyCampaignId ? { campaignId: viewer.onlyCampaignId } : {}),
  };
}

export interface CreateCallInput {
  agentId: string;
  phoneNumber: string;
  fromNumber?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
  settings?: CallSettingsInput | null | undefined;
  metadata?: Record<string, unknown> | null | undefined;
}

export interface CallSettingsInput {
  recordingEnabled?: boolean | null | undefined;
  greeting?: string | null | undefined;
  maxDuration?: string | null | undefined;
  joinTimeout?: string | null | undefined;
}

/**
 * Calls somebody. The call is committed with its first event before anything is dialled; then it is
 * placed as soon as Ultravox's limits allow, normally within this request. A crash at any point
 * leaves a call that the worker places (not claimed yet) or looks up (claimed): never a second one.
 */
export async function createCall(app: App, viewer: Viewer, input: CreateCallInput): Promise<Call> {
  const checks = new Checks();
  const agentId = checks.id('agt', 'Agent', input.agentId, ['agentId']);
  const phoneNumber = checks.phoneNumber(input.phoneNumber, ['phoneNumber']);
  const fromNumber = checks.phoneNumber(input.fromNumber, ['fromNumber']);
  const common = checkCommon(checks, input);
  const agent = agentId ? await findAgent(app, viewer, agentId, checks) : null;
  if (phoneNumber && phoneNumber === fromNumber) {
    checks.add('INVALID_INPUT', '`phoneNumber` and `fromNumber` are the same.', ['phoneNumber']);
  }
  checks.throwIfAny();
  if (!agent || !phoneNumber) throw new Error('A call passed its checks without agent or number');

  const id = newObjectId(viewer);
  const made = await earlierCall(app, viewer, id);
  const call =
    made ??
    (await app.db.$transaction(async (tx) => {
      await lockAgent(tx, viewer, agent);
      if (await isOnDoNotCallList(tx, viewer.organizationId, phoneNumber)) {
        throw userError(
          'DO_NOT_CALL',
          'This number is on the do-not-call list. To call it nevertheless, take it off with `removeFromDoNotCall` first.',
          ['phoneNumber'],
        );
      }
      const number = await chooseOutboundNumber(tx, viewer, agent.id, fromNumber);
      return insertCall(app, tx, agent, {
        id,
        medium: number.provider,
        phoneNumber,
        ownNumber: number.phoneNumber,
        phoneNumberId: number.id,
        ...common,
      });
    }));
  announceEvents(app, viewer.organizationId);
  return placeNow(app, call);
}

/**
 * Places a committed call within the request. Whatever fails on the way, the call is there, and the
 * worker places it or settles it: saying that the request failed would make people send it again.
 */
async function placeNow(app: App, call: Call): Promise<Call> {
  try {
    await placeWaitingCalls(app);
    await placementOf(app, call.id);
    return await app.db.call.findUniqueOrThrow({ where: { id: call.id } });
  } catch (error) {
    app.log.error({ err: error, call: call.id }, 'A call could not be placed at once');
    return call;
  }
}

/** What Ultravox said when it refused to place a call, as a problem of the mutation. */
export function placementProblems(call: Call): Problem[] {
  if (!call.failureCode) return [];
  return [{ code: call.failureCode as UserErrorCode, message: call.failure ?? '', path: [] }];
}

export interface StartTestCallInput {
  agentId: string;
  variables?: Record<string, unknown> | null | undefined;
}

/**
 * A call in the browser, without a phone. It must start now: when Ultravox cannot, the call is ended
 * and the error says when to try again.
 *
 * @returns the call and the address to join it, a secret that works once.
 */
export async function startTestCall(
  app: App,
  viewer: Viewer,
  input: StartTestCallInput,
): Promise<{ call: Call; joinUrl: string }> {
  const checks = new Checks();
  const agentId = checks.id('agt', 'Agent', input.agentId, ['agentId']);
  const common = checkCommon(checks, input);
  const agent = agentId ? await findAgent(app, viewer, agentId, checks) : null;
  checks.throwIfAny();
  if (!agent) throw new Error('A test call passed its checks without an agent');

  const id = newObjectId(viewer);
  const made =
    (await earlierCall(app, viewer, id)) ??
    (await app.db.$transaction(async (tx) => {
      await lockAgent(tx, viewer, agent);
      return insertCall(app, tx, agent, { id, medium: 'WEBRTC', ...common });
    }));
  announceEvents(app, viewer.organizationId);
  await placeNow(app, made);
  const call = await endIfNotPlaced(app, id);
  if (call.joinUrl) return { call, joinUrl: call.joinUrl };
  if (call.status === 'CANCELLED') {
    throw userError('CAPACITY_EXCEEDED', 'Ultravox takes no more calls at the moment.', [], {
      retryAt: call.placeNotBefore ?? new Date(Date.now() + 5_000),
    });
  }
  const [refused] = placementProblems(call);
  if (refused) throw new UserInputError([refused]);
  throw userError('ULTRAVOX_UNAVAILABLE', 'Ultravox did not say whether the call was made.', [], {
    retryAt: new Date(Date.now() + 5_000),
    details: { callId: publicId('cal', id) },
  });
}

/** A test call that waits for room is of no use to whoever sits in front of it. */
async function endIfNotPlaced(app: App, id: string): Promise<Call> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    if (!call) throw new Error(`Call ${id} is gone`);
    if (isEnded(call.status) || call.placingAt) return [call, call];
    const end = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;
    return [call, await endCallLocally(app, tx, call, end)];
  });
  afterProgress(app, before, after);
  return after;
}

function checkCommon(
  checks: Checks,
  input: Pick<CreateCallInput, 'variables' | 'settings' | 'metadata'>,
): { variables: Record<string, string>; metadata: Record<string, string>; settings: CallSettings } {
  const { settings } = input;
  const greeting = checks.text(settings?.greeting, ['settings', 'greeting'], {
    min: 1,
    max: LIMITS.greeting,
  });
  const maxDuration = checks.duration(
    settings?.maxDuration,
    ['settings', 'maxDuration'],
    LIMITS.maxDuration,
  );
  const joinTimeout = checks.duration(
    settings?.joinTimeout,
    ['settings', 'joinTimeout'],
    LIMITS.joinTimeout,
  );
  return {
    variables: checks.textMap(input.variables, ['variables'], LIMITS.variables) ?? {},
    metadata: checks.textMap(input.metadata, ['metadata'], LIMITS.metadata) ?? {},
    settings: {
      ...(typeof settings?.recordingEnabled === 'boolean'
        ? { recordingEnabled: settings.recordingEnabled }
        : {}),
      ...(greeting ? { greeting } : {}),
      ...(maxDuration ? { maxDuration } : {}),
      ...(joinTimeout ? { joinTimeout } : {}),
    },
  };
}

async function findAgent(
  app: App,
  viewer: Viewer,
  id: string,
  checks: Checks,
): Promise<Agent | null> {
  const agent = await app.db.agent.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
  });
  if (!agent) {
    checks.add('NOT_FOUND', 'There is no such agent.', ['agentId']);
    return null;
  }
  if (!isReadyForCalls(agent)) checks.problems.push(notReady(agent));
  return agent;
}

function notReady(agent: Agent) {
  const why = agent.syncError ? ` Ultravox says: ${agent.syncError}` : '';
  return {
    code: 'AGENT_NOT_READY' as const,
    message: `The agent is ${agent.status}, not ACTIVE, so it cannot take calls yet.${why}`,
    path: ['agentId'],
  };
}

/** Keeps the agent from being deleted until the call is there for its deletion to see. */
async function lockAgent(tx: Tx, viewer: Viewer, agent: Agent): Promise<void> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM agents
    WHERE id = ${agent.id}::uuid AND organization_id = ${viewer.organizationId}::uuid
      AND deleted_at IS NULL FOR SHARE`;
  if (rows.length === 0) throw userError('NOT_FOUND', 'There is no such agent.', ['agentId']);
}

/** What an earlier run under the same idempotency key made before it died. */
async function earlierCall(app: App, viewer: Viewer, id: string): Promise<Call | null> {
  if (!viewer.idempotency) return null;
  return app.db.call.findFirst({ where: { ...ownedBy(viewer), id } });
}

interface NewCall {
  id: string;
  medium: CallMedium;
  phoneNumber?: string;
  ownNumber?: string;
  phoneNumberId?: string;
  variables: Record<string, string>;
  metadata: Record<string, string>;
  settings: CallSettings;
}

/** Metadata in the form in which it is searched: calls that have all of some entries. */
export function metadataEntries(metadata: Record<string, unknown>): string[] {
  return Object.entries(metadata).map((entry) => JSON.stringify(entry));
}

async function insertCall(app: App, tx: Tx, agent: Agent, made: NewCall): Promise<Call> {
  const call = await tx.call.create({
    data: {
      id: made.id,
      organizationId: agent.organizationId,
      agentId: agent.id,
      phoneNumberId: made.phoneNumberId ?? null,
      direction: made.medium === 'WEBRTC' ? 'INBOUND' : 'OUTBOUND',
      medium: made.medium,
      status: 'CREATED',
      phoneNumber: made.phoneNumber ?? null,
      ownNumber: made.ownNumber ?? null,
      variables: made.variables,
      metadata: made.metadata,
      metadataEntries: metadataEntries(made.metadata),
      settings: { ...made.settings },
      recordingEnabled: made.settings.recordingEnabled ?? agent.recordingEnabled,
      ...boundsOf(agent, made.settings),
      eventCount: 1,
      createdAt: app.now(),
    },
  });
  await appendEvents(tx, call.organizationId, [createdEvent(call)]);
  return call;
}

/**
 * Ends a call. One that is not dialled yet is cancelled here and now. A live one is hung up at
 * Ultravox, and ends when Ultravox says so. One that rings cannot be stopped there: it is hung up
 * the moment it is answered, and is CANCELLED if it never is. Ending an ended call changes nothing.
 *
 * Order: our wish is committed first, then Ultravox is asked. If that fails, the next news of the
 * call, or the reconciler, asks again.
 */
export async function endCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const call = await findOwnCall(app, viewer, id);
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    if (!locked) throw new Error(`Call ${call.id} is gone`);
    if (isEnded(locked.status)) return [locked, locked];
    if (!locked.placingAt) {
      const end = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;
      return [locked, await endCallLocally(app, tx, locked, end)];
    }
    const wished = await tx.call.update({
      where: { id: locked.id },
      data: { endRequestedAt: locked.endRequestedAt ?? app.now() },
    });
    return [locked, wished];
  });
  afterProgress(app, before, after);
  if (after.status === 'IN_PROGRESS') await hangUp(app, after);
  return app.db.call.findUniqueOrThrow({ where: { id: call.id } });
}

/**
 * Hangs up a live call at Ultravox. What is not live any more is looked up instead. Failing to reach
 * Ultravox leaves the wish on the row, and the reconciler comes back to it.
 */
export async function hangUp(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  try {
    if (await isHungUp(app, call.ultravoxId)) {
      await app.db.call.updateMany({
        where: { id: call.id, endedAt: null },
        data: { nextCheckAt: new Date(app.now().getTime() + 5_000) },
      });
    } else await refreshCall(app, call);
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    app.log.warn({ call: call.id, error: error.message }, 'A call could not be hung up yet');
  }
}

/** False when there was nothing to hang up: it is not live any more. */
async function isHungUp(app: App, ultravoxId: string): Promise<boolean> {
  try {
    await app.ultravox.calls.hangUp(ultravoxId);
    return true;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_live') return false;
    throw error;
  }
}

/** Reads a call at Ultravox and takes over what it says. */
export async function refreshCall(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  const seen = await app.ultravox.calls.get(call.ultravoxId);
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    if (!locked) throw new Error(`Call ${call.id} is gone`);
    return [locked, await applyUltravoxCall(app, tx, locked, seen)];
  });
  afterProgress(app, before, after);
}

async function findOwnCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const checks = new Checks();
  const uuid = checks.id('cal', 'Call', id, ['id']);
  checks.throwIfAny();
  const call = await app.db.call.findFirst({
    where: { ...ownedBy(viewer), deletedAt: null, id: uuid! },
  });
  if (!call) throw userError('NOT_FOUND', 'There is no such call.', ['id']);
  return call;
}
