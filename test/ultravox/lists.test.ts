/** Lists of Ultravox, read page by page. */
import { describe, expect, it } from 'vitest';
import { createUltravoxClient } from '../../src/ultravox/client.ts';
import { API_KEY, call, failureOf, json, serve, setUp } from './support.ts';

describe('lists of Ultravox', () => {
  it('are read to the end by following next', async () => {
    const { client, received, url } = await setUp((request, response) =>
      request.url.includes('cursor')
        ? json(response, 200, { results: [call('c3')], next: null })
        : json(response, 200, {
            results: [call('c1'), call('c2')],
            next: `${url}/api/calls?cursor=cD0y&x=%20`,
            total: 3,
          }),
    );
    const ids: string[] = [];
    for await (const { callId } of client.calls.listAll({ metadata: { a: 'b' } })) ids.push(callId);
    expect(ids).toEqual(['c1', 'c2', 'c3']);
    expect(received.map((request) => request.url)).toEqual([
      '/api/calls?pageSize=100&metadata.a=b',
      '/api/calls?cursor=cD0y&x=%20',
    ]);
  });

  it.each([
    ['another origin', '', 'https://api.ultravox.example'],
    ['another origin, without the prefix of the configured address', '/proxy', 'http://localhost'],
    [
      'another origin, with the prefix of the configured address',
      '/proxy',
      'https://x.example/proxy',
    ],
  ])('are read at the configured address when next has %s', async (_, prefix, origin) => {
    const { received, url } = await setUp((request, response) =>
      json(response, 200, {
        results: [call(request.url.includes('cursor') ? 'c2' : 'c1')],
        next: request.url.includes('cursor') ? null : `${origin}/api/calls?cursor=x%20y`,
      }),
    );
    const client = createUltravoxClient({ baseUrl: url + prefix, apiKey: API_KEY });
    const all = await Array.fromAsync(client.calls.listAll());
    expect(all.map(({ callId }) => callId)).toEqual(['c1', 'c2']);
    expect(received[1]?.url).toBe(`${prefix}/api/calls?cursor=x%20y`);
  });

  it('continue at the configured address where they were left', async () => {
    const next = 'https://api.ultravox.example/api/calls/c1/messages?cursor=x';
    const { client, received } = await setUp((request, response) =>
      json(response, 200, { results: [{}], next: request.url.includes('cursor') ? null : next }),
    );
    const known = await client.calls.moreMessages('c1');
    expect((await client.calls.moreMessages('c1', known)).messages).toHaveLength(2);
    const url = '/api/calls/c1/messages?cursor=x';
    expect(received.slice(1)).toMatchObject([{ url }, { url }]);
  });

  it.each([
    '/elsewhere',
    '/api/../elsewhere',
    '/api/%2e%2e/elsewhere',
    '/apicalls',
  ])('never send the key to %s, outside of the API', async (path) => {
    const other = await serve((_, response) => json(response, 200, { results: [] }));
    const { client, received } = await setUp((_, response) =>
      json(response, 200, { results: [], next: `${other.url}${path}` }),
    );
    expect(await failureOf(client.calls.messages('c1'))).toMatchObject({ kind: 'protocol' });
    expect([received.length, other.received.length]).toEqual([1, 0]);
  });

  it('skip and report invalid items', async () => {
    const reported: string[] = [];
    const { client } = await setUp(
      (_, response) => json(response, 200, { results: [call('c1'), { callId: 7 }, call('c2')] }),
      { onSkippedItem: ({ detail }) => reported.push(detail) },
    );
    const all = await Array.fromAsync(client.calls.listAll());
    expect(all.map(({ callId }) => callId)).toEqual(['c1', 'c2']);
    expect(reported).toEqual([expect.stringContaining('callId')]);
    // A look-up must not take an unreadable call for a missing one.
    expect(await failureOf(client.calls.list())).toMatchObject({ kind: 'protocol' });
  });

  it('are abandoned when the pages run in a circle', async () => {
    const { client, url } = await setUp((_, response) =>
      json(response, 200, { results: [], next: `${url}/api/calls/c1/messages?cursor=x` }),
    );
    expect(await failureOf(client.calls.messages('c1'))).toMatchObject({ kind: 'protocol' });
  });
});
