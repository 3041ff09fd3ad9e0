/** What a request as a whole may be refused with, over plain HTTP. */
import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Answer, createClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const codes = (answer: { errors?: { extensions: Record<string, unknown> }[] }) =>
  answer.errors?.map(({ extensions }) => extensions.code);

describe('a request', () => {
  it('without a key is UNAUTHENTICATED, and does nothing', async () => {
    const anonymous = createClient(server.url, null);
    const answer = await anonymous.send(
      'mutation { createTool(input: { name: "x", description: "x", http: { url: "https://example.com" } }) { userErrors { code } } }',
    );
    expect(codes(answer)).toEqual(['UNAUTHENTICATED']);
    expect(answer.status).toBe(401);
    expect(await server.app.db.tool.count()).toBe(0);
  });

  it('may ask for the schema without a key', async () => {
    const answer = await createClient(server.url, null).send(getIntrospectionQuery());
    expect(answer.errors).toBeUndefined();
    expect(answer.data.__schema.types.length).toBeGreaterThan(50);
  });

  it('with a document that does not parse says where', async () => {
    const answer = await server.client.send(
      '{ viewer {',
      {},
      { headers: { accept: 'application/graphql-response+json' } },
    );
    expect(answer.errors?.[0]?.message).toMatch(/Syntax Error/);
    expect(answer.status).toBe(400);
    expect(answer.data).toBeUndefined();
  });

  it('for a field that is not there is refused as a whole', async () => {
    const answer = await server.client.send('{ viewer { scopes } nonsense }');
    expect(codes(answer)).toEqual(['GRAPHQL_VALIDATION_FAILED']);
    expect(answer.data).toBeUndefined();
  });

  it('with an id of another type says so', async () => {
    const answer = await server.client.send(`{ agent(id: "org_${server.organizationId}") { id } }`);
    expect(codes(answer)).toEqual(['BAD_USER_INPUT']);
    expect(answer.errors?.[0]?.message).toMatch(/is the id of an Organization; an Agent id/);
    expect(codes(await server.client.send('{ node(id: "nonsense") { id } }'))).toEqual([
      'BAD_USER_INPUT',
    ]);
  });

  it('that is too deep or too wide is QUERY_TOO_COSTLY before anything is read', async () => {
    const wide = `{ agents(first: 100) { nodes { calls(first: 100) { nodes { events(first: 100) { nodes { call { agent { calls(first: 100) { nodes { id } } } } } } } } } } }`;
    expect(codes(await server.client.send(wide))).toEqual(['QUERY_TOO_COSTLY']);
    let deep = 'id';
    for (let level = 0; level < 12; level += 1)
      deep = `calls(first: 1) { nodes { agent { ${deep} } } }`;
    expect(codes(await server.client.send(`{ agents(first: 1) { nodes { ${deep} } } }`))).toEqual([
      'QUERY_TOO_COSTLY',
    ]);
  });

  it('for three levels of full pages is not', async () => {
    const answer = await server.client.send(
      '{ agents(first: 100) { totalCount nodes { name calls(first: 100) { totalCount nodes { id number { phoneNumber } agent { name } } } } } }',
    );
    expect(answer.errors).toBeUndefined();
  });

  it('for a page outside 1 to 100 is refused', async () => {
    for (const page of ['first: 0', 'first: 101', 'last: 101', 'first: -1']) {
      expect(codes(await server.client.send(`{ calls(${page}) { nodes { id } } }`))).toEqual([
        'BAD_USER_INPUT',
      ]);
    }
  });

  it('beyond the limit of a minute is RATE_LIMITED, with the time to wait', async () => {
    const limited = await startTestServer({ settings: { RATE_LIMIT_PER_MINUTE: '5' } });
    try {
      const answers = [];
      for (let index = 0; index < 12; index += 1)
        answers.push(await limited.client.send('{ eventCursor }'));
      const refused = answers.filter((answer) => answer.errors);
      // Twelve in a row fall into at most two windows of five.
      expect(refused.length).toBeGreaterThanOrEqual(2);
      expect(codes(refused[0]!)).toEqual(['RATE_LIMITED']);
      expect(refused[0]?.status).toBe(429);
      expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(refused[0]?.errors?.[0]?.extensions).toMatchObject({ limit: 5 });
    } finally {
      await limited.close();
    }
  });

  it('that fails on our side is INTERNAL, with a request id and nothing else', async () => {
    const broken = await startTestServer();
    await broken.app.db.$executeRaw`DROP TABLE events, event_counters CASCADE`;
    const answer = await broken.client.send('{ eventCursor }');
    await broken.close();
    expect(codes(answer)).toEqual(['INTERNAL']);
    expect(answer.errors?.[0]?.message).toContain(String(answer.errors?.[0]?.extensions.requestId));
    expect(JSON.stringify(answer.errors)).not.toMatch(/event_counters|prisma|relation/i);
  });
});

describe('eventCursor', () => {
  it('is never newer than the snapshot beside it', async () => {
    const { db } = server.app;
    const id = server.organizationId;
    let answer: Promise<Answer> | undefined;
    await db.$transaction(
      async (tx) => {
        await tx.$executeRaw`LOCK TABLE event_counters IN ACCESS EXCLUSIVE MODE`;
        answer = server.client.send('{ organization { name } now: eventCursor }');
        await until('the query to wait for the cursor', async () => {
          const [{ waiting } = { waiting: 0n }] = await db.$queryRaw<{ waiting: bigint }[]>`
            SELECT count(*) AS waiting FROM pg_locks
            WHERE NOT granted AND relation = 'event_counters'::regclass`;
          return waiting > 0n;
        });
        // What the snapshot would show by now, had it been read before the cursor.
        await tx.$executeRaw`SELECT pg_sleep(0.3)`;
        await tx.organization.update({ where: { id }, data: { name: 'Renamed' } });
        await tx.eventCounter.upsert({
          where: { organizationId: id },
          create: { organizationId: id, lastCursor: 7 },
          update: { lastCursor: 7 },
        });
      },
      { timeout: 20_000 },
    );
    expect((await answer)?.data).toEqual({ organization: { name: 'Renamed' }, now: '7' });
  });
});

describe('other addresses', () => {
  it('a webhook that is refused is in the log, and not for each one that comes', async () => {
    const warn = vi.spyOn(server.app.log, 'warn');
    for (let index = 0; index < 5; index += 1) {
      const response = await fetch(`${server.url}/webhooks/ultravox`, {
        method: 'POST',
        body: '{}',
      });
      expect(response.status).toBe(401);
    }
    const told = (warn.mock.calls as unknown[][]).filter(([, message]) =>
      /A webhook was refused/.test(String(message)),
    );
    expect(told).toHaveLength(1);
    warn.mockRestore();
  });

  it('GraphiQL is a page that holds the demo key and the walk, and loads nothing from elsewhere', async () => {
    const response = await fetch(`${server.url}/graphql`, { headers: { accept: 'text/html' } });
    const page = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(page).toContain(server.key);
    expect(page).toContain('subscription CallEvents');
    expect(page.match(/<(?:script|link|img)[^>]+(?:src|href)="https?:/g)).toBeNull();
  });

  it('health answers, and what is unknown is not found', async () => {
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect((await fetch(`${server.url}/nonsense`)).status).toBe(404);
  });
});
