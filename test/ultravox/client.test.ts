import { describe, expect, it } from 'vitest';
import { createUltravoxClient } from '../../src/ultravox/client.ts';
import { API_KEY, closers, failureOf, json, serve, setUp } from './support.ts';

const created = '2026-11-20T10:00:00Z';
const call = (callId: string, more = {}) => ({ callId, created, joined: null, ...more });

describe('createUltravoxClient', () => {
  it('sends key and body, and parses the response', async () => {
    const { client, received, reports } = await setUp((_, response) =>
      json(response, 201, call('c1', { joinUrl: null, invented: 1, metadata: { a: 'b' } })),
    );
    const started = await client.agents.startCall('a/1', { metadata: { a: 'b' } });
    expect(started).toMatchObject({ callId: 'c1', ended: null, metadata: { a: 'b' }, invented: 1 });
    expect(received).toMatchObject([{ method: 'POST', url: '/api/agents/a%2F1/calls' }]);
    expect(received[0]?.headers['x-api-key']).toBe(API_KEY);
    expect(JSON.parse(String(received[0]?.body))).toEqual({ metadata: { a: 'b' } });
    expect(reports).toMatchObject([
      { method: 'POST', path: '/api/agents/a%2F1/calls', attempt: 1, status: 201, error: null },
    ]);
  });

  it('rejects ids that would change the path', () => {
    const client = createUltravoxClient({ baseUrl: 'http://localhost', apiKey: API_KEY });
    expect(() => client.calls.get('..')).toThrow(TypeError);
    expect(() => client.calls.get('')).toThrow(TypeError);
  });

  it('sends filters in the query', async () => {
    const { client, received } = await setUp((_, response) => json(response, 200, { results: [] }));
    await client.calls.list({
      agentIds: ['a', 'b'],
      metadata: { attempt: 'x y' },
      search: '',
      sort: '-created',
      pageSize: 5,
    });
    const { searchParams } = new URL(received[0]?.url ?? '', 'http://x');
    expect([...searchParams]).toEqual([
      ['agentIds', 'a'],
      ['agentIds', 'b'],
      ['sort', '-created'],
      ['pageSize', '5'],
      ['metadata.attempt', 'x y'],
    ]);
  });

  it('reads members of unexpected types as null, except those that identify a call or say how far it is', async () => {
    const answer = call('c1', {
      billedSideInputTokens: '1234',
      billedSideOutputTokens: {},
      billedDuration: 12,
      medium: 'sip',
      recordingEnabled: 'yes',
      sipDetails: { terminationReason: 5 },
    });
    const { client } = await setUp(({ url }, response) =>
      json(response, 200, { ...answer, ...(url.endsWith('bad') ? { ended: 'soon' } : {}) }),
    );
    expect(await client.calls.get('c1')).toMatchObject({
      callId: 'c1',
      billedSideInputTokens: 1234,
      billedSideOutputTokens: null,
      billedDuration: '12s',
      medium: null,
      recordingEnabled: false,
      sipDetails: { terminationReason: null },
    });
    expect(await failureOf(client.calls.get('bad'))).toMatchObject({ kind: 'protocol' });
  });

  it('accepts responses without content', async () => {
    const { client, received } = await setUp((_, response) => response.writeHead(204).end());
    await client.calls.hangUp('c1');
    await client.agents.delete('a1');
    expect(JSON.parse(String(received[0]?.body))).toEqual({ type: 'hang_up' });
    expect(received[1]).toMatchObject({ method: 'DELETE', url: '/api/agents/a1' });
  });
});

describe('errors of Ultravox', () => {
  it.each([
    [400, 'invalid', false],
    [401, 'credentials', false],
    [402, 'billing', false],
    [403, 'credentials', false],
    [404, 'not_found', false],
    [409, 'conflict', false],
    [422, 'invalid', false],
    [429, 'capacity', false],
    [500, 'unreachable', true],
    [502, 'unreachable', true],
    [503, 'capacity', true],
  ] as const)('%i is %s', async (status, kind, outcomeUnknown) => {
    const { client, received } = await setUp((_, response) =>
      json(response, status, { detail: 'No.' }),
    );
    const error = await failureOf(client.agents.startCall('a1', {}));
    expect(error).toMatchObject({ status, kind, outcomeUnknown, detail: 'No.', method: 'POST' });
    expect(received).toHaveLength(1);
  });

  it.each([
    ['see no refusal in the 503 of a proxy', 'upstream connect error', {}, false],
    ['see a refusal in a 503 with Retry-After', '', { 'retry-after': '1' }, true],
    ['see a refusal in a 503 with JSON', '{"message":"Service Unavailable"}', {}, true],
  ])('%s, and leave open whether it was carried out', async (_title, body, headers, isRefusal) => {
    const { client, received } = await setUp((_, response) => {
      response.writeHead(503, { 'content-type': 'text/plain', ...headers });
      response.end(body);
    });
    const error = await failureOf(client.agents.startCall('a1', {}));
    expect(error).toMatchObject({ kind: 'capacity', outcomeUnknown: true, isRefusal });
    expect(received).toHaveLength(1);
  });

  it('are not_live for a data message rejected with 422', async () => {
    const { client } = await setUp((_, response) => json(response, 422, {}));
    expect(await failureOf(client.calls.hangUp('c1'))).toMatchObject({ kind: 'not_live' });
  });

  it('name the invalid members', async () => {
    const { client } = await setUp((_, response) =>
      json(response, 400, {
        callTemplate: { voice: ['Voice X does not exist'], selectedTools: [{}, { toolId: ['?'] }] },
      }),
    );
    const error = await failureOf(client.agents.create({ name: 'A', callTemplate: {} }));
    expect(error.detail).toBe('Voice X does not exist');
    expect(error.fieldErrors).toEqual({
      'callTemplate.voice': ['Voice X does not exist'],
      'callTemplate.selectedTools.1.toolId': ['?'],
    });
  });

  it.each([
    ['["First.", "Second."]', 'First.'],
    ['<html>Bad request</html>', 'HTTP 400'],
    ['', 'HTTP 400'],
  ])('with the body %s are survived', async (body, detail) => {
    const { client } = await setUp((_, response) => response.writeHead(400).end(body));
    const error = await failureOf(client.agents.create({ name: 'A', callTemplate: {} }));
    expect(error).toMatchObject({ detail, fieldErrors: {}, rawBody: body });
  });

  it('keep a bounded body and no secrets', async () => {
    const { client } = await setUp(({ body }, response) =>
      json(response, 400, { detail: `Bad: ${body} ${API_KEY}`, more: 'é'.repeat(5_000) }),
    );
    const error = await failureOf(
      client.telephonyConfigs.create('twilio', { accountSid: 'AC1', authToken: 'hush-hush' }),
    );
    expect(error.detail).toContain('AC1');
    expect(Buffer.byteLength(error.rawBody)).toBeLessThanOrEqual(4096);
    for (const text of [error.message, error.detail, error.rawBody, JSON.stringify(error)]) {
      expect(text).not.toContain('hush-hush');
      expect(text).not.toContain(API_KEY);
    }
    expect(Object.keys(error)).not.toContain('rawBody');
  });
});

describe('Retry-After', () => {
  it('is read as a date', async () => {
    const { client } = await setUp((_, response) =>
      json(response, 429, {}, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }),
    );
    const { retryAfterSeconds } = await failureOf(client.agents.startCall('a1', {}));
    expect(retryAfterSeconds).toBeGreaterThan(55);
    expect(retryAfterSeconds).toBeLessThanOrEqual(60);
  });

  it.each([
    ['-5', null],
    ['30', 30],
    ['9'.repeat(400), 3_600],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 3_600],
  ])('of %s is read as %s', async (header, retryAfterSeconds) => {
    const { client, received } = await setUp((_, response) =>
      json(response, 429, {}, { 'retry-after': header }),
    );
    expect(await failureOf(client.account.me())).toMatchObject({ retryAfterSeconds });
    if (retryAfterSeconds !== null) expect(received).toHaveLength(1);
  });

  it('delays reads when it is short', async () => {
    const { client, received } = await setUp((_, response) =>
      received.length === 1
        ? json(response, 503, {}, { 'retry-after': '0' })
        : json(response, 200, { accountId: 'me' }),
    );
    expect(await client.account.me()).toMatchObject({ accountId: 'me', activeCalls: null });
    expect(received).toHaveLength(2);
  });
});

describe('failures of the connection', () => {
  it('are unreachable when nothing listens', async () => {
    const { url } = await serve(() => {});
    await closers.pop()?.();
    const client = createUltravoxClient({ baseUrl: url, apiKey: API_KEY, backoffMs: 1 });
    expect(await failureOf(client.agents.startCall('a1', {}))).toMatchObject({
      kind: 'unreachable',
      status: null,
      outcomeUnknown: false,
      detail: 'The connection failed (ECONNREFUSED).',
    });
  });

  it('are unreachable when the host is unknown', async () => {
    const client = createUltravoxClient({ baseUrl: 'http://nowhere.invalid', apiKey: API_KEY });
    expect(await failureOf(client.agents.startCall('a1', {}))).toMatchObject({
      kind: 'unreachable',
      outcomeUnknown: false,
    });
  });

  it('have an unknown outcome after a reset', async () => {
    const { client, received } = await setUp((_, response) => response.socket?.resetAndDestroy());
    expect(await failureOf(client.agents.startCall('a1', {}))).toMatchObject({
      kind: 'unreachable',
      status: null,
      outcomeUnknown: true,
    });
    expect(received).toHaveLength(1);
  });

  it('have an unknown outcome after a timeout', async () => {
    const { client, received } = await setUp(() => {}, { timeoutMs: 1_000 });
    expect(await failureOf(client.agents.startCall('a1', {}))).toMatchObject({
      kind: 'unreachable',
      outcomeUnknown: true,
      detail: 'No response within 1000 ms.',
    });
    await failureOf(client.account.me());
    expect(received).toHaveLength(2);
  });

  it('are protocol errors when the response is cut off', async () => {
    const { client } = await setUp((_, response) => {
      response.writeHead(201, { 'content-length': 1000 });
      response.write('{"callId":', () => response.destroy());
    });
    expect(await failureOf(client.agents.startCall('a1', {}))).toMatchObject({
      kind: 'protocol',
      status: 201,
      outcomeUnknown: true,
    });
  });

  it.each([
    ['no JSON', 'OK'],
    ['another shape', '{"id":"c1","joinUrl":"wss://secret"}'],
  ])('are protocol errors with an unknown outcome for a body with %s', async (_, body) => {
    const { client } = await setUp((_request, response) => response.writeHead(201).end(body));
    const error = await failureOf(client.agents.startCall('a1', {}));
    expect(error).toMatchObject({ kind: 'protocol', status: 201, outcomeUnknown: true });
    expect(error.rawBody).not.toContain('wss://secret');
  });

  it('are protocol errors for a redirect, which is not followed', async () => {
    const other = await serve((_, response) => json(response, 200, {}));
    const { client } = await setUp((_, response) =>
      response.writeHead(307, { location: other.url }).end(),
    );
    expect(await failureOf(client.account.me())).toMatchObject({ kind: 'protocol', status: 307 });
    expect(other.received).toEqual([]);
  });

  it('are protocol errors when the response is too large', async () => {
    const { client, received } = await setUp((_, response) => {
      response.writeHead(200);
      response.end(Buffer.alloc(21 * 1024 * 1024, ' '));
    });
    expect(await failureOf(client.account.me())).toMatchObject({
      kind: 'protocol',
      detail: 'The response is too large.',
    });
    expect(received).toHaveLength(1);
  });

  it('repeat reads up to three attempts', async () => {
    const { client, received, reports } = await setUp((_, response) => {
      if (received.length === 1) response.socket?.resetAndDestroy();
      else if (received.length === 2) json(response, 500, {});
      else json(response, 200, { accountId: 'me' });
    });
    expect((await client.account.me()).accountId).toBe('me');
    expect(reports.map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, null],
      [2, 500],
      [3, 200],
    ]);

    const down = await setUp((_, response) => json(response, 500, {}));
    expect(await failureOf(down.client.account.me())).toMatchObject({ kind: 'unreachable' });
    expect(down.received).toHaveLength(3);
  });
});

describe('an abort signal of a request', () => {
  it('stops a running request, whose outcome is then unknown', async () => {
    const controller = new AbortController();
    const { client } = await setUp(() => controller.abort(new Error('shutting down')));
    const error = await failureOf(client.agents.startCall('a1', {}, { signal: controller.signal }));
    expect(error).toMatchObject({ kind: 'unreachable', outcomeUnknown: true });
    expect(error.cause).toMatchObject({ message: 'shutting down' });
  });

  it('prevents a request from being sent', async () => {
    const { client, received } = await setUp((_, response) => json(response, 200, {}));
    const error = await failureOf(client.account.me({ signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ kind: 'unreachable', outcomeUnknown: false });
    expect(received).toEqual([]);
  });

  it('ends the pause between attempts', async () => {
    const controller = new AbortController();
    const { client, received } = await setUp((_, response) => json(response, 500, {}), {
      backoffMs: 60_000,
      onRequest: () => setImmediate(() => controller.abort()),
    });
    expect(await failureOf(client.account.me({ signal: controller.signal }))).toMatchObject({
      status: 500,
    });
    expect(received).toHaveLength(1);
  });
});

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

describe('external storage', () => {
  it('serves recordings without seeing the key', async () => {
    const storage = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'audio/wav', 'content-length': 4 }).end('RIFF');
    });
    const { client, received } = await setUp((_, response) =>
      response.writeHead(302, { location: `${storage.url}/signed?token=t` }).end(),
    );
    const audio = await client.calls.recording('c1');
    expect(await new Response(audio.body).text()).toBe('RIFF');
    expect(audio).toMatchObject({ contentType: 'audio/wav', contentLength: 4 });
    expect(received[0]?.headers['x-api-key']).toBe(API_KEY);
    expect(storage.received).toMatchObject([{ url: '/signed?token=t' }]);
    expect(JSON.stringify(storage.received[0]?.headers)).not.toContain(API_KEY);
  });

  it('reports an expired recording as not found', async () => {
    const storage = await serve((_, response) => response.writeHead(403).end('<Error/>'));
    const { client } = await setUp((_, response) =>
      response.writeHead(302, { location: storage.url }).end(),
    );
    expect(await failureOf(client.calls.recording('c1'))).toMatchObject({ kind: 'not_found' });
  });

  it('returns a recording that is not redirected', async () => {
    const { client } = await setUp((_, response) => response.writeHead(200).end('RIFF'));
    const audio = await client.calls.recording('c1');
    expect(await new Response(audio.body).text()).toBe('RIFF');
  });

  it('accepts uploads without seeing the key', async () => {
    const storage = await serve((_, response) => response.writeHead(200).end());
    const { client } = await setUp(() => {});
    await client.corpora.uploadDocument(
      `${storage.url}/put?sig=s`,
      Buffer.from('text'),
      'text/plain',
    );
    expect(storage.received).toMatchObject([{ method: 'PUT', url: '/put?sig=s' }]);
    expect(String(storage.received[0]?.body)).toBe('text');
    expect(storage.received[0]?.headers).toMatchObject({
      'content-type': 'text/plain',
      'content-length': '4',
    });
    expect(JSON.stringify(storage.received[0]?.headers)).not.toContain(API_KEY);
  });

  it('does not reveal the address of a failed upload', async () => {
    const storage = await serve((_, response) => response.writeHead(403).end());
    const { client } = await setUp(() => {});
    const error = await failureOf(
      client.corpora.uploadDocument(`${storage.url}/put?sig=s`, Buffer.from('t'), 'text/plain'),
    );
    expect(error).toMatchObject({ kind: 'invalid', status: 403 });
    expect(error.message).not.toContain('sig=');
  });
});
