/** Calls as users see them: made, watched to their end, listed, tried in the browser. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { costOf } from '../../src/calls/billing.ts';
import { newId, publicId } from '../../src/infra/ids.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { countQueries, statementsOf } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/server.ts';
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
  isEnded,
  makeAgent,
  newCaller,
  newPerson,
  problemsOf,
  remoteCallOf,
  rowOf,
  run,
  setFaults,
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
const ended = (id: string) => waitForCall(caller.client, id, 'ended', isEnded);
const reaching = (id: string, status: string) =>
  waitForCall(caller.client, id, status, (call) => call.status === status);

describe('a call over SIP', () => {
  test('rings, is answered, ends and is billed, each an event with its number and cursor', async () => {
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

  test.each([
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
  ])('to a number ending in %s is %s, %s', async (digits, status, endReason, answered) => {
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

  test('sent again under the same idempotency key is the same call, dialled once', async () => {
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

describe('the caller ID', () => {
  test('none configured: no call is made', async () => {
    const agentId = await makeAgent(server);
    const before = await server.app.db.call.count();
    const payload = await run(caller.client, 'createCall', { agentId, phoneNumber: newPerson() });
    expect(payload.call).toBeNull();
    expect(problemsOf(payload)).toEqual(['NO_PHONE_NUMBER_CONFIGURED agentId']);
    expect(await server.app.db.call.count()).toBe(before);
  });

  test('must be one of the agent’s outbound numbers', async () => {
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

  test('is the one asked for, else the one that called longest ago', async () => {
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

  test('an agent that is not active is not ready', async () => {
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

describe('what a call is given', () => {
  test('recording is the call’s own setting, else the agent’s', async () => {
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

  test('variables and settings arrive at Ultravox, metadata of ours only', async () => {
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
      organizationId: publicId('org', server.organizationId),
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

  test('what Ultravox refuses fails the call and says why', async () => {
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

  test('everything that is wrong is told at once, with its path', async () => {
    const before = await server.app.db.call.count();
    const payload = await run(caller.client, 'createCall', {
      agentId: caller.numberId,
      phoneNumber: '0123',
      fromNumber: '+1',
      variables: { first_name: 7, nested: { a: 'b' } },
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

  test.each([
    ['an impossible number', { phoneNumber: '+1415' }, 'INVALID_INPUT phoneNumber'],
    ['a malformed id', { agentId: 'agt_1' }, 'INVALID_ID agentId'],
    ['an agent that is not there', { agentId: publicId('agt', newId()) }, 'NOT_FOUND agentId'],
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
  ])('%s is refused', async (_what, input, problem) => {
    const good = { agentId: caller.agentId, phoneNumber: newPerson() };
    const payload = await run(caller.client, 'createCall', { ...good, ...input });
    expect(problemsOf(payload)).toEqual([problem]);
  });

  test('the person and the caller ID cannot be the same', async () => {
    const payload = await run(caller.client, 'createCall', {
      agentId: caller.agentId,
      phoneNumber: caller.ownNumber,
      fromNumber: caller.ownNumber,
    });
    expect(problemsOf(payload)).toEqual(['INVALID_INPUT phoneNumber']);
  });

  test('the agent of another organization is none', async () => {
    const payload = await run(other.client, 'createCall', {
      agentId: caller.agentId,
      phoneNumber: newPerson(),
    });
    expect(problemsOf(payload)).toEqual(['NOT_FOUND agentId']);
  });
});

describe('reading calls', () => {
  const LIST = `query ($filter: CallFilter, $orderBy: CallOrder, $first: Int, $after: String, $last: Int, $before: String) {
    calls(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
      totalCount nodes { id createdAt } pageInfo { hasNextPage hasPreviousPage endCursor startCursor } } }`;
  const COUNT = 120;
  const START = Date.UTC(2026, 0, 1);
  let owner: { client: GraphQLClient; id: string };
  let agents: string[];
  let numbers: { id: string; phoneNumber: string }[];
  let ids: string[];

  const list = async (variables: object = {}) =>
    dataOf(await owner.client.send(LIST, variables)).calls;
  const matching = async (filter: object): Promise<number[]> => {
    const { nodes, totalCount } = await list({
      filter,
      first: 100,
      orderBy: { field: 'CREATED_AT', direction: 'ASC' },
    });
    expect(totalCount).toBe(nodes.length);
    return nodes.map(({ id }: { id: string }) => ids.indexOf(id));
  };
  const indexes = (holds: (index: number) => boolean): number[] =>
    ids.map((_, index) => index).filter(holds);

  beforeAll(async () => {
    owner = await server.newOrganization('A reader of lists');
    const scope = { client: owner.client, organizationId: owner.id };
    agents = [await makeAgent(server, scope), await makeAgent(server, scope)];
    numbers = [
      await addNumber(owner.client, agents[0]!),
      await addNumber(owner.client, agents[1]!),
    ];
    ids = [];
    const STATUSES = ['COMPLETED', 'FAILED', 'CANCELLED'] as const;
    for (let index = 0; index < COUNT; index += 1) {
      const id = newId();
      ids.push(publicId('cal', id));
      const metadata: Record<string, string> = { group: `g${index % 5}`, order: `${index % 7}` };
      const [group, order] = Object.entries(metadata).map((entry) => JSON.stringify(entry));
      await server.app.db.call.create({
        data: {
          id,
          organizationId: owner.id,
          agentId: uuidOf(agents[index % 2]!),
          phoneNumberId: index % 3 === 0 ? null : uuidOf(numbers[index % 2]!.id),
          direction: index % 4 === 0 ? 'INBOUND' : 'OUTBOUND',
          medium: 'SIP',
          status: STATUSES[index % 3]!,
          phoneNumber: `+141555502${String(index % 10).padStart(2, '0')}`,
          metadata,
          metadataEntries: [group!, order!],
          maxDurationSeconds: 60,
          joinTimeoutSeconds: 30,
          // Pairs made at the same instant, so that order and paging must go by id too.
          createdAt: new Date(START + Math.floor(index / 2) * 60_000),
          endedAt: new Date(),
        },
      });
    }
  });

  test('newest first by default, oldest first when asked, ties by id', async () => {
    const newest = await list({ first: 100 });
    expect(newest.nodes.map(({ id }: CallView) => id)).toEqual([...ids].reverse().slice(0, 100));
    const oldest = await list({ first: 100, orderBy: { field: 'CREATED_AT', direction: 'ASC' } });
    expect(oldest.nodes.map(({ id }: CallView) => id)).toEqual(ids.slice(0, 100));
    expect((await list()).nodes).toHaveLength(50);
  });

  test('pages forwards and backwards give every call once', async () => {
    const forwards: string[] = [];
    let after: string | null = null;
    do {
      const page: CallView = await list({ first: 25, after });
      expect(page.totalCount).toBe(COUNT);
      forwards.push(...page.nodes.map(({ id }: CallView) => id));
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after);
    expect(forwards).toEqual([...ids].reverse());

    const backwards: string[] = [];
    let before: string | null = null;
    do {
      const page: CallView = await list({ last: 50, before });
      backwards.unshift(...page.nodes.map(({ id }: CallView) => id));
      before = page.pageInfo.hasPreviousPage ? page.pageInfo.startCursor : null;
    } while (before);
    expect(backwards).toEqual([...ids].reverse());
  });

  test.each([
    [{ first: 101 }],
    [{ first: 0 }],
    [{ last: 101 }],
  ])('a page of %j is refused', async (page) => {
    const answer = await owner.client.send(LIST, page);
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
    const counted = await owner.client.send(
      'query ($first: Int, $last: Int) { calls(first: $first, last: $last) { totalCount } }',
      page,
    );
    expect(counted.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  test('a number that nobody can have is refused as a filter', async () => {
    const answer = await owner.client.send(LIST, { filter: { phoneNumber: '0171 555' } });
    expect(answer.errors).toMatchObject([
      {
        message: expect.stringContaining('`filter.phoneNumber`'),
        extensions: { code: 'BAD_USER_INPUT' },
      },
    ]);
  });

  test('calls are counted only when asked for, and for any number of agents at once', async () => {
    const api = await startApiBeside(server);
    const reader = createClient(api.url, owner.client.key);
    const nested = (fields: string) => `{ agents { nodes { id calls(first: 1) { ${fields} } } } }`;
    const statements = async (query: string) =>
      countQueries(api.app, async () => dataOf(await reader.send(query)));
    const answer = dataOf(await owner.client.send(nested('totalCount')));
    expect(
      answer.agents.nodes.map(({ calls }: { calls: { totalCount: number } }) => calls.totalCount),
    ).toEqual([COUNT / 2, COUNT / 2]);

    const counting = await statements(nested('totalCount nodes { id }'));
    const counts = async (query: string) =>
      (await statementsOf(api.app, async () => dataOf(await reader.send(query)))).filter(
        (statement) => /count\(/i.test(statement),
      ).length;
    expect(await counts(nested('nodes { id }'))).toBe(0);
    expect(await counts('{ calls(first: 1) { nodes { id } } }')).toBe(0);
    expect(await counts('{ calls(first: 1) { totalCount } }')).toBe(1);
    await makeAgent(server, { client: owner.client, organizationId: owner.id });
    expect(await statements(nested('totalCount nodes { id }'))).toBe(counting);
    await api.close();
  });

  test('each filter alone, and together', async () => {
    expect(await matching({ status: ['FAILED'] })).toEqual(indexes((i) => i % 3 === 1));
    expect(await matching({ status: ['FAILED', 'CANCELLED'] })).toEqual(
      indexes((i) => i % 3 !== 0),
    );
    expect(await matching({ status: ['IN_PROGRESS'] })).toEqual([]);
    expect((await list({ filter: { status: [] } })).totalCount).toBe(COUNT);
    expect(await matching({ direction: 'INBOUND' })).toEqual(indexes((i) => i % 4 === 0));
    expect(await matching({ agentId: agents[1] })).toEqual(indexes((i) => i % 2 === 1));
    expect(await matching({ numberId: numbers[0]!.id })).toEqual(
      indexes((i) => i % 3 !== 0 && i % 2 === 0),
    );
    expect(await matching({ phoneNumber: '+14155550203' })).toEqual(indexes((i) => i % 10 === 3));
    const from = new Date(START + 10 * 60_000).toISOString();
    const before = new Date(START + 20 * 60_000).toISOString();
    expect(await matching({ createdFrom: from, createdBefore: before })).toEqual(
      indexes((i) => i >= 20 && i < 40),
    );
    expect(await matching({ createdBefore: from })).toEqual(indexes((i) => i < 20));
    expect(await matching({ metadata: { group: 'g2' } })).toEqual(indexes((i) => i % 5 === 2));
    expect(await matching({ metadata: { group: 'g2', order: '3' } })).toEqual(
      indexes((i) => i % 5 === 2 && i % 7 === 3),
    );
    expect(await matching({ metadata: { group: 'g' } })).toEqual([]);
    expect(await matching({ metadata: { group: 2 } })).toEqual([]);
    expect(
      await matching({ metadata: { group: 'g1' }, direction: 'INBOUND', agentId: agents[0] }),
    ).toEqual(indexes((i) => i % 5 === 1 && i % 4 === 0));
  });

  test('the same lists hang on the agent and on the number', async () => {
    const answer = await owner.client.send(
      `query ($agent: ID!, $number: ID!) {
        agent(id: $agent) { calls(first: 3, filter: { direction: OUTBOUND }) { totalCount nodes { id } } }
        phoneNumber(id: $number) { calls(first: 100) { totalCount } } }`,
      { agent: agents[1], number: numbers[1]!.id },
    );
    const { agent, phoneNumber } = dataOf(answer);
    const own = indexes((i) => i % 2 === 1).reverse();
    expect(agent.calls.totalCount).toBe(own.length);
    expect(agent.calls.nodes.map(({ id }: CallView) => ids.indexOf(id))).toEqual(own.slice(0, 3));
    expect(phoneNumber.calls.totalCount).toBe(indexes((i) => i % 2 === 1 && i % 3 !== 0).length);
  });

  test('an id of another type in a filter is the caller’s mistake', async () => {
    const answer = await owner.client.send(LIST, { filter: { agentId: numbers[0]!.id } });
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  test('another organization sees none of them', async () => {
    const answer = await other.client.send(
      `query ($id: ID!, $filter: CallFilter) { call(id: $id) { id } node(id: $id) { id }
        nodes(ids: [$id]) { id } calls(filter: $filter) { totalCount nodes { id } } }`,
      { id: ids[0], filter: { agentId: agents[0] } },
    );
    expect(dataOf(answer)).toEqual({
      call: null,
      node: null,
      nodes: [null],
      calls: { totalCount: 0, nodes: [] },
    });
    const own = await owner.client.send(
      'query ($id: ID!) { call(id: $id) { id } node(id: $id) { id } }',
      { id: ids[0] },
    );
    expect(dataOf(own)).toEqual({ call: { id: ids[0] }, node: { id: ids[0] } });
    for (const [name, input, problem] of [
      ['endCall', { id: ids[0] }, 'NOT_FOUND id'],
      ['deleteCalls', { ids: [ids[0]] }, 'NOT_FOUND ids.0'],
    ] as const) {
      expect(problemsOf(await run(other.client, name, input))).toEqual([problem]);
    }
  });
});

describe('a test call in the browser', () => {
  const startTest = (input: object = {}) =>
    run(caller.client, 'startTestCall', { agentId: caller.agentId, ...input });

  test('gives an address to join, is joined and ended', async () => {
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
    expect(typesOf(call).slice(0, 3)).toEqual(['CREATED', 'IN_PROGRESS', 'COMPLETED']);
    expect((await rowOf(server, made.id)).joinUrl).toBeNull();
  });

  test('keeps its address to the answer', async () => {
    const { call, joinUrl } = await startTest();
    const asked = await caller.client.send(`{ call(id: "${call.id}") { joinUrl } }`);
    expect(asked.errors?.[0]?.message).toContain('joinUrl');
    const read = JSON.stringify(await callOf(caller.client, call.id));
    expect(read).not.toContain(joinUrl);
    const { ultravoxId } = await rowOf(server, call.id);
    expect(read).not.toContain(ultravoxId);
    await ended(call.id);
    const webhooks = await server.app.db.$queryRaw<{ text: string }[]>`
      SELECT payload::text AS text FROM ultravox_webhooks WHERE ultravox_call_id = ${ultravoxId}`;
    expect(webhooks.length).toBeGreaterThan(0);
    expect(JSON.stringify(webhooks)).not.toContain('joinUrl');
  });

  test('has its address although a webhook told of it before the answer came', async () => {
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
    } finally {
      spy.mockRestore();
    }
  });

  test('is refused with a time to try again when Ultravox is full, and nothing is left', async () => {
    await setSimulator(server, { maxConcurrentCalls: 1, talkSeconds: 1000 });
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
      await setSimulator(server, { maxConcurrentCalls: null, talkSeconds: 45 });
    }
  });

  test('says what Ultravox refuses', async () => {
    await setSimulator(server, { outOfCredit: true });
    const payload = await startTest().finally(() => setSimulator(server, { outOfCredit: false }));
    expect(problemsOf(payload)).toEqual(['PAYMENT_REQUIRED ']);
    expect(payload.userErrors[0].message).toContain('no call time left');
  });

  test('tells all that is wrong with it at once', async () => {
    const payload = await startTest({ agentId: 'agt_x', variables: { a: 1 } });
    expect(problemsOf(payload)).toEqual(['INVALID_ID agentId', 'INVALID_INPUT variables.a']);
  });
});

describe('ending a call', () => {
  test('that waits cancels it at once, and it is never dialled', async () => {
    const narrow = await startTestServer({
      settings: { ULTRAVOX_MAX_CONCURRENT_CALLS: '1' },
      simulator: { talkSeconds: 1000 },
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
      await waitForCall(from.client, third.id, 'dialled', (c) => c.ringingAt !== null);
      expect(await dialsOf(narrow, second.id)).toEqual([]);
      expect(await dialsOf(narrow, third.id)).toHaveLength(1);
    } finally {
      await narrow.close();
    }
  });

  test('that rings hangs it up as soon as it is answered', async () => {
    const made = await dial(caller, steered('0010'));
    const { call } = await done(caller.client, 'endCall', { id: made.id });
    expect(call.status).toBe('RINGING');
    expect(call.endRequestedAt).not.toBeNull();
    expect(await ended(made.id)).toMatchObject({
      status: 'COMPLETED',
      endReason: 'AGENT_HANGUP',
    });
  });

  test('that rings and is never answered cancels it', async () => {
    const made = await dial(caller, steered('0003'));
    await done(caller.client, 'endCall', { id: made.id });
    const call = await ended(made.id);
    expect(call).toMatchObject({ status: 'CANCELLED', endReason: 'CANCELLED', answeredAt: null });
  });

  test('that is live hangs it up, however often it is asked', async () => {
    const made = await dial(caller, newPerson());
    await reaching(made.id, 'IN_PROGRESS');
    await Promise.all([1, 2, 3].map(() => done(caller.client, 'endCall', { id: made.id })));
    const call = await billed(made.id);
    expect(call).toMatchObject({ status: 'COMPLETED', endReason: 'AGENT_HANGUP' });
    expect(typesOf(call)).toEqual(['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED']);
  });

  test('that is live is asked for again when Ultravox did not hear it', async () => {
    await setSimulator(server, { talkSeconds: 100_000 });
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
      await setSimulator(server, { talkSeconds: 45 });
      await setFaults(server, []);
    }
  });

  test('that Ultravox has ended, while nothing can be asked, is no failure of the request', async () => {
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

  test('that has ended changes nothing', async () => {
    const made = await dial(caller, steered('0001'));
    const before = await billed(made.id);
    const { call } = await done(caller.client, 'endCall', { id: made.id });
    expect(call).toEqual(before);
    expect(await callOf(caller.client, made.id)).toEqual(before);
  });

  test('with an id that is none, or of something else', async () => {
    const unknown = await run(caller.client, 'endCall', { id: publicId('cal', newId()) });
    expect(problemsOf(unknown)).toEqual(['NOT_FOUND id']);
    const agent = await run(caller.client, 'endCall', { id: caller.agentId });
    expect(problemsOf(agent)).toEqual(['INVALID_ID id']);
  });
});

describe('deleting calls', () => {
  test('is all or none, and what it deletes is gone everywhere', async () => {
    const person = newPerson();
    const secret = 'Rumpelstiltskin';
    const made = await dial(caller, person, {
      variables: { name: secret },
      metadata: { name: secret },
      settings: { greeting: `Hello ${secret}` },
    });
    await setSimulator(server, { talkSeconds: 100_000 });
    const live = await dial(caller);
    await setSimulator(server, { talkSeconds: 45 });
    const call = await billed(made.id);
    const { ultravoxId } = await rowOf(server, made.id);

    const refused = await run(caller.client, 'deleteCalls', {
      ids: [made.id, live.id, publicId('cal', newId()), caller.agentId],
    });
    // What is wrong with one id does not hide what is wrong with the others.
    expect(problemsOf(refused)).toEqual([
      'INVALID_ID ids.3',
      'INVALID_STATE ids.1',
      'NOT_FOUND ids.2',
    ]);
    const doubled = await run(caller.client, 'deleteCalls', { ids: [made.id, made.id] });
    expect(problemsOf(doubled)).toEqual(['INVALID_INPUT ids.1']);
    const blocked = await run(caller.client, 'deleteCalls', {
      ids: [made.id, live.id, publicId('cal', newId())],
    });
    expect(blocked.deletedCallIds).toBeNull();
    expect(problemsOf(blocked)).toEqual(['INVALID_STATE ids.1', 'NOT_FOUND ids.2']);
    expect(await callOf(caller.client, made.id)).toEqual(call);

    // One that came in and could not be worked on yet.
    const { body: remote } = await remoteCallOf(server, made.id);
    await server.app.db.ultravoxWebhook.create({
      data: {
        id: newId(),
        ultravoxCallId: ultravoxId!,
        event: 'call.later',
        payload: { ...remote, joined: 'nonsense', broken: secret, maxDuration: 7 },
        error: `could not parse ${secret}`,
      },
    });
    const { deletedCallIds } = await done(caller.client, 'deleteCalls', { ids: [made.id] });
    expect(deletedCallIds).toEqual([made.id]);

    const gone = await caller.client.send(
      `query ($id: ID!, $person: E164!) { call(id: $id) { id } node(id: $id) { id }
        calls(filter: { phoneNumber: $person }) { totalCount nodes { id } } }`,
      { id: made.id, person },
    );
    expect(dataOf(gone)).toEqual({
      call: null,
      node: null,
      calls: { totalCount: 0, nodes: [] },
    });
    const byNumber = await caller.client.send(
      `query ($id: ID!) { phoneNumber(id: $id) { calls(first: 100) { nodes { id } } } }`,
      { id: caller.numberId },
    );
    expect(JSON.stringify(dataOf(byNumber))).not.toContain(made.id);
    for (const [name, input, problem] of [
      ['endCall', { id: made.id }, 'NOT_FOUND id'],
      ['deleteCalls', { ids: [made.id] }, 'NOT_FOUND ids.0'],
    ] as const) {
      expect(problemsOf(await run(caller.client, name, input))).toEqual([problem]);
    }

    const events = await server.app.db.event.findMany({
      where: { callId: uuidOf(made.id) },
      orderBy: { sequence: 'asc' },
    });
    expect(events.at(-1)).toMatchObject({ type: 'CALL_DELETED', sequence: events.length });
    await until('Ultravox to have removed it', async () => {
      const { status } = await atSimulator(server, 'GET', `/api/calls/${ultravoxId}`);
      // 425: Ultravox remembers that there was one.
      return status !== 200;
    });
    await until('everything personal to be gone', async () => {
      const left = await server.app.db.$queryRaw<{ text: string }[]>`
        SELECT to_jsonb(c)::text AS text FROM calls c WHERE id = ${uuidOf(made.id)}::uuid
        UNION ALL SELECT to_jsonb(e)::text FROM events e WHERE call_id = ${uuidOf(made.id)}::uuid
        UNION ALL SELECT to_jsonb(w)::text FROM ultravox_webhooks w WHERE ultravox_call_id = ${ultravoxId}`;
      expect(left.length).toBeGreaterThan(6);
      const text = JSON.stringify(left);
      expect(text).not.toContain(secret);
      expect(text).not.toContain(person);
      return true;
    });
    await done(caller.client, 'endCall', { id: live.id });
  });

  test('needs 1 to 100 ids', async () => {
    const none = await run(caller.client, 'deleteCalls', { ids: [] });
    expect(problemsOf(none)).toEqual(['REQUIRED ids']);
    const many = await run(caller.client, 'deleteCalls', {
      ids: Array.from({ length: 101 }, () => publicId('cal', newId())),
    });
    expect(problemsOf(many)).toEqual(['LIMIT_EXCEEDED ids']);
  });
});
