/**
 * Events of one organization, appended by 1 and by 4 processes: `npx node bench/live/event-log.ts [seconds]`. Each is
 * appended in its own transaction, 16 concurrently in total, with the functions that the services of this server
 * call. A reader follows the log like a subscriber and checks that there is no gap and no duplicate, and that each
 * connection's events are in order. Compared with a bare INSERT of the same rows. Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../src/app.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import { createEventFeed } from '../../src/live/feed.ts';
import { startRedis } from '../../test/support/servers/redis.ts';
import { type BenchDatabase, postgresCpuSeconds, startBenchDatabase } from '../support/database.ts';
import {
  type EventMark,
  nowMs,
  runWriter,
  startBenchApp,
  startWriter,
  type Written,
} from '../support/event-writer.ts';
import { type Section, table } from '../support/results.ts';

const CONNECTIONS = 16;
/** Warm-up of each process. */
const WARM_UP_SECONDS = 2;
const TIMEOUT_MS = 60_000;

interface Setup {
  database: BenchDatabase;
  redisUrl: string;
  app: App;
  seconds: number;
}

interface Load {
  processes: number;
  bare?: boolean;
  /** Whether another transaction that has appended an event stays open during the measurement. */
  besideOpenTransaction?: boolean;
}

interface Measured {
  perSecond: number;
  cpuMs: number;
  databaseCpuMs: number;
  /** Milliseconds from a commit until a subscriber receives the event, sorted. Empty for bare inserts. */
  delays: number[];
}

interface Seen extends EventMark {
  cursor: bigint;
  at: number;
}

/** Follows the log from its current end. */
async function follow({ app, database }: Setup): Promise<{ seen: Seen[]; stop(): Promise<void> }> {
  const feed = createEventFeed(app);
  const all = { where: {}, matches: () => true, isRare: false };
  const stream = await feed.subscribe(database.organizationId, null, all);
  const seen: Seen[] = [];
  const reading = (async () => {
    for await (const { cursor, data } of stream) {
      seen.push({ ...(data as unknown as EventMark), cursor, at: nowMs() });
    }
  })();
  return {
    seen,
    async stop() {
      feed.close();
      await stream.return?.();
      await reading;
    },
  };
}

/** @throws Error for a gap, a duplicate, or events of a connection that are out of order */
function check(seen: readonly Seen[], written: number): void {
  const next = new Map<string, number>();
  for (const [index, { cursor, writer, connection, number }] of seen.entries()) {
    const previous = seen[index - 1];
    if (previous && cursor !== previous.cursor + 1n) {
      throw new Error(`Cursor ${cursor} came after ${previous.cursor}`);
    }
    const of = `${writer} ${connection}`;
    if (number <= (next.get(of) ?? -1)) throw new Error(`Event ${number} of ${of} came late`);
    next.set(of, number);
  }
  if (seen.length !== written) throw new Error(`${seen.length} events of ${written}`);
}

async function measure(setup: Setup, load: Load): Promise<Measured> {
  const { database, redisUrl, seconds } = setup;
  const { processes, bare = false, besideOpenTransaction = false } = load;
  const { url: databaseUrl, organizationId, agentId } = database;
  const writers = await Promise.all(
    Array.from({ length: processes }, (_, index) =>
      startWriter(import.meta.filename, {
        databaseUrl,
        redisUrl,
        organizationId,
        agentId,
        index,
        connections: CONNECTIONS / processes,
        bare,
      }),
    ),
  );
  const other = newClient(databaseUrl);
  await other.connect();
  try {
    const write = (forSeconds: number): Promise<Written[]> =>
      Promise.all(writers.map((writer) => writer.write(forSeconds)));
    await write(WARM_UP_SECONDS * processes);
    await pause(1_000);
    if (besideOpenTransaction) {
      await other.query('BEGIN');
      await other.query(
        `INSERT INTO events (organization_id, type, agent_id, data) VALUES ($1, 'AGENT_UPDATED', $2, '{}')`,
        [organizationId, agentId],
      );
    }
    const reader = await follow(setup);
    const [began, databaseCpu] = [performance.now(), await postgresCpuSeconds(database)];
    const written = await write(seconds);
    const elapsed = (performance.now() - began) / 1_000;
    const count = written.reduce((sum, { committedAt }) => sum + committedAt.length, 0);
    const deadline = Date.now() + TIMEOUT_MS;
    while (!bare && reader.seen.length < count && Date.now() < deadline) await pause(5);
    const databaseCpuMs = ((await postgresCpuSeconds(database)) - databaseCpu) * 1_000;
    await reader.stop();
    if (!bare) check(reader.seen, count);
    return {
      perSecond: count / elapsed,
      cpuMs: written.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / count,
      databaseCpuMs: databaseCpuMs / count,
      delays: reader.seen
        .map(({ writer, number, at }) => at - (written[writer]?.committedAt[number] ?? 0))
        .sort((a, b) => a - b),
    };
  } finally {
    await other.end();
    await Promise.all(writers.map((writer) => writer.stop()));
  }
}

export async function benchEventLog(seconds: number): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const app = await startBenchApp(database.url, redis.url);
  const rows: string[][] = [];
  try {
    await database.client.query(
      `CREATE TABLE bare_events (id bigserial PRIMARY KEY, organization_id uuid NOT NULL,
         type "EventType" NOT NULL, agent_id uuid, data jsonb NOT NULL,
         created_at timestamptz NOT NULL DEFAULT now())`,
    );
    const setup: Setup = { database, redisUrl: redis.url, app, seconds };
    for (const load of [
      { processes: 1 },
      { processes: 4 },
      { processes: 4, besideOpenTransaction: true },
    ] satisfies Load[]) {
      const own = await measure(setup, load);
      const floor = await measure(setup, { processes: load.processes, bare: true });
      const row = (name: string, { perSecond, cpuMs, databaseCpuMs, delays }: Measured): void => {
        const at = (share: number): string =>
          (delays[Math.floor(delays.length * share)] ?? Number.NaN).toFixed(0);
        rows.push([
          String(load.processes),
          name,
          `${perSecond.toFixed(0)} (${(perSecond / floor.perSecond).toFixed(2)})`,
          `${cpuMs.toFixed(2)} (${(cpuMs / floor.cpuMs).toFixed(2)})`,
          `${databaseCpuMs.toFixed(2)} (${(databaseCpuMs / floor.databaseCpuMs).toFixed(2)})`,
          ...(delays.length > 0 ? [at(0.5), at(0.99)] : ['', '']),
        ]);
        process.stderr.write(`${rows.at(-1)?.join(' | ')}\n`);
      };
      const beside = 'besideOpenTransaction' in load ? ' beside an open transaction' : '';
      row(`this server${beside}`, own);
      if (!beside) row('bare INSERT', floor);
    }
  } finally {
    await app.close();
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Events of one organization',
    text: `Events appended in ${seconds} s, each in its own transaction, ${CONNECTIONS} at a time in total, and the ratio to a bare INSERT of the same rows. CPU is per event, of the writing processes and of PostgreSQL, including the numbering and one reader. The delay is in milliseconds, from a commit until a subscriber in another process has the event. The open transaction has also appended an event. Each row is a single run.`,
    table: table(
      [
        'processes',
        'server',
        'events a second',
        'ms of CPU',
        'ms of CPU of PostgreSQL',
        'delay, median',
        'delay, 99 %',
      ],
      rows,
    ),
  };
}

if (import.meta.main && process.argv[2] === 'writer') {
  await runWriter(process.argv[3] ?? '');
} else if (import.meta.main) {
  const section = await benchEventLog(Number(process.argv[2] ?? 10));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
