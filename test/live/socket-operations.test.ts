import { describe, expect, it, vi } from 'vitest';
import WebSocket from 'ws';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { MissedEvents } from '../../src/live/missed-events.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { CALL_EVENTS, openSocket } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';
import { caller, eventCursor, server, useLiveServer, wholeCall } from './support.ts';

useLiveServer();

describe('queries and mutations over a socket', () => {
  async function ask(
    client: ReturnType<typeof openSocket>,
    query: string,
    { variables = {}, extensions = {} }: { variables?: object; extensions?: object } = {},
  ) {
    const results = client.iterate({
      query,
      variables: variables as Record<string, unknown>,
      extensions: extensions as Record<string, unknown>,
    });
    // biome-ignore lint/suspicious/noExplicitAny: whatever the query asked for
    for await (const result of results) return result as any;
    throw new Error('The server gave no answer');
  }

  it('rejects other operations with an access token that is limited to one call', async () => {
    const id = await wholeCall();
    const { accessToken } = await runMutation(
      server.client,
      'createAccessToken',
      { callId: id },
      'accessToken',
    );
    const client = openSocket(server.url, accessToken);
    const own = await ask(client, 'query ($id: ID!) { call(id: $id) { id status } }', {
      variables: { id },
    });
    expect(own.data.call).toEqual({ id, status: 'COMPLETED' });
    for (const query of ['{ agents { nodes { id } } }', '{ phoneNumbers { nodes { id } } }']) {
      const { errors } = await ask(client, query);
      expect(errors[0].extensions.code).toBe('FORBIDDEN');
    }
    const { errors } = await ask(
      client,
      'mutation ($id: ID!) { endCall(input: { id: $id }) { call { id } } }',
      { variables: { id } },
    );
    expect(errors[0].extensions.code).toBe('FORBIDDEN');
    await client.dispose();
  });

  it('executes a mutation with an idempotency key in its extensions once', async () => {
    const client = openSocket(server.url, server.key);
    const mutation = `mutation ($input: CreateCallInput!) {
      createCall(input: $input) { call { id } userErrors { code } } }`;
    const variables = { input: { agentId: caller.agentId, phoneNumber: '+14155550177' } };
    const extensions = { idempotencyKey: 'once-on-a-socket' };
    const first = await ask(client, mutation, { variables, extensions });
    const again = await ask(client, mutation, { variables, extensions });
    expect(again.data).toEqual(first.data);
    expect(again.extensions).toEqual({ idempotentReplay: true });
    expect(first.extensions).toBeUndefined();
    const over = await server.client.send(mutation, variables, {
      headers: { 'x-idempotency-key': 'once-on-a-socket' },
    });
    expect(over.data).toEqual(first.data);
    const dialed = server.simulator.dials().filter(({ to }) => to.includes('+14155550177'));
    expect(dialed).toHaveLength(1);
    await client.dispose();
  });

  it('reports an error of one operation and continues the others', async () => {
    const client = openSocket(server.url, server.key);
    const after = await eventCursor();
    const results = client.iterate({ query: CALL_EVENTS, variables: { after } });
    await caller.call();
    await results.next();
    for (const query of ['{ this is not', '{ noSuchField }', 'subscription { callEvents }']) {
      await expect(ask(client, query)).rejects.toMatchObject([{ message: expect.any(String) }]);
    }
    const tooLong = ask(client, 'mutation { endCall(input: { id: "x" }) { call { id } } }', {
      extensions: { idempotencyKey: 'x'.repeat(300) },
    });
    await expect(tooLong).rejects.toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
    await caller.call();
    expect((await results.next()).value.data.callEvents.type).toBeDefined();
    await client.dispose();
  });

  it('ends only the subscription whose events expire before it has read them', async () => {
    const { client: own, key, id: organizationId } = await server.newOrganization();
    await wholeCall(own, await prepareCaller(own));
    const { read } = MissedEvents.prototype;
    const reading = vi.spyOn(MissedEvents.prototype, 'read');
    reading.mockImplementationOnce(async function (this: MissedEvents, missed) {
      const began = performance.now();
      await server.app.db.eventCounter.update({
        where: { organizationId },
        data: { expiredThrough: missed.through },
      });
      await until('the next check of the cursor', () => performance.now() > began + 1_000);
      return read.call(this, missed);
    });
    const client = openSocket(server.url, key, { lazy: false });
    let closed: unknown = null;
    client.on('closed', (event) => {
      closed = event;
    });
    const results = client.iterate({ query: CALL_EVENTS, variables: { after: '1' } });
    const { value } = await results.next().finally(() => reading.mockRestore());
    expect(value.errors).toMatchObject([{ extensions: { code: 'CURSOR_EXPIRED' } }]);
    expect((await results.next()).done).toBe(true);
    expect((await ask(client, '{ eventCursor }')).errors).toBeUndefined();
    expect(closed).toBeNull();
    await client.dispose();
  });

  it.each([
    ['a malformed cursor', { after: 'abc' }, 'BAD_USER_INPUT'],
    ['a cursor ahead of the log', { after: '99999999' }, 'BAD_USER_INPUT'],
    ['an agent that does not exist', { agentId: publicId('Agent', newId()) }, 'BAD_USER_INPUT'],
    ['a variable of the wrong type', { types: 3 }, 'BAD_USER_INPUT'],
  ])('answers a subscription with %s by an `error` message', async (_what, variables, code) => {
    const client = openSocket(server.url, server.key);
    const results: unknown[] = [];
    const outcome = await new Promise((resolve) => {
      client.subscribe(
        { query: CALL_EVENTS, variables },
        {
          next: (result) => results.push(result),
          error: resolve,
          complete: () => resolve('complete'),
        },
      );
    });
    expect(results).toEqual([]);
    expect(outcome).toMatchObject([{ message: expect.any(String), extensions: { code } }]);
    // The socket stays open for others.
    expect((await ask(client, '{ eventCursor }')).data.eventCursor).toBeDefined();
    await client.dispose();
  });

  it('starts an operation with the ID of one that the client has just completed', async () => {
    const url = `${server.url.replace('http', 'ws')}/graphql`;
    const socket = new WebSocket(url, 'graphql-transport-ws');
    const cursors: string[] = [];
    const others: { type: string; id?: string }[] = [];
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      const cursor = message.payload?.data?.callEvents?.cursor;
      if (cursor) cursors.push(cursor);
      else others.push(message);
    });
    const send = (...messages: object[]): void => {
      for (const message of messages) socket.send(JSON.stringify(message));
    };
    const variables = { after: await eventCursor() };
    const subscribe = { id: '1', type: 'subscribe', payload: { query: CALL_EVENTS, variables } };
    const complete = { id: '1', type: 'complete' };
    await until('the socket', () => socket.readyState === WebSocket.OPEN);
    send({ type: 'connection_init', payload: { Authorization: `Bearer ${server.key}` } });
    await until('the acknowledgment', () => others.length > 0);

    // While the first operation starts, and then while the second one runs.
    send(subscribe, complete, subscribe);
    await wholeCall();
    const live = await eventCursor();
    await until('the events', () => cursors.at(-1) === live);
    send(complete, subscribe, complete, subscribe);
    await wholeCall();
    const last = await eventCursor();
    await until('the latest events', () => cursors.includes(last));
    send({ id: '2', type: 'subscribe', payload: { query: '{ eventCursor }' } });
    await until('the answer', () => others.some(({ id, type }) => id === '2' && type === 'next'));
    const latest = cursors.slice(cursors.lastIndexOf(live) + 1);
    const first = BigInt(live) + 1n;
    expect(latest).toEqual(latest.map((_, index) => String(first + BigInt(index))));
    expect(latest.at(-1)).toBe(last);

    send(subscribe);
    await until('the close', () => socket.readyState === WebSocket.CLOSED);
  });

  it('closes the socket with 4403 when its API key expires', async () => {
    const { key } = await runMutation(
      server.client,
      'createApiKey',
      { name: 'Short', scopes: ['READ'], expiresAt: new Date(Date.now() + 4_000) },
      'key',
    );
    const client = openSocket(server.url, key, { lazy: false });
    let closed: { code?: number } | null = null;
    client.on('closed', (event) => {
      closed = event as { code?: number };
    });
    const opened = await ask(client, '{ eventCursor }');
    expect(opened.data.eventCursor).toBeDefined();
    await until('the close', () => closed !== null);
    expect(closed).toMatchObject({ code: 4403 });
    await client.dispose();
  });

  it('closes a socket without a key with 4403 when it subscribes, so that a client asks for one', async () => {
    const client = openSocket(server.url, null, { lazy: false });
    let closed: { code?: number } | null = null;
    client.on('closed', (event) => {
      closed = event as { code?: number };
    });
    const results = client.iterate({ query: 'subscription { callEvents { cursor } }' });
    await results.next().catch(() => undefined);
    await until('the close', () => closed !== null);
    expect(closed).toMatchObject({ code: 4403 });
    await client.dispose();
  });
});
