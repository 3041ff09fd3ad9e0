/** Requests and sockets from outside that try to exhaust memory, files or time of the server. */
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import WebSocket from 'ws';
import { publicId } from '../../src/ids.ts';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { IMPORT, sendFile } from '../contacts/import/upload.ts';
import { insertAgent } from '../support/agent-rows.ts';
import { runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let anonymous: GraphQLClient;
let reader: GraphQLClient;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  anonymous = createClient(server.url, null);
  const { data } = await server.client.send(
    'mutation { createApiKey(input: { name: "reader", scopes: [READ] }) { key } }',
  );
  reader = createClient(server.url, data.createApiKey.key);
});
afterAll(() => server?.close());

type Coded = { errors?: readonly { extensions?: Record<string, unknown> }[] };
const codes = (answer: Coded) => answer.errors?.map(({ extensions }) => extensions?.code);

function rawSocket(): Socket {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  return socket;
}

/** Uploads that this process holds open. */
async function openSpools(): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    descriptors.map((each) => readlink(`/proc/self/fd/${each}`).catch(() => '')),
  );
  return targets.filter((target) => target.includes('truedy-upload')).length;
}

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

describe('requests whose client has left', () => {
  it('leave no connection behind', async () => {
    const connections = () =>
      process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const body = '{"query":"{ agents { totalCount } }"}';
    // Connections to PostgreSQL are kept: as many as there may be are opened before they are counted.
    await Promise.all(
      Array.from({ length: 100 }, () => server.client.send('{ agents { totalCount } }')),
    );
    const before = connections();
    for (let index = 0; index < 300; index += 1) {
      const socket = rawSocket();
      socket.write(
        `POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${server.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        () => (index % 3 === 0 ? socket.resetAndDestroy() : socket.destroy()),
      );
      if (index % 50 === 0) await once(socket, 'close');
    }
    await until('the connections to end', () => connections() <= before + 2);
    expect((await server.client.send('{ agents { totalCount } }')).status).toBe(200);
  });
});

describe('a socket', () => {
  const open = (options: { key?: string } = {}): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(
        `${server.url.replace('http', 'ws')}/graphql`,
        'graphql-transport-ws',
      );
      socket.once('error', reject);
      socket.once('open', () => {
        if (!options.key) return resolve(socket);
        const payload = { Authorization: `Bearer ${options.key}` };
        socket.send(JSON.stringify({ type: 'connection_init', payload }));
        socket.once('message', () => resolve(socket));
      });
    });
  const closed = (socket: WebSocket) =>
    new Promise<{ code: number; reason: string }>((resolve) => {
      socket.on('error', () => undefined);
      socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
  const ping = (bytes: number) =>
    JSON.stringify({ type: 'ping', payload: { x: 'x'.repeat(bytes) } });

  it('is closed when it sends more than 128 KiB before it is authenticated', async () => {
    const socket = await open();
    const end = closed(socket);
    socket.send(ping(900_000));
    expect((await end).code).toBe(1006);
  });

  it('is closed when the payload of a ping is large', async () => {
    const socket = await open({ key: server.key });
    const end = closed(socket);
    socket.send(ping(900_000));
    expect(await end).toEqual({ code: 4400, reason: 'The payload of a ping is too large' });
  });

  it.each([
    'next',
    'error',
    'connection_ack',
  ])('is closed when it sends %s, which only servers send, and no error is logged', async (type) => {
    const socket = await open();
    const end = closed(socket);
    const payload = type === 'error' ? [{ message: 'x' }] : {};
    socket.send(JSON.stringify({ id: '1', type, payload }));
    expect(await end).toEqual({ code: 4400, reason: 'Unexpected message' });
    const failures = server.app.failures.counts();
    expect(failures.filter(({ name }) => name === 'sockets.message')).toEqual([]);
  });

  it('may be cut off while it is sent to, and no error is logged', async () => {
    for (let index = 0; index < 20; index += 1) {
      const socket = await open({ key: server.key });
      const end = closed(socket);
      for (let sent = 0; sent < 200; sent += 1) socket.send(ping(800));
      socket.once('message', () =>
        (socket as unknown as { _socket: Socket })._socket.resetAndDestroy(),
      );
      await end;
    }
    expect((await server.client.send('{ agents { totalCount } }')).status).toBe(200);
    const failures = server.app.failures.counts();
    expect(failures.filter(({ name }) => name === 'sockets.message')).toEqual([]);
  });

  it('is closed when its client sends and does not read', async () => {
    const socket = await open({ key: server.key });
    const end = closed(socket);
    const stream = (socket as unknown as { _socket: Socket })._socket;
    stream.pause();
    const small = ping(800);
    let sent = 0;
    const pump = (): void => {
      for (let index = 0; index < 500 && socket.readyState === socket.OPEN; index += 1) {
        socket.send(small);
        sent += small.length;
      }
    };
    await until('the server to close it', () => {
      if (socket.bufferedAmount < 1_000_000) pump();
      return stream.destroyed || sent > 60_000_000;
    });
    stream.resume();
    expect((await end).code).not.toBe(1000);
    expect(sent).toBeLessThan(60_000_000);
  });

  it.each([
    ['the last event it was sent', 0],
    ['no event if a subscription to turns was sent none', 1],
  ])('is told %s when it is closed because it does not read', async (_, turns) => {
    const { id: organizationId, key, client } = await server.newOrganization();
    const agents = await Promise.all(
      Array.from({ length: 2 }, () => insertAgent(server.app, { organizationId })),
    );
    const change = async (id: string): Promise<string> => {
      await server.app.db.$transaction((tx) =>
        appendEvents(tx, organizationId, [{ type: 'AGENT_SYNC_DELAYED', agentId: id, data: {} }]),
      );
      announceEvents(server.app, organizationId);
      return (await client.send('{ eventCursor }')).data.eventCursor;
    };
    const made = await runMutation(
      client,
      'createCampaign',
      { name: 'Followed', agentId: publicId('Agent', agents[0]!) },
      'campaign { id }',
    );
    const systemPrompt = 'x'.repeat(60_000);
    await server.app.db.agent.updateMany({ where: { organizationId }, data: { systemPrompt } });
    const fields = Array.from({ length: 100 }, (_, index) => `p${index}: systemPrompt`).join(' ');
    const large = `{ agent(id: "${publicId('Agent', agents[0]!)}") { ${fields} } }`;
    const follow = (id: string) =>
      `subscription { agentUpdated(after: "0", agentId: "${publicId('Agent', id)}") { cursor } }`;

    const socket = await open({ key });
    const send = (id: string, query: string) =>
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query } }));
    const cursors: string[] = [];
    socket.on('message', (data) => {
      const { type, payload } = JSON.parse(String(data));
      if (type === 'next' && payload.data.agentUpdated)
        cursors.push(payload.data.agentUpdated.cursor);
    });
    // Its results have no cursors.
    send('progress', `subscription { campaignProgress(campaignId: "${made.campaign.id}") { id } }`);
    if (turns) send('turns', 'subscription { callEvents(types: [TRANSCRIPT_TURN]) { cursor } }');
    send('one', follow(agents[0]!));
    send('other', follow(agents[1]!));
    const first = await change(agents[0]!);
    await change(agents[1]!);
    await until('an event for each', () => cursors.length === 2);
    socket.pause();
    const ended = vi.spyOn(WebSocket.prototype, 'close');
    try {
      for (let index = 0; index < 8; index += 1) send(`large ${index}`, large);
      await until('the end', () => ended.mock.calls.length > 0);
      const cursor = turns ? '' : `; subscribe again after cursor ${first}`;
      const reason = `The client reads too slowly${cursor}`;
      expect(ended.mock.calls).toEqual([[1013, reason]]);
    } finally {
      ended.mockRestore();
    }
    socket.terminate();
  });

  it('may send while it is still receiving a large response', async () => {
    const { id: organizationId, key } = await server.newOrganization();
    const id = await insertAgent(server.app, { organizationId });
    const systemPrompt = 'x'.repeat(200_000);
    await server.app.db.agent.update({ where: { id }, data: { systemPrompt } });
    const fields = Array.from({ length: 100 }, (_, index) => `p${index}: systemPrompt`).join(' ');
    const query = `{ agent(id: "${publicId('Agent', id)}") { ${fields} } }`;
    const socket = await open({ key });
    const received: string[] = [];
    socket.on('message', (data) => received.push(JSON.parse(String(data)).type));
    const sent = vi.spyOn(WebSocket.prototype, 'send');
    const hasSent = (pattern: RegExp) => () =>
      sent.mock.calls.some(([data]) => pattern.test(String(data).slice(0, 100)));
    try {
      socket.pause();
      socket.send(JSON.stringify({ id: 'large', type: 'subscribe', payload: { query } }));
      await until('the response', hasSent(/"id":"large","type":"next"/));
      socket.send(ping(10));
      await until('the answer', hasSent(/"type":"pong"/));
    } finally {
      sent.mockRestore();
    }
    socket.resume();
    await until('everything', () => received.length === 3);
    expect(received).toEqual(['next', 'pong', 'complete']);
    socket.terminate();
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
