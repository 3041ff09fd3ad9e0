/** Limits on documents, bodies, operations and sockets, enforced before an operation runs. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';

let server: TestServer;
let anonymous: ReturnType<typeof createClient>;
beforeAll(async () => {
  // A count of this suite waits for a lock.
  server = await startTestServer({
    settings: { LOG_LEVEL: 'silent', READ_TIMEOUT_SECONDS: '120' },
  });
  anonymous = createClient(server.url, null);
});
afterAll(() => server?.close());

type Coded = { errors?: readonly { extensions?: Record<string, unknown> }[] };
const codes = (answer: Coded) => answer.errors?.map((error) => error.extensions?.code);

async function overSocket(query: string, key: string | null = server.key, times = 1) {
  const client = openSocket(server.url, key);
  try {
    const results: Coded[] = [];
    for (let index = 0; index < times; index += 1) {
      for await (const result of client.iterate({ query })) results.push(result as Coded);
    }
    return results;
  } catch (error) {
    return [{ errors: error as Coded['errors'] & object }];
  } finally {
    await client.dispose();
  }
}

const deepSelection = `${'{ a'.repeat(4_000)}${'}'.repeat(4_000)}`;
const deepValue = `{ agent(id: ${'['.repeat(4_500)}${']'.repeat(4_500)}) { id } }`;
const long = `{ ${'__typename '.repeat(10_001)} }`;
const wide = `{ ${Array.from({ length: 2_001 }, (_, n) => `a${n}: __typename`).join(' ')} }`;
const expanded = `query { ${Array.from({ length: 60 }, (_, n) => `a${n}: viewer { ...F }`).join(' ')} }
  fragment F on Viewer { ${Array.from({ length: 60 }, (_, n) => `b${n}: __typename`).join(' ')} }`;
const merged = `{ ${'agents { totalCount } '.repeat(201)} }`;
const mergedFragments = `{ ${Array.from({ length: 201 }, (_, n) => `...F${n}`).join(' ')} } ${Array.from({ length: 201 }, (_, n) => `fragment F${n} on Query { viewer { __typename } }`).join(' ')}`;
const introspective = `{ ${Array.from({ length: 20 }, (_, n) => `a${n}: __schema { types { name description fields { name description } } }`).join(' ')} }`;

describe('limits of a document', () => {
  for (const [what, document] of Object.entries({
    deepSelection,
    deepValue,
    long,
    wide,
    expanded,
    merged,
    mergedFragments,
    introspective,
  })) {
    it(`reject it with QUERY_TOO_COSTLY over HTTP and on a socket (${what})`, async () => {
      for (const client of [anonymous, server.client]) {
        const answer = await client.send(document);
        // The cost of an operation is not measured if the caller may not run it.
        const isRefused = client === anonymous && what === 'expanded';
        expect(codes(answer)).toEqual([isRefused ? 'UNAUTHENTICATED' : 'QUERY_TOO_COSTLY']);
        expect(answer.status).toBe(isRefused ? 401 : 400);
        expect(answer.data ?? null).toBeNull();
      }
      const [result] = await overSocket(document);
      expect(codes(result!)).toEqual(['QUERY_TOO_COSTLY']);
    });
  }

  it('reject a subscription that is too costly before it starts', async () => {
    const query = `subscription { callEvents { call { agent { calls(first: 100) { nodes { agent { calls(first: 100) { nodes { agent { calls(first: 100) { nodes { id } } } } } } } } } } } }`;
    const [result] = await overSocket(query);
    expect(codes(result!)).toEqual(['QUERY_TOO_COSTLY']);
  });

  it('reject a subscription that would cost more than 250 for every event', async () => {
    const counting = (count: number) =>
      `subscription { callEvents { call { agent { ${Array.from({ length: count }, (_, n) => `c${n}: calls(first: 10) { totalCount }`).join(' ')} } } } }`;
    const [result] = await overSocket(counting(9));
    // The subscription, the call, the agent and nine lists, 5 for the selection of each of them, and each count once,
    // however many items a page has.
    expect(result?.errors?.[0]?.extensions).toMatchObject({ cost: 252, maxCost: 250 });
  });

  it('reject more than 25 mutations in one operation', async () => {
    const mutations = (count: number) =>
      `mutation { ${Array.from({ length: count }, (_, n) => `m${n}: revokeApiKey(input: { id: "x" }) { userErrors { code } }`).join(' ')} }`;
    expect(codes(await server.client.send(mutations(26)))).toEqual(['QUERY_TOO_COSTLY']);
    expect((await server.client.send(mutations(25))).errors).toBeUndefined();
  });

  it('reject deeply nested variables', async () => {
    let value: unknown = 'x';
    for (let level = 0; level < 3_000; level += 1) value = [value];
    const answer = await server.client.send('query ($id: ID!) { agent(id: $id) { id } }', {
      id: value,
    });
    expect(codes(answer)).toEqual(['QUERY_TOO_COSTLY']);
  });

  it('apply only to the operation that is run', async () => {
    const document = `query Small { __typename } query Large { agents(first: 100) { nodes { calls(first: 100) { nodes { agent { calls(first: 100) { nodes { id } } } } } } } }`;
    const small = await server.client.send(document, {}, { operationName: 'Small' });
    expect(small.errors).toBeUndefined();
    const large = await server.client.send(document, {}, { operationName: 'Large' });
    expect(codes(large)).toEqual(['QUERY_TOO_COSTLY']);
  });
});

describe('limits of a request body', () => {
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
  const bodyOf = (bytes: number) =>
    JSON.stringify({ query: '{ __typename }', variables: { x: 'x'.repeat(bytes) } });
  const authorization = () => ({ authorization: `Bearer ${server.key}` });

  it('reject more than 128 KiB without a valid key, and more than 16 MiB with one', async () => {
    const large = bodyOf(132_000);
    expect((await post('/graphql', large)).status).toBe(413);
    const wrong = { authorization: `Bearer truedy_${'x'.repeat(32)}` };
    expect((await post('/graphql', large, wrong)).status).toBe(413);
    expect((await post('/graphql', large, authorization())).status).toBe(200);
    expect((await post('/graphql', bodyOf(16_000_000), authorization())).status).toBe(200);
    expect((await post('/graphql', bodyOf(17_000_000), authorization())).status).toBe(413);
  });

  it('apply to a body without a declared length', async () => {
    const status = (body: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const request = httpRequest(
          `${server.url}/graphql`,
          {
            method: 'POST',
            headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
          },
          (response) => resolve(response.resume().statusCode),
        );
        request.on('error', reject);
        request.end(body);
      });
    expect(await status('{"query":"{ __typename }"}')).toBe(200);
    expect(await status(bodyOf(1_000_000))).toBe(413);
  });

  it('reject a webhook of more than 2 MiB', async () => {
    expect((await post('/webhooks/ultravox', 'x'.repeat(2_100_000))).status).toBe(413);
    expect((await post('/webhooks/ultravox', 'x'.repeat(1_900_000))).status).toBe(401);
  });

  it('reject invalid JSON with 400, without quoting it', async () => {
    for (const accept of ['application/json', 'application/graphql-response+json']) {
      const response = await post('/graphql', '{"secret":hunter2}', { accept });
      expect(response.status).toBe(400);
      expect(await response.text()).not.toMatch(/hunter2|originalError/);
    }
  });
});

describe('errors about values of the wrong type', () => {
  it('do not quote the value, which may be a secret', async () => {
    const create = 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { key } }';
    const literal = (value: string) =>
      `mutation { createApiKey(input: ${value}) { key } createTool(input: { name: ["hunter2"] }) { userErrors { code } } }`;
    const answers = [
      await server.client.send(create, { input: { name: ['hunter2'], scopes: ['READ'] } }),
      await server.client.send(create, { input: { name: 'x', scopes: ['hunter2'] } }),
      await server.client.send(create, { input: 'hunter2' }),
      await server.client.send(create, { input: { name: 'x', scopes: [['hunter2']] } }),
      await server.client.send(create, { input: { name: 'x', expiresAt: 'hunter2', scopes: [] } }),
      await server.client.send(literal('"hunter2"')),
      await server.client.send(literal('{ name: ["hunter2"], scopes: ["hunter2"] }')),
      await server.client.send(literal('{ name: "x", scopes: [hunter2] }')),
      await server.client.send(literal('{ name: 1, scopes: READ, expiresAt: "hunter2" }')),
    ];
    answers.push(await server.client.send(literal('{ name: "x" } "hunter2"')));
    answers.push(await server.client.send(literal('{ "hunter2" }')));
    const [live] = await overSocket(literal('{ "hunter2" }'));
    expect(codes(live!)).toEqual(['GRAPHQL_PARSE_FAILED']);
    expect(JSON.stringify(live)).not.toContain('hunter2');
    for (const answer of answers) {
      expect(answer.errors?.length).toBeGreaterThan(0);
      expect(JSON.stringify(answer.errors)).not.toContain('hunter2');
    }
    expect(answers[0]?.errors?.[0]?.message).toMatch(/input\.name.*string/i);
  });
});

describe('stopping the server', () => {
  it('answers a request that is still being received', async () => {
    const stopping = await startTestServer();
    const { hostname, port } = new URL(stopping.url);
    const body = '{"query":"{ viewer { organization { id } } }"}';
    const socket = connect(Number(port), hostname);
    socket.write('POST /graphql HTTP/1.1\r\nhost: x\r\n');
    // By the time this is answered, the server has received the beginning of the other request.
    expect((await fetch(`${stopping.url}/health`)).status).toBe(200);
    const closed = stopping.close();
    socket.write(
      `authorization: Bearer ${stopping.key}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    const answer = await textOf(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toContain('"organization":{"id":"org_');
    await closed;
  });

  it('does not wait for clients whose upgrade was refused', async () => {
    const stopping = await startTestServer();
    const { hostname, port } = new URL(stopping.url);
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    socket.write(
      'GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    );
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 404 /);
    await stopping.close();
    socket.destroy();
  });
});

describe('counts of whole lists', () => {
  it('leave connections to others, however many an operation selects', async () => {
    const counts = Array.from({ length: 40 }, (_, n) => `c${n}: contacts { totalCount }`).join(' ');
    const waiting = async () => {
      const [row] = await server.app.db.$queryRaw<[{ count: bigint }]>`
        SELECT count(*) AS count FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%contacts%'`;
      return Number(row.count);
    };
    const counted = server.app.db.$transaction(
      async (tx) => {
        await tx.$executeRaw`LOCK TABLE contacts`;
        const answer = server.client.send(`{ ${counts} }`);
        await until('some to wait', async () => (await waiting()) > 0);
        // By the time that another organization is answered, all would have reached the database.
        const other = await server.newOrganization();
        expect((await other.client.send('{ agents { totalCount } }')).errors).toBeUndefined();
        expect(await waiting()).toBeLessThan(4);
        return { answer };
      },
      { timeout: 100_000 },
    );
    const { data, errors } = await (await counted).answer;
    expect(errors).toBeUndefined();
    expect(Object.keys(data)).toHaveLength(40);
  });
});

describe('queries that cost more than 2,500', () => {
  it('run four at a time for an organization', async () => {
    const lists = Array.from({ length: 300 }, (_, n) => `a${n}: agents(first: 1) { nodes { id } }`);
    const { client } = await server.newOrganization();
    let answers: ReturnType<typeof client.send>[] = [];
    const statements = await server.app.db.$transaction(
      async (tx) => {
        await tx.$executeRaw`LOCK TABLE agents`;
        return recordStatements(server.app, async () => {
          answers = Array.from({ length: 10 }, () => client.send(`{ ${lists.join(' ')} }`));
          await until('one to wait', async () => {
            const [row] = await server.app.db.$queryRaw<[{ count: bigint }]>`
              SELECT count(*) AS count FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'`;
            return row.count > 0n;
          });
          // By the time that these are answered, all would have begun.
          for (let index = 0; index < 10; index += 1) await client.send('{ eventCursor }');
        });
      },
      { timeout: 100_000 },
    );
    const begun = statements.filter((text) => /\bagents\b/.test(text));
    expect(begun.length).toBeGreaterThanOrEqual(300);
    expect(begun.length).toBeLessThanOrEqual(1_200);
    for (const { data, errors } of await Promise.all(answers)) {
      expect(errors).toBeUndefined();
      expect(data.a299).toEqual({ nodes: [] });
    }
  });
});

describe('rate limits', () => {
  it('count each mutation field, and requests without a valid key by address', async () => {
    const limited = await startTestServer({ settings: { RATE_LIMIT_PER_MINUTE: '40' } });
    try {
      const mutation = `mutation { ${Array.from({ length: 20 }, (_, n) => `m${n}: revokeApiKey(input: { id: "x" }) { userErrors { code } }`).join(' ')} }`;
      const answers = [];
      // The requests fall into at most two windows of two operations each.
      for (let index = 0; index < 5; index += 1)
        answers.push(codes(await limited.client.send(mutation))?.[0]);
      expect(answers).toContain('RATE_LIMITED');

      // The operation is charged by its cost, about 2,100 objects for each of 20 fields: more than the whole budget,
      // so one runs in each window.
      const other = await limited.newOrganization();
      const costly = `query ($ids: [ID!]!) { ${Array.from({ length: 20 }, (_, n) => `n${n}: nodes(ids: $ids) { ... on Agent { calls(first: 20) { nodes { id } } } }`).join(' ')} }`;
      const variables = {
        ids: Array.from({ length: 100 }).fill('agt_01a22377-e04e-77ea-ba89-0b688d1fe4d8'),
      };
      const answered: number[] = [];
      for (let index = 0; index < 3; index += 1)
        answered.push((await other.client.send(costly, variables)).status);
      expect(answered[0]).toBe(200);
      expect(answered).toContain(429);

      // 500 statements, however few objects they find.
      const many = await limited.newOrganization();
      const small = `{ ${Array.from({ length: 500 }, (_, n) => `a${n}: agents(first: 1) { nodes { id } }`).join(' ')} }`;
      const replies: number[] = [];
      for (let index = 0; index < 3; index += 1)
        replies.push((await many.client.send(small)).status);
      expect(replies).toContain(429);

      const careless = await limited.newOrganization();
      const valid = '{ agents { totalCount } }';
      expect((await careless.client.send(valid)).status).toBe(200);
      const invalid: unknown[] = [];
      // In at most two windows.
      for (let index = 0; index < 90; index += 1)
        invalid.push(codes(await careless.client.send(`{ unknown${index} }`))?.[0]);
      expect(new Set(invalid)).toEqual(new Set(['GRAPHQL_VALIDATION_FAILED', 'RATE_LIMITED']));
      expect(invalid.at(-1)).toBe('RATE_LIMITED');
      // Nothing new is parsed, and what is known runs.
      const unknown = await careless.client.send('{ agents(first: 1) { totalCount } }');
      expect([unknown.status, codes(unknown)]).toEqual([429, ['RATE_LIMITED']]);
      expect((await careless.client.send(valid)).status).toBe(200);

      const wrong = createClient(limited.url, `truedy_${'x'.repeat(32)}`);
      const anonymous = createClient(limited.url, null);
      const statuses = new Set<number>();
      for (let index = 0; index < 250; index += 1) {
        const client = index % 2 ? wrong : anonymous;
        const answer = await client.send('{ __typename }');
        statuses.add(answer.status);
        if (answer.status === 429) {
          expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
          break;
        }
      }
      expect(statuses).toEqual(new Set([200, 401, 429]));
    } finally {
      await limited.close();
    }
  });
});

describe('sockets', () => {
  it('receive errors without HTTP extensions', async () => {
    const [result] = await overSocket('{ viewer { scopes } }', null);
    expect(codes(result!)).toEqual(['UNAUTHENTICATED']);
    expect(JSON.stringify(result)).not.toContain('"http"');
  });

  it('have at most 100 subscriptions each', async () => {
    const client = openSocket(server.url, server.key);
    const refused: unknown[] = [];
    const streams = Array.from({ length: 101 }, () =>
      client.iterate({ query: 'subscription { callEvents { cursor } }' }),
    );
    for (const stream of streams) {
      stream.next().then(
        ({ value }) => value && refused.push(...(value as { errors: unknown[] }).errors),
        (error: unknown) => refused.push(...(error as unknown[])),
      );
    }
    await until('a refusal', () => refused.length === 1);
    expect(codes({ errors: refused as Coded['errors'] & object })).toEqual(['RATE_LIMITED']);
    await client.dispose();
  });

  it('are closed with 1001 when the server stops, and event streams are not completed', async () => {
    const stopping = await startTestServer();
    const client = openSocket(stopping.url, stopping.key);
    let open = false;
    let closed: { code?: number } | null = null;
    client.on('connected', () => {
      open = true;
    });
    client.on('closed', (event) => {
      closed = event as { code?: number };
    });
    const socket = client
      .iterate({ query: 'subscription { callEvents { cursor } }' })
      .next()
      .then(
        ({ done }) => (done ? 'completed' : 'event'),
        () => 'cut off',
      );
    const response = await fetch(`${stopping.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${stopping.key}`,
      },
      body: JSON.stringify({ query: 'subscription { callEvents { cursor } }' }),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const text = (async () => {
      let seen = '';
      try {
        for await (const chunk of response.body!) seen += Buffer.from(chunk).toString();
        return `${seen} ENDED`;
      } catch {
        return `${seen} BROKEN`;
      }
    })();
    await until('the socket', () => open);
    await stopping.close();
    expect(await text).toMatch(/BROKEN$/);
    expect(await text).not.toContain('complete');
    expect(await socket).toBe('cut off');
    await until('the close', () => closed !== null);
    expect(closed).toMatchObject({ code: 1001 });
  });
});
