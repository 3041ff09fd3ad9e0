/** Placement of calls with rejections, lost responses and crashes: no phone rings twice for one call. */
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { creationHold } from '../../../src/calls/placement/creation-hold.ts';
import { lockLimits } from '../../../src/calls/placement/limits.ts';
import { placeWaitingCalls } from '../../../src/calls/placement/placement.ts';
import { publicId } from '../../../src/ids.ts';
import { startSimulator } from '../../../src/simulator/simulator.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  type CallView,
  dial,
  dialsOf,
  done,
  isBilled,
  isEnded,
  newCaller,
  newPerson,
  problemsOf,
  resumeCreations,
  rowOf,
  setFaults,
  setSimulator,
  tryToDial,
  typesOf,
  uuidOf,
  waitForCall,
} from '../support.ts';
import { dialLate } from './waiting-calls.ts';

const FREE = { billingStatus: 'FREE', billedDurationSeconds: 0, cost: { amount: '0' } };
const CREATION = { method: 'POST', path: '/calls$' };
const TALKED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

async function creationsOf(server: TestServer): Promise<{ status: number; at: string }[]> {
  const { body } = await atSimulator(server, 'GET', '/simulator/requests?method=POST');
  return body.results.filter(({ path: at }: { path: string }) => at.endsWith('/calls'));
}

describe('placeWaitingCalls', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer({
      settings: {
        ULTRAVOX_TIMEOUT_SECONDS: '2',
        CALL_CHECK_SECONDS: '0.5',
        SIMULATOR_SPEED: '200',
        LOG_LEVEL: 'silent',
      },
    });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());
  beforeEach(() => resumeCreations(server));

  it.each([
    [429, 2],
    [503, 1],
    [429, null],
  ])('keeps a call waiting after %i with Retry-After %s, then places it', async (status, seconds) => {
    await setFaults(server, [
      { kind: 'status', status, retryAfterSeconds: seconds, count: 1, ...CREATION },
    ]);
    const from = Date.now();
    const made = await dial(caller);
    expect(made).toMatchObject({ status: 'CREATED', endReason: null, failure: null });
    const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
    expect(typesOf(call)).toEqual(TALKED);
    const dials = await dialsOf(server, made.id);
    expect(dials).toHaveLength(1);
    expect(Date.parse(dials[0].at) - from).toBeGreaterThanOrEqual((seconds ?? 1) * 1000 - 50);
  });

  it('loses no call while Ultravox is full again and again', async () => {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, probability: 0.5, ...CREATION },
    ]);
    try {
      const calls = await Promise.all(Array.from({ length: 5 }, () => dial(caller)));
      for (const { id } of calls) {
        const call = await waitForCall(caller.client, id, 'billed', {
          holds: isBilled,
          timeoutMs: 60_000,
        });
        expect(typesOf(call)).toEqual(TALKED);
        expect(await dialsOf(server, id)).toHaveLength(1);
      }
    } finally {
      await setFaults(server, []);
    }
  });

  it('cancels a call whose end was requested while Ultravox is full', async () => {
    await setFaults(server, [
      { kind: 'slow', ms: 500, count: 1, ...CREATION },
      { kind: 'status', status: 429, retryAfterSeconds: 30, count: 1, ...CREATION },
    ]);
    const phoneNumber = newPerson();
    const asked = dial(caller, phoneNumber);
    const row = await until('the call to be claimed', () =>
      server.app.db.call.findFirst({ where: { phoneNumber, placement: { not: 'QUEUED' } } }),
    );
    await done(caller.client, 'endCall', { id: publicId('Call', row.id) });
    const { id } = await asked;
    const call = await waitForCall(caller.client, id, 'over', isEnded);
    expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', failure: null });
    expect(call).toMatchObject(FREE);
    expect(typesOf(call)).toEqual(['CREATED', 'END_REQUESTED', 'CANCELLED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it.each([
    [400, 'ULTRAVOX_REFUSED', 'Simulated fault'],
    [401, 'ULTRAVOX_UNAVAILABLE', 'Simulated fault'],
    [402, 'PAYMENT_REQUIRED', 'Simulated fault'],
  ])('fails a call after %i, with the reason', async (status, code, text) => {
    await setFaults(server, [{ kind: 'status', status, count: 1, ...CREATION }]);
    const payload = await tryToDial(caller);
    const { call } = payload;
    expect(problemsOf(payload)).toEqual([`${code} `]);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
    expect(call.failure).toContain(text);
    expect(call).toMatchObject(FREE);
    expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  describe.each([
    ['and the webhooks arrive', []],
    ['and the webhooks are lost', [{ kind: 'webhookLost' }]],
  ])('with a lost response %s', (_how, more) => {
    it.each([
      'dropAfter',
      'truncate',
    ])('adopts the call, which is dialed once (%s)', async (kind) => {
      await setFaults(server, [{ kind, count: 1, ...CREATION }, ...more]);
      try {
        const made = await dial(caller);
        const call = await waitForCall(caller.client, made.id, 'billed', isBilled);
        expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP', failure: null });
        expect(typesOf(call)).toEqual(TALKED);
        expect(await dialsOf(server, made.id)).toHaveLength(1);
      } finally {
        await setFaults(server, []);
      }
    });
  });

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
    const next = await dial(caller);
    expect(next.status).toBe('CREATED');
    expect(await creationsOf(server)).toHaveLength(before);
    // Calls of other agents need not begin slowly.
    const { free } = await server.app.db.$transaction((tx) => lockLimits(server.app, tx));
    expect(free).toBeGreaterThan(1);

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

  it('waits at least a second when Retry-After is 0', async () => {
    await setFaults(server, [{ kind: 'status', status: 429, retryAfterSeconds: 0, ...CREATION }]);
    const before = server.simulator.requests().length;
    const made = await dial(caller);
    const [first, , third] = await until('three refusals', () => {
      const refused = refusals(server, before);
      return refused.length >= 3 && refused;
    });
    expect(Date.parse(third!.at) - Date.parse(first!.at)).toBeGreaterThan(1_900);
    await setFaults(server, []);
    const call = await waitForCall(caller.client, made.id, 'over', isEnded);
    expect(call.status).toBe('COMPLETED');
  });
});

/** Creations of calls that the simulator has refused since so many requests. */
function refusals(server: TestServer, since: number) {
  return server.simulator
    .requests()
    .slice(since)
    .filter(({ path, status }) => path.endsWith('/calls') && status === 429);
}

describe('placeWaitingCalls while Ultravox is unreachable', () => {
  it('keeps calls waiting, and places them once Ultravox is back', async () => {
    const server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
    const caller = await newCaller(server);
    const { port } = new URL(server.simulator.url);
    await server.simulator.close();
    const made = [await dial(caller), await dial(caller)];
    const ids = made.map(({ id }) => uuidOf(id));
    const calls = { where: { id: { in: ids } } };
    // Also when they have waited for capacity before.
    await server.app.db.call.updateMany({
      ...calls,
      data: { createdAt: new Date(Date.now() - 1_800_000) },
    });
    await resumeCreations(server);
    await placeWaitingCalls(server.app);
    await until('another hold', () => creationHold(server.app));
    const rows = await server.app.db.call.findMany(calls);
    expect(rows.map(({ status }) => status)).toEqual(['CREATED', 'CREATED']);
    await resumeCreations(server);
    const again = await startSimulator({
      port: Number(port),
      databasePath: path.join(server.app.config.DATA_DIR, 'simulator.db'),
      speed: 50,
    });
    try {
      for (const { id } of made) {
        const call = await waitForCall(caller.client, id, 'billed', isBilled);
        expect(typesOf(call)).toEqual(TALKED);
      }
      expect(again.dials()).toHaveLength(made.length);
    } finally {
      await again.close();
      await server.close();
    }
  });
});
