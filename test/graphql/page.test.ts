/** Who may read the page with the demo's key, and what other sites may do with the API. */
import { request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { PUBLIC_URL: 'https://demo.example.com' } });
});
afterAll(() => server?.close());

/** `fetch` does not let the Host header be set. */
function page(headers: Record<string, string> = {}) {
  return new Promise<{ headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
    const sent = request(
      `${server.url}/graphql`,
      { headers: { accept: 'text/html', ...headers } },
      async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        resolve({ headers: response.headers, body: Buffer.concat(chunks) });
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}

describe('the page', () => {
  it('cannot be read or framed by another site', async () => {
    const { headers, body } = await page({ origin: 'https://evil.example' });
    expect(body.toString()).toContain(server.key);
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers).toMatchObject({
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
  });

  it('holds the key only under a name of this machine or the public address', async () => {
    const { port } = new URL(server.url);
    const holds = async (headers: Record<string, string>) =>
      (await page(headers)).body.includes(server.key);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`]) {
      expect(await holds({ host })).toBe(true);
      expect(await holds({ host, 'x-forwarded-for': '203.0.113.7' })).toBe(false);
    }
    expect(await holds({ host: 'demo.example.com' })).toBe(true);
    for (const host of [
      `evil.example:${port}`,
      'localhost:1',
      'localhost',
      `127.0.0.1.evil.example:${port}`,
      'demo.example.com:81',
    ]) {
      expect(await holds({ host })).toBe(false);
    }
  });

  it('is compressed for who takes it', async () => {
    const plain = await page();
    const zipped = await page({ 'accept-encoding': 'gzip' });
    expect(zipped.headers['content-encoding']).toBe('gzip');
    expect(zipped.body.length).toBeLessThan(plain.body.length / 2);
    expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true);
  });
});

describe('the API', () => {
  it('is there for every site, without credentials of the browser', async () => {
    const origin = 'https://app.example.com';
    const answer = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        origin,
        'content-type': 'application/json',
        authorization: `Bearer ${server.key}`,
      },
      body: '{"query":"{ viewer { scopes } }"}',
    });
    const before = await fetch(`${server.url}/graphql`, { method: 'OPTIONS', headers: { origin } });
    for (const { headers } of [answer, before]) {
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
      expect(headers.get('access-control-expose-headers')).toContain('retry-after');
    }
    expect(answer.status).toBe(200);
    expect(before.status).toBe(204);
    expect(before.headers.get('access-control-allow-headers')).toContain('x-idempotency-key');
  });
});
