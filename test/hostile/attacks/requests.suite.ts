/** Requests over HTTP that cost much, are malformed, or look for what others have. */
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { IMPORT, sendFile } from '../../contacts/import/upload.ts';
import { createClient } from '../../support/graphql.ts';
import { until } from '../../support/wait.ts';
import { anonymous, rawSocket, reader, server } from './server.ts';

type Coded = { errors?: readonly { extensions?: Record<string, unknown> }[] };
const codes = (answer: Coded) => answer.errors?.map(({ extensions }) => extensions?.code);

/** Uploads that this process holds open. */
async function openSpools(): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    descriptors.map((each) => readlink(`/proc/self/fd/${each}`).catch(() => '')),
  );
  return targets.filter((target) => target.includes('truedy-upload')).length;
}

export function requestsSuite(): void {
  describe('a multipart body', () => {
    const operations = JSON.stringify({ query: '{ __typename }' });
    const part = (name: string, content: string, filename?: string) =>
      `--b\r\ncontent-disposition: form-data; name="${name}"${filename ? `; filename="${filename}"` : ''}\r\n\r\n${content}\r\n`;
    const post = async (body: string, key: string | null = server.key) => {
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'multipart/form-data; boundary=b',
          ...(key ? { authorization: `Bearer ${key}` } : {}),
        },
        body,
      });
      return { status: response.status, text: await response.text() };
    };
    const begin = (key: string, length = 1_000_000): Socket => {
      const socket = rawSocket();
      socket.write(
        `POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: ${length}\r\n\r\n`,
      );
      return socket;
    };
    const opening =
      part('operations', '{"query":"{ __typename }","variables":{"a":null,"b":null}}') +
      part('map', '{"0":["variables.a"]}');

    it.each([
      ['a name twice', part('0', 'x', 'x') + part('0', 'y', 'y')],
      ['a file that the map does not name', part('1', 'x', 'x')],
      ['another field', part('note', 'x'.repeat(1_000)) + part('0', 'x', 'x')],
      ['a field after the file', part('0', 'x', 'x') + part('note', 'x')],
      ['operations twice', part('operations', operations) + part('0', 'x', 'x')],
      ['a thousand fields', part('x', 'x'.repeat(10_000)).repeat(1_000)],
    ])('with %s is rejected with 400 and leaves no file open', async (_what, parts) => {
      const { status, text } = await post(`${opening}${parts}--b--\r\n`);
      expect([status, JSON.parse(text).errors[0].extensions.code]).toEqual([400, 'BAD_REQUEST']);
      await until('the files to be closed', async () => (await openSpools()) === 0);
    });

    it.each([
      ['into another file', { 0: ['variables.a'], 1: ['variables.a.close'] }],
      ['over another file', { 0: ['variables.a'], 1: ['variables.a'] }],
      ['twice to one place', { 0: ['variables.a', 'variables.a'], 1: ['variables.b'] }],
      ['over the length of a list', { 0: ['variables.list.length'], 1: ['variables.a'] }],
      ['far behind a list', { 0: ['variables.list.4000000000'], 1: ['variables.a'] }],
      ['over a value', { 0: ['variables.text'], 1: ['variables.a'] }],
      ['over the prototype', { 0: ['variables.__proto__.close'], 1: ['variables.a'] }],
      ['over the query', { 0: ['query'], 1: ['variables.a'] }],
    ])('whose map leads %s is rejected with 400 and leaves no file open', async (_where, map) => {
      const variables = { a: { close: null }, b: null, list: [null], text: 'x' };
      for (const a of [variables.a, null]) {
        const { status, text } = await post(
          part(
            'operations',
            JSON.stringify({ query: '{ __typename }', variables: { ...variables, a } }),
          ) +
            part('map', JSON.stringify(map)) +
            part('0', 'x', 'x') +
            part('1', 'y', 'y') +
            '--b--\r\n',
        );
        const { errors } = JSON.parse(text);
        expect([status, errors[0].extensions.code]).toEqual([400, 'BAD_REQUEST']);
      }
      await until('the files to be closed', async () => (await openSpools()) === 0);
    });

    it('is rejected before a byte of it is read without a key that may write', async () => {
      for (const key of [reader.key!, `truedy_${'x'.repeat(32)}`]) {
        const socket = begin(key, 200_000_000);
        const [answer] = await once(socket, 'data');
        socket.destroy();
        expect(String(answer)).toMatch(/^HTTP\/1\.1 40[13] /);
      }
    });

    it('is one of at most four at once for a key, and leaves nothing behind when it is cut off', async () => {
      const sockets = Array.from({ length: 4 }, () => begin(server.key));
      for (const socket of sockets) {
        socket.write(
          `${opening}--b\r\ncontent-disposition: form-data; name="0"; filename="x"\r\n\r\nx`,
        );
      }
      await until('four uploads', async () => (await openSpools()) === 4);
      const fifth = await sendFile(server, IMPORT, 'phone\n', { folderId: 'fld_1' });
      expect([fifth.status, codes(fifth)]).toEqual([429, ['RATE_LIMITED']]);
      expect(Number(fifth.headers.get('retry-after'))).toBeGreaterThan(0);
      for (const socket of sockets) socket.destroy();
      await until('the files to be closed', async () => (await openSpools()) === 0);
      const again = await sendFile(server, IMPORT, 'phone\n', { folderId: 'fld_1' });
      expect(again.status).toBe(200);
    });
  });

  describe('variables', () => {
    const CALLS = 'query ($s: [CallStatus!]) { calls(filter: { status: $s }) { totalCount } }';
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const start = performance.now();
      await work();
      return performance.now() - start;
    };

    it('that are wrong a million times are rejected at once, by size', async () => {
      const many = (count: number) => ({ s: Array.from({ length: count }).fill('') });
      expect((await anonymous.send(CALLS, many(330_000))).status).toBe(413);
      expect(codes(await anonymous.send(CALLS, many(30_000)))).toEqual(['UNAUTHENTICATED']);
      const elapsed = await timed(async () => {
        expect(codes(await reader.send(CALLS, many(1_600_000)))).toEqual(['QUERY_TOO_COSTLY']);
        expect(codes(await reader.send(CALLS, many(200_000)))).toEqual(['BAD_USER_INPUT']);
      });
      expect(elapsed).toBeLessThan(20_000);
    });

    it('give at most 50 errors', async () => {
      const answer = await reader.send('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
        ids: Array.from({ length: 100 }).fill({}),
      });
      expect(answer.errors?.length).toBeGreaterThan(1);
      expect(answer.errors?.length).toBeLessThanOrEqual(51);
    });

    it('that no operation uses are limited too', async () => {
      const answer = await reader.send('{ __typename }', {
        unused: Array.from({ length: 300_000 }).fill({}),
      });
      expect(codes(answer)).toEqual(['QUERY_TOO_COSTLY']);
    });
  });

  describe('introspection', () => {
    it('is charged by what it would answer', async () => {
      const aliases = (selection: string, count: number) =>
        Array.from({ length: count }, (_, index) => `a${index}: ${selection}`).join(' ');
      const wide = `{ __schema { types { ${aliases('fields { ...F }', 60)} } } } fragment F on __Field { description args { description } }`;
      const deep = `{ __schema { types { ...A } } } ${['A', 'B', 'C', 'D']
        .map((name, level) => {
          const next = 'BCDE'[level];
          return `fragment ${name} on __Type { ${aliases(`fields { type { ...${next} } }`, 9)} }`;
        })
        .join(' ')} fragment E on __Type { name }`;
      for (const document of [wide, deep]) {
        expect(document.length).toBeLessThan(1_900);
        const answer = await anonymous.send(document);
        expect(JSON.stringify(answer).length).toBeLessThan(10_000);
        expect(['QUERY_TOO_COSTLY', 'GRAPHQL_VALIDATION_FAILED']).toContain(codes(answer)?.[0]);
      }
    });
  });

  describe('a request over HTTP', () => {
    const post = (body: string, headers: Record<string, string>) =>
      fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: { authorization: `Bearer ${server.key}`, ...headers },
        body,
      });
    const query = '{"query":"{ __typename }"}';

    it('is JSON whatever the case of its media type, and no form', async () => {
      const status = async (type: string, body = query) =>
        (await post(body, { 'content-type': type })).status;
      expect(await status('Application/JSON')).toBe(200);
      expect(await status('application/json; Charset="UTF-8"')).toBe(200);
      expect(await status('application/x-www-form-urlencoded', 'query={__typename}')).toBe(415);
      expect(await status('text/plain')).toBe(415);
    });

    it('is UTF-8, so that no text is stored otherwise than it was sent', async () => {
      const send = async (charset: string, body: Buffer) => {
        const response = await fetch(`${server.url}/graphql`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${server.key}`,
            'content-type': `application/json${charset}`,
          },
          body: new Uint8Array(body),
        });
        return [response.status, codes((await response.json()) as Coded)];
      };
      const text = '{"query":"{ __typename # é\n }"}'.replace('\n', '\\n');
      expect(await send('; charset=utf-8', Buffer.from(text))).toEqual([200, undefined]);
      expect(await send('; charset=UTF8', Buffer.from(`\ufeff${text}`))).toEqual([200, undefined]);
      expect(await send('', Buffer.from(text, 'latin1'))).toEqual([400, ['BAD_REQUEST']]);
      for (const charset of ['iso-8859-1', '"utf-16"', 'utf-7']) {
        expect(await send(`; charset=${charset}`, Buffer.from(text, 'latin1'))).toEqual([
          415,
          ['UNSUPPORTED_MEDIA_TYPE'],
        ]);
      }
    });

    it.each<[string, Record<string, string>, unknown]>([
      ['an empty header', { 'x-idempotency-key': '' }, undefined],
      ['a header with a space', { 'x-idempotency-key': 'a b' }, undefined],
      ['an empty text', {}, ''],
      ['a number', {}, 7],
      ['null', {}, null],
      ['two that differ', { 'x-idempotency-key': 'a' }, 'b'],
      ['a space without the prefix X-', { 'idempotency-key': 'a b' }, undefined],
      ['two headers that differ', { 'x-idempotency-key': 'a', 'idempotency-key': 'b' }, undefined],
    ])('with an idempotency key that is %s does nothing', async (_what, headers, idempotencyKey) => {
      const folders = await server.app.db.contactFolder.count();
      const body = {
        query:
          'mutation { createContactFolder(input: { name: "Once" }) { contactFolder { id } userErrors { code } } }',
        ...(idempotencyKey === undefined ? {} : { extensions: { idempotencyKey } }),
      };
      const response = await post(JSON.stringify(body), {
        'content-type': 'application/json',
        ...headers,
      });
      expect(codes((await response.json()) as Coded)).toEqual(['BAD_USER_INPUT']);
      expect(await server.app.db.contactFolder.count()).toBe(folders);
    });
  });

  describe('node with an access token for one call', () => {
    it('answers alike for objects that exist and objects that do not', async () => {
      const voice = (await server.client.send('{ voices(first: 1) { nodes { id } } }')).data.voices
        .nodes[0].id;
      const newAgent = async (): Promise<string> => {
        const made = await server.client.send(
          `mutation ($voice: ID!) { createAgent(input: { name: "x", voiceId: $voice, systemPrompt: "x" }) { agent { id } } }`,
          { voice },
        );
        return made.data.createAgent.agent.id;
      };
      const own = await newAgent();
      const id = await newAgent();
      const call = await server.client.send(
        'mutation ($agent: ID!) { startTestCall(input: { agentId: $agent }) { call { id } userErrors { message } } }',
        { agent: own },
      );
      const token = await server.client.send(
        'mutation ($call: ID!) { createAccessToken(input: { callId: $call }) { accessToken } }',
        { call: call.data.startTestCall.call.id },
      );
      const narrowed = createClient(server.url, token.data.createAccessToken.accessToken);
      const missing = `${id.slice(0, -4)}0000`;
      const ask = async (one: string) => {
        const { headers: _, ...answer } = await narrowed.send(
          'query ($id: ID!, $ids: [ID!]!) { node(id: $id) { __typename id } nodes(ids: $ids) { id } }',
          { id: one, ids: [one] },
        );
        return answer;
      };
      expect(await ask(id)).toEqual(await ask(missing));
      expect((await ask(id)).data).toEqual({ node: null, nodes: [null] });
      expect((await ask(own)).data.nodes).toEqual([{ id: own }]);
    });
  });
}
