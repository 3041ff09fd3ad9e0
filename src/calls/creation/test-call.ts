/** Starts calls in a browser, to try an agent. */
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
