/**
 * An organization cannot read or change objects of another one: with its own key, it reads every field of
 * every type by every id, and tries every mutation.
 */
import {
  type GraphQLInputType,
  type GraphQLObjectType,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../src/server/schema.ts';
import { sendFile } from './contacts/import/upload.ts';
import { everything } from './support/everything.ts';
import { createOneOfEach } from './support/one-of-each.ts';
import { startTestServer, type TestServer } from './support/servers/server.ts';

/** Part of every text of the first organization, so that leaks are detected. */
const MARK = 'Zanzibar';
let server: TestServer;
let stranger: Awaited<ReturnType<TestServer['newOrganization']>>;
/** An id of each type with ids, from the first organization. */
const ids: Record<string, string> = {};

beforeAll(async () => {
  server = await startTestServer();
  stranger = await server.newOrganization();
  Object.assign(ids, await createOneOfEach(server, MARK));
});

afterAll(() => server.close());

/** A value of an input type, with ids of the first organization. */
function fill(type: GraphQLInputType, name: string, owner: string): unknown {
  const inner = getNullableType(type);
  if (isListType(inner)) return [fill(inner.ofType, name.replace(/s$/, ''), owner)];
  if (isEnumType(inner)) return inner.getValues()[0]?.name;
  if (isInputObjectType(inner)) {
    const fields = Object.values(inner.getFields());
    // Optional files are omitted, because they cannot be sent as variables.
    const some = fields.filter(({ type }) => String(type) !== 'Upload');
    const wanted = inner.isOneOf ? some.slice(-1) : some;
    return Object.fromEntries(
      wanted.map((field) => [field.name, fill(field.type, field.name, owner)]),
    );
  }
  switch (inner.toString()) {
    case 'ID': {
      const type = name === 'folderId' ? 'contactFolder' : name.replace(/Id$/, '');
      const known = ids[`${type[0]?.toUpperCase()}${type.slice(1)}`];
      return name === 'id' || !known ? ids[owner] : known;
    }
    case 'Int':
      return 60;
    case 'Float':
      return 0.5;
    case 'Boolean':
      return true;
    case 'E164':
      return '+14155550199';
    case 'Duration':
      return '30s';
    case 'LanguageTag':
      return 'en-US';
    case 'Url':
      return 'https://example.com/x';
    case 'DateTime':
      return '2040-01-01T00:00:00Z';
    case 'JSON':
    case 'JSONObject':
      return { type: 'object' };
    default:
      return 'x';
  }
}

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
const mutation = schema.getMutationType()!;

describe('access by another organization', () => {
  it('is tested with an object of every type', () => {
    const nodes = schema.getPossibleTypes(schema.getType('Node') as never).map(({ name }) => name);
    expect(Object.keys(ids).sort()).toEqual([...nodes].sort());
  });

  it('is tested with objects that their owner sees', async () => {
    const answer = await server.client.send(`query ${everything(query, 3)}`);
    expect(JSON.stringify(answer.data)).toMatch(/zanzibar/i);
  });

  it('finds nothing in any list', async () => {
    for (const field of Object.values(query.getFields())) {
      if (field.args.some((arg) => String(arg.type).endsWith('!'))) continue;
      const named = getNamedType(field.type);
      const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
      const selection = isObjectType(named) ? everything(named, 3) : '';
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
    Object.values(mutation.getFields()).map((field) => [field.name, field] as const),
  )('changes nothing with %s', async (name, field) => {
    const payload = getNamedType(field.type) as GraphQLObjectType;
    const owner =
      Object.values(payload.getFields())
        .map(({ type }) => getNamedType(type).name)
        .find((type) => type in ids) ??
      Object.keys(ids).find((type) => name.toLowerCase().includes(type.toLowerCase())) ??
      'Call';
    const input = fill(field.args[0]!.type, 'input', owner) as Record<string, unknown>;
    // Only required ids and valid values, so that nothing else is rejected first.
    const before = await snapshot();
    const document = `mutation($input: ${field.args[0]!.type}) { ${name}(input: $input) ${everything(payload, 2)} }`;
    const answer =
      'file' in input
        ? await sendFile(stranger.client, document, 'phone\n+14155550145\n', input)
        : await stranger.client.send(document, { input });
    expectNothing(answer);
    const usesIds = JSON.stringify(input).match(/"[a-z]{3}_[0-9a-f-]{36}"/) !== null;
    if (usesIds) {
      const result = answer.data?.[name] as { userErrors: { code: string }[] } | undefined;
      expect(result?.userErrors.length, JSON.stringify(answer)).toBeGreaterThan(0);
    }
    expect(await snapshot()).toEqual(before);
  });

  it('receives no events of its calls', async () => {
    const answer = await stranger.client.send('{ eventCursor }');
    expect(answer.data).toEqual({ eventCursor: '0' });
  });
});

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
