/**
 * Fan-out of the events of one call: `node bench/fan-out.ts [subscribers…]`. The figure is deliveries
 * per CPU second of the server, beside a bare server that sends the same bytes to the same clients. The
 * events are appended in another process, as the services there do, and the server is woken over Redis.
 * Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startRedis } from '../test/support/servers/redis.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { type Inspector, openInspector } from './support/inspector.ts';
import { startOurs } from './support/ours.ts';
import { freePort, median, type Server, startServer } from './support/processes.ts';
import { type Section, table } from './support/results.ts';
import { type Ringing, startRinging } from './support/ringing.ts';
import { type Subscribers, startSubscribers } from './support/subscribers.ts';

const SELECTIONS = {
  'event only': '{ cursor type status }',
  'with call and agent':
    '{ cursor type status call { id status durationSeconds agent { id name } } }',
} as const;
type Selection = keyof typeof SELECTIONS;
type Transport = 'ws' | 'sse';

const ROUNDS = 3;
/** Fewer say nothing about the memory of each. */
const MIN_FOR_MEMORY = 1_000;
const MB = 2 ** 20;

interface Publisher {
  server: Server;
  inspector: Inspector;
  key: string;
  /** Publishes `count` events. `payload` is what ours sent for one. */
  publish(count: number, payload: string): Promise<void>;
}

async function startBare(): Promise<Publisher> {
  const inspect = await freePort();
  const server = await startServer({
    name: 'bare server',
    args: ['bench/peers/bare-ws.ts'],
    env: {},
    ready: /ready/,
    port: await freePort(),
    inspect,
  });
  return {
    server,
    inspector: await openInspector(inspect),
    key: '',
    async publish(count, payload) {
      const answer = await fetch(`${server.url}/publish?count=${count}`, {
        method: 'POST',
        body: payload,
      });
      await answer.text();
    },
  };
}

async function startThis(
  database: BenchDatabase,
  redisUrl: string,
  ringing: Ringing,
): Promise<Publisher> {
  const inspect = await freePort();
  const { server, key } = await startOurs(
    database,
    { REDIS_URL: redisUrl, MAX_SUBSCRIPTIONS: '10000' },
    { inspect },
  );
  return {
    server,
    inspector: await openInspector(inspect),
    key,
    publish: (count) => ringing.publish(count),
  };
}

/** Bytes of live memory, once what subscribers of before have left is cleaned up. */
async function restingMemory(inspector: Inspector): Promise<number> {
  let last = (await inspector.memory()).live;
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await pause(500);
    const { live } = await inspector.memory();
    if (Math.abs(live - last) < MB / 10) return live;
    last = live;
  }
  return last;
}

/** Deliveries per CPU second, and bytes of live memory for each subscriber. */
async function measure(
  publisher: Publisher,
  options: { subscribers: number; transport: Transport; selection: Selection; payload: string },
): Promise<{ perCpuSecond: number; memory: number }> {
  const { subscribers: count, transport, selection, payload } = options;
  const { server, inspector } = publisher;
  // Collecting the garbage also throws compiled code away.
  const measuresMemory = count >= MIN_FOR_MEMORY;
  const before = measuresMemory ? await restingMemory(inspector) : 0;
  const subscribers: Subscribers = await startSubscribers({
    url: `${server.url}/graphql`,
    count,
    transport,
    headers: { authorization: `Bearer ${publisher.key}` },
    query: `subscription live { callEvents ${SELECTIONS[selection]} }`,
  });
  try {
    // Until every subscriber is live.
    let warm = 0;
    while ((await subscribers.receivedWithin(1_000)) < warm * count || warm < 2) {
      warm += 1;
      await publisher.publish(1, payload);
    }
    const events = Math.min(5_000, Math.max(20, Math.ceil(100_000 / count)));
    const batch = count < 1_000 ? 50 : 10;
    const figures: number[] = [];
    let memory = 0;
    // The first round, which is not counted, lets the server compile its code.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const [start, cpu] = [await subscribers.settled(), await server.cpuSeconds()];
      for (let sent = 0; sent < events; sent += batch) {
        await publisher.publish(batch, payload);
        await pause(60);
      }
      await subscribers.until(start + events * count);
      if (round > 0) figures.push((events * count) / ((await server.cpuSeconds()) - cpu));
    }
    if (measuresMemory) memory = ((await restingMemory(inspector)) - before) / count;
    return { perCpuSecond: median(figures), memory };
  } finally {
    await subscribers.stop();
  }
}

export async function benchFanOut(counts: readonly number[]): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const ringing = await startRinging(database, redis.url);
  const [ours, bare] = [await startThis(database, redis.url, ringing), await startBare()];
  const rows: string[][] = [];
  try {
    for (const transport of ['ws', 'sse'] as const) {
      for (const selection of Object.keys(SELECTIONS) as Selection[]) {
        const payload = PAYLOADS[selection];
        for (const subscribers of counts) {
          const options = { subscribers, transport, selection, payload };
          const own = await measure(ours, options);
          const floor = await measure(bare, options);
          rows.push([
            transport,
            selection,
            String(subscribers),
            own.perCpuSecond.toFixed(0),
            floor.perCpuSecond.toFixed(0),
            (own.perCpuSecond / floor.perCpuSecond).toFixed(2),
            subscribers < MIN_FOR_MEMORY ? '' : ((own.memory - floor.memory) / 1024).toFixed(1),
          ]);
          process.stderr.write(`${rows.at(-1)?.join(' ')}\n`);
        }
      }
    }
  } finally {
    for (const { inspector } of [ours, bare]) inspector.close();
    await Promise.all([ours.server.stop(), bare.server.stop()]);
    await ringing.stop();
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Fan-out',
    text: `Deliveries per CPU second of the server, beside a bare server that sends the same bytes. Median of ${ROUNDS} rounds. The last column is the live memory of a subscriber, after garbage is collected, over that of the bare server.`,
    table: table(
      ['transport', 'selection', 'subscribers', 'this server', 'bare', 'ratio', 'KB more'],
      rows,
    ),
  };
}

const ID = '01a2237a-04db-7708-b901-9476f3aa1ca6';
const EVENT = '"cursor":"100000","type":"RINGING","status":"RINGING"';
/** What this server sends for an event. */
const PAYLOADS: Record<Selection, string> = {
  'event only': `{"data":{"callEvents":{${EVENT}}}}`,
  'with call and agent': `{"data":{"callEvents":{${EVENT},"call":{"id":"cal_${ID}","status":"COMPLETED","durationSeconds":60,"agent":{"id":"agt_${ID}","name":"Agent 100"}}}}}`,
};

if (import.meta.main) {
  const counts = process.argv.slice(2).map(Number);
  const section = await benchFanOut(counts.length > 0 ? counts : [10, 1_000, 5_000]);
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
