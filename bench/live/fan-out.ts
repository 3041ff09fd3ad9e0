/**
 * Fan-out of the events of one call: `npx node bench/live/fan-out.ts [subscribers…]`. Measures deliveries
 * per CPU second of the server, compared with a bare server that sends the same bytes to clients of the same kind.
 * Another process appends the events in the same way as its services would, and wakes the server over Redis.
 * Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startRedis } from '../../test/support/servers/redis.ts';
import { type BenchDatabase, startBenchDatabase } from '../support/database.ts';
import { type EventPublisher, startEventPublisher } from '../support/event-publisher.ts';
import { type Inspector, openInspector } from '../support/inspector.ts';
import { freePort, median, type Server, startServer } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { type Subscribers, startSubscribers } from '../support/subscribers.ts';
import { startThisServer } from '../support/this-server.ts';

const SELECTIONS = {
  'event only': '{ cursor type status }',
  'with call and agent':
    '{ cursor type status call { id status durationSeconds agent { id name } } }',
} as const;
type Selection = keyof typeof SELECTIONS;
type Transport = 'ws' | 'sse';

const ROUNDS = 3;
/** Minimum number of subscribers for a meaningful figure of the memory of each. */
const MIN_FOR_MEMORY = 1_000;
const MB = 2 ** 20;

/** Events of a round. The events of a transaction are appended when all earlier ones have been delivered. */
interface Load {
  events: number;
  /** Number of events per transaction. */
  atATime: number;
}

function loadsFor(subscribers: number): Load[] {
  if (subscribers < MIN_FOR_MEMORY) {
    return [
      { events: 5_000, atATime: 50 },
      { events: 500, atATime: 1 },
    ];
  }
  const share = MIN_FOR_MEMORY / subscribers;
  return [
    { events: Math.ceil(30 * share) * 10, atATime: 10 },
    { events: Math.ceil(100 * share), atATime: 1 },
  ];
}

interface Publisher {
  server: Server;
  inspector: Inspector;
  key: string;
  /** Publishes `count` events. `payload` is what this server sends for one. */
  publish(count: number, payload: string): Promise<void>;
}

async function startBarePublisher(): Promise<Publisher> {
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

async function startPublisher(
  database: BenchDatabase,
  redisUrl: string,
  ringing: EventPublisher,
): Promise<Publisher> {
  const inspect = await freePort();
  const { server, key } = await startThisServer(
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

/** Bytes of live memory, once the remains of earlier subscribers are cleaned up. */
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

interface Options {
  subscribers: number;
  transport: Transport;
  selection: Selection;
}

/** A server with its subscribers. */
interface Audience {
  publisher: Publisher;
  subscribers: Subscribers;
  count: number;
  payload: string;
  /** Deliveries so far. */
  delivered: number;
  /** Bytes of live memory before there were subscribers. */
  memoryBefore: number;
}

/** Opens the subscriptions, and waits until every subscriber is live. */
async function gather(publisher: Publisher, options: Options): Promise<Audience> {
  const { subscribers: count, transport, selection } = options;
  const payload = PAYLOADS[selection];
  // Not for few subscribers, since collecting garbage also discards compiled code.
  const memoryBefore = count < MIN_FOR_MEMORY ? 0 : await restingMemory(publisher.inspector);
  const subscribers = await startSubscribers({
    url: `${publisher.server.url}/graphql`,
    count,
    transport,
    headers: { authorization: `Bearer ${publisher.key}` },
    query: `subscription live { callEvents ${SELECTIONS[selection]} }`,
  });
  let warm = 0;
  while ((await subscribers.receivedWithin(1_000)) < warm * count || warm < 2) {
    warm += 1;
    await publisher.publish(1, payload);
  }
  const delivered = await subscribers.settled();
  return { publisher, subscribers, count, payload, delivered, memoryBefore };
}

/** Deliveries per CPU second of one round. */
async function perCpuSecond(audience: Audience, { events, atATime }: Load): Promise<number> {
  const { publisher, subscribers, count, payload } = audience;
  const before = await publisher.inspector.cpuSeconds();
  for (let sent = 0; sent < events; sent += atATime) {
    await publisher.publish(atATime, payload);
    audience.delivered += atATime * count;
    await subscribers.until(audience.delivered);
  }
  return (events * count) / ((await publisher.inspector.cpuSeconds()) - before);
}

/** Returns a row for each load. Rounds of this server and of the bare one alternate. */
async function measure(ours: Publisher, bare: Publisher, options: Options): Promise<string[][]> {
  const audiences: Audience[] = [];
  try {
    for (const publisher of [ours, bare]) audiences.push(await gather(publisher, options));
    const loads = loadsFor(options.subscribers);
    const figures = loads.map(() => audiences.map((): number[] => []));
    // The first round lets the servers compile their code and is not counted.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const [load, each] of loads.entries()) {
        for (const [index, audience] of audiences.entries()) {
          const figure = await perCpuSecond(audience, each);
          if (round > 0) figures[load]?.[index]?.push(figure);
        }
      }
    }
    const [own = 0, floor = 0] = await memoryOfEach(audiences);
    const { transport, selection, subscribers } = options;
    return loads.map(({ atATime }, load) => {
      const [rate = 0, bareRate = 0] = (figures[load] ?? []).map(median);
      const showsMemory = load === 0 && subscribers >= MIN_FOR_MEMORY;
      return [
        transport,
        selection,
        String(subscribers),
        String(atATime),
        rate.toFixed(0),
        bareRate.toFixed(0),
        (rate / bareRate).toFixed(2),
        showsMemory ? ((own - floor) / 1024).toFixed(1) : '',
      ];
    });
  } finally {
    await Promise.all(audiences.map(({ subscribers }) => subscribers.stop()));
  }
}

/** Bytes of live memory per subscriber, for each server. */
async function memoryOfEach(audiences: readonly Audience[]): Promise<number[]> {
  const each: number[] = [];
  for (const { publisher, count, memoryBefore } of audiences) {
    if (count < MIN_FOR_MEMORY) continue;
    each.push(((await restingMemory(publisher.inspector)) - memoryBefore) / count);
  }
  return each;
}

export async function benchFanOut(counts: readonly number[]): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const ringing = await startEventPublisher(database, redis.url);
  const [ours, bare] = [
    await startPublisher(database, redis.url, ringing),
    await startBarePublisher(),
  ];
  const rows: string[][] = [];
  try {
    for (const transport of ['ws', 'sse'] as const) {
      for (const selection of Object.keys(SELECTIONS) as Selection[]) {
        for (const subscribers of counts) {
          const measured = await measure(ours, bare, { subscribers, transport, selection });
          rows.push(...measured);
          for (const row of measured) process.stderr.write(`${row.join(' ')}\n`);
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
    text: `Deliveries per CPU second of the server, compared with a bare server that sends the same bytes. The events of a transaction are appended once all earlier events have been delivered to every subscriber. Median of ${ROUNDS} interleaved rounds. The last column is the live memory per subscriber, after garbage collection, in excess of the bare server's.`,
    table: table(
      [
        'transport',
        'selection',
        'subscribers',
        'events at a time',
        'this server',
        'bare',
        'ratio',
        'KB more',
      ],
      rows,
    ),
  };
}

const ID = '01a2237a-04db-7708-b901-9476f3aa1ca6';
const EVENT = '"cursor":"100000","type":"RINGING","status":"RINGING"';
/** The payload that this server sends for an event. */
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
