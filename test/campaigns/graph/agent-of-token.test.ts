/** Access tokens for one call or one campaign can read only `id` and `name` of its agent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { dataOf, uuidOf } from '../../calls/support.ts';
import { newAgent } from '../../phone-numbers/support.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { plant } from './graph-support.ts';

let server: TestServer;
/** The agent of the campaign and its calls. */
let agent: Seen;
let otherAgent: Seen;
let planted: Awaited<ReturnType<typeof plant>>;
let others: Awaited<ReturnType<typeof plant>>;
const ids = { call: '', campaign: '' };
const keys = { call: '', campaign: '' };
const tokens: Record<keyof typeof keys, GraphQLClient> = {} as never;

interface Seen {
  id: string;
  name: string;
}

interface Field {
  name: string;
  type: FieldType;
}

interface FieldType {
  kind: string;
  ofType: FieldType | null;
}

beforeAll(async () => {
  server = await startTestServer();
  const { db } = server.app;
  const own = await newAgent(server, server.organizationId);
  const other = await newAgent(server, server.organizationId);
  agent = { id: own.id, name: 'Reception' };
  otherAgent = { id: other.id, name: 'Hidden' };
  const settings = { systemPrompt: 'Secret prompt.', successCriteria: 'Secret criteria.' };
  await db.agent.update({ where: { id: own.uuid }, data: { name: agent.name, ...settings } });
  await db.agent.update({ where: { id: other.uuid }, data: { name: otherAgent.name } });
  planted = await plant(server, server.organizationId, own.uuid);
  others = await plant(server, server.organizationId, other.uuid);
  ids.call = publicId('Call', planted.callIds[0]!);
  ids.campaign = publicId('Campaign', planted.campaign.id);
  for (const kind of ['call', 'campaign'] as const) {
    keys[kind] = await tokenFor({ [`${kind}Id`]: ids[kind] });
    tokens[kind] = createClient(server.url, keys[kind]);
  }
});

afterAll(() => server.close());

async function tokenFor(input: object): Promise<string> {
  const made = await read(
    'mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { accessToken } }',
    { input },
  );
  return made.createAccessToken.accessToken;
}

async function read(document: string, variables: object = {}, client = server.client) {
  return dataOf(await client.send(document, variables));
}

/** What is selected of all fields of the type `Agent` in the schema, by their names. */
async function fieldsOfAgent(): Promise<Map<string, string>> {
  const { __type } = await read(
    `{ __type(name: "Agent") { fields(includeDeprecated: true) {
      name type { kind ofType { kind ofType { kind ofType { kind } } } } } } }`,
  );
  return new Map(
    (__type.fields as Field[]).map(({ name, type }) => {
      let named: FieldType = type;
      while (named.ofType) named = named.ofType;
      return [name, named.kind === 'OBJECT' ? `${name} { __typename }` : name];
    }),
  );
}

/** Asks for the selections of the agent, each by itself, so that each has its own error. */
async function askEach(client: GraphQLClient, selections: string[], from: (one: string) => string) {
  const fields = selections.map((selection, index) => `f${index}: ${from(selection)}`);
  return client.send(
    `query ($agent: ID!, $call: ID!, $campaign: ID!) {
    asked: nodes(ids: [$agent, $call, $campaign]) { id } ${fields.join('\n')} }`,
    {
      agent: agent.id,
      ...ids,
    },
  );
}

const WAYS: Record<string, { token: keyof typeof keys; from: (selection: string) => string }> = {
  'its call': { token: 'call', from: (one) => `call(id: $call) { agent { ${one} } }` },
  'its call, in an operation with directives': {
    token: 'call',
    from: (one) => `call(id: $call) { agent @include(if: true) { ${one} } }`,
  },
  'its campaign': {
    token: 'campaign',
    from: (one) => `campaign(id: $campaign) { agent { ${one} } }`,
  },
  'the calls of its campaign': {
    token: 'campaign',
    from: (one) => `campaign(id: $campaign) { calls(first: 2) { nodes { agent { ${one} } } } }`,
  },
  'node, for its call': {
    token: 'call',
    from: (one) => `node(id: $agent) { ... on Agent { ${one} } }`,
  },
  'node, for its campaign': {
    token: 'campaign',
    from: (one) => `node(id: $agent) { ... on Agent { ${one} } }`,
  },
};

describe.each(Object.entries(WAYS))('a limited token, through %s', (_, { token, from }) => {
  it('reads the ID, the name and the type of the agent', async () => {
    const { errors, data } = await askEach(tokens[token], ['__typename id name'], from);
    expect(errors).toBeUndefined();
    const text = JSON.stringify(data.f0);
    expect(text).toContain(JSON.stringify({ __typename: 'Agent', ...agent }));
  });

  it('reads no other field of the agent', async () => {
    const selections = await fieldsOfAgent();
    for (const allowed of ['id', 'name']) expect(selections.delete(allowed)).toBe(true);
    expect(selections.size).toBeGreaterThan(30);
    const names = [...selections.keys()];
    expect((await askEach(server.client, [...selections.values()], from)).errors).toBeUndefined();
    const { errors, data } = await askEach(tokens[token], [...selections.values()], from);
    const refused = (errors ?? []).map(({ path, extensions }) => {
      return `${path?.[0]} ${path?.at(-1)} ${extensions.code}`;
    });
    expect(new Set(refused)).toEqual(
      new Set(names.map((name, index) => `f${index} ${name} FORBIDDEN`)),
    );
    expect(JSON.stringify(data)).not.toMatch(/Secret|Voice|ultravox/);
  });
});

describe.each(['call', 'campaign'] as const)('an access token for one %s', (kind) => {
  it('sees no sign of other agents', async () => {
    const missing = publicId('Agent', newId());
    const ask = async (id: string) => {
      const { errors, data } = await tokens[kind].send(
        `query ($id: ID!) {
          node(id: $id) { __typename id ... on Agent { name } } nodes(ids: [$id]) { id } agent(id: $id) { id name } }`,
        { id },
      );
      return { data, codes: errors?.map(({ path, extensions }) => [path, extensions.code]) };
    };
    expect(await ask(missing)).toEqual({
      data: { node: null, nodes: [null], agent: null },
      codes: [[['agent'], 'FORBIDDEN']],
    });
    expect(await ask(otherAgent.id)).toEqual(await ask(missing));
  });

  it.each([
    '{ agents { nodes { id name } } }',
    'query ($agent: ID!) { agent(id: $agent) { id name } }',
    '{ phoneNumbers { nodes { outboundAgent { id } } } }',
    'query ($agent: ID!) { node(id: $agent) { ... on Agent { calls { nodes { agent { id } } } } } }',
    '{ webhookEndpoints { nodes { agent { id } } } }',
    '{ voices { nodes { agents { nodes { id } } } } }',
    'mutation ($agent: ID!) { deleteAgent(input: { id: $agent }) { agent { id } } }',
  ])('is denied %s', async (document) => {
    const { errors, data } = await tokens[kind].send(document, { agent: agent.id });
    expect(errors?.map(({ extensions }) => extensions.code)).toContain('FORBIDDEN');
    expect(JSON.stringify(data ?? null)).not.toContain('agt_');
  });

  it('is denied the updates of the agent', async () => {
    const socket = openSocket(server.url, keys[kind]);
    const updates = socket.iterate({
      query: `subscription { agentUpdated(agentId: "${agent.id}", after: "0") { agent { id name } } }`,
    });
    const refused = [{ extensions: { code: 'FORBIDDEN' } }];
    await expect(updates.next()).rejects.toMatchObject(refused);
    await socket.dispose();
  });

  it('receives the agent with events, but no more of it than its rights', async () => {
    const from = (await read('{ eventCursor }')).eventCursor as string;
    const { appendEvents, announceEvents } = await import('../../../src/live/log.ts');
    const follow = (selection: string) => {
      const document = `subscription { callEvents(after: "${from}", callId: "${ids.call}") {
        call { agent { ${selection} } } } }`;
      return [server.key, keys[kind]].map((key) => {
        const socket = openSocket(server.url, key);
        return { socket, results: socket.iterate<object>({ query: document }) };
      });
    };
    const named = follow('id name');
    const whole = follow('id name systemPrompt');
    const first = Promise.all([...named, ...whole].map(({ results }) => results.next()));
    const { organizationId } = server;
    const event = {
      type: 'CALL_BILLED' as const,
      callId: planted.callIds[0]!,
      agentId: planted.campaign.agentId,
      campaignId: planted.campaign.id,
      data: { status: 'FAILED', endReason: 'NO_ANSWER' },
      at: new Date(),
    };
    await server.app.db.$transaction((tx) => appendEvents(tx, organizationId, [event]));
    announceEvents(server.app, organizationId);
    const [byKey, byToken, wholeByKey, wholeByToken] = (await first).map(({ value }) => value);
    expect(byToken.errors).toBeUndefined();
    expect(byToken.data).toEqual({ callEvents: { call: { agent } } });
    expect(byKey.data).toEqual(byToken.data);
    const systemPrompt = 'Secret prompt.';
    expect(wholeByKey.data).toEqual({
      callEvents: { call: { agent: { ...agent, systemPrompt } } },
    });
    expect(wholeByToken.data).toEqual({ callEvents: { call: null } });
    expect(wholeByToken.errors.map((error: { extensions: object }) => error.extensions)).toEqual([
      expect.objectContaining({ code: 'FORBIDDEN' }),
    ]);
    await Promise.all([...named, ...whole].map(({ socket }) => socket.dispose()));
  });
});

/** Rows of a table that a statement of a read looks at, with these values in place of its parameters. */
async function rowsRead(
  table: string,
  statement: string,
  valueFor: (column: string) => string,
): Promise<number> {
  const sql = statement.replace(/(\S+) (= )?\$\d+/g, (_, column: string, equals = '') => {
    return `${column} ${equals}${column === 'LIMIT' ? 1 : `'${valueFor(column)}'`}`;
  });
  const [row] = await server.app.db.$queryRawUnsafe<[{ 'QUERY PLAN': [{ Plan: Plan }] }]>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
  );
  const sum = (plan: Plan): number =>
    (plan['Relation Name'] === table
      ? plan['Actual Loops'] * (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0))
      : 0) + (plan.Plans ?? []).reduce((all, one) => all + sum(one), 0);
  return sum(row['QUERY PLAN'][0].Plan);
}

interface Plan {
  'Relation Name'?: string;
  'Actual Loops': number;
  'Actual Rows': number;
  'Rows Removed by Filter'?: number;
  Plans?: Plan[];
}

describe('an access token for a campaign', () => {
  let number: { id: string; phoneNumber: string };

  beforeAll(async () => {
    const { id, phoneNumber } = await server.app.db.phoneNumber.create({
      data: {
        ...{ id: newId(), organizationId: server.organizationId },
        ...{ phoneNumber: '+14155550178', provider: 'SIP' },
      },
    });
    number = { id: publicId('PhoneNumber', id), phoneNumber };
    const where = { id: planted.callIds[0]! };
    await server.app.db.call.update({ where, data: { phoneNumberId: id } });
  });

  it.each([
    ['the agent of the campaign', 'agents', () => agent],
    ['another agent', 'agents', () => otherAgent],
    ['a phone number', 'phone_numbers', () => number],
  ])('looks at no calls to find %s', async (_, table, asked) => {
    const { id } = asked();
    const statements = await recordStatements(server.app, () =>
      tokens.campaign.send('query ($id: ID!) { node(id: $id) { id } }', { id }),
    );
    const [statement] = statements.filter((one) => one.includes(`FROM "${table}" t1`));
    const values: Record<string, string> = {
      't1."id"': id.slice(4),
      't1."organization_id"': server.organizationId,
    };
    const valueFor = (column: string) => values[column.replaceAll('(', '')] ?? planted.campaign.id;
    expect(await rowsRead('calls', statement!, valueFor)).toBe(0);
    expect(await rowsRead(table, statement!, valueFor)).toBeGreaterThan(0);
  });

  it('finds a phone number outside of the pool that was used, but only through its calls', async () => {
    const document = `query ($call: ID!, $number: ID!) {
      call(id: $call) { number { id phoneNumber } } node(id: $number) { id } }`;
    const { data } = await tokens.campaign.send(document, { call: ids.call, number: number.id });
    expect(data).toEqual({ call: { number }, node: null });
  });
});

describe('an access token for a deleted campaign', () => {
  it('finds the agent while there is a call', async () => {
    const made = await plant(server, server.organizationId, uuidOf(otherAgent.id));
    const { campaign, callIds } = made;
    const token = await tokenFor({ campaignId: publicId('Campaign', campaign.id) });
    const client = createClient(server.url, token);
    const find = () => read('query ($id: ID!) { node(id: $id) { id } }', otherAgent, client);
    const deletedAt = new Date();
    await server.app.db.campaign.update({ where: { id: campaign.id }, data: { deletedAt } });
    expect(await find()).toEqual({ node: { id: otherAgent.id } });
    await server.app.db.call.updateMany({ where: { id: { in: callIds } }, data: { deletedAt } });
    expect(await find()).toEqual({ node: null });
  });
});

describe('an access token for a deleted call', () => {
  it('does not find the agent and the phone number any more', async () => {
    const { db } = server.app;
    const uuid = others.callIds[0]!;
    const { organizationId } = await db.call.findUniqueOrThrow({ where: { id: uuid } });
    const number = { id: newId(), organizationId, phoneNumber: '+14155550177' };
    await db.phoneNumber.create({ data: { ...number, provider: 'SIP' } });
    await db.call.update({ where: { id: uuid }, data: { phoneNumberId: number.id } });
    const client = createClient(server.url, await tokenFor({ callId: publicId('Call', uuid) }));
    const ids = [otherAgent.id, publicId('PhoneNumber', number.id)];
    const find = async () =>
      dataOf(await client.send('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids })).nodes;
    expect(await find()).toEqual(ids.map((id) => ({ id })));
    await db.call.update({ where: { id: uuid }, data: { deletedAt: new Date() } });
    expect(await find()).toEqual([null, null]);
  });
});
