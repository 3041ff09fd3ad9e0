/**
 * Statements per second of 1 and 4 idle processes, counted in the PostgreSQL log:
 * `npx node bench/processes/idle.ts [seconds]`. Needs `redis-server`.
 */
import { readFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startRedis } from '../../test/support/servers/redis.ts';
import { type BenchDatabase, startBenchDatabase } from '../support/database.ts';
import type { Server } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { startThisServer } from '../support/this-server.ts';

/** Time after which the work that follows a start is done. */
const WARM_UP_MS = 20_000;

interface Idle {
  statementsPerSecond: number;
  /** CPU time of all processes together, in percent of one core. */
  cpu: number;
  /** Statements and how often each was sent, most frequent first. */
  statements: [string, number][];
}

async function measure(
  database: BenchDatabase,
  servers: readonly Server[],
  seconds: number,
): Promise<Idle> {
  const log = path.join(database.directory, 'postgres/postgres.log');
  const cpu = async (): Promise<number> => {
    const each = await Promise.all(servers.map((server) => server.cpuSeconds()));
    return each.reduce((sum, used) => sum + used, 0);
  };
  await pause(WARM_UP_MS);
  await truncate(log);
  const before = await cpu();
  await pause(seconds * 1000);
  const used = (await cpu()) - before;
  const counts = new Map<string, number>();
  let total = 0;
  // Continuation lines of a statement start with a tab.
  for (const entry of (await readFile(log, 'utf8')).split(/\n(?!\t)/)) {
    const sql = /LOG: {2}(?:statement|execute [^:]*): (.*)/s.exec(entry)?.[1];
    if (sql === undefined) continue;
    total += 1;
    const text = sql.replace(/\s+/g, ' ').trim().slice(0, 100);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return {
    statementsPerSecond: total / seconds,
    cpu: (100 * used) / seconds,
    statements: [...counts].sort(([, a], [, b]) => b - a),
  };
}

export async function benchIdle(seconds = 30): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const simulator = await startSimulator();
  const rows: string[][] = [];
  try {
    // So that nothing is left to sync or call.
    await database.client.query('TRUNCATE voices CASCADE');
    await database.client.query("ALTER SYSTEM SET log_statement = 'all'");
    await database.client.query('SELECT pg_reload_conf()');
    for (const size of [1, 4]) {
      const servers: Server[] = [];
      for (let index = 0; index < size; index += 1) {
        const { server } = await startThisServer(database, {
          REDIS_URL: redis.url,
          ULTRAVOX_API_KEY: simulator.apiKey,
          ULTRAVOX_BASE_URL: simulator.url,
        });
        servers.push(server);
      }
      try {
        const { statementsPerSecond, cpu, statements } = await measure(database, servers, seconds);
        rows.push([String(size), statementsPerSecond.toFixed(2), cpu.toFixed(1)]);
        if (import.meta.main) {
          const most = statements.slice(0, 25).map(([sql, count]) => `${count}  ${sql}`);
          process.stdout.write(`${size} processes\n${most.join('\n')}\n\n`);
        }
      } finally {
        await Promise.all(servers.map((server) => server.stop()));
      }
    }
  } finally {
    await simulator.close();
    await redis.stop();
    await database.stop();
  }
  return {
    title: 'Idle processes',
    text: 'Statements per second that idle processes send, and the CPU that they use, for all processes together.',
    table: table(['processes', 'statements per second', '% of a core'], rows),
  };
}

if (import.meta.main) {
  const section = await benchIdle(Number(process.argv[2] ?? 30));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
