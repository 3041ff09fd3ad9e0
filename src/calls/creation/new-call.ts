/** Code shared by outbound calls and test calls: input checks, the new row, and placement. */
import { checkTemplate } from '../../agents/placeholders.ts';
import { findAgent, readinessProblems } from '../../agents/usable-agent.ts';
import type { App, Tx } from '../../app.ts';
import { type Problem, type UserErrorCode, userError } from '../../errors.ts';
import type { Agent, Call, CallMedium } from '../../generated/prisma/client.ts';
import type { Checks } from '../../infra/checks.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { appendEvents } from '../../live/log.ts';
import type { Viewer } from '../../viewer.ts';
import { MAX_METADATA_ENTRIES, metadataEntries } from '../metadata.ts';
import { hasFullQueue, MAX_WAITING_CALLS } from '../placement/limits.ts';
import { placeWaitingCalls, waitForPlacement } from '../placement/placement.ts';
import { queuedCall } from '../placement/placement-state.ts';
import { type CallSettings, durationLimitsOf } from '../settings.ts';
import { createdEvent } from '../updates/append-events.ts';

/** Input limits. Durations are those that Ultravox allows. */
const LIMITS = {
  variables: { maxEntries: 100, maxValue: 10_000 },
  metadata: { maxEntries: MAX_METADATA_ENTRIES, maxValue: 2_000 },
  greeting: 2_000,
  maxDuration: { min: 1, max: 24 * 3600 },
  joinTimeout: { min: 1, max: 600 },
} as const;

/** Time after which a call that was refused because too many are waiting may be created again. */
const FULL_QUEUE_RETRY_MS = 5_000;

/** Input common to all new calls. */
export interface CallInput {
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

/** Checks the input common to all new calls. */
export function checkCallInput(
  checks: Checks,
  input: CallInput,
): { variables: Record<string, string>; metadata: Record<string, string>; settings: CallSettings } {
  const { settings } = input;
  const given = settings?.greeting ?? undefined;
  const greetingLimits = { min: 1, max: LIMITS.greeting };
  const greeting =
    given === undefined
      ? undefined
      : checkTemplate(checks, given, ['settings', 'greeting'], greetingLimits);
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

/** Returns the agent if it can make calls. Otherwise returns null and adds the reasons to `checks`. */
export async function findReadyAgent(
  app: App,
  viewer: Viewer,
  checks: Checks,
  agentId: string,
): Promise<Agent | null> {
  const agent = await findAgent(app.db, viewer, checks, agentId);
  if (agent) checks.problems.push(...readinessProblems(agent));
  return agent;
}

export interface NewCall {
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

/**
 * Inserts a call to be placed, with its first event. The caller calls `announceEvents` after the commit.
 *
 * @throws UserInputError CAPACITY_EXCEEDED if too many calls of the organization are waiting.
 */
export async function insertCall(app: App, tx: Tx, agent: Agent, made: NewCall): Promise<Call> {
  if (await hasFullQueue(tx, agent.organizationId)) {
    const waiting = formatNumber(MAX_WAITING_CALLS);
    const message = `${waiting} calls of the organization are waiting to be placed, which is the maximum.`;
    throw userError('CAPACITY_EXCEEDED', message, [], {
      retryAt: new Date(app.now().getTime() + FULL_QUEUE_RETRY_MS),
    });
  }
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
      ...durationLimitsOf(agent, made.settings),
      eventCount: 1,
      createdAt: app.now(),
    },
  });
  await appendEvents(tx, call.organizationId, [createdEvent(call)]);
  return call;
}

/**
 * Places a committed call within the request. Errors are only logged: the call exists and the worker continues it,
 * whereas a failed request would be sent again.
 */
export async function placeNow(app: App, call: Call): Promise<Call> {
  try {
    await placeWaitingCalls(app);
    return await waitForPlacement(app, call.id);
  } catch (error) {
    app.log.error({ err: error, call: call.id }, 'Placing a call within its request failed');
    return call;
  }
}

/** Returns Ultravox's rejection of the call as user errors; empty if the call was not rejected. */
export function placementProblems(call: Call): Problem[] {
  if (!call.failureCode) return [];
  return [{ code: call.failureCode as UserErrorCode, message: call.failure ?? '', path: [] }];
}
