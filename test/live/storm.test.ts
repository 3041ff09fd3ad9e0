import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Caller, prepareCaller } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { randomFrom, waitRandomly } from '../support/random.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { type ServerProcess, startServerProcess } from '../support/servers/process.ts';
import { redisAvailable, startRedis, type TestRedis } from '../support/servers/redis.ts';
import { followCalls, orderProblems } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

/** Larger by hand: `STORM_CALLS=2000 STORM_KILLS=60 vitest run test/live/storm.test.ts`. */
const CALLS = Number(process.env.STORM_CALLS ?? 150);
const KILLS = Number(process.env.STORM_KILLS ?? 6);
const SEED = Number(process.env.STORM_SEED ?? 20261120);

const available = redisAvailable();
if (!available) process.stderr.write('No redis-server here: test/live/storm.test.ts is skipped\n');

describe.skipIf(!available)('callEvents while processes are killed', () => {
  let database: TestDatabase;
  let simulator: Simulator;
  let redis: TestRedis;
  /** Makes the calls, and is left alone. */
  let maker: ServerProcess;
  /** The subscribers are on it. */
  let live: ServerProcess;
  /** Ultravox's webhooks go to it; it works on jobs as well. */
  let receiver: ServerProcess;
  let caller: Caller;
  let key: string;

  // A repetition starts with servers of its own.
  beforeEach(async () => {
    [database, redis] = await Promise.all([createTestDatabase(), startRedis()]);
    simulator = await startSimulator({ speed: 20, settings: { jitter: 0.5 } });
    const launch = (settings: Record<string, string>) =>
      startServerProcess({
        databaseUrl: database.url,
        simulator,
        settings: { REDIS_URL: redis.url, ULTRAVOX_TIMEOUT_SECONDS: '10', ...settings },
      });
    receiver = await launch({ ROLE: 'all' });
    key = receiver.firstKey!;
    [maker, live] = await Promise.all([
      launch({ ROLE: 'api', PUBLIC_URL: receiver.url }),
      launch({ ROLE: 'api', PUBLIC_URL: receiver.url }),
    ]);
    caller = await prepareCaller(createClient(maker.url, key));
  });
  afterEach(async () => {
    await Promise.all([maker, live, receiver].map((server) => server?.stop()));
    await simulator?.close();
    await redis?.stop();
    await database?.drop();
  });

  /** Creates a call, again with the same key for as long as the answer asks to try again. */
  async function callWhenAvailable(
    number: string,
    idempotencyKey: string,
  ): Promise<{ id: string }> {
    for (;;) {
      try {
        return await caller.call(number, { 'x-idempotency-key': idempotencyKey });
      } catch (error) {
        if (!(error as Error).message.includes('"UNAVAILABLE"')) throw error;
        // As a client does.
        await pause(1_000);
      }
    }
  }

  it('delivers each event of many calls once and in order', async () => {
    const random = randomFrom(SEED);
    const to = { url: live.url, key };
    const subscribers = [followCalls('socket', to), followCalls('sse', to)];
    const victims = [live, redis, receiver];

    const storm = (async () => {
      for (let kill = 0; kill < KILLS; kill += 1) {
        await waitRandomly(random, 1_000);
        const victim = victims[kill % victims.length]!;
        await victim.kill();
        await waitRandomly(random, 500);
        await victim.restart();
      }
    })();
    const numbers = ['0142', '0001', '0003', '0005', '0006', '0009'];
    const calling = Promise.all(
      Array.from({ length: CALLS }, (_, index) =>
        callWhenAvailable(`+1415555${numbers[index % numbers.length]}`, `storm-${index}`),
      ),
    );
    // Both come to their end before a failure of either ends the test.
    await Promise.allSettled([calling, storm]);
    const [made] = await Promise.all([calling, storm]);
    const ids = made.map(({ id }) => id).sort();
    expect(new Set(ids).size).toBe(CALLS);

    const client = createClient(maker.url, key);
    const open = '{ calls(filter: { status: [CREATED, RINGING, IN_PROGRESS] }) { totalCount } }';
    await until(
      'the end of all calls',
      async () => (await client.send(open)).data.calls.totalCount === 0,
      60_000,
    );
    const end = (await client.send('{ eventCursor }')).data.eventCursor;

    // At Ultravox: each call dialed once and over, with the same end on both sides. Only a call whose
    // placing died with the receiver before the request went out is not there.
    const dialed = simulator.dials().map(({ metadata }) => String(metadata.callId));
    expect(new Set(dialed).size).toBe(dialed.length);
    const remote = new Map(
      (await callsAtUltravox(simulator)).map((call) => [call.metadata.callId, call]),
    );
    expect([...remote.keys()].sort()).toEqual(dialed.sort());
    expect(ids).toEqual(expect.arrayContaining(dialed));
    for (const id of ids) {
      const { data } = await client.send(
        'query ($id: ID!) { call(id: $id) { status endReason answeredAt } }',
        { id },
      );
      const seen = remote.get(id);
      if (seen) {
        expect(seen.ended).not.toBeNull();
        expect(data.call.status).toBe(statusFor(seen));
        expect(data.call.answeredAt === null).toBe(seen.joined === null);
      } else {
        expect(data.call).toMatchObject({ status: 'FAILED', endReason: 'SYSTEM_ERROR' });
      }
    }
    expect(dialed.length).toBeGreaterThan(CALLS / 2);

    // Subscribers: everything that is in the log about calls, once and in order.
    for (const subscriber of subscribers) {
      await until(
        'the last event',
        () => BigInt(subscriber.events.at(-1)?.cursor ?? 0) >= BigInt(end),
        30_000,
      );
      await subscriber.stop();
      const events = subscriber.events.filter(({ cursor }) => BigInt(cursor) <= BigInt(end));
      expect(orderProblems(subscriber.events)).toEqual([]);
      expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set(ids));
      expect(subscriber.connections).toBeGreaterThan(1);
    }
    const [first, second] = subscribers.map(({ events }) =>
      events.filter(({ cursor }) => BigInt(cursor) <= BigInt(end)).map(({ cursor }) => cursor),
    );
    expect(first).toEqual(second);
  });
});

interface RemoteCall {
  metadata: { callId: string };
  joined: string | null;
  ended: string | null;
  endReason: string | null;
}

async function callsAtUltravox({ url, apiKey }: Simulator): Promise<RemoteCall[]> {
  const calls: RemoteCall[] = [];
  for (let next: string | null = `${url}/api/calls?pageSize=100`; next; ) {
    const response: Response = await fetch(next, { headers: { 'x-api-key': apiKey } });
    const page = (await response.json()) as { results: RemoteCall[]; next: string | null };
    calls.push(...page.results);
    next = page.next;
  }
  return calls;
}

function statusFor({ joined, endReason }: RemoteCall): string {
  return joined === null || endReason === 'connection_error' ? 'FAILED' : 'COMPLETED';
}
