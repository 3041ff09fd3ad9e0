import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { parsePublicId } from '../../src/infra/ids.ts';
import { appendEvents, announceEvents, dropExpiredEvents } from '../../src/live/log.ts';
import { insertKeyExpiring } from './support.ts';
import { type Caller, perform, prepareCaller } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { CALL_EVENTS, disorders, openSocket, subscribe } from '../support/subscribe.ts';
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
    const stream = subscribe(transport, me);
    // The subscription has begun once it sees a call; those before it are not repeated.
    const first = await until('the first event', async () => {
      await caller.call();
      return stream.events[0];
    });
    expect(first.type).toBe('CREATED');
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
    const after = await eventCursor();
    const second = await prepareCaller(server.client);
    const mine = await wholeCall();
    const other = await wholeCall(server.client, second);
    const seen = async (variables: object, count: number) => {
      const stream = subscribe(transport, me, { after, ...variables });
      await stream.atLeast(count);
      // A later event of the same kind shows that nothing else came before it.
      const marker = await caller.call();
      const markerToo = await second.call();
      await until('what is live', () =>
        stream.events.some(({ callId }) => [marker.id, markerToo.id, mine].includes(callId)),
      );
      await stream.close();
      return stream.events
        .filter(({ callId }) => [mine, other].includes(callId))
        .map(({ type, callId }) => `${type} ${callId === mine ? 'mine' : 'other'}`);
    };
    expect(await seen({ callId: mine }, 5)).toEqual(WHOLE_LIFE.map((type) => `${type} mine`));
    expect(await seen({ agentId: second.agentId }, 5)).toEqual(
      WHOLE_LIFE.map((type) => `${type} other`),
    );
    expect(await seen({ types: ['COMPLETED', 'CREATED'] }, 4)).toEqual([
      'CREATED mine',
      'COMPLETED mine',
      'CREATED other',
      'COMPLETED other',
    ]);
    expect(await seen({ agentId: second.agentId, types: ['BILLED'] }, 1)).toEqual(['BILLED other']);
  });

  it('shows another organization nothing', async () => {
    const other = await server.newOrganization();
    const theirs = await prepareCaller(other.client);
    const stream = subscribe(transport, { url: server.url, key: other.key }, { after: '0' });
    const id = await wholeCall();
    const peeking = subscribe(
      transport,
      { url: server.url, key: other.key },
      { after: '0', callId: id },
    );
    const own = await wholeCall(other.client, theirs);
    const events = await stream.atLeast(WHOLE_LIFE.length);
    expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([own]));
    expect(peeking.events).toEqual([]);
    await Promise.all([stream.close(), peeking.close()]);
  });

  it('refuses a wrong key', async () => {
    const stream = subscribe(transport, { url: server.url, key: `truedy_${'x'.repeat(32)}` });
    await stream.finished;
    expect(stream.events).toEqual([]);
    expect(stream.errors).toHaveLength(1);
    if (transport === 'socket') expect(stream.errors[0]?.extensions.closeCode).toBe(4403);
  });

  it('ends when the key behind it expires, also while nothing happens', async () => {
    const { key } = await insertKeyExpiring(server, 1_500);
    const token = await perform(
      { ...server.client, ...clientWith(key) },
      'createAccessToken',
      { expiresInSeconds: 600 },
      'accessToken expiresAt',
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
    for (const variables of [{ after: '0' }, { after: '0', callId: other }]) {
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
    await second.server?.close();
    expect(Date.now() - began).toBeLessThan(2_000);
    await stays.finished;
    await second.close();
  });
});

function clientWith(key: string): GraphQLClient {
  return server.clientFor(key);
}
