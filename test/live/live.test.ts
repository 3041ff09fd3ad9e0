import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { newId, parsePublicId, publicId } from '../../src/infra/ids.ts';
import { createEventFeed } from '../../src/live/feed.ts';
import { announceEvents, appendEvents, dropExpiredEvents } from '../../src/live/log.ts';
import { type Caller, perform, prepareCaller } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import {
  CALL_EVENTS,
  disorders,
  type LiveStream,
  openSocket,
  subscribe,
} from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

const WHOLE_LIFE = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

let server: TestServer;
let caller: Caller;
let me: { url: string; key: string };

beforeAll(async () => {
  server = await startTestServer({ simulator: { talkSeconds: 5 } });
  caller = await prepareCaller(server.client);
  me = { url: server.url, key: server.key };
});
afterAll(() => server?.close());

async function eventCursor(client: GraphQLClient = server.client): Promise<string> {
  return (await client.send('{ eventCursor }')).data.eventCursor;
}

/** Makes a call and waits for the last event that it will ever have. */
async function wholeCall(client = server.client, from = caller): Promise<string> {
  const { id } = await from.call();
  await until('the bill', async () => (await eventsOf(client, id)).length === WHOLE_LIFE.length);
  return id;
}

async function eventsOf(client: GraphQLClient, id: string): Promise<{ cursor: string }[]> {
  const query = 'query ($id: ID!) { call(id: $id) { events { nodes { cursor type sequence } } } }';
  return (await client.send(query, { id })).data.call.events.nodes;
}

describe.each(['socket', 'sse'] as const)('callEvents over %s', (transport) => {
  it('gives every event of every call once, in order, numbered from 1', async () => {
    const stream = subscribe(transport, me, { after: await eventCursor() });
    const ids = await Promise.all([1, 2, 3, 4, 5].map(async () => (await caller.call()).id));
    const events = await stream.atLeast(ids.length * WHOLE_LIFE.length);
    await stream.close();
    expect(disorders(events)).toEqual([]);
    for (const id of ids) {
      const own = events.filter(({ callId }) => callId === id);
      expect(own.map(({ type }) => type)).toEqual(WHOLE_LIFE);
      expect(own.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
      expect(own[0]?.call?.id).toBe(id);
    }
    expect(events).toHaveLength(ids.length * WHOLE_LIFE.length);
    expect(stream.errors).toEqual([]);
  });

  it('joins a snapshot, what happened since, and what is live, without gap or repeat', async () => {
    const before = await wholeCall();
    const snapshot = await server.client.send(
      '{ eventCursor calls(first: 1) { nodes { id status } } }',
    );
    expect(snapshot.data.calls.nodes[0]).toEqual({ id: before, status: 'COMPLETED' });
    const missed = await wholeCall();
    const underway = await caller.call();
    const stream = subscribe(transport, me, { after: snapshot.data.eventCursor });
    const live = await caller.call();
    const events = await stream.atLeast(3 * WHOLE_LIFE.length);
    await stream.close();
    expect(disorders(events)).toEqual([]);
    expect(new Set(events.map(({ callId }) => callId))).toEqual(
      new Set([missed, underway.id, live.id]),
    );
    expect(BigInt(events[0]!.cursor)).toBeGreaterThan(BigInt(snapshot.data.eventCursor));
  });

  it('goes on after any event it gave', async () => {
    const start = await eventCursor();
    const id = await wholeCall();
    const all = await eventsOf(server.client, id);
    for (const [index, { cursor }] of all.slice(0, -1).entries()) {
      const stream = subscribe(transport, me, { after: cursor, callId: id });
      const rest = await stream.atLeast(all.length - index - 1);
      expect(rest.map((event) => event.cursor)).toEqual(
        all.slice(index + 1).map((event) => event.cursor),
      );
      await stream.close();
    }
    const beginning = subscribe(transport, me, { after: '0' });
    const events = await beginning.atLeast(Number(BigInt(start)) > 0 ? WHOLE_LIFE.length : 1);
    await until('the newest', () => beginning.events.at(-1)?.cursor === all.at(-1)?.cursor);
    expect(disorders(events)).toEqual([]);
    await beginning.close();
  });

  it('begins now without a cursor', async () => {
    await wholeCall();
    const now = await eventCursor();
    const stream = subscribe(transport, me);
    const first = await until('the first event', async () => {
      await caller.call();
      return stream.events[0];
    });
    expect(BigInt(first.cursor)).toBeGreaterThan(BigInt(now));
    await stream.close();
  });

  it('refuses a cursor ahead of the log, and one that is none', async () => {
    const ahead = String(BigInt(await eventCursor()) + 1000n);
    for (const after of [ahead, 'yesterday', '-1']) {
      const stream = subscribe(transport, me, { after });
      await stream.finished;
      expect(stream.events).toEqual([]);
      expect(stream.errors).toHaveLength(1);
      expect(stream.errors[0]?.extensions?.code).toBe('BAD_USER_INPUT');
    }
  });

  it('narrows to a call, an agent, and types', async () => {
    const { client, key } = await server.newOrganization();
    const first = await prepareCaller(client);
    const second = await prepareCaller(client);
    const after = await eventCursor(client);
    const types = ['CREATED', 'COMPLETED'];
    const open = (variables: object) =>
      subscribe(transport, { url: server.url, key }, { after, ...variables });
    const openAll = () => ({
      byAgent: open({ agentId: second.agentId }),
      byType: open({ types }),
      byBoth: open({ agentId: second.agentId, types: ['BILLED'] }),
      everything: open({}),
    });
    const live = openAll();
    const mine = await wholeCall(client, first);
    const { id: other } = await second.call();
    await live.everything.atLeast(2 * WHOLE_LIFE.length);
    const replayed = openAll();
    const name = { [mine]: 'mine', [other]: 'other' };
    const whole = (who: string) => WHOLE_LIFE.map((type) => `${type} ${who}`);
    const seen = async (stream: LiveStream, count: number) =>
      (await stream.atLeast(count)).map(({ type, callId }) => `${type} ${name[callId]}`);
    for (const { byAgent, byType, byBoth, everything } of [live, replayed]) {
      expect(await seen(everything, 10)).toEqual([...whole('mine'), ...whole('other')]);
      expect(await seen(byAgent, 5)).toEqual(whole('other'));
      expect(await seen(byType, 4)).toEqual(
        ['mine', 'other'].flatMap((who) => types.map((type) => `${type} ${who}`)),
      );
      expect(await seen(byBoth, 1)).toEqual(['BILLED other']);
    }
    const byCall = open({ callId: other });
    expect(await seen(byCall, 5)).toEqual(whole('other'));
    await wholeCall(client, first);
    await flood(other, 500);
    await byCall.atLeast(505);
    expect(new Set(byCall.events.map(({ callId }) => callId))).toEqual(new Set([other]));
    await Promise.all(
      [byCall, ...Object.values(live), ...Object.values(replayed)].map((stream) => stream.close()),
    );
  });

  it('shows another organization nothing', async () => {
    const other = await server.newOrganization();
    const theirs = await prepareCaller(other.client);
    const stream = subscribe(transport, { url: server.url, key: other.key }, { after: '0' });
    const id = await wholeCall();
    const reader = { url: server.url, key: other.key };
    for (const variables of [
      { after: '0', callId: id },
      { after: '0', agentId: caller.agentId },
      { after: '0', callId: publicId('cal', newId()) },
    ]) {
      const peeking = subscribe(transport, reader, variables);
      await peeking.finished;
      expect(peeking.events).toEqual([]);
      expect(peeking.errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    }
    const own = await wholeCall(other.client, theirs);
    const events = await stream.atLeast(WHOLE_LIFE.length);
    expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([own]));
    await stream.close();
  });

  it('refuses a wrong key', async () => {
    const stream = subscribe(transport, { url: server.url, key: `truedy_${'x'.repeat(32)}` });
    await stream.finished;
    expect(stream.events).toEqual([]);
    expect(stream.errors).toHaveLength(1);
    if (transport === 'socket') expect(stream.errors[0]?.extensions.closeCode).toBe(4403);
  });

  it('ends when the key behind it expires, also while nothing happens', async () => {
    const { key } = await perform(
      server.client,
      'createApiKey',
      { name: 'Short', scopes: ['ADMIN'], expiresAt: new Date(Date.now() + 2_500) },
      'key',
    );
    const token = await perform(
      createClient(server.url, key),
      'createAccessToken',
      { expiresInSeconds: 600 },
      'accessToken',
    );
    const streams = [key, token.accessToken].map((credential) =>
      subscribe(transport, { url: server.url, key: credential }),
    );
    await Promise.all(streams.map(({ finished }) => finished));
    for (const { errors } of streams) {
      expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
    }
  });

  it('ends at once when its key is revoked', async () => {
    const made = await perform(
      server.client,
      'createApiKey',
      { name: 'To be revoked', scopes: ['READ'] },
      'key apiKey { id }',
    );
    const stream = subscribe(transport, { url: server.url, key: made.key }, { after: '0' });
    await stream.atLeast(1);
    const began = Date.now();
    await perform(server.client, 'revokeApiKey', { id: made.apiKey.id }, 'apiKey { id }');
    await stream.finished;
    expect(Date.now() - began).toBeLessThan(2_000);
    if (transport === 'socket') expect(stream.errors[0]?.extensions.closeCode).toBe(4403);
    else expect(stream.errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });

  it('lets a token for one call see that call and nothing else', async () => {
    const id = await wholeCall();
    const other = await wholeCall();
    const { accessToken } = await perform(
      server.client,
      'createAccessToken',
      { callId: id },
      'accessToken',
    );
    const holder = { url: server.url, key: accessToken as string };
    const refused = subscribe(transport, holder, { after: '0', callId: other });
    await refused.finished;
    expect(refused.events).toEqual([]);
    expect(refused.errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    for (const variables of [{ after: '0' }, { after: '0', callId: id }]) {
      const stream = subscribe(transport, holder, variables);
      const events = await stream.atLeast(WHOLE_LIFE.length);
      await caller.call();
      await wholeCall();
      expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([id]));
      await stream.close();
    }
  });

  it('lets go of a server that closes, and of a client that leaves', async () => {
    const second = await startTestServer();
    const to = { url: second.url, key: second.key };
    const left = subscribe(transport, to, { after: '0' });
    const stays = subscribe(transport, to, { after: '0' });
    const ours = await prepareCaller(second.client);
    await ours.call();
    await Promise.all([left.atLeast(1), stays.atLeast(1)]);
    await left.close();
    const began = Date.now();
    await second.close();
    expect(Date.now() - began).toBeLessThan(5_000);
    await stays.finished;
  });
});

describe('an event log that has been shortened', () => {
  it('refuses a cursor whose successors are gone, and takes 0 for the beginning of what is left', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const to = { url: server.url, key };
    const old = await wholeCall(client, ours);
    const boundary = await eventCursor(client);
    const kept = await wholeCall(client, ours);
    const [first] = await eventsOf(client, old);
    await server.app.db.event.updateMany({
      where: { organizationId, cursor: { lte: BigInt(boundary) } },
      data: { createdAt: new Date(Date.now() - 31 * 86_400_000) },
    });
    const open = subscribe('socket', to, { after: boundary });
    await open.atLeast(WHOLE_LIFE.length);

    await dropExpiredEvents(server.app);

    const refused = subscribe('socket', to, { after: first!.cursor });
    await refused.finished;
    expect(refused.events).toEqual([]);
    expect(refused.errors[0]?.extensions).toMatchObject({
      code: 'CURSOR_EXPIRED',
      oldestCursor: boundary,
    });
    for (const after of ['0', boundary]) {
      const stream = subscribe('socket', to, { after });
      const events = await stream.atLeast(WHOLE_LIFE.length);
      expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([kept]));
      await stream.close();
    }
    // Who was there already does not notice.
    const next = await wholeCall(client, ours);
    await open.atLeast(2 * WHOLE_LIFE.length);
    expect(open.events.at(-1)?.callId).toBe(next);
    await open.close();
  });

  it('keeps what is new even when something later in it happened long ago', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const id = await wholeCall(client, ours);
    const events = await eventsOf(client, id);
    // News of an old call that came late: its time is that of Ultravox.
    await server.app.db.event.updateMany({
      where: { organizationId, cursor: BigInt(events[3]!.cursor) },
      data: { createdAt: new Date(Date.now() - 40 * 86_400_000) },
    });
    await dropExpiredEvents(server.app);
    const stream = subscribe('sse', { url: server.url, key }, { after: '0' });
    const left = await stream.atLeast(events.length);
    expect(left.map(({ cursor }) => cursor)).toEqual(events.map(({ cursor }) => cursor));
    await stream.close();
  });
});

let flooded = 0;

/** Puts so many more events of a call into the log, a page at a time. */
async function flood(callId: string, count: number, { announced = true } = {}): Promise<void> {
  const first = flooded;
  flooded += count;
  const id = parsePublicId(callId)!.uuid;
  const { organizationId, agentId } = await server.app.db.call.findUniqueOrThrow({ where: { id } });
  for (let done = 0; done < count; done += 500) {
    const events = Array.from({ length: 500 }, (_, index) => ({
      type: 'CALL_RINGING' as const,
      callId: id,
      agentId,
      sequence: 1_000_000 + first + done + index,
      data: { status: 'RINGING', endReason: null },
    }));
    await server.app.db.$transaction((tx) => appendEvents(tx, organizationId, events));
    if (announced) announceEvents(server.app, organizationId);
  }
}

describe('the feed behind the subscriptions', () => {
  const all = { where: {}, matches: () => true };

  /** A feed of one's own that counts how often it looks at the log. */
  function countingFeed() {
    const count = { looks: 0 };
    const db = new Proxy(server.app.db, {
      get(target, name) {
        if (name === 'eventCounter') count.looks += 1;
        return Reflect.get(target, name);
      },
    });
    const config = { ...server.app.config, EVENT_POLL_SECONDS: 0.02 };
    return { count, feed: createEventFeed({ ...server.app, db, config }) };
  }

  it('lets go of a subscriber that waits for an event, and stops looking when none is left', async () => {
    const idle = countingFeed();
    const busy = countingFeed();
    const { organizationId } = server;
    const events = await idle.feed.subscribe(organizationId, null, all);
    const waiting = events.next();
    await until('a look at the log', () => idle.count.looks > 3);
    await events.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });

    const looks = idle.count.looks;
    const clock = await busy.feed.subscribe(organizationId, null, all);
    const ticking = clock.next();
    await until('ten looks of another', () => busy.count.looks > 10);
    expect(idle.count.looks - looks).toBeLessThanOrEqual(1);

    busy.feed.close();
    idle.feed.close();
    expect(await ticking).toEqual({ done: true, value: undefined });
  });
});

describe('a wake-up that is lost', () => {
  it('delays events until the next look at the log, and repeats none to who knew more', async () => {
    // An organization of its own, in which nothing else wakes the readers.
    const { client, key } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const to = { url: server.url, key };
    const start = await eventCursor(client);
    const behind = subscribe('socket', to, { after: start });
    const id = await wholeCall(client, ours);
    await behind.atLeast(WHOLE_LIFE.length);
    await flood(id, 500, { announced: false });
    // Read from the log itself: the subscribers of this process have not been told yet.
    const end = await eventCursor(client);
    const ahead = subscribe('socket', to, { after: end });
    await until('the next look', () =>
      behind.events.some(({ cursor }) => BigInt(cursor) >= BigInt(end)),
    );
    await ours.call();
    const [first] = await ahead.atLeast(1);
    expect(BigInt(first!.cursor)).toBe(BigInt(end) + 1n);
    expect(behind.events.map(({ cursor }) => BigInt(cursor))).toEqual(
      behind.events.map((_, index) => BigInt(start) + 1n + BigInt(index)),
    );
    await Promise.all([behind.close(), ahead.close()]);
  });
});

describe('a subscriber that reads nothing for a while', () => {
  const FLOOD = 4_000;
  // Large enough that the buffers of the socket hold only a part of the flood.
  const fields = Array.from({ length: 150 }, (_, index) => `field${index}: callId`).join(' ');
  const query = `subscription ($after: Cursor) { callEvents(after: $after) { cursor ${fields} } }`;

  it('gets everything in the end over a socket, and holds nobody else up', async () => {
    const id = await wholeCall();
    const after = await eventCursor();
    const socket = new WebSocket(
      `${server.url.replace('http', 'ws')}/graphql`,
      'graphql-transport-ws',
    );
    const cursors: bigint[] = [];
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.type === 'connection_ack') {
        const payload = { query, variables: { after } };
        socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
      }
      if (message.type === 'next') cursors.push(BigInt(message.payload.data.callEvents.cursor));
    });
    await until('the socket', () => socket.readyState === WebSocket.OPEN);
    const payload = { Authorization: `Bearer ${server.key}` };
    socket.send(JSON.stringify({ type: 'connection_init', payload }));
    await flood(id, 500);
    await until('the first events', () => cursors.length > 0);
    socket.pause();
    const quick = subscribe('socket', me, { after });
    await flood(id, FLOOD);
    await quick.atLeast(FLOOD + 500);
    expect(cursors.length).toBeLessThan(FLOOD);

    socket.resume();
    const first = BigInt(after) + 1n;
    await until('the rest', () => cursors.length >= FLOOD + 500);
    expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
    expect(cursors).toHaveLength(FLOOD + 500);
    await quick.close();
    socket.close();
  });

  it('gets everything in the end over server-sent events, as curl reads them', async () => {
    const id = await wholeCall();
    const after = await eventCursor();
    const stop = new AbortController();
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      signal: stop.signal,
      headers: {
        authorization: `Bearer ${server.key}`,
        accept: 'text/event-stream',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query, variables: { after } }),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    // Nothing is read of the body until the flood is over.
    await flood(id, FLOOD);
    const cursors: bigint[] = [];
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const data = /^event: next\ndata: (.*)$/m.exec(block)?.[1];
        if (data) cursors.push(BigInt(JSON.parse(data).data.callEvents.cursor));
      }
      if (cursors.length >= FLOOD) break;
    }
    stop.abort();
    const first = BigInt(after) + 1n;
    expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
    expect(cursors).toHaveLength(FLOOD);
  });
});

describe('other operations on a socket', () => {
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

  it('refuses a token for one call everything else', async () => {
    const id = await wholeCall();
    const { accessToken } = await perform(
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

  it('does a mutation once under an idempotency key in its extensions', async () => {
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
    const dialled = server.simulator.dials().filter(({ to }) => to.includes('+14155550177'));
    expect(dialled).toHaveLength(1);
    await client.dispose();
  });

  it('answers what is wrong with one operation and leaves the others alone', async () => {
    const client = openSocket(server.url, server.key);
    const after = await eventCursor();
    const results = client.iterate({ query: CALL_EVENTS, variables: { after } });
    await caller.call();
    await results.next();
    for (const query of ['{ this is not', '{ noSuchField }', 'subscription { callEvents }']) {
      await expect(ask(client, query)).rejects.toMatchObject([{ message: expect.any(String) }]);
    }
    const tooLong = await ask(client, 'mutation { endCall(input: { id: "x" }) { call { id } } }', {
      extensions: { idempotencyKey: 'x'.repeat(300) },
    });
    expect(tooLong.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    await caller.call();
    expect((await results.next()).value.data.callEvents.type).toBeDefined();
    await client.dispose();
  });

  it('tells a key that has expired meanwhile so, without ending the socket in error', async () => {
    const { key } = await perform(
      server.client,
      'createApiKey',
      { name: 'Short', scopes: ['READ'], expiresAt: new Date(Date.now() + 1_000) },
      'key',
    );
    // Kept open although nothing runs on it: a new connection would be refused at the door.
    const client = openSocket(server.url, key, { lazy: false });
    const opened = await ask(client, '{ eventCursor }');
    expect(opened.data.eventCursor).toBeDefined();
    const refusal = await until('the expiry', async () => {
      const answer = await ask(client, '{ eventCursor }').catch((errors) => ({ errors }));
      return answer.errors;
    });
    expect(refusal[0].extensions.code).toBe('UNAUTHENTICATED');
    await client.dispose();
  });
});
