/** Browser test calls, and ending calls. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { App } from '../../src/app.ts';
import { hangUpIfUnwanted, type IngestedCall } from '../../src/calls/ultravox/ingest.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  atSimulator,
  type Caller,
  callOf,
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
  run,
  setFaults,
  setSimulator,
  steered,
  typesOf,
  uuidOf,
  waitForCall,
} from './support.ts';

/** Until somebody ends the call: so a slow test still finds it live. */
const LONG = { talkSeconds: 100_000 };

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  server = await startTestServer({ simulator: LONG });
  caller = await newCaller(server);
});
afterAll(() => server.close());
beforeEach(() => resumeCreations(server));

const billed = (id: string) => waitForCall(caller.client, id, 'billed', isBilled);
const ended = (id: string) => waitForCall(caller.client, id, 'ended', isEnded);
const reaching = (id: string, status: string) =>
  waitForCall(caller.client, id, status, (call) => call.status === status);

const CREATION = { method: 'POST', path: '/agents/[^/]+/calls$' };

describe('startTestCall', () => {
  const startTest = (input: object = {}) =>
    run(caller.client, 'startTestCall', { agentId: caller.agentId, ...input });

  it('returns a join URL; the call is joined and ends', async () => {
    const { call: made, joinUrl } = await startTest();
    expect(joinUrl).toMatch(/^ws:/);
    expect(made).toMatchObject({
      direction: 'INBOUND',
      medium: 'WEBRTC',
      phoneNumber: null,
      number: null,
    });
    await reaching(made.id, 'IN_PROGRESS');
    await done(caller.client, 'endCall', { id: made.id });
    const call = await ended(made.id);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
    expect(typesOf(call).slice(0, 4)).toEqual([
      'CREATED',
      'IN_PROGRESS',
      'END_REQUESTED',
      'COMPLETED',
    ]);
    expect((await rowOf(server, made.id)).joinUrl).toBeNull();
  });

  it('returns the join URL in its response only', async () => {
    const { call, joinUrl } = await startTest();
    const asked = await caller.client.send(`{ call(id: "${call.id}") { joinUrl } }`);
    expect(asked.errors?.[0]?.message).toContain('joinUrl');
    const read = JSON.stringify(await callOf(caller.client, call.id));
    expect(read).not.toContain(joinUrl);
    const { ultravoxId } = await rowOf(server, call.id);
    expect(read).not.toContain(ultravoxId);
    await reaching(call.id, 'IN_PROGRESS');
    await done(caller.client, 'endCall', { id: call.id });
    await ended(call.id);
    const webhooks = await server.app.db.$queryRaw<{ text: string }[]>`
      SELECT payload::text AS text FROM ultravox_webhooks WHERE ultravox_call_id = ${ultravoxId}`;
    expect(webhooks.length).toBeGreaterThan(0);
    expect(JSON.stringify(webhooks)).not.toContain('joinUrl');
  });

  it('returns the join URL although a webhook arrived before the response', async () => {
    const { agents } = server.app.ultravox;
    const original = agents.startCall;
    const spy = vi.spyOn(agents, 'startCall').mockImplementationOnce(async (...args) => {
      const answer = await original(...args);
      const { callId } = args[1].metadata as { callId: string };
      await until('the webhook', async () => (await rowOf(server, callId)).ultravoxId);
      return answer;
    });
    try {
      const payload = await startTest();
      expect(payload.userErrors).toEqual([]);
      expect(payload.joinUrl).toMatch(/^ws:/);
      await reaching(payload.call.id, 'IN_PROGRESS');
      await done(caller.client, 'endCall', { id: payload.call.id });
      await ended(payload.call.id);
    } finally {
      spy.mockRestore();
    }
  });

  it('waits a few seconds for Ultravox to have room', async () => {
    await setFaults(server, [
      { kind: 'status', status: 429, retryAfterSeconds: 1, count: 2, ...CREATION },
    ]);
    const { call, joinUrl, userErrors } = await startTest();
    expect(userErrors).toEqual([]);
    expect(joinUrl).toMatch(/^ws:/);
    await reaching(call.id, 'IN_PROGRESS');
    await done(caller.client, 'endCall', { id: call.id });
    await ended(call.id);
  });

  it('fails with `retryAt` when Ultravox is full, and leaves no call waiting', async () => {
    await setSimulator(server, { maxConcurrentCalls: 1 });
    try {
      const live = await dial(caller);
      await reaching(live.id, 'IN_PROGRESS');
      const { call, joinUrl, userErrors } = await startTest({ variables: { mark: 'when full' } });
      expect([call, joinUrl]).toEqual([null, null]);
      expect(userErrors).toMatchObject([{ code: 'CAPACITY_EXCEEDED', path: [] }]);
      expect(Date.parse(userErrors[0].retryAt)).toBeGreaterThan(Date.now() + 1_000);
      const row = await server.app.db.call.findFirstOrThrow({
        where: { variables: { equals: { mark: 'when full' } } },
      });
      expect(row).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', ultravoxId: null });
      await done(caller.client, 'endCall', { id: live.id });
      await ended(live.id);
    } finally {
      await setSimulator(server, { maxConcurrentCalls: null });
    }
  });

  it('runs again with the same idempotency key until it succeeds, and then once', async () => {
    await setSimulator(server, { maxConcurrentCalls: 1 });
    const headers = { 'x-idempotency-key': randomUUID() };
    const input = { agentId: caller.agentId, variables: { mark: 'again' } };
    const start = () => run(caller.client, 'startTestCall', input, headers);
    const live = await dial(caller);
    await reaching(live.id, 'IN_PROGRESS');
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(problemsOf(await start())).toEqual(['CAPACITY_EXCEEDED ']);
    }
    await setSimulator(server, { maxConcurrentCalls: null });
    const started = await until('the test call', async () => {
      const payload = await start();
      if (payload.joinUrl) return payload;
      expect(problemsOf(payload)).toEqual(['CAPACITY_EXCEEDED ']);
    });
    expect((await start()).joinUrl).toBe(started.joinUrl);
    const made = await server.app.db.call.findMany({
      where: { variables: { equals: { mark: 'again' } } },
      orderBy: { createdAt: 'asc' },
    });
    expect(made.pop()!.id).toBe(uuidOf(started.call.id));
    expect(made.length).toBeGreaterThanOrEqual(3);
    expect(made.every(({ status }) => status === 'CANCELLED')).toBe(true);
    for (const { id } of [live, started.call]) {
      await done(caller.client, 'endCall', { id });
      await ended(id);
    }
  });

  it('continues with the same idempotency key after a response that was lost', async () => {
    const headers = { 'x-idempotency-key': randomUUID() };
    const input = { agentId: caller.agentId, variables: { mark: 'lost' } };
    const start = () => run(caller.client, 'startTestCall', input, headers);
    await setFaults(server, [{ kind: 'dropAfter', count: 1, ...CREATION }]);
    const lost = await start();
    expect(problemsOf(lost)).toEqual(['ULTRAVOX_UNAVAILABLE ']);
    expect(lost.userErrors[0].retryAt).not.toBeNull();
    const started = await until('the test call', async () => {
      const payload = await start();
      return payload.joinUrl ? payload : null;
    });
    const where = { variables: { equals: { mark: 'lost' } } };
    expect(await server.app.db.call.findMany({ where })).toMatchObject([
      { id: uuidOf(started.call.id), placement: 'ACCEPTED' },
    ]);
    await done(caller.client, 'endCall', { id: started.call.id });
    await ended(started.call.id);
  });

  it('reports the rejection by Ultravox', async () => {
    await setSimulator(server, { outOfCredit: true });
    const payload = await startTest().finally(() => setSimulator(server, { outOfCredit: false }));
    expect(problemsOf(payload)).toEqual(['PAYMENT_REQUIRED ']);
    expect(payload.userErrors[0].message).toContain('no call time left');
  });

  it('reports all invalid fields at once', async () => {
    const payload = await startTest({ agentId: 'agt_x', variables: { a: [1] } });
    expect(problemsOf(payload)).toEqual(['INVALID_ID agentId', 'INVALID_INPUT variables.a']);
  });
});

describe('a call that Ultravox cancels while it rings', () => {
  const canceled = async (joinTimeoutSeconds: number) => {
    const made = await dial(caller, steered('0003'), { settings: { joinTimeout: '300s' } });
    const where = { id: uuidOf(made.id) };
    const { ultravoxId } = await server.app.db.call.update({ where, data: { joinTimeoutSeconds } });
    await atSimulator(server, 'POST', `/simulator/calls/${ultravoxId}/end`, {});
    return ended(made.id);
  };

  it('is CANCELLED, but unanswered if it has rung for its join timeout', async () => {
    expect(await canceled(300)).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED' });
    expect(await canceled(1)).toMatchObject({ status: 'FAILED', endReason: 'NO_ANSWER' });
  });
});

describe('addToDoNotCall', () => {
  const add = (phoneNumber: string) =>
    runMutation(caller.client, 'addToDoNotCall', { entries: [{ phoneNumber }] }, 'addedCount');

  it('hangs up a ringing call as soon as it is answered', async () => {
    const phoneNumber = steered('0010');
    const made = await dial(caller, phoneNumber, { settings: { joinTimeout: '300s' } });
    expect(made.status).toBe('RINGING');
    await add(phoneNumber);
    const call = await ended(made.id);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
    expect(call.endRequestedAt).not.toBeNull();
    await runMutation(
      caller.client,
      'removeFromDoNotCall',
      { phoneNumbers: [phoneNumber] },
      'removedCount',
    );
  });

  it('hangs up a call that was being sent, and leaves an answered call alone', async () => {
    const talking = await dial(caller);
    await reaching(talking.id, 'IN_PROGRESS');
    await setFaults(server, [
      { kind: 'slow', ms: 2_000, method: 'POST', path: '/agents/[^/]+/calls$' },
    ]);
    const phoneNumber = newPerson();
    const asked = dial(caller, phoneNumber);
    await until('the request', () =>
      server.app.db.call.findFirst({ where: { phoneNumber, placement: 'SENDING' } }),
    );
    await add(phoneNumber);
    await add(talking.phoneNumber);
    const made = await asked;
    await setFaults(server, []);
    expect(await ended(made.id)).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
    expect(await callOf(caller.client, talking.id)).toMatchObject({
      status: 'IN_PROGRESS',
      endRequestedAt: null,
    });
    await done(caller.client, 'endCall', { id: talking.id });
    await ended(talking.id);
  });
});

describe('endCall', () => {
  it('cancels a waiting call at once, and it is never dialed', async () => {
    const narrow = await startTestServer({
      settings: { ULTRAVOX_MAX_CONCURRENT_CALLS: '1' },
      simulator: LONG,
    });
    try {
      const from = await newCaller(narrow);
      const first = await dial(from);
      const second = await dial(from);
      expect(second.status).toBe('CREATED');
      const { call } = await done(from.client, 'endCall', { id: second.id });
      expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED' });
      expect(typesOf(call)).toEqual(['CREATED', 'CANCELLED']);
      // The room it waited for becomes free, and goes to the next.
      const third = await dial(from);
      const live = await waitForCall(from.client, first.id, 'live', (c) => c.answeredAt !== null);
      await done(from.client, 'endCall', { id: live.id });
      await waitForCall(from.client, third.id, 'dialed', (c) => c.ringingAt !== null);
      expect(await dialsOf(narrow, second.id)).toEqual([]);
      expect(await dialsOf(narrow, third.id)).toHaveLength(1);
    } finally {
      await narrow.close();
    }
  });

  it('hangs up a ringing call as soon as it is answered', async () => {
    const made = await dial(caller, steered('0010'), { settings: { joinTimeout: '300s' } });
    const { call } = await done(caller.client, 'endCall', { id: made.id });
    expect(call.status).toBe('RINGING');
    expect(call.endRequestedAt).not.toBeNull();
    expect(typesOf(call)).toEqual(['CREATED', 'RINGING', 'END_REQUESTED']);
    expect(call.events.nodes.at(-1).status).toBe('RINGING');
    expect(await ended(made.id)).toMatchObject({
      status: 'COMPLETED',
      endReason: 'AGENT_HANGUP',
    });
  });

  it('cancels a ringing call that is never answered', async () => {
    const made = await dial(caller, steered('0003'), { settings: { joinTimeout: '300s' } });
    await done(caller.client, 'endCall', { id: made.id });
    const call = await ended(made.id);
    expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', answeredAt: null });
  });

  it('hangs up an answered call, also when repeated', async () => {
    const made = await dial(caller, newPerson());
    await reaching(made.id, 'IN_PROGRESS');
    await Promise.all([1, 2, 3].map(() => done(caller.client, 'endCall', { id: made.id })));
    const call = await billed(made.id);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
    expect(typesOf(call)).toEqual([
      'CREATED',
      'RINGING',
      'IN_PROGRESS',
      'END_REQUESTED',
      'COMPLETED',
      'BILLED',
    ]);
  });

  it('asks Ultravox again when the hang-up was lost', async () => {
    try {
      const made = await dial(caller);
      await reaching(made.id, 'IN_PROGRESS');
      await setFaults(server, [
        { kind: 'status', status: 500, method: 'POST', path: 'send_data_message', count: 1 },
      ]);
      const { call } = await done(caller.client, 'endCall', { id: made.id });
      expect(call.status).toBe('IN_PROGRESS');
      expect(await ended(made.id)).toMatchObject({
        status: 'COMPLETED',
        endReason: 'AGENT_HANGUP',
      });
    } finally {
      await setFaults(server, []);
    }
  });

  it('hangs up soon although a hang-up or a webhook is lost', async () => {
    const patient = await startTestServer({
      settings: { CALL_CHECK_SECONDS: '120' },
      simulator: LONG,
    });
    try {
      const from = await newCaller(patient);
      const live = await dial(from);
      await waitForCall(from.client, live.id, 'live', (call) => call.status === 'IN_PROGRESS');
      const ringing = await dial(from, steered('0010'), { settings: { joinTimeout: '300s' } });
      await setFaults(patient, [
        { kind: 'webhookLost' },
        { kind: 'status', status: 500, method: 'POST', path: 'send_data_message', count: 1 },
      ]);
      for (const { id } of [live, ringing]) await done(from.client, 'endCall', { id });
      for (const { id } of [live, ringing]) {
        const holds = isEnded;
        expect(
          await waitForCall(from.client, id, 'over', { holds, timeoutMs: 40_000 }),
        ).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
      }
    } finally {
      await patient.close();
    }
  });

  it('succeeds when the call has ended and Ultravox is unreachable', async () => {
    const made = await dial(caller);
    await reaching(made.id, 'IN_PROGRESS');
    await setFaults(server, [
      { kind: 'webhookLost' },
      { kind: 'status', status: 500, method: 'GET' },
    ]);
    try {
      const { ultravoxId } = await rowOf(server, made.id);
      await atSimulator(server, 'POST', `/simulator/calls/${ultravoxId}/end`, {});
      const { call } = await done(caller.client, 'endCall', { id: made.id });
      expect(call.id).toBe(made.id);
    } finally {
      await setFaults(server, []);
    }
    expect(await ended(made.id)).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
  });

  it('has no effect on an ended call', async () => {
    const made = await dial(caller, steered('0001'));
    const before = await billed(made.id);
    const { call } = await done(caller.client, 'endCall', { id: made.id });
    expect(call).toEqual(before);
    expect(await callOf(caller.client, made.id)).toEqual(before);
  });

  it('rejects a malformed ID and an ID of another type', async () => {
    const unknown = await run(caller.client, 'endCall', { id: publicId('Call', newId()) });
    expect(problemsOf(unknown)).toEqual(['NOT_FOUND id']);
    const agent = await run(caller.client, 'endCall', { id: caller.agentId });
    expect(problemsOf(agent)).toEqual(['INVALID_ID id']);
  });
});

describe('hangUpIfUnwanted', () => {
  const at = new Date();
  const over = { status: 'FAILED', endReason: 'NO_ANSWER', ringingAt: null, answeredAt: null };
  const ended = { ...over, status: 'COMPLETED', endReason: 'HANGUP' };

  it.each([
    ['hangs up a live call that had ended as never dialed', over, true],
    [
      'ignores a late report of a call whose end was reported',
      { ...ended, ringingAt: at, answeredAt: at },
      false,
    ],
    [
      'ignores a late report of a call that was reported as unanswered',
      { ...over, ringingAt: at },
      false,
    ],
    [
      'ignores a late report of a browser call whose end was reported',
      { ...ended, answeredAt: at },
      false,
    ],
    [
      'leaves alone a live call that had been closed as lost',
      { ...over, endReason: 'UNKNOWN' },
      false,
    ],
  ])('%s', (_, call, isHungUp) => {
    const started: string[] = [];
    const app = { background: (name) => void started.push(name) } as Partial<App> as App;
    const seen = { joined: at.toISOString(), ended: null };
    hangUpIfUnwanted(app, { before: call, after: call, seen } as unknown as IngestedCall);
    expect(started).toEqual(isHungUp ? ['hangUp'] : []);
  });
});
