/** Calls whose creation request has an unknown result: none is dialed twice. */
import { expect, it } from 'vitest';
import { until } from '../../../support/wait.ts';
import {
  atSimulator,
  type CallView,
  dial,
  dialsOf,
  done,
  isBilled,
  isEnded,
  newPerson,
  resumeCreations,
  rowOf,
  setFaults,
  setSimulator,
  typesOf,
  uuidOf,
  waitForCall,
} from '../../support.ts';
import { dialLate } from '../waiting-calls.ts';
import { CREATION, caller, creationsOf, FREE, server, TALKED } from './server.ts';

export function unknownSuite(): void {
  it('adopts a call that Ultravox dials only after the timeout, and dials it once', async () => {
    await setFaults(server, [{ kind: 'timeout', count: 1, ...CREATION }, { kind: 'webhookLost' }]);
    try {
      const made = await dial(caller);
      expect(made.status).toBe('CREATED');
      await dialLate(server, made.id);
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(typesOf(call)).toEqual(TALKED);
      expect(await dialsOf(server, made.id)).toHaveLength(1);
    } finally {
      await setFaults(server, []);
    }
  });

  it('dials once although a gateway answers 503 for a request that it passed on', async () => {
    await setFaults(server, [
      { kind: 'statusAfter', status: 503, retryAfterSeconds: 1, ...CREATION },
      { kind: 'webhookLost' },
      { kind: 'status', status: 500, count: 8, method: 'GET', path: '/api/calls$' },
    ]);
    try {
      const made = await dial(caller);
      expect(made).toMatchObject({ status: 'CREATED', failure: null });
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(typesOf(call)).toEqual(TALKED);
      expect(await dialsOf(server, made.id)).toHaveLength(1);
    } finally {
      await setFaults(server, []);
    }
  });

  it('looks a refused call up until Ultravox answers, and then places it', async () => {
    await setFaults(server, [
      { kind: 'status', status: 503, count: 1, ...CREATION },
      { kind: 'status', status: 500, method: 'GET', path: '/api/calls$' },
    ]);
    const made = await dial(caller);
    const { nextCheckAt } = await rowOf(server, made.id);
    // As if Ultravox had been away for longer than the call could have lasted.
    const lostAt = new Date(Date.now() - 1_000);
    await server.app.db.call.update({ where: { id: uuidOf(made.id) }, data: { lostAt } });
    // Reserved for a look-up first, which then fails.
    let last = nextCheckAt!.getTime();
    for (const times of ['once', 'twice', 'again']) {
      last = await until(`it to be looked up ${times}`, async () => {
        const { nextCheckAt: next } = await rowOf(server, made.id);
        return next && next.getTime() !== last && next.getTime();
      });
    }
    await setFaults(server, []);
    const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
    expect(typesOf(call)).toEqual(TALKED);
    expect(await dialsOf(server, made.id)).toHaveLength(1);
  });

  it('hangs up a second call that Ultravox makes for one', async () => {
    await setSimulator(server, { talkSeconds: 100_000 });
    try {
      const made = await dial(caller);
      await waitForCall(
        caller.client,
        made.id,
        'answered',
        ({ status }) => status === 'IN_PROGRESS',
      );
      const secondId = await dialLate(server, made.id);
      await until('it to be hung up', async () => {
        const { body } = await atSimulator(server, 'GET', `/api/calls/${secondId}`);
        return body.endReason === 'agent_hangup';
      });
      const { status } = await rowOf(server, made.id);
      expect(status).toBe('IN_PROGRESS');
      await done(caller.client, 'endCall', { id: made.id });
    } finally {
      await setSimulator(server, { talkSeconds: 45 });
    }
  });

  it('fails a call with an unknown outcome that Ultravox does not have, and never dials it again', async () => {
    const made: Record<string, CallView> = {};
    for (const [kind, fault] of Object.entries({
      dropBefore: { kind: 'dropBefore' },
      timeout: { kind: 'timeout' },
      500: { kind: 'status', status: 500 },
    })) {
      await resumeCreations(server);
      await setFaults(server, [{ ...fault, count: 1, ...CREATION }]);
      made[kind] = await dial(caller);
      expect(made[kind].status).toBe('CREATED');
    }
    // A process that died while it sent the request, for all that can be known.
    await resumeCreations(server);
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 60, count: 1, ...CREATION },
    ]);
    made.died = await dial(caller);
    const now = new Date();
    await server.app.db.call.update({
      where: { id: uuidOf(made.died.id) },
      data: {
        placement: 'SENDING',
        claimedAt: now,
        sentAt: now,
        nextCheckAt: now,
        lostAt: new Date(now.getTime() + 3_600_000),
      },
    });
    const { length: before } = await creationsOf(server);
    for (const { id } of Object.values(made)) {
      const call = await waitForCall(caller.client, id, 'over', {
        holds: isEnded,
        timeoutMs: 60_000,
      });
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
      expect(call.failure).toContain('Nobody was called');
      expect(call).toMatchObject(FREE);
      expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
      expect(await dialsOf(server, id)).toEqual([]);
    }
    expect(await creationsOf(server)).toHaveLength(before);
  });

  it('hangs up a call that appears at Ultravox after it was failed', async () => {
    await setSimulator(server, { talkSeconds: 100_000, ringSeconds: 20 });
    await setFaults(server, [{ kind: 'dropBefore', count: 1, ...CREATION }]);
    try {
      const made = await dial(caller);
      await server.app.db.call.update({
        where: { id: uuidOf(made.id) },
        data: { sentAt: new Date(Date.now() - 60_000), nextCheckAt: new Date() },
      });
      await waitForCall(caller.client, made.id, 'given up', isEnded);
      await setFaults(server, [{ kind: 'webhookLost' }]);
      const lateId = await dialLate(server, made.id);
      await until('it to be hung up', async () => {
        const { body } = await atSimulator(server, 'GET', `/api/calls/${lateId}`);
        return body.endReason === 'agent_hangup';
      });
      // It is billed all the same; its status and end reason stay.
      const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
      expect(typesOf(call)).toEqual(['CREATED', 'FAILED', 'BILLED']);
    } finally {
      await setFaults(server, []);
      await setSimulator(server, { talkSeconds: 45, ringSeconds: 4 });
    }
  });

  it('ends a call with an unknown outcome that cannot be looked up either', async () => {
    await setFaults(server, [
      { kind: 'timeout', count: 1, ...CREATION },
      { kind: 'status', status: 500, method: 'GET' },
    ]);
    try {
      const made = await dial(caller, newPerson(), {
        settings: { joinTimeout: '1s', maxDuration: '2s' },
      });
      const call = await waitForCall(caller.client, made.id, 'over', {
        holds: isEnded,
        timeoutMs: 60_000,
      });
      expect(call).toMatchObject({ status: 'FAILED', endReason: 'UNKNOWN' });
      expect(call.failure).toContain('could not be reached');
    } finally {
      await setFaults(server, []);
    }
  });
}
