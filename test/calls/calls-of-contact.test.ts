/** The calls of a contact, found by its phone number. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { accepted } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { blockedSessions, sessionOf, untilBlocked } from '../support/locks.ts';
import { countQueries } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';
import { dataOf, makeAgent, uuidOf } from './support.ts';

let server: TestServer;
let owner: { client: GraphQLClient; id: string };
let agentId: string;

beforeAll(async () => {
  server = await startTestServer();
  owner = await server.newOrganization();
  agentId = await makeAgent(server, { client: owner.client, organizationId: owner.id });
});
afterAll(() => server.close());

async function addContact(phoneNumber: string): Promise<string> {
  const organizationId = owner.id;
  const folder = { id: newId(), organizationId, name: phoneNumber };
  const { id: folderId } = await server.app.db.contactFolder.create({ data: folder });
  const id = newId();
  await server.app.db.contact.create({
    data: { id, organizationId, folderId, phoneNumber, searchText: '' },
  });
  return publicId('Contact', id);
}

async function addCall(phoneNumber: string, more: object = {}): Promise<string> {
  const id = newId();
  await server.app.db.call.create({
    data: {
      id,
      organizationId: owner.id,
      agentId: uuidOf(agentId),
      direction: 'OUTBOUND',
      medium: 'SIP',
      status: 'COMPLETED',
      ...accepted(),
      phoneNumber,
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      endedAt: new Date(),
      ...more,
    },
  });
  return publicId('Call', id);
}

describe('Contact.calls', () => {
  const CALLS = `query ($ids: [ID!]!, $first: Int, $after: String) {
    nodes(ids: $ids) { ... on Contact { calls(first: $first, after: $after) {
      totalCount
      edges { cursor node { id direction agent { name } } }
    } } }
  }`;

  const callsOf = async (ids: string[], more: object = {}, client = owner.client) => {
    const { nodes } = dataOf(await client.send(CALLS, { ids, ...more }));
    return nodes.map(({ calls }: { calls: { edges: { node: { id: string } }[] } }) =>
      calls.edges.map(({ node }) => node.id),
    );
  };

  it('lists calls in both directions with each form of the number, newest first', async () => {
    const at = (hour: number) => ({ createdAt: new Date(Date.UTC(2026, 0, 1, hour)) });
    const called = await addCall('+5491123456789', at(1));
    const calling = await addCall('+541123456789', { direction: 'INBOUND', ...at(3) });
    const between = await addCall('+5491123456789', at(2));
    await addCall('+5491123456789', { deletedAt: new Date(), ...at(4) });
    const elsewhere = await addCall('+14155550101');
    const stranger = await server.newOrganization();
    const agent = await makeAgent(server, { client: stranger.client, organizationId: stranger.id });
    await addCall('+14155550101', { organizationId: stranger.id, agentId: uuidOf(agent) });
    // The first two are one person in two folders.
    const ids = [
      await addContact('+5491123456789'),
      await addContact('+541123456789'),
      await addContact('+14155550101'),
      await addContact('+14155550102'),
    ];
    const all = [calling, between, called];
    expect(await callsOf(ids)).toEqual([all, all, [elsewhere], []]);
    const first = dataOf(await owner.client.send(CALLS, { ids, first: 1 })).nodes;
    expect(first.map(({ calls }: { calls: { totalCount: number } }) => calls.totalCount)).toEqual([
      3, 3, 1, 0,
    ]);
    const [{ cursor, node }] = first[0].calls.edges;
    expect(node).toMatchObject({ id: calling, direction: 'INBOUND', agent: {} });
    expect(await callsOf(ids.slice(0, 1), { after: cursor })).toEqual([[between, called]]);
  });

  it('filters and sorts, for each contact', async () => {
    const at = (hour: number) => new Date(Date.UTC(2026, 0, 1, hour));
    const [first, second] = ['+5491123456701', '+14155550301'];
    const made = [
      await addCall(first, { createdAt: at(1), endedAt: at(9) }),
      await addCall('+541123456701', { createdAt: at(2), endedAt: at(8), direction: 'INBOUND' }),
      await addCall(first, { createdAt: at(3), endedAt: null, status: 'IN_PROGRESS' }),
      await addCall(second, { createdAt: at(4), endedAt: at(6), medium: 'WEBRTC' }),
    ];
    const ids = [await addContact(first), await addContact(second)];
    const read = async (args: object) => {
      const { nodes } = dataOf(
        await owner.client.send(
          `query ($ids: [ID!]!, $filter: CallFilter, $orderBy: CallOrder, $first: Int, $after: String) {
            nodes(ids: $ids) { ... on Contact { calls(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
              totalCount nodes { id } pageInfo { hasNextPage endCursor } } } } }`,
          { ids, ...args },
        ),
      );
      return nodes.map(({ calls }: { calls: { nodes: { id: string }[] } }) => calls);
    };
    const found = async (args: object) =>
      (await read(args)).map((calls: { totalCount: number; nodes: { id: string }[] }) => {
        expect(calls.totalCount).toBe(calls.nodes.length);
        return calls.nodes.map(({ id }) => made.indexOf(id));
      });
    expect(await found({})).toEqual([[2, 1, 0], [3]]);
    expect(await found({ filter: {} })).toEqual([[2, 1, 0], [3]]);
    expect(await found({ filter: { direction: 'OUTBOUND' } })).toEqual([[2, 0], [3]]);
    expect(await found({ filter: { medium: ['WEBRTC'] } })).toEqual([[], [3]]);
    expect(await found({ filter: { phoneNumber: second } })).toEqual([[], [3]]);
    const oldest = { orderBy: { field: 'CREATED_AT', direction: 'ASC' } };
    expect(await found(oldest)).toEqual([[0, 1, 2], [3]]);
    expect(await found({ orderBy: { field: 'ENDED_AT', direction: 'ASC' } })).toEqual([
      [1, 0, 2],
      [3],
    ]);
    const [page] = await read({ ...oldest, first: 2 });
    expect(page).toMatchObject({ totalCount: 3, pageInfo: { hasNextPage: true } });
    const [rest] = await read({ ...oldest, after: page.pageInfo.endCursor });
    expect(rest.nodes).toEqual([{ id: made[2] }]);
  });

  it('shows the values of each field in its own form', async () => {
    const answeredAt = new Date(Date.UTC(2026, 0, 1));
    const endedAt = new Date(Date.UTC(2026, 0, 1, 0, 0, 5));
    await addCall('+14155550601', { answeredAt, endedAt });
    const { node } = dataOf(
      await owner.client.send(
        `query ($id: ID!) { node(id: $id) { ... on Contact {
          times: calls(first: 1) { nodes { answeredAt endedAt } }
          durations: calls(first: 1) { nodes { durationSeconds } } } } }`,
        { id: await addContact('+14155550601') },
      ),
    );
    const times = { answeredAt: answeredAt.toISOString(), endedAt: endedAt.toISOString() };
    expect(node).toEqual({
      times: { nodes: [times] },
      durations: { nodes: [{ durationSeconds: 5 }] },
    });
  });

  it('has the arguments and fields of each place, also below objects of other types', async () => {
    const at = (hour: number) => ({ createdAt: new Date(Date.UTC(2026, 0, 1, hour)) });
    const [number, imported] = ['+14155550801', '+14155550802'];
    const calls: { id: string; direction: string }[] = [];
    for (let hour = 0; hour < 4; hour += 1) {
      const direction = hour % 2 ? 'INBOUND' : 'OUTBOUND';
      await addCall(number, { direction, ...at(hour) });
      calls.unshift({ id: await addCall(imported, { direction, ...at(hour) }), direction });
    }
    const contactId = await addContact(number);
    const { folderId } = await server.app.db.contact.findUniqueOrThrow({
      where: { id: uuidOf(await addContact(imported)) },
    });
    const { id } = await server.app.db.contactImport.create({
      data: {
        ...{ id: newId(), organizationId: owner.id, folderId, filename: 'contacts.csv' },
        ...{ status: 'COMPLETED', mapping: {}, updateExisting: false, sizeBytes: 0 },
      },
    });
    const importId = publicId('ContactImport', id);
    const query = `query ($ids: [ID!]!) { nodes(ids: $ids) {
      ... on Contact { f: folder { contacts { nodes { calls(first: 1) { totalCount nodes { status } } } } } }
      ... on ContactImport { f: folder { contacts { nodes {
        calls(first: 3, filter: { direction: INBOUND }) { totalCount nodes { id direction } } } } } } } }`;
    const shown = (calls: object) => ({ f: { contacts: { nodes: [{ calls }] } } });
    const inbound = calls.filter(({ direction }) => direction === 'INBOUND');
    const expected = [
      shown({ totalCount: 4, nodes: [{ status: 'COMPLETED' }] }),
      shown({ totalCount: 2, nodes: inbound }),
    ];
    const read = async (ids: string[]) => dataOf(await owner.client.send(query, { ids })).nodes;
    expect(await read([contactId, importId])).toEqual(expected);
    expect(await read([importId, contactId])).toEqual(expected.toReversed());
  });

  it.each([
    'calls { totalCount }',
    'calls(filter: { direction: OUTBOUND }) { totalCount }',
    'calls(filter: { direction: OUTBOUND }) { nodes { id } }',
    'calls(orderBy: { field: DURATION, direction: DESC }) { pageInfo { hasNextPage } }',
  ])('leaves connections to other organizations, in however many operations: %s', async (field) => {
    const ids = await Promise.all(['+14155550410', '+14155550411'].map(addContact));
    const stranger = await server.newOrganization();
    const api = await startApiBeside(server);
    const query = `query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Contact { ${field} } } }`;
    const { db } = api.app;
    const { reading, waitedMs } = await db.$transaction(
      async (tx) => {
        const reads = { holder: await sessionOf(tx), statement: '%AS p(parent, value)%' };
        await tx.$executeRaw`LOCK TABLE calls IN ACCESS EXCLUSIVE MODE`;
        const client = createClient(api.url, owner.client.key);
        const sent = Array.from({ length: 60 }, () => client.send(query, { ids }));
        await untilBlocked(db, reads);
        const started = performance.now();
        for (let request = 0; request < 3; request += 1) {
          const other = createClient(api.url, stranger.key);
          dataOf(await other.send('{ contactFolders { nodes { id } } }'));
        }
        expect(await blockedSessions(db, reads)).toHaveLength(1);
        return { reading: sent, waitedMs: performance.now() - started };
      },
      { timeout: 30_000 },
    );
    expect(waitedMs).toBeLessThan(5_000);
    for (const answer of await Promise.all(reading)) expect(dataOf(answer).nodes).toHaveLength(2);
    await api.close();
  });
});

describe('Contact.calls of many contacts', () => {
  /** Both forms of one number, and others. */
  const NUMBERS = Array.from({ length: 20 }, (_, index) =>
    index === 0 ? '+5491123456799' : `+14155550${700 + index}`,
  );
  let api: TestServer;
  let client: GraphQLClient;
  let contactIds: string[];

  beforeAll(async () => {
    api = await startApiBeside(server);
    client = createClient(api.url, owner.client.key);
    contactIds = await Promise.all(NUMBERS.map(addContact));
    for (const [contact, number] of NUMBERS.entries()) {
      for (let index = 0; index < 2 + (contact % 4) * 2; index += 1) {
        await addVariedCall(contact === 0 && index % 2 === 0 ? '+541123456799' : number, index);
      }
    }
  });
  afterAll(() => api?.close());

  async function addVariedCall(phoneNumber: string, index: number): Promise<void> {
    const start = Date.UTC(2026, 1, 1 + Math.floor(index / 2));
    const isAnswered = index % 3 !== 0;
    const id = await addCall(phoneNumber, {
      createdAt: new Date(start),
      status: index % 4 === 3 ? 'FAILED' : 'COMPLETED',
      direction: index % 2 === 0 ? 'OUTBOUND' : 'INBOUND',
      answeredAt: isAnswered ? new Date(start) : null,
      endedAt: index === 5 ? null : new Date(start + ((index * 7) % 5) * 1_000),
      costAmount: index % 3 === 1 ? null : `0.0${(index * 3) % 7}`,
      metadata: { group: `g${index % 2}` },
      metadataEntries: [JSON.stringify(['group', `g${index % 2}`])],
      dncQuote: index % 4 === 1 ? 'Stop calling' : null,
    });
    const { db } = server.app;
    const call = { organizationId: owner.id, callId: uuidOf(id) };
    await db.callFact.update({
      where: { callId: call.callId },
      data: { success: index % 2 === 0 },
    });
    const status = index % 4 === 2 ? ('FAILED' as const) : ('DONE' as const);
    await db.postCallStep.create({ data: { ...call, kind: 'ANALYSIS', status } });
    if (!isAnswered) return;
    const words = ['hello', ...(index % 2 === 0 ? ['refund'] : [])];
    await db.callTranscript.create({
      data: { ...call, words, turnCount: 1, storedAt: new Date() },
    });
  }

  const FIELDS =
    'totalCount edges { cursor node { id createdAt durationSeconds agent { name } } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }';
  const CALLS = `query ($ids: [ID!]!, $filter: CallFilter, $orderBy: CallOrder, $first: Int, $last: Int, $after: String, $before: String) {
    nodes(ids: $ids) { ... on Contact { calls(filter: $filter, orderBy: $orderBy, first: $first, last: $last, after: $after, before: $before) {
      ${FIELDS} } } } }`;
  const OF_NUMBER = `query ($filter: CallFilter, $orderBy: CallOrder, $first: Int, $last: Int) {
    calls(filter: $filter, orderBy: $orderBy, first: $first, last: $last) {
      totalCount edges { node { id createdAt durationSeconds agent { name } } } pageInfo { hasNextPage hasPreviousPage } } }`;

  interface CallPage {
    totalCount: number;
    edges: { cursor: string; node: { id: string } }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  }

  const read = async (ids: readonly string[], args: object): Promise<CallPage[]> =>
    dataOf(await client.send(CALLS, { ids, ...args })).nodes.map(
      ({ calls }: { calls: CallPage }) => calls,
    );

  const order = (field: string, direction: string) => ({ orderBy: { field, direction } });
  const CASES: [string, { filter?: object; orderBy?: object }][] = [
    ['no arguments', {}],
    ...['CREATED_AT', 'DURATION', 'COST', 'ENDED_AT'].flatMap((field) =>
      ['ASC', 'DESC'].map((way): [string, object] => [`${field} ${way}`, order(field, way)]),
    ),
    ...Object.entries({
      status: ['FAILED'],
      direction: 'INBOUND',
      createdFrom: '2026-02-02T00:00:00Z',
      endedBefore: '2026-02-02T00:00:02Z',
      minDurationSeconds: 1,
      maxCost: '0.03',
      metadata: { group: 'g1' },
      transcript: 'hello refund',
      doNotCallRequested: true,
      analysisStatus: 'FAILED',
      successful: false,
    }).map(([name, value]): [string, object] => [name, { filter: { [name]: value } }]),
    ['a filter and an order', { filter: { successful: true }, ...order('COST', 'DESC') }],
  ];

  it.each(
    CASES,
  )('are the calls with their numbers, in constantly many statements: %s', async (_name, args) => {
    for (const page of [{ first: 3 }, { last: 2 }]) {
      const pages = await read(contactIds, { ...args, ...page });
      for (const [index, phoneNumber] of NUMBERS.entries()) {
        const filter = { ...args.filter, phoneNumber };
        const { calls } = dataOf(await client.send(OF_NUMBER, { ...args, ...page, filter }));
        expect(pages[index], phoneNumber).toMatchObject(calls);
      }
      expect(await read(contactIds.slice(0, 1), { ...args, ...page })).toEqual(pages.slice(0, 1));
    }
    expect(
      new Set((await read(contactIds, args)).map(({ totalCount }) => totalCount)).size,
    ).toBeGreaterThan(1);
    const [first] = await read(contactIds.slice(0, 1), { ...args, first: 1 });
    const after = { ...args, first: 1, after: first!.pageInfo.endCursor };
    for (const given of [{ ...args, first: 2 }, after]) {
      const few = await countQueries(api.app, () => read(contactIds.slice(0, 2), given));
      expect(await countQueries(api.app, () => read(contactIds, given))).toBe(few);
    }
  });

  it.each(CASES)('can be paged through: %s', async (_name, args) => {
    const [whole] = await read(contactIds.slice(0, 1), { ...args, first: 100 });
    const seen: string[] = [];
    let after: string | null = null;
    do {
      // The cursor is that of the first contact, but all of them are read after it.
      const [page]: CallPage[] = await read(contactIds, { ...args, first: 1, after });
      seen.push(...page!.edges.map(({ node }) => node.id));
      after = page!.pageInfo.hasNextPage ? page!.pageInfo.endCursor : null;
    } while (after);
    expect(seen).toEqual(whole!.edges.map(({ node }) => node.id));
    expect(seen).toHaveLength(whole!.totalCount);
  });
});
