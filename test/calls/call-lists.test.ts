/** Lists of calls: order, paging, filters, counts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { accepted } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { countQueries, recordStatements } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';
import { addNumber, type CallView, dataOf, makeAgent, problemsOf, run, uuidOf } from './support.ts';

let server: TestServer;
let other: { client: GraphQLClient; id: string };

beforeAll(async () => {
  server = await startTestServer();
  other = await server.newOrganization();
});
afterAll(() => server.close());

describe('calls', () => {
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
    const REASONS = ['HANGUP', 'NO_ANSWER', 'CANCELLED'] as const;
    for (let index = 0; index < COUNT; index += 1) {
      const id = newId();
      ids.push(publicId('Call', id));
      const metadata: Record<string, string> = { group: `g${index % 5}`, order: `${index % 7}` };
      const [group, order] = Object.entries(metadata).map((entry) => JSON.stringify(entry));
      await server.app.db.call.create({
        data: {
          id,
          organizationId: owner.id,
          agentId: uuidOf(agents[index % 2]!),
          phoneNumberId: index % 3 === 0 ? null : uuidOf(numbers[index % 2]!.id),
          direction: index % 4 === 0 ? 'INBOUND' : 'OUTBOUND',
          medium: index % 6 === 0 ? 'WEBRTC' : 'SIP',
          status: STATUSES[index % 3]!,
          ...accepted(),
          phoneNumber: `+141555502${String(index % 10).padStart(2, '0')}`,
          metadata,
          metadataEntries: [group!, order!],
          maxDurationSeconds: 60,
          joinTimeoutSeconds: 30,
          // Pairs made at the same instant, so that order and paging must go by id too.
          createdAt: new Date(START + Math.floor(index / 2) * 60_000),
          endReason: REASONS[index % 3]!,
          // From the answer to the end: 0 to 5 seconds in steps of 0.5, in no order.
          answeredAt: index % 3 === 0 ? new Date(START) : null,
          endedAt: new Date(START + ((index * 7) % 11) * 500),
          costAmount: index % 4 === 0 ? `0.${String((index * 7) % 10)}5` : null,
        },
      });
    }
  });

  it('returns newest first by default, oldest first on request, and breaks ties by ID', async () => {
    const newest = await list({ first: 100 });
    expect(newest.nodes.map(({ id }: CallView) => id)).toEqual([...ids].reverse().slice(0, 100));
    const oldest = await list({ first: 100, orderBy: { field: 'CREATED_AT', direction: 'ASC' } });
    expect(oldest.nodes.map(({ id }: CallView) => id)).toEqual(ids.slice(0, 100));
    expect((await list()).nodes).toHaveLength(50);
  });

  it('returns every call once, forwards and backwards', async () => {
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

  it.each([
    [{ first: 101 }],
    [{ first: 0 }],
    [{ last: 101 }],
  ])('rejects a page of %j', async (page) => {
    const answer = await owner.client.send(LIST, page);
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
    const counted = await owner.client.send(
      'query ($first: Int, $last: Int) { calls(first: $first, last: $last) { totalCount } }',
      page,
    );
    expect(counted.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  it('rejects an invalid phone number as a filter', async () => {
    const answer = await owner.client.send(LIST, { filter: { phoneNumber: '0171 555' } });
    expect(answer.errors).toMatchObject([
      {
        message: expect.stringContaining('`filter.phoneNumber`'),
        extensions: { code: 'BAD_USER_INPUT' },
      },
    ]);
  });

  it('counts only on request, and for any number of agents in one statement', async () => {
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
      (await recordStatements(api.app, async () => dataOf(await reader.send(query)))).filter(
        (statement) => /count\(/i.test(statement),
      ).length;
    expect(await counts(nested('nodes { id }'))).toBe(0);
    expect(await counts('{ calls(first: 1) { nodes { id } } }')).toBe(0);
    expect(await counts('{ calls(first: 1) { totalCount } }')).toBe(1);
    await makeAgent(server, { client: owner.client, organizationId: owner.id });
    expect(await statements(nested('totalCount nodes { id }'))).toBe(counting);
    await api.close();
  });

  it('filters by each condition and by all together', async () => {
    expect(await matching({ status: ['FAILED'] })).toEqual(indexes((i) => i % 3 === 1));
    expect(await matching({ status: ['FAILED', 'CANCELLED'] })).toEqual(
      indexes((i) => i % 3 !== 0),
    );
    expect(await matching({ status: ['IN_PROGRESS'] })).toEqual([]);
    expect((await list({ filter: { status: [] } })).totalCount).toBe(COUNT);
    expect(await matching({ direction: 'INBOUND' })).toEqual(indexes((i) => i % 4 === 0));
    expect(await matching({ agentId: agents[1] })).toEqual(indexes((i) => i % 2 === 1));
    expect(await matching({ phoneNumberId: numbers[0]!.id })).toEqual(
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
    expect(await matching({ metadata: { order: 3 } })).toEqual(indexes((i) => i % 7 === 3));
    expect(await matching({ metadata: { group: 'g' } })).toEqual([]);
    expect(await matching({ metadata: { group: 2 } })).toEqual([]);
    expect(
      await matching({ metadata: { group: 'g1' }, direction: 'INBOUND', agentId: agents[0] }),
    ).toEqual(indexes((i) => i % 5 === 1 && i % 4 === 0));
  });

  it('filters by medium and end time', async () => {
    expect(await matching({ medium: ['WEBRTC'] })).toEqual(indexes((i) => i % 6 === 0));
    expect(await matching({ medium: ['TWILIO'] })).toEqual([]);
    expect(await matching({ medium: ['SIP', 'TELNYX'] })).toEqual(indexes((i) => i % 6 !== 0));
    expect((await list({ filter: { medium: [] } })).totalCount).toBe(COUNT);
    const end = (i: number) => (i * 7) % 11;
    const at = (half: number) => new Date(START + half * 500).toISOString();
    expect(await matching({ endedFrom: at(3), endedBefore: at(6) })).toEqual(
      indexes((i) => end(i) >= 3 && end(i) < 6),
    );
    expect(await matching({ endedFrom: at(9) })).toEqual(indexes((i) => end(i) >= 9));
    expect(await matching({ endedBefore: at(1) })).toEqual(indexes((i) => end(i) < 1));
    expect((await list({ filter: { endedBefore: '9999-12-31T23:59:59Z' } })).totalCount).toBe(
      COUNT,
    );
  });

  it('filters by end reason, duration and cost', async () => {
    expect(await matching({ endReason: ['NO_ANSWER'] })).toEqual(indexes((i) => i % 3 === 1));
    expect(await matching({ endReason: ['HANGUP', 'BUSY'] })).toEqual(indexes((i) => i % 3 === 0));
    const half = (i: number) => (i * 7) % 11;
    expect(await matching({ minDurationSeconds: 2.5 })).toEqual(
      indexes((i) => i % 3 === 0 && half(i) >= 5),
    );
    expect(await matching({ minDurationSeconds: 0.5, maxDurationSeconds: 1 })).toEqual(
      indexes((i) => i % 3 === 0 && half(i) >= 1 && half(i) <= 2),
    );
    const tenth = (i: number) => (i * 7) % 10;
    expect(await matching({ minCost: '0.25', maxCost: '0.65' })).toEqual(
      indexes((i) => i % 4 === 0 && tenth(i) >= 2 && tenth(i) <= 6),
    );
  });

  it.each([
    [{ minDurationSeconds: -1 }, '`filter.minDurationSeconds`'],
    [{ maxDurationSeconds: 1e9 }, '`filter.maxDurationSeconds`'],
    [{ minCost: '1e3' }, '`filter.minCost`'],
    [{ maxCost: '-1' }, '`filter.maxCost`'],
  ])('rejects the filter %j', async (filter, name) => {
    expect((await owner.client.send(LIST, { filter })).errors).toMatchObject([
      { message: expect.stringContaining(name), extensions: { code: 'BAD_USER_INPUT' } },
    ]);
  });

  it.each([
    ['DURATION', (i: number) => (i % 3 === 0 ? (i * 7) % 11 : null)],
    ['COST', (i: number) => (i % 4 === 0 ? (i * 7) % 10 : null)],
    ['ENDED_AT', (i: number) => (i * 7) % 11],
  ] as const)('sorts by %s, without calls that have none', async (field, amountOf) => {
    const { nodes, totalCount } = await list({
      first: 100,
      orderBy: { field, direction: 'DESC' },
    });
    const expected = indexes((i) => amountOf(i) !== null).sort(
      (a, b) => amountOf(b)! - amountOf(a)! || b - a,
    );
    expect(totalCount).toBe(expected.length);
    expect(nodes.map(({ id }: CallView) => ids.indexOf(id))).toEqual(expected.slice(0, 100));
  });

  it('returns the same lists on agents and phone numbers', async () => {
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

  it('rejects an ID of another type as a filter', async () => {
    const answer = await owner.client.send(LIST, { filter: { agentId: numbers[0]!.id } });
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  });

  it('returns no calls of another organization', async () => {
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
