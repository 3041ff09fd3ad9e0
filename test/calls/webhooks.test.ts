/** What Ultravox tells by itself: forged, repeated, reordered, lost; and calls that come in. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { partiesOf } from '../../src/calls/intake.ts';
import { newId } from '../../src/infra/ids.ts';
import { signWebhook } from '../../src/ultravox/signature.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  addNumber,
  atSimulator,
  type Caller,
  type CallView,
  callOf,
  dataOf,
  dial,
  dialsOf,
  done,
  isBilled,
  makeAgent,
  newCaller,
  newPerson,
  rowOf,
  setFaults,
  setSimulator,
  steered,
  typesOf,
  uuidOf,
  waitForCall,
} from './support.ts';

const ANSWERED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

interface PostOptions {
  at?: Date;
  headers?: Record<string, string>;
  body?: string;
  secret?: string;
}

/** Delivers something as Ultravox would. */
async function post(server: TestServer, delivery: object, options: PostOptions = {}) {
  const body = options.body ?? JSON.stringify(delivery);
  const timestamp = (options.at ?? new Date()).toISOString();
  const secret = options.secret ?? server.app.cipher.derive('ultravox-webhook');
  const response = await fetch(`${server.url}/webhooks/ultravox`, {
    method: 'POST',
    headers: options.headers ?? {
      'content-type': 'application/json',
      'x-ultravox-webhook-timestamp': timestamp,
      'x-ultravox-webhook-signature': signWebhook(secret, body, timestamp),
    },
    body,
  });
  return response.status;
}

const storedOf = (server: TestServer, ultravoxId: string) =>
  server.app.db.ultravoxWebhook.findMany({ where: { ultravoxCallId: ultravoxId } });

const worked = (server: TestServer, ultravoxId: string, count: number) =>
  until('the webhooks to be worked on', async () => {
    const stored = await storedOf(server, ultravoxId);
    return stored.filter(({ processedAt }) => processedAt).length === count;
  });

async function agentAtUltravox(server: TestServer, agentId: string): Promise<string> {
  const { ultravoxId } = await server.app.db.agent.findUniqueOrThrow({
    where: { id: uuidOf(agentId) },
  });
  return ultravoxId!;
}

async function callIn(server: TestServer, input: object): Promise<CallView> {
  const { status, body } = await atSimulator(server, 'POST', '/simulator/inbound-calls', input);
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body;
}

/** The call that we made of one at Ultravox. */
const ourCallOf = (server: TestServer, ultravoxId: string) =>
  until(`our call for ${ultravoxId}`, async () => {
    const row = await server.app.db.call.findUnique({ where: { ultravoxId } });
    return row ? `cal_${row.id}` : null;
  });

describe('a delivery', () => {
  /** Ultravox’s own deliveries are lost and nothing is looked up: only what tests deliver counts. */
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer({
      settings: { CALL_CHECK_SECONDS: '3600', LOG_LEVEL: 'silent' },
      simulator: { ringSeconds: 0.1, talkSeconds: 6, jitter: 0, billingDelaySeconds: 0.1 },
    });
    caller = await newCaller(server);
    await setFaults(server, [{ kind: 'webhookLost' }]);
  });
  afterAll(() => server.close());

  /** A call that is over and billed at Ultravox, and only rings here. */
  async function unheard(number = newPerson()) {
    const { id } = await dial(caller, number);
    const { ultravoxId } = await rowOf(server, id);
    const remote = await until('the bill', async () => {
      const { body } = await atSimulator(server, 'GET', `/api/calls/${ultravoxId}`);
      return body.billingStatus !== 'BILLING_STATUS_PENDING' ? body : null;
    });
    const pending = { ...remote, billingStatus: 'BILLING_STATUS_PENDING', billedDuration: null };
    const ended = { event: 'call.ended', call: pending };
    const live = { ...pending, ended: null, endReason: null };
    return {
      id,
      ultravoxId: ultravoxId!,
      started: { event: 'call.started', call: { ...live, joined: null } },
      joined: { event: 'call.joined', call: live },
      ended,
      billed: { event: 'call.billed', call: remote },
    };
  }

  test('that cannot be trusted or read is refused and changes nothing', async () => {
    const { id, ultravoxId, ended } = await unheard();
    const { call } = ended;
    const now = new Date().toISOString();
    const body = JSON.stringify(ended);
    const signature = signWebhook(server.app.cipher.derive('ultravox-webhook'), body, now);
    const cases: [number, PostOptions][] = [
      [401, { secret: 'somebody else’s secret' }],
      [401, { at: new Date(Date.now() - 61_000) }],
      [401, { at: new Date(Date.now() - 3_600_000) }],
      [401, { at: new Date(Date.now() + 60_000) }],
      [401, { headers: {} }],
      [401, { headers: { 'x-ultravox-webhook-timestamp': now } }],
      [401, { headers: { 'x-ultravox-webhook-signature': signature } }],
      // The signature is of another body, or of another time.
      [
        401,
        {
          body: JSON.stringify({ ...ended, call: { ...call, endReason: 'timeout' } }),
          headers: {
            'x-ultravox-webhook-timestamp': now,
            'x-ultravox-webhook-signature': signature,
          },
        },
      ],
      [
        401,
        {
          body,
          headers: {
            'x-ultravox-webhook-timestamp': new Date(Date.now() - 1_000).toISOString(),
            'x-ultravox-webhook-signature': signature,
          },
        },
      ],
      [400, { body: 'not JSON' }],
      [400, { body: '' }],
      [400, { body: '{"event":"call.ended"}' }],
      [400, { body: JSON.stringify({ event: 'call.ended', call: { callId: ultravoxId } }) }],
    ];
    for (const [status, options] of cases) {
      expect([await post(server, ended, options), JSON.stringify(options)]).toEqual([
        status,
        JSON.stringify(options),
      ]);
    }
    expect(await storedOf(server, ultravoxId)).toEqual([]);
    expect((await callOf(caller.client, id)).status).toBe('RINGING');
    // The same, properly signed and fresh enough, is taken.
    expect(await post(server, ended, { at: new Date(Date.now() - 50_000) })).toBe(204);
    await waitForCall(caller.client, id, 'over', ({ status }) => status === 'COMPLETED');
  });

  test('that is repeated, also at the same time, counts once', async () => {
    const call = await unheard();
    for (const delivery of [call.started, call.joined, call.ended, call.billed]) {
      const statuses = await Promise.all(Array.from({ length: 10 }, () => post(server, delivery)));
      expect(new Set(statuses)).toEqual(new Set([204]));
    }
    await waitForCall(caller.client, call.id, 'billed', isBilled);
    for (const delivery of [call.billed, call.joined, call.started]) await post(server, delivery);
    await worked(server, call.ultravoxId, 4);
    const seen = await callOf(caller.client, call.id);
    expect(typesOf(seen)).toEqual(ANSWERED);
    expect(seen.events.nodes.map(({ sequence }: CallView) => sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(seen.billedDurationSeconds).toBe(6);
  });

  test('that comes after a later one takes nothing back', async () => {
    const orders = [
      ['ended', 'joined', 'started', 'billed'],
      ['billed', 'ended', 'joined', 'started'],
      ['joined', 'billed', 'started', 'ended'],
    ] as const;
    for (const order of orders) {
      const call = await unheard();
      for (const [index, name] of order.entries()) {
        expect(await post(server, call[name])).toBe(204);
        await worked(server, call.ultravoxId, index + 1);
      }
      const seen = await callOf(caller.client, call.id);
      expect(seen).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
      expect(seen.billingStatus).toBe('BILLED');
      expect(typesOf(seen)).toEqual(ANSWERED);
      const { joined, ended } = call.billed.call;
      expect([new Date(seen.answeredAt), new Date(seen.endedAt)]).toEqual([
        new Date(joined),
        new Date(ended),
      ]);
    }
  });

  test('all at once in any order ends in the same events', async () => {
    const call = await unheard();
    const all = [call.ended, call.started, call.billed, call.joined];
    await Promise.all(all.map((delivery) => post(server, delivery)));
    await worked(server, call.ultravoxId, 4);
    const seen = await callOf(caller.client, call.id);
    expect(typesOf(seen)).toEqual(ANSWERED);
  });

  test('alone at the end tells the whole story, with why a phone was not answered', async () => {
    const call = await unheard(steered('0001'));
    await post(server, call.billed);
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(seen).toMatchObject({ status: 'FAILED', endReason: 'BUSY', billingStatus: 'FREE' });
    expect(typesOf(seen)).toEqual(['CREATED', 'RINGING', 'FAILED', 'BILLED']);
  });

  test('that was stored by a process that then died is worked on', async () => {
    const call = await unheard();
    const id = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id,
        ultravoxCallId: call.ultravoxId,
        event: 'call.billed',
        payload: call.billed.call,
        receivedAt: new Date(Date.now() - 60_000),
      },
    });
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(typesOf(seen)).toEqual(ANSWERED);
    const stored = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(stored.processedAt).not.toBeNull();
    expect(stored.payload).toEqual({});
  });

  test('that cannot be worked on keeps no other from it', async () => {
    const call = await unheard();
    const broken = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id: broken,
        ultravoxCallId: newId(),
        event: 'call.ended',
        payload: { callId: 7 },
        receivedAt: new Date(Date.now() - 120_000),
      },
    });
    await server.app.db.ultravoxWebhook.create({
      data: {
        id: newId(),
        ultravoxCallId: call.ultravoxId,
        event: 'call.ended',
        payload: call.ended.call,
        receivedAt: new Date(Date.now() - 60_000),
      },
    });
    await waitForCall(caller.client, call.id, 'over', ({ status }) => status === 'COMPLETED');
    await until('the trouble to be noted', async () => {
      const row = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id: broken } });
      return row.error;
    });
  });

  test('for a call that was deleted brings nothing of it back', async () => {
    const call = await unheard();
    await post(server, call.ended);
    await worked(server, call.ultravoxId, 1);
    const settled = await server.app.db.ultravoxWebhook.findFirstOrThrow({
      where: { ultravoxCallId: call.ultravoxId },
    });
    await done(caller.client, 'deleteCalls', { ids: [call.id] });
    // The job that removes it at Ultravox ends with a look at its webhooks.
    await until('its removal', async () => {
      const row = await server.app.db.ultravoxWebhook.findUniqueOrThrow({
        where: { id: settled.id },
      });
      return row.processedAt! > settled.processedAt!;
    });
    await post(server, call.billed);
    await worked(server, call.ultravoxId, 2);
    expect(await storedOf(server, call.ultravoxId)).toMatchObject([
      { payload: {} },
      { payload: {} },
    ]);
    expect(await rowOf(server, call.id)).toMatchObject({
      phoneNumber: null,
      billingStatus: 'PENDING',
      costAmount: null,
    });
    const last = await server.app.db.event.findFirst({
      where: { callId: uuidOf(call.id) },
      orderBy: { sequence: 'desc' },
    });
    expect(last?.type).toBe('CALL_DELETED');
  });

  test('of a refund counts, and one of the bill before it that comes later does not', async () => {
    const call = await unheard();
    const refund = { ...call.billed.call, billingStatus: 'BILLING_STATUS_REFUNDED' };
    await post(server, call.billed);
    await worked(server, call.ultravoxId, 1);
    await post(server, { event: 'call.refunded', call: refund });
    await worked(server, call.ultravoxId, 2);
    await post(server, { event: 'call.late', call: call.billed.call });
    await worked(server, call.ultravoxId, 3);
    const seen = await callOf(caller.client, call.id);
    expect(seen.billingStatus).toBe('REFUNDED');
    expect(seen.cost.amount).toBe('0');
    expect(typesOf(seen)).toEqual([...ANSWERED, 'BILLED']);
  });
});

describe('what Ultravox does', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  test.each([
    ['webhookDuplicate', {}],
    ['webhookReorder', { ms: 1500 }],
    ['webhookDelay', { ms: 150 }],
    ['webhookBadSignature', {}],
    ['webhookStaleTimestamp', {}],
    ['webhookLost', {}],
  ])('with every delivery struck by %s ends and is billed all the same', async (kind, more) => {
    await setFaults(server, [{ kind, ...more }]);
    try {
      const talked = await dial(caller);
      const busy = await dial(caller, steered('0001'));
      const call = await waitForCall(caller.client, talked.id, 'billed', isBilled);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
      expect(typesOf(call)).toEqual(ANSWERED);
      expect(call.cost).not.toBeNull();
      const refused = await waitForCall(caller.client, busy.id, 'billed', isBilled);
      expect(refused).toMatchObject({ status: 'FAILED', endReason: 'BUSY' });
      expect(await dialsOf(server, talked.id)).toHaveLength(1);
    } finally {
      await setFaults(server, []);
    }
  });

  test('with its deliveries reordered at random keeps each log in order', async () => {
    await setFaults(server, [
      { kind: 'webhookReorder', ms: 700, probability: 0.5 },
      { kind: 'webhookDuplicate', probability: 0.5 },
      { kind: 'webhookLost', probability: 0.2 },
    ]);
    try {
      const calls = await Promise.all(Array.from({ length: 12 }, () => dial(caller)));
      for (const { id } of calls) {
        const call = await waitForCall(caller.client, id, 'billed', isBilled);
        expect(typesOf(call)).toEqual(ANSWERED);
      }
    } finally {
      await setFaults(server, []);
    }
  });

  describe('when somebody calls in', () => {
    const twilio = {
      twilio: {
        accountSid: `AC${'0123456789abcdef'.repeat(2)}`,
        authToken: 'a token of twilio',
      },
    };

    test.each([
      ['over Twilio', 'twilio', 'TWILIO', twilio],
      ['over SIP', 'sip', 'SIP', undefined],
    ])('%s, it appears with agent, number and caller', async (_how, medium, expected, provider) => {
      const agentId = await makeAgent(server);
      const number = await addNumber(server.client, agentId, ['INBOUND'], provider);
      const from = newPerson();
      const agent = await agentAtUltravox(server, agentId);
      const remote = await until('the carrier to be let in', () =>
        callIn(server, { agentId: agent, from, to: number.phoneNumber, medium }),
      );
      const id = await ourCallOf(server, remote.callId);
      const call = await waitForCall(server.client, id, 'billed', isBilled);
      expect(call).toMatchObject({
        direction: 'INBOUND',
        medium: expected,
        status: 'COMPLETED',
        phoneNumber: from,
        fromNumber: from,
        toNumber: number.phoneNumber,
        agent: { id: agentId },
        number: { id: number.id },
      });
      expect(typesOf(call)).toEqual(ANSWERED);
      expect(new Date(call.createdAt)).toEqual(new Date(remote.created));
      expect(await server.app.db.call.count({ where: { ultravoxId: remote.callId } })).toBe(1);
    });

    test('and every delivery is lost, it is discovered', async () => {
      const agentId = await makeAgent(server);
      const number = await addNumber(server.client, agentId, ['INBOUND']);
      await setFaults(server, [{ kind: 'webhookLost' }]);
      try {
        const remote = await callIn(server, {
          agentId: await agentAtUltravox(server, agentId),
          from: newPerson(),
          to: number.phoneNumber,
          medium: 'sip',
          force: true,
        });
        const id = await ourCallOf(server, remote.callId);
        const call = await waitForCall(server.client, id, 'billed', isBilled);
        expect(call).toMatchObject({ direction: 'INBOUND', number: { id: number.id } });
        expect(typesOf(call)).toEqual(ANSWERED);
      } finally {
        await setFaults(server, []);
      }
    });

    test('to the agent of one organization, no other sees it', async () => {
      const other = await server.newOrganization();
      const agentId = await makeAgent(server);
      const remote = await callIn(server, {
        agentId: await agentAtUltravox(server, agentId),
        from: newPerson(),
        to: newPerson(),
        medium: 'sip',
        force: true,
      });
      const id = await ourCallOf(server, remote.callId);
      const answer = await other.client.send(`{ call(id: "${id}") { id } calls { totalCount } }`);
      expect(dataOf(answer)).toEqual({ call: null, calls: { totalCount: 0 } });
      expect(await callOf(server.client, id)).toMatchObject({ number: null });
    });

    test('to an agent that is not ours, it is none of our business', async () => {
      const { body: agent } = await atSimulator(server, 'POST', '/api/agents', {
        name: 'Somebody_else',
        callTemplate: { systemPrompt: 'You are somebody else.' },
      });
      const before = await server.app.db.call.count();
      const remote = await callIn(server, {
        agentId: agent.agentId,
        from: newPerson(),
        to: newPerson(),
        force: true,
      });
      await worked(server, remote.callId, 4);
      // Calls that nobody announced are looked for as well.
      const seen = await callIn(server, {
        agentId: await agentAtUltravox(server, caller.agentId),
        from: newPerson(),
        to: newPerson(),
        medium: 'sip',
        force: true,
      });
      await ourCallOf(server, seen.callId);
      expect(await server.app.db.call.findUnique({ where: { ultravoxId: remote.callId } })).toBe(
        null,
      );
      expect(await server.app.db.call.count()).toBe(before + 1);
    });
  });

  test('when it no longer knows a call, the call is settled as unknown', async () => {
    await setSimulator(server, { talkSeconds: 100_000 });
    const live = await dial(caller);
    const ringing = await dial(caller, newPerson());
    await waitForCall(caller.client, live.id, 'live', ({ status }) => status === 'IN_PROGRESS');
    await waitForCall(caller.client, ringing.id, 'live', ({ status }) => status === 'IN_PROGRESS');
    await atSimulator(server, 'POST', '/simulator/reset');
    for (const { id } of [live, ringing]) {
      const call = await waitForCall(caller.client, id, 'over', ({ endedAt }) => endedAt !== null);
      expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'UNKNOWN' });
      expect(call.failure).toContain('no longer knows');
      expect((await rowOf(server, id)).nextCheckAt).toBeNull();
    }
  });
});

describe('who called whom', () => {
  const seen = (requestContext: unknown) =>
    partiesOf({ requestContext } as Parameters<typeof partiesOf>[0]);

  test.each([
    [{ from: '+14155550101', to: '+14155550102' }, '+14155550101', '+14155550102'],
    [{ From: '+14155550101', To: '+14155550102' }, '+14155550101', '+14155550102'],
    [
      {
        ultravox: {
          sip: {
            caller_id: '+14155550101',
            from_uri: 'sip:+14155550109@carrier.test',
            to_uri: 'sip:+14155550102@sip.test',
          },
        },
      },
      '+14155550101',
      '+14155550102',
    ],
    [{ 'ultravox.sip.caller_id': '+14155550101' }, '+14155550101', null],
    [{ from: 'anonymous', to: 'sips:+14155550102@sip.test' }, null, '+14155550102'],
    [{ from: 'client:ada', to: 7 }, null, null],
    [{}, null, null],
    [null, null, null],
  ])('%j', (context, from, to) => {
    expect(seen(context)).toEqual({ from, to });
  });
});
