/**
 * Seconds from the start of the process until its first response has been read, with an existing database:
 * `npx node bench/processes/start.ts`. This server authenticates the request; its peers do not. Needs `redis-server`.
 */
import { startRedis } from '../../test/support/servers/redis.ts';
import { answerOf, type Contender, contendersOf } from '../support/contenders.ts';
import { startBenchDatabase } from '../support/database.ts';
import { median } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';

const ROUNDS = 3;

async function secondsToAnswer(contender: Contender): Promise<number> {
  const startedAt = performance.now();
  const server = await contender.start();
  try {
    await answerOf(server, contender, 'one');
    return (performance.now() - startedAt) / 1_000;
  } finally {
    await server.stop();
  }
}

export async function benchStart(): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  try {
    const contenders = await contendersOf(database, redis.url);
    const seconds = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
    // Round 0 only fills the caches for files and compiled modules.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const contender of contenders) {
        const taken = await secondsToAnswer(contender);
        if (round > 0) seconds.get(contender.name)?.push(taken);
      }
    }
    return {
      title: 'Start',
      text: `Seconds from the start of the process until the first response, with one object, has been read. Only this server authenticates the request. Median of ${ROUNDS} interleaved rounds, after one that is not counted.`,
      table: table(
        ['server', 'seconds'],
        [...seconds].map(([name, taken]) => [name, median(taken).toFixed(2)]),
      ),
    };
  } finally {
    await redis.stop();
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchStart();
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
