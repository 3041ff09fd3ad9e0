/**
 * 1, 2 and 4 processes on one PostgreSQL and one Redis: `node bench/scale.ts`. Requests and deliveries
 * per CPU second of all processes together; flat figures mean that a further process costs the others
 * nothing. Needs `redis-server`.
 */
import { startRedis } from '../test/support/redis.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { startOurs } from './support/ours.ts';
import { freePort, median, run, type Server, startServer } from './support/processes.ts';
import { type Section, table } from './support/results.ts';
import { startSubscribers } from './support/subscribers.ts';

const SUBSCRIBERS = 1_000;
const EVENTS = 100;
const ROUNDS = 3;
const CONNECTIONS = 20;
/** For each process. */
const WARM_UP_SECONDS = 4;
const LIST =
  'query list { calls(first: 50) { nodes { id status phoneNumber createdAt endedAt } } }';
const LIVE =
  'subscription live { callEvents { cursor type call { id status agent { id name } } } }';

interface Process {
  server: Server;
  key: string;
}

async function cpuSeconds(processes: readonly Process[]): Promise<number> {
  const each = await Promise.all(processes.map(({ server }) => server.cpuSeconds()));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** Requests per CPU second of one round, with 20 connections in all. */
async function requestsOf(processes: readonly Process[], seconds: number): Promise<number> {
  const before = await cpuSeconds(processes);
  const outputs = await Promise.all(
    processes.map(({ server, key }) =>
      run(
        [
          'bench/peers/load.ts',
          `${server.url}/graphql`,
          String(seconds),
          String(CONNECTIONS / processes.length),
        ],
        JSON.stringify({
          headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
          body: JSON.stringify({ query: LIST, operationName: 'list' }),
        }),
      ),
    ),
  );
  const requests = outputs
    .map((output) => (JSON.parse(output) as { perSecond: number }).perSecond * seconds)
    .reduce((sum, each) => sum + each, 0);
  return requests / ((await cpuSeconds(processes)) - before);
}

/** Requests per CPU second of each of these sets of processes, in turns. */
async function readsOf(sets: readonly (readonly Process[])[]): Promise<number[]> {
  const figures: number[][] = sets.map(() => []);
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [index, processes] of sets.entries()) {
      // The first round only warms up, each process with as many requests.
      if (round === 0) await requestsOf(processes, WARM_UP_SECONDS * processes.length);
      else figures[index]?.push(await requestsOf(processes, 2));
    }
  }
  return figures.map(median);
}

/** Deliveries per CPU second to subscribers spread over the processes. */
async function deliveriesOf(
  processes: readonly Process[],
  database: BenchDatabase,
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
    const publish = async (events: number): Promise<void> => {
      await database.client.query(
        `INSERT INTO events (organization_id, type, call_id, sequence, agent_id, data)
         SELECT organization_id, 'CALL_RINGING', id, nextval('bench_sequence'), agent_id,
           '{"status":"RINGING","endReason":null}'
         FROM (SELECT * FROM calls ORDER BY id LIMIT 1) c, generate_series(1, $1)`,
        [events],
      );
    };
    // Until every subscriber is live.
    for (let warm = 1; ; warm += 1) {
      await publish(1);
      const received = await Promise.all(groups.map((group) => group.receivedWithin(1_000)));
      if (warm > 1 && received.every((each) => each >= (warm - 1) * count)) break;
    }
    const figures: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const starts = await Promise.all(groups.map((group) => group.settled()));
      const before = await cpuSeconds(processes);
      for (let sent = 0; sent < EVENTS; sent += 10) await publish(10);
      await Promise.all(
        groups.map((group, index) => group.until((starts[index] ?? 0) + EVENTS * count)),
      );
      figures.push((EVENTS * SUBSCRIBERS) / ((await cpuSeconds(processes)) - before));
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
    processes.push(
      await startOurs(database, {
        REDIS_URL: redisUrl,
        MAX_SUBSCRIPTIONS: '10000',
        // Events are written by this script, so the servers find them when they look.
        EVENT_POLL_SECONDS: '1',
        ...(index > 0 ? { ROLE: 'api' } : {}),
      }),
    );
  }
  return processes;
}

/** Servers that do nothing but send one statement and write its answer: what the machine makes of processes. */
async function startFloors(database: BenchDatabase, size: number): Promise<Process[]> {
  const floors: Process[] = [];
  for (let index = 0; index < size; index += 1) {
    const server = await startServer({
      name: 'floor',
      args: ['bench/peers/floor.ts'],
      env: { DATABASE_URL: database.url, ORGANIZATION_ID: database.organizationId },
      ready: /ready/,
      port: await freePort(),
    });
    floors.push({ server, key: '' });
  }
  return floors;
}

export async function benchScale(): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const rows: string[][] = [];
  let [own1, floor1, deliveries1] = [0, 0, 0];
  const shown = (figure: number, ofOne: number): string =>
    `${figure.toFixed(0)} (${(figure / ofOne).toFixed(2)})`;
  try {
    await database.client.query('CREATE SEQUENCE bench_sequence START 1000');
    for (const size of [1, 2, 4]) {
      const processes = await startOwn(database, redis.url, size);
      const floors = await startFloors(database, size);
      try {
        const [own = 0, floor = 0] = await readsOf([processes, floors]);
        const deliveries = await deliveriesOf(processes, database);
        if (size === 1) [own1, floor1, deliveries1] = [own, floor, deliveries];
        rows.push([
          String(size),
          shown(own, own1),
          shown(floor, floor1),
          (own / floor).toFixed(2),
          shown(deliveries, deliveries1),
        ]);
        process.stderr.write(`${rows.at(-1)?.join(' ')}\n`);
      } finally {
        await Promise.all([...processes, ...floors].map(({ server }) => server.stop()));
      }
    }
  } finally {
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Processes',
    text: `Per CPU second of all processes together, on one PostgreSQL and one Redis: lists of 50 read over ${CONNECTIONS} connections in all, the same by as many processes of the floor, which show what the machine itself makes of more processes, and deliveries of events to ${SUBSCRIBERS} subscribers, spread over the processes. In parentheses the ratio to one process. Median of ${ROUNDS} rounds.`,
    table: table(
      ['processes', 'requests', 'of the floor', 'ratio to the floor', 'deliveries'],
      rows,
    ),
  };
}

if (import.meta.main) {
  const section = await benchScale();
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
