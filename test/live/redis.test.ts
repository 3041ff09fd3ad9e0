import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller } from '../support/calling.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createClient } from '../support/graphql.ts';
import { type ServerProcess, startServerProcess } from '../support/process.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/redis.ts';
import { disorders, type LiveStream, subscribe } from '../support/subscribe.ts';

const available = redisAvailable();
if (!available) process.stderr.write('No redis-server here: test/live/redis.test.ts is skipped\n');

const POLL_SECONDS = 30;

describe.skipIf(!available)('two API processes and a worker with Redis', () => {
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
      settings: { ROLE: 'api', REDIS_URL: redis.url },
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
  ] as const)('shows a call made at one at the other at once, over %s', async (transport) => {
    const stream = subscribe(transport, { url: a.url, key }, { after: '0' });
    if (transport === 'sse') await stream.atLeast(1);
    const began = Date.now();
    await caller.call();
    await stream.atLeast(transport === 'sse' ? 10 : 5);
    expect(Date.now() - began).toBeLessThan((POLL_SECONDS * 1000) / 3);
    expect(disorders(stream.events)).toEqual([]);
    await stream.close();
  });

  it('goes on without Redis at the pace of polling, and at once again when it is back', async () => {
    const poller = await launch('api', 1);
    try {
      const polled = subscribe('socket', { url: poller.url, key }, { after: '0' });
      await polled.atLeast(1);
      await redis.kill();
      const before = polled.events.length;
      expect(await delayOf(polled)).toBeLessThan(3_000);
      await polled.atLeast(before + 5);

      await redis.restart();
      const woken = subscribe('socket', { url: a.url, key }, { after: '0' });
      await woken.atLeast(polled.events.length);
      // Connecting again takes the processes a moment; once they have, no wake-up is missed.
      let delay = POLL_SECONDS * 1000;
      for (let attempt = 0; attempt < 20 && delay > 500; attempt += 1) {
        const seen = woken.events.length;
        const began = Date.now();
        await caller.call();
        const came = await woken.atLeast(seen + 1, 1_000).catch(() => null);
        if (came) delay = Date.now() - began;
      }
      expect(delay).toBeLessThan(1_000);
      await polled.atLeast(woken.events.length);
      expect(disorders(polled.events)).toEqual([]);
      expect(disorders(woken.events)).toEqual([]);
      await Promise.all([polled.close(), woken.close()]);
    } finally {
      await poller.stop();
    }
  }, 60_000);

  it('ends a stream at one when its key is revoked at the other', async () => {
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
});
