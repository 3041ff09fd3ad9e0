import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newId, publicId } from '../../src/infra/ids.ts';
import { lockReferences } from '../../src/sync/references.ts';
import { NotReadyError } from '../../src/sync/service.ts';
import { selectedToolFor } from '../../src/tools/service.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

const TOOL = `id name modelToolName description http { url method }
  dynamicParameters { name location schema required } staticParameters { name location value }
  automaticParameters { name location knownValue } authentication { kind name }
  timeout precomputable defaultReaction staticResponse status syncError`;

// biome-ignore lint/suspicious/noExplicitAny: as the fragment says
type View = any;

async function mutate(
  client: GraphQLClient,
  name: 'createTool' | 'updateTool' | 'deleteTool',
  input: unknown,
  headers: Record<string, string> = {},
): Promise<{ tool: View; deletedToolId?: string; userErrors: View[]; text: string }> {
  const payload = name === 'deleteTool' ? 'deletedToolId' : `tool { ${TOOL} }`;
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { result: ${name}(input: $input) { ${payload} userErrors { code message path details } } }`,
    { input },
    { headers },
  );
  expect(answer.errors).toBeUndefined();
  return { ...answer.data.result, text: JSON.stringify(answer.data) };
}

async function read(client: GraphQLClient, id: string): Promise<View> {
  const answer = await client.send(`query ($id: ID!) { tool(id: $id) { ${TOOL} } }`, { id });
  expect(answer.errors).toBeUndefined();
  return answer.data.tool;
}

async function list(client: GraphQLClient, args: Record<string, unknown> = {}): Promise<View> {
  const answer = await client.send(
    `query ($filter: ToolFilter, $orderBy: ToolOrder, $first: Int) {
      tools(filter: $filter, orderBy: $orderBy, first: $first) { totalCount nodes { id name } }
    }`,
    args,
  );
  expect(answer.errors).toBeUndefined();
  return answer.data.tools;
}

async function remote(name: string): Promise<View[]> {
  const found: View[] = [];
  for await (const tool of server.app.ultravox.tools.listAll({ search: name })) found.push(tool);
  return found;
}

const uuid = (id: string): string => id.slice(4);
const rowOf = (id: string) => server.app.db.tool.findUniqueOrThrow({ where: { id: uuid(id) } });

const MINIMAL = {
  name: 'Look up an order',
  description: 'Finds an order by its number.',
  http: { url: 'https://api.acme.com/orders' },
};

const FULL = {
  name: 'Bestellung ändern',
  description: 'Changes an order.',
  http: { url: 'https://api.acme.com/orders/{orderId}/{part}', method: 'POST' },
  dynamicParameters: [
    { name: 'orderId', location: 'PATH', schema: { type: 'string', pattern: '^[0-9]{6}$' } },
    { name: 'note', location: 'BODY', schema: { type: 'string' }, required: false },
  ],
  staticParameters: [
    { name: 'part', location: 'PATH', value: 'notes' },
    { name: 'options', location: 'BODY', value: { notify: true } },
  ],
  automaticParameters: [{ name: 'X-Call-Id', location: 'HEADER', knownValue: 'CALL_ID' }],
  authentication: [
    { headerApiKey: { name: 'X-API-Key', value: 'key-very-secret' } },
    { httpAuth: { scheme: 'Bearer', token: 'token-very-secret' } },
  ],
  timeout: '10s',
  precomputable: true,
  defaultReaction: 'LISTENS',
  staticResponse: 'Done.',
};

/** An agent with this tool, put there without the API. */
async function agentWith(toolId: string): Promise<string> {
  const { organizationId, id } = await rowOf(toolId);
  const { db } = server.app;
  const voice = await db.voice.create({
    data: {
      id: newId(),
      organizationId,
      type: 'SYSTEM',
      name: 'V',
      status: 'ACTIVE',
      syncedRevision: 1,
    },
  });
  const agent = await db.agent.create({
    data: {
      id: newId(),
      organizationId,
      voiceId: voice.id,
      name: 'Maria',
      systemPrompt: 'Be brief.',
      model: 'ultravox-v0.7',
      temperature: 0,
      recordingEnabled: false,
      status: 'ACTIVE',
      syncedRevision: 1,
    },
  });
  await db.agentTool.create({
    data: { organizationId, agentId: agent.id, toolId: id, position: 0 },
  });
  return publicId('agt', agent.id);
}

const agentRevision = async (agentId: string): Promise<number> =>
  (await server.app.db.agent.findUniqueOrThrow({ where: { id: uuid(agentId) } })).revision;

describe('createTool', () => {
  it('makes a tool from little, with an identifier of its own making', async () => {
    const { tool, userErrors } = await mutate(server.client, 'createTool', MINIMAL);
    expect(userErrors).toEqual([]);
    expect(tool).toMatchObject({
      name: 'Look up an order',
      modelToolName: 'look_up_an_order',
      http: { url: 'https://api.acme.com/orders', method: 'GET' },
      dynamicParameters: [],
      authentication: [],
      timeout: null,
      precomputable: false,
      defaultReaction: 'SPEAKS',
      staticResponse: null,
      status: 'ACTIVE',
      syncError: null,
    });
    expect(await remote(tool.id)).toMatchObject([
      {
        name: tool.id,
        definition: {
          modelToolName: 'look_up_an_order',
          http: { baseUrlPattern: 'https://api.acme.com/orders', httpMethod: 'GET' },
        },
      },
    ]);
    expect(await read(server.client, tool.id)).toEqual(tool);
  });

  it('takes everything there is, and never gives a secret back', async () => {
    const { tool, userErrors, text } = await mutate(server.client, 'createTool', FULL);
    expect(userErrors).toEqual([]);
    expect(tool).toMatchObject({
      modelToolName: 'bestellung_andern',
      http: FULL.http,
      dynamicParameters: [
        { name: 'orderId', required: true },
        { name: 'note', required: false },
      ],
      staticParameters: FULL.staticParameters,
      automaticParameters: FULL.automaticParameters,
      authentication: [
        { kind: 'HEADER_API_KEY', name: 'X-API-Key' },
        { kind: 'HTTP_AUTH', name: 'Bearer' },
      ],
      timeout: '10s',
      precomputable: true,
      defaultReaction: 'LISTENS',
      staticResponse: 'Done.',
      status: 'ACTIVE',
    });
    expect(text).not.toContain('very-secret');
    const row = await rowOf(tool.id);
    expect(JSON.stringify(row)).not.toContain('very-secret');
    const [copy] = await remote(tool.id);
    expect(JSON.stringify(copy)).not.toContain('very-secret');
    expect(copy.definition).toMatchObject({
      timeout: '10s',
      precomputable: true,
      defaultReaction: 'AGENT_REACTION_LISTENS',
      staticResponse: { responseText: 'Done.' },
      automaticParameters: [
        {
          name: 'X-Call-Id',
          location: 'PARAMETER_LOCATION_HEADER',
          knownValue: 'KNOWN_PARAM_CALL_ID',
        },
      ],
    });
    const [option] = copy.definition.requirements.httpSecurityOptions.options;
    const selected = selectedToolFor(server.app, row);
    expect(selected.toolId).toBe(copy.toolId);
    const tokens = Object.fromEntries(
      Object.entries(selected.authTokens ?? {}).map(([key, token]) => [
        token,
        option.requirements[key],
      ]),
    );
    expect(tokens).toEqual({
      'key-very-secret': { headerApiKey: { name: 'X-API-Key' } },
      'token-very-secret': { httpAuth: { scheme: 'Bearer' } },
    });
  });

  it('names everything that is wrong at once', async () => {
    const { tool, userErrors } = await mutate(server.client, 'createTool', {
      name: '注文を調べる',
      description: '',
      http: { url: 'https://api.acme.com/{missing}', method: 'GET' },
      dynamicParameters: [
        { name: 'a b', location: 'QUERY', schema: { type: 'string' } },
        { name: 'amount', location: 'QUERY', schema: { type: 'strng' } },
        { name: 'body', location: 'BODY', schema: { type: 'string' } },
      ],
      staticParameters: [
        { name: 'amount', location: 'QUERY', value: 1 },
        { name: 'list', location: 'QUERY', value: [1] },
        { name: 'lost', location: 'PATH', value: 'x' },
      ],
      authentication: [{ headerApiKey: { name: 'X Key', value: 'a\nb' } }],
      timeout: '41s',
    });
    expect(tool).toBeNull();
    expect(userErrors.map(({ path }) => path.join('.')).sort()).toEqual([
      'authentication.0.headerApiKey.name',
      'authentication.0.headerApiKey.value',
      'description',
      'dynamicParameters.0.name',
      'dynamicParameters.1.schema',
      'dynamicParameters.2.location',
      'http.url',
      'modelToolName',
      'staticParameters.0.name',
      'staticParameters.1.value',
      'staticParameters.2.location',
      'timeout',
    ]);
  });

  it.each([
    'http://api.acme.com/',
    'https://api.acme.com/?key=1',
    'https://api.acme.com/#part',
    'https://user:pass@api.acme.com/',
    'https://localhost/',
    'https://printer.local/',
    'https://intranet/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://10.1.2.3/',
    'https://169.254.169.254/latest',
    'https://[::1]/',
    'https://[::ffff:192.168.0.1]/',
    'https://{host}.acme.com/',
    'ftp://api.acme.com/',
    'https://api.acme.com/a\u0000b',
    'https://api.acme.com/a b',
    'no address',
  ])('refuses to call %s', async (url) => {
    const input = { ...MINIMAL, http: { url } };
    const { userErrors } = await mutate(server.client, 'createTool', input);
    expect(userErrors.length).toBeGreaterThan(0);
    expect(userErrors[0]).toMatchObject({ code: 'INVALID_INPUT', path: ['http', 'url'] });
  });

  it('refuses what authentication sends already, and more parameters than 50', async () => {
    const schema = { type: 'string' };
    const { userErrors } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      authentication: [
        { httpAuth: { scheme: 'Bearer', token: 't' } },
        { queryApiKey: { name: 'key', value: 'v' } },
      ],
      dynamicParameters: [
        { name: 'authorization', location: 'HEADER', schema },
        { name: 'key', location: 'QUERY', schema },
      ],
      staticParameters: Array.from({ length: 51 }, (_, index) => ({
        name: `p${index}`,
        location: 'QUERY',
        value: 'x',
      })),
    });
    expect(userErrors.map(({ path }) => path.join('.')).sort()).toEqual([
      'dynamicParameters.0.name',
      'dynamicParameters.1.name',
      'staticParameters',
    ]);
  });

  it('refuses text that cannot be kept', async () => {
    for (const value of ['a\u0000b', { deep: ['\ud800'] }]) {
      const staticParameters = [{ name: 'v', location: 'BODY', value }];
      const input = { ...MINIMAL, http: { ...MINIMAL.http, method: 'POST' }, staticParameters };
      const { userErrors } = await mutate(server.client, 'createTool', input);
      expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT' }]);
    }
    expect((await list(server.client, { filter: { name: 'a\u0000' } })).nodes).toEqual([]);
  });

  it('wants exactly one way in each entry of `authentication`', async () => {
    const answer = await server.client.send(
      'mutation ($input: CreateToolInput!) { createTool(input: $input) { tool { id } } }',
      {
        input: {
          ...MINIMAL,
          authentication: [
            {
              headerApiKey: { name: 'a', value: 'b' },
              httpAuth: { scheme: 'Bearer', token: 'c' },
            },
          ],
        },
      },
    );
    expect(answer.errors?.[0]?.message).toMatch(/exactly one/i);
  });

  it('says what Ultravox refuses, and is ACTIVE once that is mended', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 400, method: 'POST', path: '^/api/tools', count: 1 },
    ]);
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    expect(tool.status).toBe('FAILED');
    expect(tool.syncError).toBeTruthy();
    expect(() =>
      selectedToolFor(server.app, { ...tool, ultravoxId: null, definition: {} }),
    ).toThrow(NotReadyError);
    const input = { id: tool.id, description: 'Better' };
    const mended = await mutate(server.client, 'updateTool', input);
    expect(mended.tool).toMatchObject({ status: 'ACTIVE', syncError: null });
  });

  it('finds the tool again when the answer was lost, and makes no second', async () => {
    server.simulator.setFaults([
      { kind: 'dropAfter', method: 'POST', path: '^/api/tools', count: 1 },
    ]);
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    expect(tool.status).toBe('DRAFT');
    await until('the tool', async () => (await read(server.client, tool.id)).status === 'ACTIVE');
    const copies = await remote(tool.id);
    expect(copies.map(({ toolId }) => toolId)).toEqual([(await rowOf(tool.id)).ultravoxId]);
  });

  it('gives the same tool for the same idempotency key, also when the first run died', async () => {
    const headers = { 'x-idempotency-key': `tool-${newId()}` };
    const first = await mutate(server.client, 'createTool', MINIMAL, headers);
    await server.app.db.idempotencyKey.updateMany({
      data: { response: null, leaseUntil: new Date(0) },
    });
    const second = await mutate(server.client, 'createTool', MINIMAL, headers);
    expect(second.tool.id).toBe(first.tool.id);
    expect(await remote(first.tool.id)).toHaveLength(1);
  });
});

describe('updateTool', () => {
  it('changes what was sent, clears what is null, and replaces the copy', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const { tool: changed, userErrors } = await mutate(server.client, 'updateTool', {
      id: tool.id,
      name: 'Change an order',
      timeout: null,
      staticResponse: null,
      http: { url: 'https://api.acme.com/v2/{orderId}/{part}' },
    });
    expect(userErrors).toEqual([]);
    expect(changed).toEqual({
      ...tool,
      name: 'Change an order',
      timeout: null,
      staticResponse: null,
      http: { url: 'https://api.acme.com/v2/{orderId}/{part}', method: 'POST' },
    });
    const [copy] = await remote(tool.id);
    expect(copy.definition.timeout).toBeUndefined();
    expect(copy.definition.http.baseUrlPattern).toBe('https://api.acme.com/v2/{orderId}/{part}');
    expect(copy.definition.requirements).toBeDefined();
  });

  it('checks what was sent against what is there', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const { userErrors } = await mutate(server.client, 'updateTool', {
      id: tool.id,
      name: null,
      http: { url: 'https://api.acme.com/{orderId}', method: 'GET' },
    });
    expect(userErrors.map(({ path }) => path.join('.')).sort()).toEqual([
      'dynamicParameters.1.location',
      'name',
      'staticParameters.0.location',
      'staticParameters.1.location',
    ]);
    expect(await read(server.client, tool.id)).toEqual(tool);
  });

  it('refuses a name that another tool of the same agent has', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { tool: other } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      modelToolName: 'find_order',
    });
    const rename = (modelToolName: string) =>
      mutate(server.client, 'updateTool', { id: tool.id, modelToolName });
    const agentId = await agentWith(tool.id);
    expect((await rename('find_order')).userErrors).toEqual([]);
    expect((await rename('look_up')).tool.modelToolName).toBe('look_up');
    const { organizationId } = await rowOf(tool.id);
    await server.app.db.agentTool.create({
      data: { organizationId, agentId: uuid(agentId), toolId: uuid(other.id), position: 1 },
    });
    for (const name of ['find_order', 'hangUp']) {
      expect((await rename(name)).userErrors).toMatchObject([
        { code: 'INVALID_INPUT', path: ['modelToolName'], details: { agentIds: [agentId] } },
      ]);
    }
    expect((await rename('search')).tool.modelToolName).toBe('search');
  });

  it('is done one after the other, so that no change undoes another', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const schema = { type: 'string' };
    await Promise.all([
      mutate(server.client, 'updateTool', { id: tool.id, timeout: '5s' }),
      mutate(server.client, 'updateTool', { id: tool.id, staticResponse: 'Yes' }),
      mutate(server.client, 'updateTool', {
        id: tool.id,
        dynamicParameters: [{ name: 'q', location: 'QUERY', schema }],
      }),
      mutate(server.client, 'updateTool', { id: tool.id, defaultReaction: 'SPEAKS_ONCE' }),
    ]);
    expect(await read(server.client, tool.id)).toMatchObject({
      timeout: '5s',
      staticResponse: 'Yes',
      dynamicParameters: [{ name: 'q' }],
      defaultReaction: 'SPEAKS_ONCE',
    });
    await until('the last revision', async () => {
      const row = await rowOf(tool.id);
      return row.syncedRevision === row.revision;
    });
    const [copy] = await remote(tool.id);
    expect(copy.definition).toMatchObject({
      timeout: '5s',
      staticResponse: { responseText: 'Yes' },
      dynamicParameters: [{ name: 'q' }],
      defaultReaction: 'AGENT_REACTION_SPEAKS_ONCE',
    });
  });

  it('stays ACTIVE while Ultravox is away, and follows', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    server.simulator.setFaults([
      { kind: 'status', status: 503, method: 'PUT', path: '^/api/tools', count: 1 },
    ]);
    const input = { id: tool.id, description: 'Newer' };
    const { tool: changed } = await mutate(server.client, 'updateTool', input);
    expect(changed).toMatchObject({ status: 'ACTIVE', description: 'Newer' });
    expect(changed.syncError).toBeTruthy();
    await until(
      'the change',
      async () => (await remote(tool.id))[0].definition.description === 'Newer',
    );
  });

  it('is refused to another organization, with all that is wrong besides', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { client } = await server.newOrganization();
    const { userErrors } = await mutate(client, 'updateTool', { id: tool.id, timeout: '1h' });
    expect(userErrors).toMatchObject([
      { code: 'NOT_FOUND', path: ['id'] },
      { code: 'INVALID_INPUT', path: ['timeout'] },
    ]);
    const wrongId = await mutate(client, 'updateTool', { id: 'x', description: null });
    expect(wrongId.userErrors.map(({ code }) => code)).toEqual(['INVALID_ID', 'REQUIRED']);
    expect(await read(client, tool.id)).toBeNull();
    expect((await list(client)).totalCount).toBe(0);
  });

  it('sends the agents again when the authentication changes, and only then', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const agentId = await agentWith(tool.id);
    const before = await agentRevision(agentId);
    const resyncs = async (): Promise<number> => {
      const jobs = await server.app.db.$queryRaw<unknown[]>`
        SELECT 1 FROM pgboss.job
        WHERE name = 'resyncAgents' AND data->>'id' = ${uuid(tool.id)}`;
      return jobs.length;
    };
    expect(await resyncs()).toBe(1);
    await mutate(server.client, 'updateTool', { id: tool.id, description: 'Other words' });
    expect(await resyncs()).toBe(1);
    await mutate(server.client, 'updateTool', {
      id: tool.id,
      authentication: [{ queryApiKey: { name: 'key', value: 'another' } }],
    });
    expect(await resyncs()).toBe(2);
    await until('the agent', async () => (await agentRevision(agentId)) > before);
    const row = await rowOf(tool.id);
    expect(Object.values(selectedToolFor(server.app, row).authTokens ?? {})).toEqual(['another']);
    // The tokens of an authentication that Ultravox does not have yet are not to be sent.
    expect(() => selectedToolFor(server.app, { ...row, syncedRevision: 2 })).toThrow(NotReadyError);

    const removed = { id: tool.id, authentication: null };
    expect((await mutate(server.client, 'updateTool', removed)).tool.authentication).toEqual([]);
    expect(selectedToolFor(server.app, await rowOf(tool.id)).authTokens).toBeUndefined();
    expect((await remote(tool.id))[0].definition.requirements).toBeUndefined();
  });
});

describe('deleteTool', () => {
  it('refuses while agents use the tool, and says which', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const agentId = await agentWith(tool.id);
    const { userErrors } = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { agentIds: [agentId] } }]);
    await server.app.db.agent.update({
      where: { id: uuid(agentId) },
      data: { deletedAt: new Date() },
    });
    const deleted = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(deleted.deletedToolId).toBe(tool.id);
    expect(await read(server.client, tool.id)).toBeNull();
    expect(await remote(tool.id)).toEqual([]);
    const again = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(again.userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
  });

  it('waits for an agent that takes the tool up at this moment, and then refuses', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { db } = server.app;
    const { organizationId, id } = await rowOf(tool.id);
    const agentId = await agentWith((await mutate(server.client, 'createTool', MINIMAL)).tool.id);
    let deleting: Promise<View> | undefined;
    await db.$transaction(async (tx) => {
      expect(await lockReferences(tx, 'tools', organizationId, [id])).toEqual(new Set([id]));
      deleting = mutate(server.client, 'deleteTool', { id: tool.id });
      await until('the deletion to wait', async () => {
        const waiting = await db.$queryRaw<unknown[]>`
          SELECT 1 FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'`;
        return waiting.length > 0;
      });
      await tx.agentTool.create({
        data: { organizationId, agentId: uuid(agentId), toolId: id, position: 1 },
      });
    });
    expect((await deleting).userErrors).toMatchObject([{ code: 'IN_USE' }]);
    const other = (await mutate(server.client, 'createTool', MINIMAL)).tool.id;
    await mutate(server.client, 'deleteTool', { id: other });
    await db.$transaction(async (tx) => {
      const locked = await lockReferences(tx, 'tools', organizationId, [uuid(other)]);
      expect(locked).toEqual(new Set());
    });
  });

  it('is refused to another organization', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { client } = await server.newOrganization();
    const { userErrors } = await mutate(client, 'deleteTool', { id: tool.id });
    expect(userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    expect(await read(server.client, tool.id)).not.toBeNull();
  });
});

describe('tools', () => {
  it('are filtered by name as it stands and ordered', async () => {
    const { client } = await server.newOrganization();
    for (const name of ['Beta 100%', 'alpha', 'Gamma 100 times']) {
      await mutate(client, 'createTool', { ...MINIMAL, name });
    }
    const names = async (args: Record<string, unknown>) =>
      (await list(client, args)).nodes.map(({ name }: { name: string }) => name);
    expect(await names({})).toEqual(['Gamma 100 times', 'alpha', 'Beta 100%']);
    expect(await names({ filter: { name: '100%' } })).toEqual(['Beta 100%']);
    expect(await names({ filter: { name: 'ALPH' } })).toEqual(['alpha']);
    expect(await names({ filter: { status: 'FAILED' } })).toEqual([]);
    expect(await names({ orderBy: { field: 'CREATED_AT', direction: 'ASC' } })).toEqual([
      'Beta 100%',
      'alpha',
      'Gamma 100 times',
    ]);
    expect((await list(client, { first: 1 })).totalCount).toBe(3);
  });
});
