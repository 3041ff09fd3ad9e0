import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bus, createRedisBus } from '../../src/infra/bus.ts';
import { createFailures } from '../../src/infra/failures.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/servers/redis.ts';
import { type Holds, type Relay, startRelay } from '../support/servers/relay.ts';
import { type LiveStream, orderProblems, subscribe } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

const available = redisAvailable();
if (!available) process.stderr.write('No redis-server here: test/live/redis.test.ts is skipped\n');

const POLL_SECONDS = 60;

describe.skipIf(!available)('callEvents with Redis and several processes', () => {
  let database: TestDatabase;
  let simulator: Simulator;
  let redis: TestRedis;
  let a: ServerProcess;
  let b: ServerProcess;
  let worker: ServerProcess;
  let caller: Caller;
  let key: string;

  const launch = (role: string, poll: number) =>
    startServerProcess({
      databaseUrl: database.url,
      simulator,
      settings: {
        ROLE: role,
        REDIS_URL: redis.url,
        MAX_SUBSCRIPTIONS: '8',
        EVENT_POLL_SECONDS: String(poll),
        PUBLIC_URL: b?.url ?? '',
      },
    });

  beforeAll(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    simulator = await startSimulator({ speed: 50, settings: { talkSeconds: 5 } });
    b = await startServerProcess({
      databaseUrl: database.url,
      simulator,
      settings: { ROLE: 'api', REDIS_URL: redis.url, MAX_SUBSCRIPTIONS: '8' },
    });
    key = b.firstKey!;
    [a, worker] = await Promise.all([launch('api', POLL_SECONDS), launch('worker', POLL_SECONDS)]);
    caller = await prepareCaller(createClient(b.url, key));
  });
  afterAll(async () => {
    await Promise.all([a, b, worker].map((server) => server?.stop()));
    await simulator?.close();
    await redis?.stop();
    await database?.drop();
  });

  /** How long a call made at B takes to be seen, in milliseconds. */
  async function delayOf(stream: LiveStream): Promise<number> {
    const before = stream.events.length;
    await caller.call();
    const answered = Date.now();
    await stream.atLeast(before + 1, 60_000);
    return Date.now() - answered;
  }

  it.each([
    'socket',
    'sse',
  ] as const)('delivers a call of one process at the other at once, over %s', async (transport) => {
    const stream = subscribe(transport, { url: a.url, key }, { after: '0' });
    if (transport === 'sse') await stream.atLeast(1);
    const began = Date.now();
    await caller.call();
    await stream.atLeast(transport === 'sse' ? 10 : 5);
    expect(Date.now() - began).toBeLessThan((POLL_SECONDS * 1000) / 3);
    expect(orderProblems(stream.events)).toEqual([]);
    await stream.close();
  });

  it('delivers by polling while Redis is down, and at once again afterwards', async () => {
    const poller = await launch('api', 1);
    try {
      const polled = subscribe('socket', { url: poller.url, key }, { after: '0' });
      await polled.atLeast(1);
      await redis.kill();
      const before = polled.events.length;
      expect(await delayOf(polled)).toBeLessThan(20_000);
      await polled.atLeast(before + 5);

      await redis.restart();
      const woken = subscribe('socket', { url: a.url, key }, { after: '0' });
      await woken.atLeast(polled.events.length);
      // Connecting again takes the processes a moment; once they have, no wake-up is missed.
      await until('an event at once', async () => {
        const seen = woken.events.length;
        await caller.call();
        return woken.atLeast(seen + 1, 2_000).catch(() => null);
      });
      await polled.atLeast(woken.events.length);
      expect(orderProblems(polled.events)).toEqual([]);
      expect(orderProblems(woken.events)).toEqual([]);
      await Promise.all([polled.close(), woken.close()]);
    } finally {
      await poller.stop();
    }
  });

  it('ends a stream at one process when its API key is revoked at the other', async () => {
    const made = await createClient(b.url, key).send(
      'mutation { createApiKey(input: { name: "Gone", scopes: [READ] }) { key apiKey { id } } }',
    );
    const { key: gone, apiKey } = made.data.createApiKey;
    const streams = (['socket', 'sse'] as const).map((transport) =>
      subscribe(transport, { url: a.url, key: gone }, { after: '0' }),
    );
    await Promise.all(streams.map((stream) => stream.atLeast(1)));
    await createClient(b.url, key).send(
      'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { id } } }',
      { id: apiKey.id },
    );
    await Promise.all(streams.map(({ finished }) => finished));
    expect(streams[0]?.errors[0]?.extensions.closeCode).toBe(4403);
    expect(streams[1]?.errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
  it('limits the subscriptions of a key over both processes', async () => {
    const { data } = await createClient(b.url, key).send(
      'mutation { createApiKey(input: { name: "Busy", scopes: [READ] }) { key } }',
    );
    const busy = data.createApiKey.key as string;
    const open = (url: string) => subscribe('sse', { url, key: busy }, { after: '0' });
    const streams = [open(a.url), open(b.url), open(a.url), open(b.url)];
    await Promise.all(streams.map((stream) => stream.atLeast(1)));
    for (const url of [a.url, b.url]) {
      const fifth = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'text/event-stream',
          authorization: `Bearer ${busy}`,
        },
        body: JSON.stringify({ query: 'subscription { callEvents { cursor } }' }),
        signal: AbortSignal.timeout(30_000),
      });
      expect(await fifth.text()).toContain('An API key may have at most 4 open subscriptions');
    }
    await Promise.all(streams.map((stream) => stream.close()));
  });
});

describe.skipIf(!available)('createRedisBus behind a network that stands still', () => {
  const log = createLogger({ level: 'silent' });
  const failures = createFailures({ log });
  let redis: TestRedis;
  let relay: Relay;
  let bus: Bus;

  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay(Number(new URL(redis.url).port));
    bus = createRedisBus({ url: `redis://127.0.0.1:${relay.port}`, log, failures });
  });
  afterAll(async () => {
    await bus?.close();
    failures.close();
    await relay?.close();
    await redis?.stop();
  });

  it('gives its connections up, and connects again', async () => {
    const other = createRedisBus({ url: redis.url, log, failures });
    const received = { bus: [] as unknown[], other: [] as unknown[] };
    bus.subscribe('a topic', (message) => received.bus.push(message));
    other.subscribe('a topic', (message) => received.other.push(message));
    const isHeard = (text: string) => async (): Promise<boolean> => {
      other.publish('a topic', `${text} for bus`);
      bus.publish('a topic', `${text} for other`);
      return (
        received.bus.includes(`${text} for bus`) && received.other.includes(`${text} for other`)
      );
    };
    await until('the first messages', isHeard('first'));

    const stillOpen = relay.freeze();
    expect(stillOpen()).toBe(2);
    await until('both connections to be given up', () => {
      bus.publish('a topic', 'another');
      return stillOpen() === 0;
    });
    expect(failures.counts().map(({ name }) => name)).toContain('bus.publish');
    await until('messages over other connections', isHeard('second'));
    await other.close();
  });
});

describe.skipIf(!available)('createRedisBus while its connections are made', () => {
  const log = createLogger({ level: 'silent' });
  const failures = createFailures({ log });
  let redis: TestRedis;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    failures.close();
    await redis?.stop();
  });

  // The second connection is the one that subscribes.
  it.each<[string, Holds]>([
    [
      'keeps a subscription that was sent before the server has answered anything',
      (connection, sent) => connection === 1 && !/subscribe/i.test(sent),
    ],
    ['gives up connections on which nothing was ever answered', (connection) => connection < 2],
  ])('%s', async (_, holds) => {
    const relay = await startRelay(Number(new URL(redis.url).port), holds);
    const bus = createRedisBus({ url: `redis://127.0.0.1:${relay.port}`, log, failures });
    const other = createRedisBus({ url: redis.url, log, failures });
    try {
      const received: unknown[] = [];
      bus.subscribe('a topic', (message) => received.push(message));
      await until('a message of the other process', () => {
        other.publish('a topic', 'a message');
        return received.length > 0;
      });
    } finally {
      await Promise.all([bus.close(), other.close()]);
      await relay.close();
    }
  });
});

describe('createRedisBus and a listener that fails', () => {
  it('delivers to the other listeners, and records the error', async () => {
    const log = createLogger({ level: 'silent' });
    const failures = createFailures({ log });
    const bus = createRedisBus({ url: 'redis://127.0.0.1:1', log, failures });
    const received: unknown[] = [];
    bus.subscribe('a topic', () => {
      throw new Error('Not this message');
    });
    bus.subscribe('a topic', (message) => received.push(message));
    bus.publish('a topic', 'a message');
    expect(received).toEqual(['a message']);
    expect(failures.counts().map(({ name }) => name)).toContain('bus.listen');
    await bus.close();
    failures.close();
  });
});

describe('createRedisBus at a proxy without a server behind it', () => {
  it('reports the outage once, and connects less and less often', async () => {
    const times: number[] = [];
    const proxy = createServer((socket) => {
      times.push(performance.now());
      // The time in which a proxy finds out that it cannot reach its server.
      setTimeout(() => socket.resetAndDestroy(), 10);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const entries: string[] = [];
    const add = (_: unknown, message?: string) => void entries.push(message ?? '');
    const log = { debug: add, info: add, warn: add, error: add };
    const failures = createFailures({ log });
    const { port } = proxy.address() as AddressInfo;
    const bus = createRedisBus({ url: `redis://127.0.0.1:${port}`, log, failures });
    try {
      await until('ten connections', () => times.length >= 10);
      expect(entries).toEqual([expect.stringContaining('Redis is unreachable')]);
      expect(times[9]! - times[0]!).toBeGreaterThan(2_000);
    } finally {
      await bus.close();
      failures.close();
      proxy.close();
    }
  });
});

describe.skipIf(!available)('createRedisBus at a Redis Cluster', () => {
  let redis: TestRedis;
  const log = createLogger({ level: 'silent' });
  const failures = createFailures({ log });
  const buses: Bus[] = [];

  beforeAll(async () => {
    redis = await startRedis({ cluster: true });
    for (let process = 0; process < 2; process += 1) {
      buses.push(createRedisBus({ url: redis.url, log, failures }));
    }
  });
  afterAll(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    failures.close();
    await redis?.stop();
  });

  it('carries messages on sharded channels, also after a restart of the server', async () => {
    const [from, to] = buses as [Bus, Bus];
    const received: unknown[] = [];
    const stop = to.subscribe('a topic', (message) => received.push(message));
    const isHeard = (count: number) => async (): Promise<boolean> => {
      from.publish('a topic', { count });
      return JSON.stringify(received).includes(`"count":${count}`);
    };
    await until('the first message', isHeard(1));
    const admin = new Redis(redis.url);
    expect(await admin.call('PUBSUB', 'SHARDCHANNELS')).toEqual(['truedy:bus:a topic']);
    expect(await admin.call('PUBSUB', 'CHANNELS')).toEqual([]);
    await redis.restart();
    await until('a message after the restart', isHeard(2));
    stop();
    await until('the end of the subscription', async () => {
      const channels = (await admin.call('PUBSUB', 'SHARDCHANNELS')) as unknown[];
      return channels.length === 0;
    });
    admin.disconnect();
  });
});
