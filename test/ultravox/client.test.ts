/** Requests to Ultravox and its storage, and what is read of the answers. */
import { describe, expect, it } from 'vitest';
import { createUltravoxClient } from '../../src/ultravox/client.ts';
import { API_KEY, call, failureOf, json, serve, setUp } from './support.ts';

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
