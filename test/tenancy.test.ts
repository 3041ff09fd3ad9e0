/**
 * An organization cannot read or change objects of another one. With its own key, it tries to read every field of
 * every type by every ID, and tries every mutation.
 */
import { type GraphQLField, type GraphQLObjectType, getNamedType, isObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../src/server/schema.ts';
import { statementCountsSuite } from './statement-counts.suite.ts';
import { createOneOfEach } from './support/one-of-each.ts';
import { selectEverything } from './support/schema/everything.ts';
import { inputWith, leavesOf, mutations, typeOfId } from './support/schema/mutation-inputs.ts';
import { startTestServer, type TestServer } from './support/servers/server.ts';

/** Part of every text of the first organization, so that leaks are detected. */
const MARK = 'Zanzibar';
let server: TestServer;
let stranger: Awaited<ReturnType<TestServer['newOrganization']>>;
/** An id of each type with ids, from the first organization. */
const ids: Record<string, string> = {};
/** The same from the other organization. */
const own: Record<string, string> = {};

beforeAll(async () => {
  server = await startTestServer();
  stranger = await server.newOrganization();
  Object.assign(ids, await createOneOfEach(server, MARK));
  const { client, key, id: organizationId } = stranger;
  Object.assign(own, await createOneOfEach({ ...server, client, key, organizationId }, 'Timbuktu'));
});

afterAll(() => server.close());

function expectNothing(answer: unknown): void {
  const text = JSON.stringify(answer);
  expect(text).not.toMatch(/zanzibar/i);
  for (const [type, id] of Object.entries(ids)) {
    // Only error messages may repeat the id that was sent.
    const data = JSON.stringify((answer as { data?: unknown }).data ?? null, (key, value) =>
      key === 'message' ? undefined : value,
    );
    expect(data, type).not.toContain(id.slice(4));
  }
}

const query = schema.getQueryType()!;

describe('access by another organization', () => {
  it('is tested with an object of every type', () => {
    const nodes = schema.getPossibleTypes(schema.getType('Node') as never).map(({ name }) => name);
    expect(Object.keys(ids).sort()).toEqual([...nodes].sort());
  });

  it('is tested with objects that their owner sees', async () => {
    const answer = await server.client.send(`query ${selectEverything(query, 3)}`);
    expect(JSON.stringify(answer.data)).toMatch(/zanzibar/i);
  });

  it('finds nothing in any list', async () => {
    for (const field of Object.values(query.getFields())) {
      if (field.args.some((arg) => String(arg.type).endsWith('!'))) continue;
      const named = getNamedType(field.type);
      const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
      const selection = isObjectType(named) ? selectEverything(named, 3) : '';
      const answer = await stranger.client.send(`{ ${field.name}${page} ${selection} }`);
      expect(answer.errors, `${field.name}: ${JSON.stringify(answer.errors)}`).toBeUndefined();
      expectNothing(answer);
    }
  });

  it.each(
    Object.values(query.getFields())
      .filter((field) => field.args.some(({ name }) => name === 'id'))
      .map(({ name, type }) => [name, getNamedType(type)] as const),
  )('gets null from %s(id:)', async (name, type) => {
    const targets = name === 'node' ? Object.values(ids) : [ids[type.name]];
    for (const id of targets) {
      const answer = await stranger.client.send(`query($id: ID!) { ${name}(id: $id) { id } }`, {
        id,
      });
      expect(answer.errors).toBeUndefined();
      expect(answer.data).toEqual({ [name]: null });
    }
  });

  it('gets null from nodes(ids:)', async () => {
    const answer = await stranger.client.send('query($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
      ids: Object.values(ids),
    });
    expect(answer.data.nodes).toEqual(Object.values(ids).map(() => null));
  });

  it.each(
    mutations.flatMap(({ name, field, input }) =>
      leavesOf(input)
        .filter((leaf) => getNamedType(leaf.field.type).name === 'ID')
        .map((leaf) => [name, leaf.path.join('.'), { field, input, leaf }] as const),
    ),
  )('changes nothing with %s and its %s', async (name, path, { field, input, leaf }) => {
    const foreign = { path: leaf.path, value: ids[typeOfId(leaf.field, ids)] };
    const before = await snapshot();
    const sent = inputWith(input, own, foreign);
    // The campaign is looked up once there are contacts to add.
    if (name === 'addCampaignContacts' && path === 'campaignId') sent.contactIds = [own.Contact];
    const answer = await run(field, sent);
    expectNothing(answer);
    const { userErrors, ...result } = answer.data[name];
    if (leaf.path.includes('filter') && userErrors.length === 0) {
      const counts = Object.values(result).filter((value) => typeof value === 'number');
      expect(counts.length).toBeGreaterThan(0);
      expect(counts.every((count) => count === 0)).toBe(true);
    } else {
      const found = userErrors.filter((error: UserError) => error.path.join('.') === path);
      expect(found, JSON.stringify(answer)).toMatchObject([{ code: 'NOT_FOUND' }]);
    }
    expect(await snapshot()).toEqual(before);
  });

  it.each(
    mutations.filter(({ input }) =>
      leavesOf(input).every(({ field }) => getNamedType(field.type).name !== 'ID'),
    ),
  )('changes nothing with $name, which takes no id', async ({ field, input }) => {
    const before = await snapshot();
    expectNothing(await run(field, inputWith(input, own, { path: [], value: undefined })));
    expect(await snapshot()).toEqual(before);
  });

  it('receives no events of its calls', async () => {
    const { client } = await server.newOrganization();
    const answer = await client.send('{ eventCursor }');
    expect(answer.data).toEqual({ eventCursor: '0' });
  });
});

// The last, because it adds objects.
statementCountsSuite(() => server, ids);

interface UserError {
  code: string;
  path: (string | number)[];
}

/** Runs a mutation as the other organization. */
async function run(field: GraphQLField<unknown, unknown>, input: object) {
  const payload = getNamedType(field.type) as GraphQLObjectType;
  return stranger.client.send(
    `mutation ($input: ${field.args[0]!.type}) {
      ${field.name}(input: $input) ${selectEverything(payload, 2)} }`,
    { input },
  );
}

/** The rows that must not change. */
async function snapshot(): Promise<unknown> {
  const where = { organizationId: server.organizationId };
  const { db } = server.app;
  return Promise.all([
    db.organization.findUnique({ where: { id: server.organizationId } }),
    db.apiKey.findMany({ where, select: { id: true, name: true, revokedAt: true } }),
    db.tool.findMany({ where, select: { id: true, name: true, revision: true, deletedAt: true } }),
    db.knowledgeBase.findMany({ where, select: { id: true, name: true, deletedAt: true } }),
    db.knowledgeSource.findMany({ where, select: { id: true, name: true, deletedAt: true } }),
    db.agent.findMany({ where, select: { id: true, revision: true, deletedAt: true } }),
    db.phoneNumber.findMany({
      where,
      select: {
        id: true,
        name: true,
        inboundAgentId: true,
        outboundAgentId: true,
        releasedAt: true,
      },
    }),
    db.call.findMany({ where, select: { id: true, endRequestedAt: true, deletedAt: true } }),
    db.contactFolder.findMany({ where }),
    db.contact.findMany({ where }),
    db.doNotCallEntry.findMany({ where }),
    db.contactImport.findMany({ where }),
    db.campaign.findMany({ where }),
    db.campaignContact.findMany({ where }),
    db.webhookEndpoint.findMany({
      where,
      select: { id: true, url: true, description: true, secret: true, disabledAt: true },
    }),
  ]);
}
