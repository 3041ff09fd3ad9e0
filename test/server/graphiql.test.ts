/** Protection of the GraphiQL page and its demo key, and CORS headers of the API. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { NoDeprecatedCustomRule, parse, specifiedRules, validate } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schema } from '../../src/server/schema.ts';
import { prepareCaller } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

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

describe('the GraphiQL page', () => {
  it('cannot be read or framed by another origin', async () => {
    const { headers, body } = await page({ origin: 'https://evil.example' });
    expect(body.toString()).toContain(server.key);
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers).toMatchObject({
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
  });

  it('contains the demo key only for local host names and the public host', async () => {
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

  it('is small, and loads assets of this server that are cached for good', async () => {
    const { headers, body } = await page();
    const html = body.toString();
    expect(headers['cache-control']).toBe('no-store');
    expect(body.length).toBeLessThan(30_000);
    expect(html.replace(/<script type="application\/json".*?<\/script>/, '')).not.toContain('http');

    const paths = [...new Set(html.match(/\/graphql\/assets\/[\w.-]+/g))];
    expect(
      paths.map((path) =>
        path
          .replace(/\.[0-9a-f]{16}\./, '.')
          .split('/')
          .at(-1),
      ),
    ).toEqual([
      'graphiql.css',
      'page.css',
      'editor-worker.js',
      'json-worker.js',
      'graphql-worker.js',
      'events.js',
      'tabs.js',
      'graphiql.js',
    ]);
    for (const path of paths) {
      const answer = await fetch(`${server.url}${path}`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      expect(answer.headers.get('content-encoding')).toBe('gzip');
      const hash = createHash('sha256')
        .update(await answer.text())
        .digest('hex');
      expect(path).toContain(`.${hash.slice(0, 16)}.`);
      const plain = await fetch(`${server.url}${path}`, {
        method: 'HEAD',
        headers: { 'accept-encoding': 'identity' },
      });
      expect(plain.status).toBe(200);
      expect(plain.headers.get('content-encoding')).toBeNull();
    }
    expect((await fetch(`${server.url}/graphql/assets/tabs.js`)).status).toBe(404);
  });

  it('lets a variable of the scalar JSON be an object', async () => {
    const [path] =
      /\/graphql\/assets\/graphql-worker[\w.]+/.exec((await page()).body.toString()) ?? [];
    const worker = await (await fetch(`${server.url}${path}`)).text();
    expect(worker).toContain('"boolean", "integer", "object", "array"]');
  });

  it('has numbered tabs with short comments and the key and ids of this server', async () => {
    const { agentId } = await prepareCaller(server.client);
    const settings = /<script type="application\/json" id="settings">(.*?)<\/script>/.exec(
      (await page()).body.toString(),
    );
    const { options } = JSON.parse(settings?.[1] ?? '');
    expect(options.defaultHeaders).toContain(server.key);
    expect(options.defaultTabs.length).toBeGreaterThan(10);
    for (const [index, { query, variables, headers }] of options.defaultTabs.entries()) {
      expect(query).toMatch(new RegExp(`^# ${index + 1}\\. `));
      const lines: string[] = query.split('\n').filter((line: string) => line.startsWith('#'));
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
      expect(headers).toBe(options.defaultHeaders);
      const rules = [...specifiedRules, NoDeprecatedCustomRule];
      expect(validate(schema, parse(query), rules)).toEqual([]);
      expect(JSON.parse(variables ?? '{}')).toBeTypeOf('object');
    }
    const [create] = options.defaultTabs.filter(({ query }: { query: string }) =>
      query.includes('# 9.'),
    );
    expect(create.query).toContain('contactsFile: """');
    const variables = JSON.parse(create.variables);
    expect(variables.agentId).toBe(agentId);
    const { createCampaign } = (await server.client.send(create.query, variables)).data;
    expect(createCampaign).toMatchObject({
      addedCount: 4,
      problems: [{ row: 5 }],
      userErrors: [],
    });
  });
});

describe('CORS headers', () => {
  it('allow every origin, without credentials of the browser', async () => {
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
