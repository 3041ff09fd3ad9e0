/** Starts calls in a browser, to try an agent. */
import { setTimeout as pause } from 'node:timers/promises';
import { keepAgentFromDeletion } from '../../agents/usable-agent.ts';
import type { App } from '../../app.ts';
import { UserInputError, userError } from '../../errors.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { publicId } from '../../ids.ts';
import { Checks } from '../../infra/checks.ts';
import { announceEvents } from '../../live/log.ts';
import type { Viewer } from '../../viewer.ts';
import { lockCall } from '../lock.ts';
import { creationHold } from '../placement/creation-hold.ts';
import { MAX_TEST_CALL_WAIT_MS } from '../placement/limits.ts';
import { waitForPlacement } from '../placement/placement.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { CANCELLATION } from '../updates/end.ts';
import { endCallLocally } from '../updates/local-end.ts';
import {
  checkCallInput,
  findReadyAgent,
  insertCall,
  placementProblems,
  placeNow,
} from './new-call.ts';
import { testCallOf } from './repeated-test-call.ts';

export interface StartTestCallInput {
  agentId: string;
  variables?: Record<string, unknown> | null | undefined;
}

/** Interval at which a test call that waits for a slot is looked at. */
const POLL_MS = 200;

/**
 * Creates a call in a browser. A person waits for it: if Ultravox has no capacity for it within a few seconds, the call
 * is ended and the error says when to retry.
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
  const common = checkCallInput(checks, input);
  checks.throwIfAny();
  if (!agent) throw new Error('The checks passed without an agent');

  const { id, earlier } = await testCallOf(app, viewer);
  const made =
    earlier ??
    (await app.db.$transaction(async (tx) => {
      await keepAgentFromDeletion(tx, viewer, agent.id);
      return insertCall(app, tx, agent, { id, medium: 'WEBRTC', ...common });
    }));
  announceEvents(app, viewer.organizationId);
  const call = await placeOrEnd(app, made);
  if (call.joinUrl) return { call, joinUrl: call.joinUrl };
  if (call.status === 'CANCELLED') {
    throw userError(
      'CAPACITY_EXCEEDED',
      'Ultravox has no capacity for another call at the moment.',
      [],
      {
        retryAt: (await holdUntil(app)) ?? new Date(Date.now() + 5_000),
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

/**
 * Places a call, at the latest a few seconds after its creation. Ends it if it is still waiting then, or if the limits
 * certainly do not allow it until then. If the database fails meanwhile, the call is looked at again.
 */
async function placeOrEnd(app: App, made: Call): Promise<Call> {
  const until = made.createdAt.getTime() + MAX_TEST_CALL_WAIT_MS;
  let call = await placeNow(app, made);
  while (call.placement === 'QUEUED') {
    if (await mayBePlaced(app, until)) await pause(POLL_MS);
    else call = await endIfQueued(app, made.id);
    // It may have been claimed at any time, and is queued again if Ultravox has no capacity.
    try {
      call = await waitForPlacement(app, made.id);
    } catch (error) {
      app.failures.record('waitForTestCall', error, { callId: made.id });
    }
  }
  return call;
}

async function mayBePlaced(app: App, until: number): Promise<boolean> {
  if (app.closing.aborted || app.now().getTime() >= until) return false;
  const hold = await holdUntil(app);
  return hold === null || hold.getTime() <= until;
}

/** Time until which creations are held back; null if they are not, or if the database fails. */
function holdUntil(app: App): Promise<Date | null> {
  return creationHold(app).catch((error: unknown) => {
    app.failures.record('readCreationHold', error);
    return null;
  });
}

/** Ends a test call unless it has been claimed in the meantime. */
async function endIfQueued(app: App, id: string): Promise<Call> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    if (!call) throw new Error(`Call ${id} does not exist`);
    if (call.placement !== 'QUEUED') return [call, call];
    return [call, await endCallLocally(app, tx, call, CANCELLATION)];
  });
  announceUpdate(app, before, after);
  return after;
}
