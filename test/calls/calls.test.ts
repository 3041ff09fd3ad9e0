/** Creation of calls: lifecycle, caller ID and input. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { costOf } from '../../src/calls/billing.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import {
  addNumber,
  type Caller,
  type CallView,
  dial,
  dialsOf,
  isBilled,
  makeAgent,
  newCaller,
  newPerson,
  problemsOf,
  remoteCallOf,
  run,
  setSimulator,
  steered,
  tryToDial,
  typesOf,
  uuidOf,
  waitForCall,
} from './support.ts';

let server: TestServer;
let caller: Caller;
let other: { client: GraphQLClient; id: string };

beforeAll(async () => {
  server = await startTestServer();
  caller = await newCaller(server);
  other = await server.newOrganization();
});
afterAll(() => server.close());

const billed = (id: string) => waitForCall(caller.client, id, 'billed', isBilled);

describe('createCall over SIP', () => {
  it('creates a call that rings, is answered, ends and is billed, with one event each', async () => {
    const person = newPerson();
    const made = await dial(caller, person);
    expect(made).toMatchObject({
      direction: 'OUTBOUND',
      medium: 'SIP',
      phoneNumber: person,
      fromNumber: caller.ownNumber,
      toNumber: person,
      agent: { id: caller.agentId },
      number: { id: caller.numberId },
    });
    expect(made.ringingAt).not.toBeNull();
    const call = await billed(made.id);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP', failure: null });
    expect(call.events.totalCount).toBe(5);
    expect(typesOf(call)).toEqual(['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED']);
    expect(call.events.nodes.map((event: CallView) => event.sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(call.events.nodes.map((event: CallView) => event.status)).toEqual([
      'CREATED',
      'RINGING',
      'IN_PROGRESS',
      'COMPLETED',
      'COMPLETED',
    ]);
    const some = await caller.client.send(
      `query ($id: ID!) { call(id: $id) {
        events(first: 1, types: [BILLED, IN_PROGRESS]) {
          totalCount nodes { type } pageInfo { hasNextPage } }
        all: events(types: []) { totalCount } } }`,
      { id: made.id },
    );
    expect(some.data.call).toEqual({
      events: {
        totalCount: 2,
        nodes: [{ type: 'IN_PROGRESS' }],
        pageInfo: { hasNextPage: true },
      },
      all: { totalCount: 5 },
    });
    const cursors: number[] = call.events.nodes.map((event: CallView) => Number(event.cursor));
    expect(cursors).toEqual([...new Set(cursors)].sort((a, b) => a - b));
    expect(call.durationSeconds).toBeGreaterThan(0);

    const remote = (await remoteCallOf(server, made.id)).body;
    expect(new Date(call.answeredAt)).toEqual(new Date(remote.joined));
    expect(new Date(call.endedAt)).toEqual(new Date(remote.ended));
    expect(`${call.billedDurationSeconds}s`).toBe(remote.billedDuration);
    expect(call.billedDurationSeconds % 6).toBe(0);
    expect(call.cost.currency).toBe('USD');
    expect(Number(call.cost.amount)).toBe(Number(costOf(call.billedDurationSeconds, '0.05')));
    expect(Number(call.cost.amount)).toBeGreaterThan(0);
    expect(await dialsOf(server, made.id)).toMatchObject([
      { to: `sip:${person}@sip.example.com`, from: caller.ownNumber, medium: 'sip' },
    ]);
  });

  it.each([
    ['0001', 'FAILED', 'BUSY', false],
    ['0002', 'FAILED', 'REJECTED', false],
    ['0003', 'FAILED', 'NO_ANSWER', false],
    ['0004', 'FAILED', 'INVALID_NUMBER', false],
    ['0005', 'FAILED', 'UNREACHABLE', false],
    ['0006', 'FAILED', 'CONNECTION_ERROR', true],
    ['0007', 'FAILED', 'SYSTEM_ERROR', true],
    ['0008', 'COMPLETED', 'MAX_DURATION', true],
    ['0009', 'COMPLETED', 'AGENT_HANGUP', true],
    ['0010', 'COMPLETED', 'HANGUP', true],
    ['0011', 'COMPLETED', 'AGENT_HANGUP', true],
  ])('ends a call to a number with the ending %s as %s, %s', async (digits, status, endReason, answered) => {
    const settings = digits === '0008' ? { maxDuration: '60s' } : {};
    const made = await dial(caller, steered(digits), { settings });
    const call = await billed(made.id);
    expect(call).toMatchObject({ status, endReason });
    expect(typesOf(call)).toEqual([
      'CREATED',
      'RINGING',
      ...(answered ? ['IN_PROGRESS'] : []),
      status,
      'BILLED',
    ]);
    expect(call.answeredAt !== null).toBe(answered);
    expect(call.billingStatus).toBe(answered && digits !== '0007' ? 'BILLED' : 'FREE');
    if (call.billingStatus === 'FREE') {
      expect(call.cost).toEqual({ amount: '0', currency: 'USD' });
    }
    if (digits === '0008') expect(call.billedDurationSeconds).toBe(60);
  });

  it('returns the same call for a repeated idempotency key, and dials once', async () => {
    const input = { agentId: caller.agentId, phoneNumber: newPerson() };
    const headers = { 'x-idempotency-key': newId() };
    const answers = await Promise.all(
      [1, 2, 3].map(() => run(caller.client, 'createCall', input, headers)),
    );
    const ids = new Set(answers.map(({ call }) => call.id));
    expect(ids.size).toBe(1);
    expect(await dialsOf(server, answers[0].call.id)).toHaveLength(1);
  });
});

describe('createCall: caller ID', () => {
  it('creates no call without an outbound number', async () => {
    const agentId = await makeAgent(server);
    const before = await server.app.db.call.count();
    const payload = await run(caller.client, 'createCall', { agentId, phoneNumber: newPerson() });
    expect(payload.call).toBeNull();
    expect(problemsOf(payload)).toEqual(['NO_PHONE_NUMBER_CONFIGURED agentId']);
    expect(await server.app.db.call.count()).toBe(before);
  });

  it('rejects a `fromNumber` that is not an outbound number of the agent', async () => {
    const inbound = await addNumber(caller.client, caller.agentId, ['INBOUND']);
    for (const fromNumber of [inbound.phoneNumber, '+14155559876']) {
      const payload = await run(caller.client, 'createCall', {
        agentId: caller.agentId,
        phoneNumber: newPerson(),
        fromNumber,
      });
      expect(problemsOf(payload)).toEqual(['PHONE_NUMBER_NOT_ASSIGNED fromNumber']);
    }
  });

  it('never is the number that is called', async () => {
    const agentId = await makeAgent(server);
    const own = { client: caller.client, agentId };
    const first = await addNumber(caller.client, agentId);
    const input = { agentId, phoneNumber: first.phoneNumber };
    const problems = problemsOf(await run(caller.client, 'createCall', input));
    expect(problems).toEqual(['INVALID_INPUT phoneNumber']);
    const second = await addNumber(caller.client, agentId);
    for (const [to, from] of [
      [first, second] as const,
      [second, first] as const,
      [first, second] as const,
    ]) {
      expect((await dial(own, to.phoneNumber)).fromNumber).toBe(from.phoneNumber);
    }
  });

  it('uses `fromNumber`, otherwise the least recently used number', async () => {
    const agentId = await makeAgent(server);
    const numbers = [];
    for (let count = 0; count < 3; count += 1)
      numbers.push(await addNumber(caller.client, agentId));
    const [a, b, c] = numbers.map(({ phoneNumber }) => phoneNumber);
    const from = async (fromNumber?: string): Promise<string> =>
      (await dial({ client: caller.client, agentId }, newPerson(), { fromNumber })).fromNumber;
    const first = [await from(), await from(), await from()];
    expect([...first].sort()).toEqual([a, b, c].sort());
    expect(await from()).toBe(first[0]);
    expect(await from(first[2])).toBe(first[2]);
    expect(await from(first[1])).toBe(first[1]);
    expect(await from()).toBe(first[0]);
    expect(await from()).toBe(first[2]);
  });

  it('rejects an agent that is not ACTIVE', async () => {
    const agentId = await makeAgent(server);
    await addNumber(caller.client, agentId);
    await server.app.db.agent.update({
      where: { id: uuidOf(agentId) },
      data: { status: 'FAILED', syncError: 'the voice is gone' },
    });
    for (const [name, input] of [
      ['createCall', { agentId, phoneNumber: newPerson() }],
      ['startTestCall', { agentId }],
    ] as const) {
      const payload = await run(caller.client, name, input);
      expect(problemsOf(payload)).toEqual(['AGENT_NOT_READY agentId']);
      expect(payload.userErrors[0].message).toContain('the voice is gone');
    }
  });
});

describe('createCall: input', () => {
  it('records as the call says, otherwise as the agent says', async () => {
    const recorder = await newCaller(server, { recordingEnabled: true });
    const cases = [
      [caller, {}, false],
      [caller, { recordingEnabled: true }, true],
      [recorder, {}, true],
      [recorder, { recordingEnabled: false }, false],
    ] as const;
    for (const [who, settings, expected] of cases) {
      const call = await dial(who, newPerson(), { settings });
      expect(call.recordingEnabled).toBe(expected);
      expect((await remoteCallOf(server, call.id)).body.recordingEnabled).toBe(expected);
    }
  });

  it('sends variables and settings to Ultravox, but no metadata of the user', async () => {
    const greeter = await newCaller(server, {
      systemPrompt: 'You talk to {{first_name}} of {{company}}.',
      greetingSettings: { firstSpeaker: 'AGENT', text: 'Hi there', uninterruptible: true },
    });
    const call = await dial(greeter, newPerson(), {
      variables: { first_name: 'Ada', company: 'Engines & Co' },
      settings: { greeting: 'Good morning', maxDuration: '90s', joinTimeout: '20s' },
      metadata: { orderId: '17' },
    });
    expect(call).toMatchObject({
      variables: { first_name: 'Ada', company: 'Engines & Co' },
      metadata: { orderId: '17' },
      settings: { greeting: 'Good morning', maxDuration: '90s', joinTimeout: '20s' },
    });
    const { body } = await remoteCallOf(server, call.id);
    expect(body.systemPrompt).toContain('You talk to Ada of Engines & Co.');
    expect(body).toMatchObject({ maxDuration: '90s', joinTimeout: '20s' });
    expect(body.firstSpeakerSettings.agent).toMatchObject({
      text: 'Good morning',
      uninterruptible: true,
    });
    expect(body.metadata).toEqual({
      callId: call.id,
      organizationId: publicId('Organization', server.organizationId),
    });
    // Without settings of its own it is the agent's.
    const plain = await dial(greeter, newPerson(), {
      variables: { first_name: 'Ada', company: 'X' },
    });
    expect(plain.settings).toEqual({
      recordingEnabled: null,
      greeting: null,
      maxDuration: null,
      joinTimeout: null,
    });
    const remote = (await remoteCallOf(server, plain.id)).body;
    expect(remote.firstSpeakerSettings.agent.text).toBe('Hi there');
  });

  it('fills in the placeholders of the greeting, of the agent or of the call', async () => {
    const text = 'Hi {{first_name}}{{constructor}}, {{{company}}}!';
    const greeter = await newCaller(server, { greetingSettings: { text } });
    const variables = { first_name: 'Ada', company: 'Engines & Co' };
    const greetingOf = async (input: object) => {
      const call = await dial(greeter, newPerson(), input);
      return (await remoteCallOf(server, call.id)).body.firstSpeakerSettings.agent;
    };
    expect(await greetingOf({ variables })).toMatchObject({ text: 'Hi Ada, Engines & Co!' });
    expect(await greetingOf({})).toMatchObject({ text: 'Hi , !' });
    const own = (greeting: string) => greetingOf({ variables, settings: { greeting } });
    expect(await own('{{company}} for {{first_name}}')).toMatchObject({
      text: 'Engines & Co for Ada',
    });
    // Nothing is left to say, so the agent uses its own words.
    expect(await own('{{unknown}}')).not.toHaveProperty('text');
  });

  it('turns numbers and booleans in variables and metadata into text', async () => {
    const teller = await newCaller(server, { systemPrompt: '{{age}} {{vip}} {{balance}}' });
    const call = await dial(teller, newPerson(), {
      variables: { age: 42, vip: true, balance: -0.5 },
      metadata: { orderId: 17 },
    });
    expect(call).toMatchObject({
      variables: { age: '42', vip: 'true', balance: '-0.5' },
      metadata: { orderId: '17' },
    });
    expect((await remoteCallOf(server, call.id)).body.systemPrompt).toContain('42 true -0.5');
  });

  it('fails the call with the reason when Ultravox rejects it', async () => {
    await setSimulator(server, { outOfCredit: true });
    const payload = await tryToDial(caller).finally(() =>
      setSimulator(server, { outOfCredit: false }),
    );
    const { call } = payload;
    expect(problemsOf(payload)).toEqual(['PAYMENT_REQUIRED ']);
    expect(call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR', ringingAt: null });
    expect(call.failure).toContain('no call time left');
    expect(typesOf(call)).toEqual(['CREATED', 'FAILED']);
    expect(await dialsOf(server, call.id)).toEqual([]);
  });

  it('reports all invalid fields at once, with their paths', async () => {
    const before = await server.app.db.call.count();
    const payload = await run(caller.client, 'createCall', {
      agentId: caller.numberId,
      phoneNumber: '0123',
      fromNumber: '+1',
      variables: { first_name: null, nested: { a: 'b' } },
      settings: { greeting: ' ', maxDuration: '5 minutes', joinTimeout: '601s' },
      metadata: { list: ['a'] },
    });
    expect(payload.call).toBeNull();
    expect(problemsOf(payload)).toEqual([
      'INVALID_ID agentId',
      'INVALID_INPUT fromNumber',
      'INVALID_INPUT metadata.list',
      'INVALID_INPUT phoneNumber',
      'INVALID_INPUT settings.joinTimeout',
      'INVALID_INPUT settings.maxDuration',
      'INVALID_INPUT variables.first_name',
      'INVALID_INPUT variables.nested',
      'REQUIRED settings.greeting',
    ]);
    expect(await server.app.db.call.count()).toBe(before);
  });

  it.each([
    ['an impossible number', { phoneNumber: '+1415' }, 'INVALID_INPUT phoneNumber'],
    ['a malformed id', { agentId: 'agt_1' }, 'INVALID_ID agentId'],
    ['an agent that does not exist', { agentId: publicId('Agent', newId()) }, 'NOT_FOUND agentId'],
    [
      'too much metadata',
      {
        metadata: Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`k${index}`, 'v'])),
      },
      'INVALID_INPUT metadata',
    ],
    [
      'too long a greeting',
      { settings: { greeting: 'a'.repeat(2001) } },
      'INVALID_INPUT settings.greeting',
    ],
    [
      'too long a call',
      { settings: { maxDuration: '86401s' } },
      'INVALID_INPUT settings.maxDuration',
    ],
    ['a null character', { variables: { a: '\u0000' } }, 'INVALID_INPUT variables.a'],
  ])('rejects %s', async (_what, input, problem) => {
    const good = { agentId: caller.agentId, phoneNumber: newPerson() };
    const payload = await run(caller.client, 'createCall', { ...good, ...input });
    expect(problemsOf(payload)).toEqual([problem]);
  });

  it('rejects a call from a number to itself', async () => {
    const payload = await run(caller.client, 'createCall', {
      agentId: caller.agentId,
      phoneNumber: caller.ownNumber,
      fromNumber: caller.ownNumber,
    });
    expect(problemsOf(payload)).toEqual(['INVALID_INPUT phoneNumber']);
  });

  it('rejects an agent of another organization', async () => {
    const payload = await run(other.client, 'createCall', {
      agentId: caller.agentId,
      phoneNumber: newPerson(),
    });
    expect(problemsOf(payload)).toEqual(['NOT_FOUND agentId']);
  });
});
