/** What the client makes of errors, pauses, lost connections and aborted requests. */
import { describe, expect, it } from 'vitest';
import { createUltravoxClient } from '../../src/ultravox/client.ts';
import { API_KEY, closers, failureOf, json, serve, setUp } from './support.ts';

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
