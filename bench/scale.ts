/**
 * 1, 2 and 4 processes on one PostgreSQL and one Redis: `node bench/scale.ts`. Requests and deliveries
 * per CPU second of all processes together; flat figures mean that a further process costs the others
 * nothing. Needs `redis-server`.
 */
import { startRedis } from '../test/support/redis.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { startOurs } from './support/ours.ts';
import { median, run, type Server } from './support/processes.ts';
import { type Section, table } from './support/results.ts';
import { startSubscribers } from './support/subscribers.ts';

const SUBSCRIBERS = 1_000;
const EVENTS = 100;
const ROUNDS = 3;
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

/** Requests per CPU second, with 20 connections in all. */
async function readsOf(processes: readonly Process[]): Promise<number> {
  const figures: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const before = await cpuSeconds(processes);
    const seconds = round === 0 ? 4 : 2;
    const outputs = await Promise.all(
      processes.map(({ server, key }) =>
        run(
          [
            'bench/peers/load.ts',
            `${server.url}/graphql`,
            String(seconds),
            String(20 / processes.length),
          ],
          JSON.stringify({
            headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
            body: JSON.stringify({ query: LIST }),
          }),
        ),
      ),
    );
    const requests = outputs
      .map((output) => (JSON.parse(output) as { perSecond: number }).perSecond * seconds)
      .reduce((sum, each) => sum + each, 0);
    // The first round only warms up.
    if (round > 0) figures.push(requests / ((await cpuSeconds(processes)) - before));
  }
  return median(figures);
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

export async function benchScale(): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const rows: string[][] = [];
  try {
    await database.client.query('CREATE SEQUENCE bench_sequence START 1000');
    for (const size of [1, 2, 4]) {
      const processes: Process[] = [];
      for (let index = 0; index < size; index += 1) {
        processes.push(
          await startOurs(database, {
            REDIS_URL: redis.url,
            MAX_SUBSCRIPTIONS: '10000',
            // Events are written by this script, so the servers find them when they look.
            EVENT_POLL_SECONDS: '1',
            ...(index > 0 ? { ROLE: 'api' } : {}),
          }),
        );
      }
      try {
        const reads = await readsOf(processes);
        const deliveries = await deliveriesOf(processes, database);
        rows.push([String(size), reads.toFixed(0), deliveries.toFixed(0)]);
      } finally {
        await Promise.all(processes.map(({ server }) => server.stop()));
      }
    }
  } finally {
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Processes',
    text: `Per CPU second of all processes together, on one PostgreSQL and one Redis: lists of 50 read over 20 connections, and deliveries of events to ${SUBSCRIBERS} subscribers, spread over the processes. Median of ${ROUNDS} rounds.`,
    table: table(['processes', 'requests', 'deliveries'], rows),
  };
}

if (import.meta.main) {
  const section = await benchScale();
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
