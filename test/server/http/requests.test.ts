/** HTTP responses, mainly to rejected requests. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Answer, createClient } from '../../support/graphql.ts';
import { sessionOf, untilBlocked } from '../../support/locks.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { bothWaysSuite } from './both-ways.suite.ts';
import { failedStatementsSuite } from './failed-statements.suite.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const codes = (answer: { errors?: { extensions: Record<string, unknown> }[] }) =>
  answer.errors?.map(({ extensions }) => extensions.code);

/** A request as `fetch` does not send it. */
async function send(
  method: string,
  { headers, query }: { headers: Record<string, string>; query: string },
): Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: string }> {
  const isGet = method !== 'POST';
  const url = `${server.url}/graphql${isGet ? `?${new URLSearchParams({ query })}` : ''}`;
  const authorization = `Bearer ${server.key}`;
  const sent = request(url, {
    method,
    headers: { 'content-type': 'application/json', authorization, ...headers },
  });
  sent.end(isGet ? undefined : JSON.stringify({ query }));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

describe('a request', () => {
  it('without a key is rejected with UNAUTHENTICATED and changes nothing', async () => {
    const anonymous = createClient(server.url, null);
    const answer = await anonymous.send(
      'mutation { createTool(input: { name: "x", description: "x", http: { url: "https://example.com" } }) { userErrors { code } } }',
    );
    expect(codes(answer)).toEqual(['UNAUTHENTICATED']);
    expect(answer.status).toBe(401);
    expect(await server.app.db.tool.count()).toBe(0);
  });

  it('for the schema needs no key', async () => {
    const answer = await createClient(server.url, null).send(getIntrospectionQuery());
    expect(answer.errors).toBeUndefined();
    expect(answer.data.__schema.types.length).toBeGreaterThan(50);
  });

  it('with a syntax error is rejected with its location', async () => {
    const answer = await server.client.send(
      '{ viewer {',
      {},
      { headers: { accept: 'application/graphql-response+json' } },
    );
    expect(answer.errors?.[0]?.message).toMatch(/Syntax Error/);
    expect(answer.status).toBe(400);
    expect(answer.data).toBeUndefined();
  });

  it('for an unknown field is rejected as a whole', async () => {
    const answer = await server.client.send('{ viewer { scopes } nonsense }');
    expect(codes(answer)).toEqual(['GRAPHQL_VALIDATION_FAILED']);
    expect(answer.data).toBeUndefined();
  });

  it.each([
    [
      '{ calls(filter: { status: [RUNNING] }) { totalCount } }',
      {},
      /^The value does not exist in "CallStatus" enum.*\?[^.]* Its values are CREATED, [A-Z_, ]+\.$/,
    ],
    [
      'query ($from: DateTime) { calls(filter: { createdFrom: $from }) { totalCount } }',
      { from: '2026-11-30' },
      /date-time-string\. Write an instant with its time zone, such as "2026-11-30T09:00:00Z"\.$/,
    ],
    [
      'mutation ($data: JSONObject) { createCall(input: { agentId: "x", phoneNumber: "+14155550123", metadata: $data }) { call { id } } }',
      { data: [1] },
      /JSONObject cannot represent non-object value\.$/,
    ],
  ])('with a value of the wrong type is told what to write: %s', async (query, variables, message) => {
    const { errors } = await server.client.send(query, variables);
    expect(errors?.map((error) => error.message)).toEqual([expect.stringMatching(message)]);
  });

  it('with variables of the wrong type is told where they are, as in user errors', async () => {
    const problems = async (query: string, variables: object) => {
      const { errors } = await server.client.send(query, variables);
      const found = errors?.map(({ extensions }) => [extensions.code, extensions.problems]);
      return found as [string, { code: string; path: string[]; message: string }[]][];
    };
    const CREATE = `mutation ($input: CreateContactsInput!) {
      createContacts(input: $input) { createdCount } }`;
    const contacts = [{ phoneNumber: '+14155550101' }, { firstName: 7 }, { colour: 'red' }];
    const brief = async (query: string, variables: object) => {
      const found = (await problems(query, variables)).map(([code, [problem, ...more]]) => {
        expect([code, more]).toEqual(['BAD_USER_INPUT', []]);
        expect(problem!.message).not.toMatch(/Variable/);
        return `${problem!.path.join('.')} ${problem!.code}`;
      });
      return found.toSorted();
    };
    expect(await brief(CREATE, { input: { folderId: null, contacts } })).toEqual([
      'contacts.1.firstName INVALID_INPUT',
      'contacts.1.phoneNumber REQUIRED',
      'contacts.2.colour INVALID_INPUT',
      'contacts.2.phoneNumber REQUIRED',
      'folderId REQUIRED',
    ]);
    expect(await brief(CREATE, {})).toEqual([' REQUIRED']);
    const WITHIN = `mutation ($name: String!, $ids: [ID!]!, $id: ID!) {
      createContactFolder(input: { name: $name }) { userErrors { code } }
      deleteContacts(input: { contacts: { ids: $ids } }) { userErrors { code } }
      deleteCalls(input: { ids: ["x", $id] }) { userErrors { code } } }`;
    expect(await brief(WITHIN, { name: 1, ids: ['x', {}], id: true })).toEqual([
      'contacts.ids.1 INVALID_INPUT',
      'ids.1 INVALID_INPUT',
      'name INVALID_INPUT',
    ]);
    const FILTERED = 'query ($filter: CallFilter) { calls(filter: $filter) { totalCount } }';
    expect(await problems(FILTERED, { filter: { status: ['GONE'] } })).toEqual([
      [
        'BAD_USER_INPUT',
        [
          {
            code: 'INVALID_INPUT',
            path: ['filter', 'status', '0'],
            message: expect.stringMatching(/^The value does not exist in "CallStatus" enum/),
          },
        ],
      ],
    ]);
    expect(await brief(FILTERED, { filter: { status: Array(7).fill('FAILED') } })).toEqual([
      'filter.status LIMIT_EXCEEDED',
    ]);
    expect(await problems(FILTERED, { filter: { agentId: 'x', campaignId: 'y' } })).toMatchObject([
      [
        'BAD_USER_INPUT',
        [
          { code: 'INVALID_ID', path: ['filter', 'agentId'] },
          { code: 'INVALID_ID', path: ['filter', 'campaignId'] },
        ],
      ],
    ]);
    for (const [list, id] of [
      ['campaigns', 'agentId'],
      ['contactImports', 'folderId'],
      ['doNotCallEntries', 'search'],
    ] as const) {
      const document = `{ ${list}(filter: { ${id}: "x" }) { totalCount } }`;
      expect(await problems(document, {})).toMatchObject([
        ['BAD_USER_INPUT', [{ path: ['filter', id] }]],
      ]);
    }
    const ANALYZED = `query ($ids: [ID!]) {
      analytics(range: { from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z" },
        filter: { agentId: $ids }) { total { answerRate } } }`;
    expect(await problems(ANALYZED, { ids: ['x', 'y'] })).toMatchObject([
      [
        'BAD_USER_INPUT',
        [
          { code: 'INVALID_ID', path: ['filter', 'agentId', '0'] },
          { code: 'INVALID_ID', path: ['filter', 'agentId', '1'] },
        ],
      ],
    ]);
    expect(await brief(FILTERED, { filter: { createdFrom: '0000-01-01T00:00:00Z' } })).toEqual([
      'filter.createdFrom INVALID_INPUT',
    ]);
  });

  it('is told where a variable is in the operation that runs, not in others of the document', async () => {
    const { errors } = await server.client.send(
      `query One($value: ID!) { call(id: $value) { id } }
       query Other($value: CallFilter) { calls(filter: $value) { totalCount } }`,
      { value: { status: ['GONE'] } },
      { operationName: 'Other' },
    );
    expect(errors).toMatchObject([
      { extensions: { problems: [{ path: ['filter', 'status', '0'] }] } },
    ]);
  });

  it('with a mutation is rejected unless it is a POST', async () => {
    const mutation =
      'mutation { createContactFolder(input: { name: "By GET" }) { userErrors { code } } }';
    const url = `${server.url}/graphql?query=${encodeURIComponent(mutation)}`;
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      for (const type of [{}, { 'content-type': 'application/json' }]) {
        const headers = { authorization: `Bearer ${server.key}`, ...type };
        const { status } = await fetch(url, { method, headers });
        expect({ method, type, status }).toEqual({ method, type, status: 405 });
      }
    }
    expect(await server.app.db.contactFolder.count({ where: { name: 'By GET' } })).toBe(0);
  });

  it('with an ID of another type is rejected with BAD_USER_INPUT', async () => {
    const answer = await server.client.send(`{ agent(id: "org_${server.organizationId}") { id } }`);
    expect(codes(answer)).toEqual(['BAD_USER_INPUT']);
    expect(answer.errors?.[0]?.message).toMatch(
      /is the ID of an Organization; expected the ID of an Agent/,
    );
    expect(codes(await server.client.send('{ node(id: "nonsense") { id } }'))).toEqual([
      'BAD_USER_INPUT',
    ]);
  });

  it('with another protocol in Upgrade is answered as without it', async () => {
    const { status, body } = await send('POST', {
      headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' },
      query: '{ __typename }',
    });
    expect([status, JSON.parse(body)]).toEqual([200, { data: { __typename: 'Query' } }]);
  });

  it('for the head of a subscription is rejected', async () => {
    const { status, headers } = await send('HEAD', {
      headers: { accept: 'text/event-stream' },
      query: 'subscription { callEvents { cursor } }',
    });
    expect([status, headers.allow]).toEqual([405, 'GET, POST']);
  });

  it('that is too deep or too wide is rejected with QUERY_TOO_COSTLY', async () => {
    const wide = `{ agents(first: 100) { nodes { calls(first: 100) { nodes { events(first: 100) { nodes { call { agent { calls(first: 100) { nodes { id } } } } } } } } } } }`;
    expect(codes(await server.client.send(wide))).toEqual(['QUERY_TOO_COSTLY']);
    let deep = 'id';
    for (let level = 0; level < 12; level += 1)
      deep = `calls(first: 1) { nodes { agent { ${deep} } } }`;
    expect(codes(await server.client.send(`{ agents(first: 1) { nodes { ${deep} } } }`))).toEqual([
      'QUERY_TOO_COSTLY',
    ]);
  });

  it('for three levels of full pages is accepted', async () => {
    const answer = await server.client.send(
      '{ agents(first: 100) { totalCount nodes { name calls(first: 100) { totalCount nodes { id number { phoneNumber } agent { name } } } } } }',
    );
    expect(answer.errors).toBeUndefined();
  });

  it('for a page size outside 1 to 100 is rejected', async () => {
    for (const page of ['first: 0', 'first: 101', 'last: 101', 'first: -1']) {
      expect(codes(await server.client.send(`{ calls(${page}) { nodes { id } } }`))).toEqual([
        'BAD_USER_INPUT',
      ]);
    }
  });

  it('beyond the rate limit is rejected with RATE_LIMITED and Retry-After', async () => {
    const limited = await startTestServer({ settings: { RATE_LIMIT_PER_MINUTE: '5' } });
    try {
      const answers = [];
      for (let index = 0; index < 12; index += 1)
        answers.push(await limited.client.send('{ eventCursor }'));
      const refused = answers.filter((answer) => answer.errors);
      // Twelve requests fall into at most two windows of five.
      expect(refused.length).toBeGreaterThanOrEqual(2);
      expect(codes(refused[0]!)).toEqual(['RATE_LIMITED']);
      expect(refused[0]?.status).toBe(429);
      expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(refused[0]?.errors?.[0]?.extensions).toMatchObject({ limit: 5 });
    } finally {
      await limited.close();
    }
  });

  it('that fails internally is answered with INTERNAL and a request id only', async () => {
    const broken = await startTestServer();
    // One table: locks of several could end in a deadlock with the work in the background.
    await broken.app.db.$executeRaw`ALTER TABLE event_counters RENAME TO missing`;
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
        const holder = await sessionOf(tx);
        await untilBlocked(db, { holder, statement: '%number_events($1%' });
        // A snapshot read before the cursor would be read by now, and not have the change that follows. This is only
        // to notice a defect: without one, the test passes however long it takes.
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

describe('endpoints beside GraphQL', () => {
  it('log rejected webhooks once, not for each', async () => {
    const warn = vi.spyOn(server.app.log, 'warn');
    for (let index = 0; index < 5; index += 1) {
      const response = await fetch(`${server.url}/webhooks/ultravox`, {
        method: 'POST',
        body: '{}',
      });
      expect(response.status).toBe(401);
    }
    const logged = (warn.mock.calls as unknown[][]).filter(([, message]) =>
      /A webhook was refused/.test(String(message)),
    );
    expect(logged).toHaveLength(1);
    warn.mockRestore();
  });

  it('serve GraphiQL with the demo key and tabs, which loads nothing from other hosts', async () => {
    const response = await fetch(`${server.url}/graphql`, { headers: { accept: 'text/html' } });
    const page = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(page).toContain(server.key);
    expect(page).toContain('subscription CallEvents');
    expect(page.match(/<(?:script|link|img)[^>]+(?:src|href)="https?:/g)).toBeNull();
  });

  it('answer /health with 200 and an unknown path with 404', async () => {
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect((await fetch(`${server.url}/nonsense`)).status).toBe(404);
  });

  it('answer many requests for /health with few queries', async () => {
    const statements = await recordStatements(server.app, async () => {
      const flood = Array.from({ length: 100 }, () => fetch(`${server.url}/health`));
      for (const { status } of await Promise.all(flood)) expect(status).toBe(200);
    });
    const counts = statements.filter((sql) => /COUNT\(.*"ultravox_webhooks"/s.test(sql));
    // One a second, on a slow machine.
    expect(counts.length).toBeLessThan(10);
  });
});

bothWaysSuite(() => server);
failedStatementsSuite(() => server);
