/** Calls whose agent Ultravox does not have, or refuses. */
import { expect, it } from 'vitest';
import { lockLimits } from '../../../../src/calls/placement/limits.ts';
import { placeWaitingCalls } from '../../../../src/calls/placement/placement.ts';
import { until } from '../../../support/wait.ts';
import {
  atSimulator,
  dial,
  dialsOf,
  isEnded,
  newCaller,
  resumeCreations,
  rowOf,
  setFaults,
  uuidOf,
  waitForCall,
} from '../../support.ts';
import { CREATION, caller, creationsOf, FREE, server } from './server.ts';

export function agentsSuite(): void {
  it('creates a deleted agent at Ultravox again, and the call waits for it', async () => {
    const gone = await newCaller(server);
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 60, count: 1, ...CREATION },
    ]);
    const made = await dial(gone);
    const where = { id: uuidOf(gone.agentId) };
    const { remoteId } = await server.app.db.agent.findUniqueOrThrow({ where });
    await server.app.db.agent.update({ where, data: { remoteId: null, status: 'DRAFT' } });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    const call = await waitForCall(gone.client, made.id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
    const [dialed, ...more] = await dialsOf(server, call.id);
    expect(more).toEqual([]);
    expect(dialed.agentId).not.toBe(remoteId);
  });

  it('creates an agent again that was deleted at Ultravox, and its calls wait', async () => {
    const { remoteId } = await server.app.db.agent.findUniqueOrThrow({
      where: { id: uuidOf(caller.agentId) },
    });
    await atSimulator(server, 'DELETE', `/api/agents/${remoteId}`);
    const made = await dial(caller);
    expect(made.status).toBe('CREATED');
    /** As if the call had been created earlier, and its agent had to be there at this time. */
    const makeOld = (placeNotBefore: Date | null) =>
      server.app.db.call.update({
        where: { id: uuidOf(made.id) },
        data: { createdAt: new Date(Date.now() - 1_800_000), placeNotBefore },
      });
    await makeOld(new Date(Date.now() + 600_000));
    await until('the agent to be created again', async () => {
      const where = { id: uuidOf(caller.agentId), status: 'ACTIVE' as const };
      const agent = await server.app.db.agent.findFirst({ where });
      return agent !== null && agent.remoteId !== remoteId;
    });
    const before = (await creationsOf(server)).length;
    /** As if the agent were still being sent. */
    const raiseRevision = (increment: 1 | -1) =>
      server.app.db.agent.update({
        where: { id: uuidOf(caller.agentId) },
        data: { revision: { increment } },
      });
    await raiseRevision(1);
    const next = await dial(caller);
    expect(next.status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(before);
    // Calls of other agents need not begin slowly.
    const { free } = await server.app.db.$transaction((tx) => lockLimits(server.app, tx));
    expect(free).toBeGreaterThan(1);

    await raiseRevision(-1);
    await makeOld(null);
    await placeWaitingCalls(server.app);
    for (const { id } of [made, next]) {
      const call = await waitForCall(caller.client, id, 'over', isEnded);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
    }
  });

  it.each([
    ['although it was sent again', [], 'was sent to it again'],
    [
      'and refuses it',
      [{ kind: 'status', status: 400, method: 'PATCH', path: '/agents/' }],
      'refused its latest',
    ],
  ])('fails a call when Ultravox does not have the agent, %s', async (_, faults, failure) => {
    const gone = await newCaller(server);
    await setFaults(server, [{ kind: 'status', status: 404, ...CREATION }, ...faults]);
    const made = await dial(gone);
    expect(made.status).toBe('CREATED');
    const call = await waitForCall(gone.client, made.id, 'over', isEnded);
    await setFaults(server, []);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR', ...FREE });
    expect(call.failure).toContain(failure);
    expect(await rowOf(server, made.id)).toMatchObject({ failureCode: 'AGENT_NOT_READY' });
  });

  it('fails a call whose agent Ultravox refuses, instead of letting it wait', async () => {
    const gone = await newCaller(server);
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 60, count: 1, ...CREATION },
    ]);
    const made = await dial(gone);
    await server.app.db.agent.update({
      where: { id: uuidOf(gone.agentId) },
      data: {
        ...{ remoteId: null, status: 'FAILED', syncError: 'The voice is gone.' },
        ...{ revision: 2, refusedRevision: 2 },
      },
    });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    const call = await waitForCall(gone.client, made.id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR', ...FREE });
    expect(call.failure).toContain('The voice is gone.');
    const row = await rowOf(server, made.id);
    expect(row).toMatchObject({ placement: 'WITHDRAWN', failureCode: 'AGENT_NOT_READY' });
    expect(await dialsOf(server, made.id)).toEqual([]);
  });
}
