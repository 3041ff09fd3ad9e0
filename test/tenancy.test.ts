/**
 * One organization never sees another's anything: with a key of its own, somebody else asks for
 * every field of every type, by every id, and tries every mutation on it.
 */
import {
  type GraphQLInputType,
  type GraphQLObjectType,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../src/graphql/schema.ts';
import { importFile, sendFile } from './contacts/upload.ts';
import { startTestServer, type TestServer } from './support/server.ts';
import { until } from './support/wait.ts';

/** Stands in every text of the first organization, so that any leak of it can be seen. */
const MARK = 'Zanzibar';
let server: TestServer;
let stranger: Awaited<ReturnType<TestServer['newOrganization']>>;
/** An id of each type that has ids, all of the first organization. */
const ids: Record<string, string> = {};

// biome-ignore lint/suspicious/noExplicitAny: whatever the document asked for
async function owned(document: string, variables?: unknown): Promise<any> {
  const answer = await server.client.send(document, variables);
  expect(answer.errors).toBeUndefined();
  const [payload] = Object.values(answer.data) as { userErrors?: unknown[] }[];
  expect(payload?.userErrors ?? []).toEqual([]);
  return payload;
}

beforeAll(async () => {
  server = await startTestServer();
  stranger = await server.newOrganization();
  ids.Organization = `org_${server.organizationId}`;
  const keys = await owned(
    'mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } userErrors { message } } }',
    { input: { name: `${MARK} key`, scopes: ['READ'] } },
  );
  ids.ApiKey = keys.apiKey.id;
  const voices = await owned('{ voices(first: 1) { nodes { id } } }');
  ids.Voice = voices.nodes[0].id;
  const tool = await owned(
    'mutation($input: CreateToolInput!) { createTool(input: $input) { tool { id } userErrors { message path } } }',
    {
      input: {
        name: `${MARK} tool`,
        description: `${MARK} lookup`,
        http: { url: 'https://zanzibar.example.com/lookup', method: 'GET' },
      },
    },
  );
  ids.Tool = tool.tool.id;
  const base = await owned(
    'mutation($input: CreateKnowledgeBaseInput!) { createKnowledgeBase(input: $input) { knowledgeBase { id } userErrors { message } } }',
    { input: { name: `${MARK} base` } },
  );
  ids.KnowledgeBase = base.knowledgeBase.id;
  const source = await owned(
    'mutation($input: AddWebSourceInput!) { addWebSource(input: $input) { knowledgeSource { id } userErrors { message path } } }',
    {
      input: {
        knowledgeBaseId: ids.KnowledgeBase,
        name: `${MARK} site`,
        urls: ['https://zanzibar.example.com'],
      },
    },
  );
  ids.KnowledgeSource = source.knowledgeSource.id;
  const agent = await owned(
    'mutation($input: CreateAgentInput!) { createAgent(input: $input) { agent { id status syncError } userErrors { message path } } }',
    {
      input: {
        name: `${MARK} agent`,
        voiceId: ids.Voice,
        systemPrompt: `You are ${MARK}.`,
        toolIds: [ids.Tool],
        knowledgeBaseIds: [ids.KnowledgeBase],
      },
    },
  );
  ids.Agent = agent.agent.id;
  await until('the agent to be active', async () => {
    const found = await owned('query($id: ID!) { agent(id: $id) { status } }', { id: ids.Agent });
    return found.status === 'ACTIVE';
  });
  const number = await owned(
    'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { phoneNumber { id } userErrors { message path } } }',
    {
      input: {
        phoneNumber: '+14155550177',
        name: `${MARK} desk`,
        provider: {
          sip: { server: 'sip.example.com', username: 'zanzibar', password: 'zanzibar-secret' },
        },
      },
    },
  );
  ids.PhoneNumber = number.phoneNumber.id;
  await owned(
    'mutation($input: AssignPhoneNumberInput!) { assignPhoneNumber(input: $input) { userErrors { message } } }',
    { input: { id: ids.PhoneNumber, agentId: ids.Agent, direction: 'OUTBOUND' } },
  );
  const call = await owned(
    'mutation($input: CreateCallInput!) { createCall(input: $input) { call { id } userErrors { message path } } }',
    { input: { agentId: ids.Agent, phoneNumber: '+14155550142', metadata: { where: MARK } } },
  );
  ids.Call = call.call.id;
  const folder = await owned(
    'mutation($input: CreateContactFolderInput!) { createContactFolder(input: $input) { contactFolder { id } userErrors { message } } }',
    { input: { name: `${MARK} folder` } },
  );
  ids.ContactFolder = folder.contactFolder.id;
  const contact = await owned(
    'mutation($input: CreateContactInput!) { createContact(input: $input) { contact { id } userErrors { message } } }',
    {
      input: { folderId: ids.ContactFolder, phoneNumber: '+14155550143', lastName: MARK },
    },
  );
  ids.Contact = contact.contact.id;
  await owned(
    'mutation($input: AddToDoNotCallInput!) { addToDoNotCall(input: $input) { userErrors { message } } }',
    { input: { entries: [{ phoneNumber: '+14155550199', reason: MARK }] } },
  );
  const imported = await importFile(server, `phone,name\n+14155550144,${MARK}\nnone,${MARK}\n`, {
    folderId: ids.ContactFolder,
  });
  ids.ContactImport = imported.id;
  const campaign = await owned(
    `mutation($input: CreateCampaignInput!) { createCampaign(input: $input) {
      campaign { id contacts { nodes { id } } } userErrors { message path } } }`,
    {
      input: {
        name: `${MARK} campaign`,
        agentId: ids.Agent,
        phoneNumberIds: [ids.PhoneNumber],
        contacts: [{ phoneNumber: '+14155550146', lastName: MARK, metadata: { where: MARK } }],
      },
    },
  );
  ids.Campaign = campaign.campaign.id;
  ids.CampaignContact = campaign.campaign.contacts.nodes[0].id;
}, 60_000);

afterAll(() => server.close());

/** Every field of a type, as deep as given; arguments that are needed are filled by `argument`. */
function everything(type: GraphQLObjectType, depth: number): string {
  const fields = Object.values(type.getFields()).flatMap((field) => {
    if (field.args.some((arg) => String(arg.type).endsWith('!'))) return [];
    const named = getNamedType(field.type);
    const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
    if (isLeafType(named)) return [`${field.name}${page}`];
    if (depth === 0) return [];
    if (isInterfaceType(named)) return [`${field.name} { id }`];
    return isObjectType(named) ? [`${field.name}${page} ${everything(named, depth - 1)}`] : [];
  });
  return `{ ${['__typename', ...fields].join(' ')} }`;
}

/** A value for an input that is valid as far as the types go; ids are those of the first organization. */
function fill(type: GraphQLInputType, name: string, owner: string): unknown {
  const inner = getNullableType(type);
  if (isListType(inner)) return [fill(inner.ofType, name.replace(/s$/, ''), owner)];
  if (isEnumType(inner)) return inner.getValues()[0]?.name;
  if (isInputObjectType(inner)) {
    const fields = Object.values(inner.getFields());
    // A file that is not needed is left out: it could not be sent as a variable.
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
    // The message of an error may repeat the id that was sent; nothing else may hold one.
    const data = JSON.stringify((answer as { data?: unknown }).data ?? null, (key, value) =>
      key === 'message' ? undefined : value,
    );
    expect(data, type).not.toContain(id.slice(4));
  }
}

const query = schema.getQueryType()!;
const mutation = schema.getMutationType()!;

describe('another organization', () => {
  it('is set up with everything there is: a type that is new has to be made here too', () => {
    const nodes = schema.getPossibleTypes(schema.getType('Node') as never).map(({ name }) => name);
    expect(Object.keys(ids).sort()).toEqual([...nodes].sort());
  });

  it('the owner sees the mark, so the test can fail', async () => {
    const answer = await server.client.send(`query ${everything(query, 3)}`);
    expect(JSON.stringify(answer.data)).toMatch(/zanzibar/i);
  });

  it('sees nothing in every field of every list', async () => {
    for (const field of Object.values(query.getFields())) {
      if (field.args.some((arg) => String(arg.type).endsWith('!'))) continue;
      const named = getNamedType(field.type);
      const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
      const selection = isObjectType(named) ? everything(named, 4) : '';
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

  it('gets nulls from nodes(ids:)', async () => {
    const answer = await stranger.client.send('query($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
      ids: Object.values(ids),
    });
    expect(answer.data.nodes).toEqual(Object.values(ids).map(() => null));
  });

  it.each(
    Object.values(mutation.getFields()).map((field) => [field.name, field] as const),
  )('cannot touch anything with %s', async (name, field) => {
    const payload = getNamedType(field.type) as GraphQLObjectType;
    const owner =
      Object.values(payload.getFields())
        .map(({ type }) => getNamedType(type).name)
        .find((type) => type in ids) ??
      Object.keys(ids).find((type) => name.toLowerCase().includes(type.toLowerCase())) ??
      'Call';
    const input = fill(field.args[0]!.type, 'input', owner) as Record<string, unknown>;
    // Only ids that are needed, and what is valid, so that nothing else is refused first.
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

  it('hears nothing of its calls', async () => {
    const answer = await stranger.client.send('{ eventCursor }');
    expect(answer.data).toEqual({ eventCursor: '0' });
  });
});

/** What must not change, whatever the stranger does. */
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
  ]);
}
