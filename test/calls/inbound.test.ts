/** Updates that Ultravox sends on its own: reordered and lost webhooks, and inbound calls. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calledNumberOf, callerOf } from '../../src/calls/ultravox/parties.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
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

const worked = (server: TestServer, ultravoxId: string, count: number) =>
  until('the webhooks to be processed', async () => {
    const stored = await server.app.db.ultravoxWebhook.findMany({
      where: { ultravoxCallId: ultravoxId },
    });
    return stored.filter(({ processedAt }) => processedAt).length === count;
  });

async function agentAtUltravox(server: TestServer, agentId: string): Promise<string> {
  const { remoteId } = await server.app.db.agent.findUniqueOrThrow({
    where: { id: uuidOf(agentId) },
  });
  return remoteId!;
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

describe('updates from Ultravox', () => {
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server);
  });
  afterAll(() => server.close());

  it.each([
    ['webhookDuplicate', {}],
    ['webhookReorder', { ms: 1500 }],
    ['webhookDelay', { ms: 150 }],
    ['webhookBadSignature', {}],
    ['webhookStaleTimestamp', {}],
    ['webhookLost', {}],
  ])('end and bill a call although every webhook is subject to %s', async (kind, more) => {
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

  it('keep the events of each call in order when webhooks are reordered', async () => {
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

  describe('of an inbound call', () => {
    const twilio = {
      twilio: {
        accountSid: `AC${'0123456789abcdef'.repeat(2)}`,
        authToken: 'a token of twilio',
      },
    };

    it.each([
      ['over Twilio', 'twilio', 'TWILIO', twilio],
      ['over SIP', 'sip', 'SIP', undefined],
    ])('%s create it with agent, phone number and caller', async (_how, medium, expected, provider) => {
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

    it('are discovered when every webhook is lost', async () => {
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

    it('are visible to the organization of the agent only', async () => {
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

    it('are ignored for an agent that is not ours', async () => {
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

  it('close a call as lost that Ultravox no longer has', async () => {
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

describe('the numbers of an incoming call', () => {
  const partiesOf = (requestContext: unknown) => {
    const to = calledNumberOf({ requestContext, metadata: {} });
    return { from: callerOf({ requestContext, metadata: {} }, to), to };
  };

  it.each([
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
  ])('are read from %j', (context, from, to) => {
    expect(partiesOf(context)).toEqual({ from, to });
  });

  it.each([
    ['4155557002', '+14155557002'],
    ['14155557004', '+14155557004'],
    ['0044 20 7946 0958', '+442079460958'],
    ['442079460958', '+442079460958'],
    ['sip:4155557003@carrier.test', '+14155557003'],
    ['sip:%2B14155557003;phone-context=x@carrier.test', '+14155557003'],
    ['"Bob" <sip:+14155557003@carrier.test>', '+14155557003'],
    ['"I <3 Bob" <sip:+14155557003@carrier.test>', '+14155557003'],
    ['1001', null],
    ['anonymous', null],
    ['"4155557002" <sip:anonymous@anonymous.invalid>', null],
  ])('include the SIP caller %s, in the notation of the called number', (text, number) => {
    const sip = { caller_id: text };
    const metadata = { 'ultravox.sip.from_uri': text };
    const sources = [
      { requestContext: { ultravox: { sip } }, metadata: {} },
      { requestContext: { sip }, metadata: {} },
      { requestContext: { 'ultravox.sip.caller_id': text }, metadata: {} },
      { requestContext: null, metadata },
    ];
    for (const source of sources) expect(callerOf(source, '+14155550102')).toBe(number);
  });

  it('are read from a long text in no time', () => {
    const requestContext = { from: '<'.repeat(50_000) };
    expect(callerOf({ requestContext, metadata: {} }, null)).toBeNull();
  }, 5_000);

  it('include a national number only if its country is known', () => {
    const requestContext = { sip: { caller_id: 4155557002 } };
    expect(callerOf({ requestContext, metadata: {} }, '+14155550102')).toBe('+14155557002');
    expect(callerOf({ requestContext, metadata: {} }, '+442079460958')).toBeNull();
    expect(callerOf({ requestContext, metadata: {} }, null)).toBeNull();
  });
});
