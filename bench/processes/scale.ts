/**
 * 1, 2 and 4 processes on one PostgreSQL and one Redis: `npx node bench/processes/scale.ts`. Measures requests and
 * deliveries per CPU second of all processes together, compared with as many processes that do as little as possible: a
 * constant ratio means that another process costs the others nothing. Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startRedis } from '../../test/support/servers/redis.ts';
import { type BenchDatabase, startBenchDatabase } from '../support/database.ts';
import { type EventPublisher, startEventPublisher } from '../support/event-publisher.ts';
import { type Inspector, openInspector } from '../support/inspector.ts';
import { requestsPerSecond } from '../support/load.ts';
import { freePort, median, type Server, startServer } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { startSubscribers } from '../support/subscribers.ts';
import { startThisServer } from '../support/this-server.ts';

const SUBSCRIBERS = 1_000;
const EVENTS = 200;
const WARM_UP_EVENTS = 1_500;
/** Number of events per transaction. */
const BURST_EVENTS = 10;
/** Pause between transactions, so that the subscribers, one process per server, keep up. */
const PAUSE_MS = 150;
const ROUNDS = 5;
const READ_ROUNDS = 3;
const READ_SECONDS = 5;
/** Number of connections to each process. Requests that arrive together share a write to PostgreSQL. */
const CONNECTIONS = 20;
/** Warm-up of each process. */
const WARM_UP_SECONDS = 4;
const LIST =
  'query list { calls(first: 50) { nodes { id status phoneNumber createdAt endedAt } } }';
const LIVE =
  'subscription live { callEvents { cursor type call { id status agent { id name } } } }';
const ID = '01a2237a-04db-7708-b901-9476f3aa1ca6';
/** The payload that this server sends for an event. */
const PAYLOAD = `{"data":{"callEvents":{"cursor":"100000","type":"RINGING","call":{"id":"cal_${ID}","status":"COMPLETED","agent":{"id":"agt_${ID}","name":"Agent 100"}}}}}`;

interface Process {
  server: Server;
  inspector: Inspector;
  key: string;
}

async function cpuSeconds(processes: readonly Process[]): Promise<number> {
  const each = await Promise.all(processes.map(({ inspector }) => inspector.cpuSeconds()));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** Requests per CPU second in one round. */
async function requestsOf(processes: readonly Process[], seconds: number): Promise<number> {
  const before = await cpuSeconds(processes);
  const rates = await Promise.all(
    processes.map(({ server, key }) =>
      requestsPerSecond(server, {
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ query: LIST, operationName: 'list' }),
        seconds,
        connections: CONNECTIONS,
      }),
    ),
  );
  const requests = rates.reduce((sum, rate) => sum + rate * seconds, 0);
  return requests / ((await cpuSeconds(processes)) - before);
}

/** Requests per CPU second of each set of processes, measured in turn. */
async function readsOf(sets: readonly (readonly Process[])[]): Promise<number[]> {
  const figures: number[][] = sets.map(() => []);
  for (let round = 0; round <= READ_ROUNDS; round += 1) {
    for (const [index, processes] of sets.entries()) {
      // The first round only warms up, with as many requests per process.
      if (round === 0) await requestsOf(processes, WARM_UP_SECONDS * processes.length);
      else figures[index]?.push(await requestsOf(processes, READ_SECONDS));
    }
  }
  return figures.map(median);
}

/** Deliveries per CPU second to subscribers spread over the processes. */
async function deliveriesOf(
  processes: readonly Process[],
  publish: (events: number) => Promise<void>,
): Promise<number> {
  const count = SUBSCRIBERS / processes.length;
  const groups = await Promise.all(
    processes.map(({ server, key }) =>
      startSubscribers({
        url: `${server.url}/graphql`,
        count,
        transport: 'ws',
        headers: { authorization: `Bearer ${key}` },
        query: LIVE,
      }),
    ),
  );
  try {
    // Waits until every subscriber is live.
    for (let warm = 1; ; warm += 1) {
      await publish(1);
      const received = await Promise.all(groups.map((group) => group.receivedWithin(1_000)));
      if (warm > 1 && received.every((each) => each >= (warm - 1) * count)) break;
    }
    const figures: number[] = [];
    // The first round only warms up: a process compiles its code after a certain number of batches, regardless of how
    // many subscribers each batch has.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const events = round === 0 ? WARM_UP_EVENTS : EVENTS;
      const starts = await Promise.all(groups.map((group) => group.settled()));
      const before = await cpuSeconds(processes);
      for (let sent = 0; sent < events; sent += BURST_EVENTS) {
        await publish(BURST_EVENTS);
        await pause(PAUSE_MS);
      }
      await Promise.all(
        groups.map((group, index) => group.until((starts[index] ?? 0) + events * count)),
      );
      const cpu = (await cpuSeconds(processes)) - before;
      if (round > 0) figures.push((events * SUBSCRIBERS) / cpu);
    }
    return median(figures);
  } finally {
    await Promise.all(groups.map((group) => group.stop()));
  }
}

async function startOwn(
  database: BenchDatabase,
  redisUrl: string,
  size: number,
): Promise<Process[]> {
  const processes: Process[] = [];
  for (let index = 0; index < size; index += 1) {
    const inspect = await freePort();
    const settings = {
      REDIS_URL: redisUrl,
      MAX_SUBSCRIPTIONS: '10000',
      ...(index > 0 ? { ROLE: 'api' } : {}),
    };
    const { server, key } = await startThisServer(database, settings, { inspect });
    processes.push({ server, inspector: await openInspector(inspect), key });
  }
  return processes;
}

/** Starts as many processes of a script in `bench/peers`, to show how the machine itself scales with processes. */
async function startFloors(
  script: string,
  size: number,
  env: Record<string, string> = {},
): Promise<Process[]> {
  const floors: Process[] = [];
  for (let index = 0; index < size; index += 1) {
    const inspect = await freePort();
    const server = await startServer({
      name: 'floor',
      args: [`bench/peers/${script}`],
      env,
      ready: /ready/,
      port: await freePort(),
      inspect,
    });
    floors.push({ server, inspector: await openInspector(inspect), key: '' });
  }
  return floors;
}

/** Makes each bare server send as many events of the size that this server sends. */
async function publishBare(bare: readonly Process[], events: number): Promise<void> {
  await Promise.all(
    bare.map(async ({ server }) => {
      const url = `${server.url}/publish?count=${events}`;
      await (await fetch(url, { method: 'POST', body: PAYLOAD })).text();
    }),
  );
}

interface Figures {
  own: number;
  floor: number;
  deliveries: number;
  bare: number;
}

async function measure(
  size: number,
  {
    database,
    redisUrl,
    ringing,
  }: { database: BenchDatabase; redisUrl: string; ringing: EventPublisher },
): Promise<Figures> {
  const processes = await startOwn(database, redisUrl, size);
  const environment = { DATABASE_URL: database.url, ORGANIZATION_ID: database.organizationId };
  const floors = await startFloors('floor.ts', size, environment);
  const bare = await startFloors('bare-ws.ts', size);
  try {
    const [own = 0, floor = 0] = await readsOf([processes, floors]);
    return {
      own,
      floor,
      deliveries: await deliveriesOf(processes, ringing.publish),
      bare: await deliveriesOf(bare, (events) => publishBare(bare, events)),
    };
  } finally {
    const all = [...processes, ...floors, ...bare];
    for (const { inspector } of all) inspector.close();
    await Promise.all(all.map(({ server }) => server.stop()));
  }
}

export async function benchScale(): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const ringing = await startEventPublisher(database, redis.url);
  const rows: string[][] = [];
  let ofOne: Figures | undefined;
  try {
    for (const size of [1, 2, 4]) {
      const figures = await measure(size, { database, redisUrl: redis.url, ringing });
      ofOne ??= figures;
      const one = ofOne;
      const shown = (name: keyof Figures): string =>
        `${figures[name].toFixed(0)} (${(figures[name] / one[name]).toFixed(2)})`;
      rows.push([
        String(size),
        shown('own'),
        shown('floor'),
        (figures.own / figures.floor).toFixed(2),
        shown('deliveries'),
        shown('bare'),
        (figures.deliveries / figures.bare).toFixed(2),
      ]);
      process.stderr.write(`${rows.at(-1)?.join(' ')}\n`);
    }
  } finally {
    await ringing.stop();
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Processes',
    text: `Requests and deliveries per CPU second of all processes together, with one PostgreSQL and one Redis. Requests: lists of 50, over ${CONNECTIONS} connections to each process, in rounds of ${READ_SECONDS} s. Deliveries: events with call and agent, ${BURST_EVENTS} at a time, to ${SUBSCRIBERS} subscribers spread over the processes. For comparison, the same number of processes of the floor or of the bare \`ws\` server, which show how the machine itself copes with more processes. In parentheses, the ratio to one process. Medians of ${READ_ROUNDS} and ${ROUNDS} rounds.`,
    table: table(
      [
        'processes',
        'requests',
        'of the floor',
        'ratio to the floor',
        'deliveries',
        'of bare servers',
        'ratio to bare',
      ],
      rows,
    ),
  };
}

if (import.meta.main) {
  const section = await benchScale();
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
