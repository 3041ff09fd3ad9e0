/** Requests that accept none of the formats in which their operation can be answered. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { MAX_SUBSCRIPTIONS: '4' } });
});
afterAll(() => server.close());

const SUBSCRIPTION = 'subscription { callEvents(after: "0") { cursor } }';

function post(query: string, accept: string): Promise<Response> {
  return fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${server.key}`,
      'content-type': 'application/json',
      accept,
    },
    body: JSON.stringify({ query }),
  });
}

async function refusalOf(response: Response) {
  const { errors } = JSON.parse(await response.text());
  return { status: response.status, type: response.headers.get('content-type'), ...errors[0] };
}

describe('a query whose result the request accepts among others', () => {
  it.each([
    ['*/*', /^application\/.*json/],
    ['', /^application\/.*json/],
    ['text/html,application/xhtml+xml,*/*;q=0.8', /^application\/.*json/],
    ['text/html, application/json', /^application\/.*json/],
    ['multipart/mixed, application/json', /json|multipart/],
  ])('is answered: %s', async (accept, type) => {
    const answer = await post('{ __typename }', accept);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(type);
    expect(await answer.text()).toContain('"__typename":"Query"');
  });
});

describe('a subscription whose results the request does not accept', () => {
  it.each([
    'application/json',
    'application/graphql-response+json, application/json',
    'multipart/mixed',
  ])('is refused with what to accept: %s', async (accept) => {
    expect(await refusalOf(await post(SUBSCRIPTION, accept))).toMatchObject({
      status: 406,
      type: expect.stringMatching(/^application\/.*json; charset=utf-8$/),
      message: expect.stringMatching(/`Accept: text\/event-stream`.*WebSocket/),
      extensions: { code: 'NOT_ACCEPTABLE' },
    });
  });

  it('is not started, so it counts as no open subscription', async () => {
    for (let index = 0; index < 5; index += 1) {
      expect((await post(SUBSCRIPTION, 'application/json')).status).toBe(406);
    }
    const stream = await post(SUBSCRIPTION, 'text/event-stream');
    expect(stream.headers.get('content-type')).toBe('text/event-stream');
    await stream.body?.cancel();
  });

  it('is refused over GET too', async () => {
    const url = `${server.url}/graphql?${new URLSearchParams({ query: SUBSCRIPTION })}`;
    const headers = { authorization: `Bearer ${server.key}`, accept: 'application/json' };
    expect(await refusalOf(await fetch(url, { headers }))).toMatchObject({
      status: 406,
      extensions: { code: 'NOT_ACCEPTABLE' },
    });
  });

  it('is still refused for its own errors first', async () => {
    const answer = await post('subscription { nonsense }', 'application/json');
    expect((await refusalOf(answer)).extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });
});

describe('an operation whose result the request does not accept', () => {
  it.each([
    'text/html',
    'application/json; charset=latin1',
  ])('is refused before it runs: %s', async (accept) => {
    const name = `For ${accept}`;
    const mutation = `mutation { createContactFolder(input: { name: "${name}" }) { userErrors { code } } }`;
    expect(await refusalOf(await post(mutation, accept))).toMatchObject({
      status: 406,
      message: expect.stringContaining('`Accept: application/json`'),
      extensions: { code: 'NOT_ACCEPTABLE' },
    });
    expect(await server.app.db.contactFolder.count({ where: { name } })).toBe(0);
  });
});
