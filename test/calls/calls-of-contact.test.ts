/** The calls of a contact, found by its phone number. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { accepted } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
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

  it('takes a number of statements that does not grow with the contacts', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      const phoneNumber = `+1415555020${index}`;
      ids.push(await addContact(phoneNumber));
      for (let call = 0; call < index; call += 1) await addCall(phoneNumber);
    }
    const api = await startApiBeside(server);
    const client = createClient(api.url, owner.client.key);
    const costOf = (some: string[]) => countQueries(api.app, () => callsOf(some, {}, client));
    const costOfOne = await costOf(ids.slice(1, 2));
    expect(costOfOne).toBeGreaterThan(0);
    expect(await costOf(ids)).toBe(costOfOne);
    await api.close();
  });

  it('leaves connections to other organizations while it filters the calls of many contacts', async () => {
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, index) => addContact(`+141555504${10 + index}`)),
    );
    const stranger = await server.newOrganization();
    const api = await startApiBeside(server);
    const filtered = `query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Contact {
      calls(filter: { direction: OUTBOUND }) { nodes { id } } } } }`;
    const { db } = api.app;
    const { reading, waitedMs } = await db.$transaction(async (tx) => {
      const holder = await sessionOf(tx);
      await tx.$executeRaw`LOCK TABLE calls IN ACCESS EXCLUSIVE MODE`;
      const sent = createClient(api.url, owner.client.key).send(filtered, { ids });
      await untilBlocked(db, { holder, statement: '%direction%' });
      const started = performance.now();
      dataOf(await createClient(api.url, stranger.key).send('{ contactFolders { nodes { id } } }'));
      return { reading: sent, waitedMs: performance.now() - started };
    });
    expect(waitedMs).toBeLessThan(5_000);
    expect(dataOf(await reading).nodes).toHaveLength(40);
    await api.close();
  });
});
