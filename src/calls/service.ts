/** Creates and ends calls. They are placed in `placement/`. */
import { findAgent, lockAgent, readinessProblems } from '../agents/usable-agent.ts';
import type { App, Tx } from '../app.ts';
import { isOnDoNotCallList } from '../contacts/do-not-call.ts';
import { type Problem, type UserErrorCode, UserInputError, userError } from '../errors.ts';
import type { Agent, Call, CallMedium } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { phoneNumberRules } from '../organizations/service.ts';
import { chooseOutboundNumber } from '../phone-numbers/service.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { appendCallEvents } from './append-events.ts';
import { lockCall } from './lock.ts';
import { metadataEntries } from './metadata.ts';
import { creationHold } from './placement/creation-hold.ts';
import { placementOf, placeWaitingCalls } from './placement/placement.ts';
import { canMove, queuedCall } from './placement/placement-state.ts';
import { testCallOf } from './placement/repeated-test-call.ts';
import { boundsOf, type CallSettings } from './settings.ts';
import { isEnded } from './status.ts';
import {
  announceUpdate,
  applyUltravoxCall,
  createdEvent,
  endCallLocally,
} from './ultravox/apply-update.ts';

export const MAX_METADATA_ENTRIES = 50;

/** Limits of the input; durations as far as Ultravox allows them. */
const LIMITS = {
  variables: { maxEntries: 100, maxValue: 10_000 },
  metadata: { maxEntries: MAX_METADATA_ENTRIES, maxValue: 2_000 },
  greeting: 2_000,
  maxDuration: { min: 1, max: 24 * 3600 },
  joinTimeout: { min: 1, max: 600 },
} as const;

/** Filter for the calls that the viewer may see. */
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
  /** After it the call is not placed any more, and fails. */
  placeBefore?: Date | null | undefined;
}

export interface CallSettingsInput {
  recordingEnabled?: boolean | null | undefined;
  greeting?: string | null | undefined;
  maxDuration?: string | null | undefined;
  joinTimeout?: string | null | undefined;
}

/**
 * Creates an outbound call. The call is committed with its first event, then placed as soon as the limits
 * allow, normally within this request. After a crash the worker places it (not claimed yet) or looks it
 * up (claimed); it never creates a second one.
 */
export async function createCall(app: App, viewer: Viewer, input: CreateCallInput): Promise<Call> {
  const id = newObjectId(viewer);
  const made = await earlierCall(app, viewer, id);
  // It was checked then; meanwhile its deadline may have passed, or its agent be deleted.
  if (made) return placeNow(app, made);

  const checks = new Checks();
  const agent = await findReadyAgent(app, viewer, checks, input.agentId);
  const rules = await phoneNumberRules(app, viewer);
  const phoneNumber = checks.phoneNumber(input.phoneNumber, ['phoneNumber'], rules);
  const fromNumber = checks.phoneNumber(input.fromNumber, ['fromNumber']);
  const common = checkCommon(checks, input);
  const placeBefore = input.placeBefore ? withMargin(app, input.placeBefore) : null;
  if (placeBefore && placeBefore <= app.now()) {
    const seconds = app.config.CALLING_WINDOW_MARGIN_SECONDS;
    const message = `\`placeBefore\` must be more than ${seconds} s ahead.`;
    checks.add('INVALID_INPUT', message, ['placeBefore']);
  }
  if (phoneNumber && phoneNumber === fromNumber) {
    checks.add('INVALID_INPUT', '`phoneNumber` and `fromNumber` are the same.', ['phoneNumber']);
  }
  checks.throwIfAny();
  if (!agent || !phoneNumber) throw new Error('The checks passed without an agent or a number');

  const call = await app.db.$transaction(async (tx) => {
    await lockAgent(tx, viewer, agent.id);
    if (await isOnDoNotCallList(tx, viewer.organizationId, phoneNumber)) {
      throw userError(
        'DO_NOT_CALL',
        'The number is on the do-not-call list. To call it, remove it with `removeFromDoNotCall` first.',
        ['phoneNumber'],
      );
    }
    const number = await chooseOutboundNumber(tx, viewer, agent.id, {
      to: phoneNumber,
      from: fromNumber,
    });
    return insertCall(app, tx, agent, {
      id,
      medium: number.provider,
      phoneNumber,
      ownNumber: number.phoneNumber,
      phoneNumberId: number.id,
      placeBefore,
      ...common,
    });
  });
  announceEvents(app, viewer.organizationId);
  return placeNow(app, call);
}

/** The deadline of the request, so that no phone rings after `instant`: that of a calling window. */
function withMargin({ config }: App, instant: Date): Date {
  return new Date(instant.getTime() - config.CALLING_WINDOW_MARGIN_SECONDS * 1000);
}

/**
 * Places a committed call within the request. An error is only logged: the call exists and the worker
 * continues it, while a failed request would be sent again.
 */
async function placeNow(app: App, call: Call): Promise<Call> {
  try {
    await placeWaitingCalls(app);
    await placementOf(app, call.id);
    return await app.db.call.findUniqueOrThrow({ where: { id: call.id } });
  } catch (error) {
    app.log.error({ err: error, call: call.id }, 'Placing a call within its request failed');
    return call;
  }
}

/** Returns the rejection by Ultravox as user errors; empty if the call was not rejected. */
export function placementProblems(call: Call): Problem[] {
  if (!call.failureCode) return [];
  return [{ code: call.failureCode as UserErrorCode, message: call.failure ?? '', path: [] }];
}

export interface StartTestCallInput {
  agentId: string;
  variables?: Record<string, unknown> | null | undefined;
}

/**
 * Creates a call in a browser. It must start at once: if Ultravox has no capacity, the call is ended and
 * the error says when to retry.
 *
 * @returns the call and its join URL, a secret that works once.
 */
export async function startTestCall(
  app: App,
  viewer: Viewer,
  input: StartTestCallInput,
): Promise<{ call: Call; joinUrl: string }> {
  const checks = new Checks();
  const agent = await findReadyAgent(app, viewer, checks, input.agentId);
  const common = checkCommon(checks, input);
  checks.throwIfAny();
  if (!agent) throw new Error('The checks passed without an agent');

  const { id, earlier } = await testCallOf(app, viewer);
  const made =
    earlier ??
    (await app.db.$transaction(async (tx) => {
      await lockAgent(tx, viewer, agent.id);
      return insertCall(app, tx, agent, { id, medium: 'WEBRTC', ...common });
    }));
  announceEvents(app, viewer.organizationId);
  await placeNow(app, made);
  const call = await endIfNotPlaced(app, id);
  if (call.joinUrl) return { call, joinUrl: call.joinUrl };
  if (call.status === 'CANCELLED') {
    throw userError(
      'CAPACITY_EXCEEDED',
      'Ultravox has no capacity for another call at the moment.',
      [],
      {
        retryAt: (await creationHold(app)) ?? new Date(Date.now() + 5_000),
      },
    );
  }
  const [refused] = placementProblems(call);
  if (refused) throw new UserInputError([refused]);
  throw userError(
    'ULTRAVOX_UNAVAILABLE',
    'Ultravox did not confirm whether the call was created.',
    [],
    {
      retryAt: new Date(Date.now() + 5_000),
      details: { callId: publicId('Call', id) },
    },
  );
}

/** End of a call that was not sent. */
const CANCELLATION = {
  transition: 'WITHDRAW',
  status: 'CANCELLED',
  endReason: 'CANCELLED',
} as const;

/** Ends a test call that could not be placed at once. */
async function endIfNotPlaced(app: App, id: string): Promise<Call> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    if (!call) throw new Error(`Call ${id} does not exist`);
    if (call.placement !== 'QUEUED') return [call, call];
    return [call, await endCallLocally(app, tx, call, CANCELLATION)];
  });
  announceUpdate(app, before, after);
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

async function findReadyAgent(
  app: App,
  viewer: Viewer,
  checks: Checks,
  agentId: string,
): Promise<Agent | null> {
  const agent = await findAgent(app.db, viewer, checks, agentId);
  if (agent) checks.problems.push(...readinessProblems(agent));
  return agent;
}

/** Returns the call that an interrupted run under the same idempotency key created. */
async function earlierCall(app: App, viewer: Viewer, id: string): Promise<Call | null> {
  if (!viewer.idempotency) return null;
  return app.db.call.findFirst({ where: { ...ownedBy(viewer), id } });
}

interface NewCall {
  id: string;
  medium: CallMedium;
  phoneNumber?: string;
  ownNumber?: string;
  placeBefore?: Date | null;
  phoneNumberId?: string;
  variables: Record<string, string>;
  metadata: Record<string, string>;
  settings: CallSettings;
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
      ...queuedCall(made.placeBefore ?? null),
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
 * Ends a call. A call that is not dialed yet is canceled at once. An answered call is hung up at Ultravox
 * and ends when Ultravox reports it. A ringing call cannot be stopped there: it is hung up as soon as it
 * is answered, and is CANCELLED if it never is. Has no effect on an ended call.
 *
 * Order: the request is committed first, then Ultravox is asked. If that fails, the next update of the
 * call or the reconciler asks again.
 */
export async function endCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const call = await findOwnCall(app, viewer, id);
  const after = await requestEnd(app, call.id, CANCELLATION);
  if (after.status === 'IN_PROGRESS') await hangUp(app, after);
  return app.db.call.findUniqueOrThrow({ where: { id: call.id } });
}

/**
 * Commits that the end of a call is wanted. The caller hangs up the returned call if it is IN_PROGRESS.
 *
 * @param withdrawn the end of a call that is not dialed yet.
 */
export async function requestEnd(
  app: App,
  id: string,
  withdrawn: Parameters<typeof endCallLocally>[3],
): Promise<Call> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, id);
    if (!locked) throw new Error(`Call ${id} does not exist`);
    if (isEnded(locked.status)) return [locked, locked];
    if (canMove(locked, 'WITHDRAW')) {
      return [locked, await endCallLocally(app, tx, locked, withdrawn)];
    }
    if (locked.endRequestedAt) return [locked, locked];
    const endRequestedAt = app.now();
    await tx.call.update({ where: { id: locked.id }, data: { endRequestedAt } });
    const requested = [{ type: 'CALL_END_REQUESTED', data: {}, at: endRequestedAt }] as const;
    return [locked, await appendCallEvents(tx, { ...locked, endRequestedAt }, requested)];
  });
  announceUpdate(app, before, after);
  return after;
}

/**
 * Hangs up a live call at Ultravox. A call that is not live any more is looked up instead. If Ultravox
 * cannot be reached, the reconciler asks again.
 */
export async function hangUp(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  try {
    if (await endAtUltravox(app, call.ultravoxId)) {
      await app.db.call.updateMany({
        where: { id: call.id, endedAt: null },
        data: { nextCheckAt: new Date(app.now().getTime() + 5_000) },
      });
    } else await refreshCall(app, call);
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    app.log.warn(
      { call: call.id, error: error.message },
      'Hanging up a call failed; it is retried',
    );
  }
}

/** Ends a call by Ultravox's ID. Returns false if it is not live. */
export async function endAtUltravox(app: App, ultravoxId: string): Promise<boolean> {
  try {
    await app.ultravox.calls.hangUp(ultravoxId);
    return true;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_live') return false;
    throw error;
  }
}

/** Looks a call up at Ultravox and applies its state. */
export async function refreshCall(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  const seen = await app.ultravox.calls.get(call.ultravoxId);
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    if (!locked) throw new Error(`Call ${call.id} does not exist`);
    return [locked, await applyUltravoxCall(app, tx, locked, seen)];
  });
  announceUpdate(app, before, after);
}

async function findOwnCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const checks = new Checks();
  const uuid = checks.id('Call', id, ['id']);
  checks.throwIfAny();
  const call = await app.db.call.findFirst({
    where: { ...ownedBy(viewer), deletedAt: null, id: uuid! },
  });
  if (!call) throw userError('NOT_FOUND', 'Call not found.', ['id']);
  return call;
}
