import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/infra/ids.ts';
import { selectedToolFor } from '../../src/tools/service.ts';
import { untilRetried } from '../support/jobs.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { FULL, list, MINIMAL, mutate, read, remoteTools, rowOf } from './support.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

describe('createTool', () => {
  it('fills in the defaults and derives modelToolName from the name', async () => {
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
    expect(await remoteTools(server, tool.id)).toMatchObject([
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

  it('accepts every field and never returns a secret', async () => {
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
    const row = await rowOf(server, tool.id);
    expect(JSON.stringify(row)).not.toContain('very-secret');
    const [remote] = await remoteTools(server, tool.id);
    expect(JSON.stringify(remote)).not.toContain('very-secret');
    expect(remote.definition).toMatchObject({
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
    const [option] = remote.definition.requirements.httpSecurityOptions.options;
    const selected = selectedToolFor(server.app, row);
    expect(selected.toolId).toBe(remote.toolId);
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

  it('checks parameters with many allowed values in no time', async () => {
    const $schema = 'http://json-schema.org/draft-07/schema#';
    const schema = { $schema, enum: Array.from({ length: 3_400 }, (_, n) => n.toString(36)) };
    const dynamicParameters = Array.from({ length: 50 }, (_, index) => ({
      name: `p${index}`,
      location: 'QUERY',
      schema: index === 0 ? { ...schema, enum: [1, 1] } : schema,
    }));
    const { userErrors } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      dynamicParameters,
    });
    expect(userErrors).toEqual([
      expect.objectContaining({
        path: ['dynamicParameters', '0', 'schema'],
        message: expect.stringContaining('must NOT have duplicate items'),
      }),
    ]);
  }, 8_000);

  it('reports every problem of the input at once', async () => {
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
  ])('rejects the URL %s', async (url) => {
    const input = { ...MINIMAL, http: { url } };
    const { userErrors } = await mutate(server.client, 'createTool', input);
    expect(userErrors.length).toBeGreaterThan(0);
    expect(userErrors[0]).toMatchObject({ code: 'INVALID_INPUT', path: ['http', 'url'] });
  });

  it.each([
    'https://{host}.acme.com/',
    'https:/{host}.evil.com/a',
    'https:{host}.evil.com/a',
    'https:///{host}.evil.com/a',
    'HTTPS:/{host}.evil.com/a',
    'https:\\\\{host}.evil.com/a',
    'https:/\\{host}.evil.com/a',
    'ht\ttps:/{host}.evil.com/a',
    'https:/\n/{host}.evil.com/a',
    'https://api.acme.com:{port}/a',
    'https://api.acme.com{at}/a',
    'https://{user}@api.acme.com/a',
    'https://api.acme.com{/x@evil.com/}',
    'https:%2f%2f{host}.evil.com/a',
    '{scheme}://api.acme.com/a',
  ])('rejects the URL %j, in which the model would choose more than the path', async (url) => {
    const names = [...url.matchAll(/\{([^{}]*)\}/g)].map(([, name]) => name);
    const { tool, userErrors } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      http: { url },
      dynamicParameters: names
        .filter((name) => /^\w+$/.test(name ?? ''))
        .map((name) => ({ name, location: 'PATH', schema: { type: 'string' } })),
    });
    expect(tool).toBeNull();
    expect(userErrors[0]).toMatchObject({ code: 'INVALID_INPUT', path: ['http', 'url'] });
    expect(userErrors[0].message).toMatch(
      /only in its path|must be an https:|must not contain a user/,
    );
  });

  it('stores encoded braces of a URL as they are', async () => {
    const http = { url: 'https://api.acme.com/%7B0%7D/{x}/%7B1%7D' };
    const { tool } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      http,
      dynamicParameters: [{ name: 'x', location: 'PATH', schema: { type: 'string' } }],
    });
    expect(tool.http).toMatchObject(http);
  });

  it('rejects parameters that authentication already sends', async () => {
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
    });
    expect(userErrors.map(({ path }) => path.join('.')).sort()).toEqual([
      'dynamicParameters.0.name',
      'dynamicParameters.1.name',
    ]);
  });

  it('rejects two authentication entries that set the same header', async () => {
    const { userErrors } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      authentication: [
        { httpAuth: { scheme: 'Bearer', token: 't' } },
        { headerApiKey: { name: 'Authorization', value: 'v' } },
      ],
    });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['authentication'] }]);
  });

  it('rejects null characters and unpaired surrogates', async () => {
    for (const value of ['a\u0000b', { deep: ['\ud800'] }]) {
      const staticParameters = [{ name: 'v', location: 'BODY', value }];
      const input = { ...MINIMAL, http: { ...MINIMAL.http, method: 'POST' }, staticParameters };
      const { userErrors } = await mutate(server.client, 'createTool', input);
      expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT' }]);
    }
    const filtered = await server.client.send(
      'query ($filter: ToolFilter) { tools(filter: $filter) { totalCount } }',
      { filter: { name: 'a\u0000' } },
    );
    expect(filtered.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  it('rejects an authentication entry with two methods', async () => {
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

  it('returns a FAILED tool when Ultravox refuses it, which is ACTIVE after a correction', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 400, method: 'POST', path: '^/api/tools', count: 1 },
    ]);
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    expect(tool.status).toBe('FAILED');
    expect(tool.syncError).toBeTruthy();
    const input = { id: tool.id, description: 'Better' };
    const corrected = await mutate(server.client, 'updateTool', input);
    expect(corrected.tool).toMatchObject({ status: 'ACTIVE', syncError: null });
  });

  it('adopts the remote tool after a lost response and creates no second one', async () => {
    server.simulator.setFaults([
      { kind: 'dropAfter', method: 'POST', path: '^/api/tools', count: 1 },
    ]);
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    expect(tool.status).toBe('DRAFT');
    await untilRetried(
      server,
      'the tool',
      async () => (await read(server.client, tool.id)).status === 'ACTIVE',
    );
    const remote = await remoteTools(server, tool.id);
    expect(remote.map(({ toolId }) => toolId)).toEqual([(await rowOf(server, tool.id)).remoteId]);
  });

  it('returns the same tool for the same idempotency key after a crash of the first run', async () => {
    const headers = { 'x-idempotency-key': `tool-${newId()}` };
    const first = await mutate(server.client, 'createTool', MINIMAL, headers);
    await server.app.db.idempotencyKey.updateMany({
      data: { response: null, leaseUntil: new Date(0) },
    });
    const second = await mutate(server.client, 'createTool', MINIMAL, headers);
    expect(second.tool.id).toBe(first.tool.id);
    expect(await remoteTools(server, first.tool.id)).toHaveLength(1);
  });
});

describe('tools', () => {
  it('filters by literal name and status, and sorts', async () => {
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
