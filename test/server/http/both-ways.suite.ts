/**
 * Requests that are answered without yoga get the same response as from yoga. Yoga answers if the client requests
 * a charset.
 */
import { describe, expect, it } from 'vitest';
import type { TestServer } from '../../support/servers/server.ts';

interface Sent {
  body: string;
  headers?: Record<string, string>;
}

const TYPES = ['application/json', 'application/graphql-response+json'];

function operation(query: string, more: object = {}, headers: Record<string, string> = {}): Sent {
  return { body: JSON.stringify({ query, ...more }), headers };
}

const FOLDER =
  'mutation { createContactFolder(input: { name: "" }) { userErrors { code message path } } }';

const REQUESTS: Record<string, Sent> = {
  'a list': operation(
    '{ calls(first: 2) { totalCount nodes { id createdAt } pageInfo { hasNextPage endCursor } } }',
  ),
  'a name of a type': operation('{ __typename }'),
  introspection: operation('{ __schema { queryType { name } } }'),
  'an operation with a name': operation('query a { __typename } query b { viewer { scopes } }', {
    operationName: 'b',
  }),
  'several operations without a name': operation('query a { __typename } query b { __typename }'),
  'an unknown operation': operation('query a { __typename }', { operationName: 'b' }),
  'a directive': operation('{ viewer @skip(if: true) { scopes } __typename }'),
  'a fragment': operation('{ viewer { ...v } } fragment v on Viewer { scopes }'),
  'text that is not ASCII': operation('{ a: __typename # ü\n }'),
  'a variable': operation('query ($n: Int!) { agents(first: $n) { nodes { id } } }', {
    variables: { n: 3 },
  }),
  'a variable of the wrong type': operation(
    'query ($n: Int) { agents(first: $n) { totalCount } }',
    {
      variables: { n: 'x' },
    },
  ),
  'a missing variable': operation('query ($n: Int!) { agents(first: $n) { totalCount } }'),
  'a variable named like a member of all objects': {
    body: '{"query":"query ($a: ID!) { agent(id: $a) { id } }","variables":{"__proto__":{"a":"x"}}}',
  },
  'data and an error': operation('{ agents { totalCount } agent(id: "nonsense") { id } }'),
  'a syntax error': operation('{ viewer {'),
  'an unknown field': operation('{ viewer { scopes } nonsense }'),
  'too many objects': operation(
    '{ agents(first: 100) { nodes { calls(first: 100) { nodes { agent { calls(first: 100) { nodes { id } } } } } } } }',
  ),
  'no key': operation('{ viewer { scopes } }', {}, { authorization: '' }),
  'an unknown key': operation(
    '{ viewer { scopes } }',
    {},
    { authorization: `Bearer truedy_${'x'.repeat(32)}` },
  ),
  'a mutation': operation(FOLDER),
  'an invalid idempotency key': operation(FOLDER, {}, { 'x-idempotency-key': 'a b' }),
  'two idempotency keys': operation(
    FOLDER,
    { extensions: { idempotencyKey: 'a' } },
    { 'x-idempotency-key': 'b' },
  ),
  'an origin': operation('{ __typename }', {}, { origin: 'https://example.com' }),
  'a body that is not JSON': { body: '{ nonsense' },
  'a batch': { body: '[{"query":"{ __typename }"}]' },
  'no document': { body: '{}' },
  'another content type': operation('{ __typename }', {}, { 'content-type': 'text/plain' }),
  'a content type with a charset': operation(
    '{ __typename }',
    {},
    { 'content-type': 'Application/JSON; charset=utf-8' },
  ),
  'a subscription that is invalid': operation('subscription { nonsense }'),
};

/** The response without what is of one request only. */
async function responseTo({ url, key }: TestServer, { body, headers }: Sent, accept: string) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      ...headers,
      accept,
    },
    body,
  });
  const id = response.headers.get('x-request-id')!;
  const ofRequest = new Set(['date', 'x-request-id']);
  return {
    status: response.status,
    headers: [...response.headers].filter(([name]) => !ofRequest.has(name)),
    text: (await response.text()).replaceAll(id, '<request id>'),
  };
}

export function bothWaysSuite(server: () => TestServer): void {
  describe.each(TYPES)('a response of type %s', (type) => {
    it.each(Object.entries(REQUESTS))('to %s is the same past yoga', async (_name, sent) => {
      const byYoga = await responseTo(server(), sent, `${type};charset=utf-8`);
      // The document is new for the first one, and known for the second.
      expect(await responseTo(server(), sent, type)).toEqual(byYoga);
      expect(await responseTo(server(), sent, type)).toEqual(byYoga);
    });

    it('to a mutation with an idempotency key is the same past yoga', async () => {
      const withKey = (key: string) =>
        operation(FOLDER, {}, { 'x-idempotency-key': `${key} ${type}`.replaceAll(' ', '-') });
      for (const _again of [false, true]) {
        const byYoga = await responseTo(server(), withKey('yoga'), `${type};charset=utf-8`);
        expect(await responseTo(server(), withKey('past'), type)).toEqual(byYoga);
      }
    });
  });
}
