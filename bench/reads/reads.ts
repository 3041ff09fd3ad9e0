/**
 * Reads, compared with other servers: `npx node bench/reads/reads.ts [rounds] [seconds]`. All servers use the same
 * database and return the same data over 20 connections. They run one after another within a round, and
 * the result of a server is the median of its rounds. Only this server authenticates, checks the cost and
 * applies the rate limit. Needs `redis-server`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startRedis } from '../../test/support/servers/redis.ts';
import {
  answerOf,
  type Contender,
  contendersOf,
  OPERATIONS,
  type Operation,
} from '../support/contenders.ts';
import { startBenchDatabase } from '../support/database.ts';
import { requestsPerSecond } from '../support/load.ts';
import { median, type Server } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';

const CONNECTIONS = 20;
const ALL = Object.keys(OPERATIONS) as Operation[];

interface Running {
  contender: Contender;
  server: Server;
}

/** Checks that all servers return the same data, except for the prefixes of our IDs. */
async function compareAnswers(running: readonly Running[]): Promise<void> {
  for (const operation of ALL) {
    let expected: string | null = null;
    for (const { contender, server } of running) {
      const answer = await answerOf(server, contender, operation);
      if (!contender.sameAnswer) continue;
      const plain = answer.replace(/"[a-z]{3}_([0-9a-f-]{36})"/g, '"$1"');
      expected ??= plain;
      if (plain !== expected) {
        throw new Error(
          `${contender.name} answers ${operation} differently:\n${plain.slice(0, 400)}\n${expected.slice(0, 400)}`,
        );
      }
    }
  }
}

export async function benchReads({
  rounds = 3,
  seconds = 3,
}: {
  rounds?: number;
  seconds?: number;
} = {}): Promise<Section> {
  const redis = await startRedis();
  const database = await startBenchDatabase();
  const running: Running[] = [];
  try {
    for (const contender of await contendersOf(database, redis.url)) {
      running.push({ contender, server: await contender.start() });
    }
    await compareAnswers(running);
    const figures = new Map<string, number[]>();
    // Round 0 only warms up.
    for (let round = 0; round <= rounds; round += 1) {
      for (const operation of ALL) {
        for (const { contender, server } of running) {
          await pause(100);
          const perSecond = await requestsPerSecond(server, {
            headers: contender.headers,
            body: contender.body(operation),
            seconds: round === 0 ? 2 : seconds,
            connections: CONNECTIONS,
          });
          if (round === 0) continue;
          const key = `${contender.name} ${operation}`;
          figures.set(key, [...(figures.get(key) ?? []), perSecond]);
        }
      }
    }
    const of = (name: string, operation: Operation): number =>
      median(figures.get(`${name} ${operation}`) ?? []);
    return {
      title: 'Reads',
      text: `Requests per second over ${CONNECTIONS} connections and, in parentheses, the ratio to the floor: a server that sends the JSON of one SQL statement per request. Only this server authenticates, checks the cost and applies the rate limit, which it counts in memory or, in the second row, in Redis. Median of ${rounds} interleaved rounds of ${seconds} s.`,
      table: table(
        ['server', 'one object', 'list of 50', 'tree 10 × 10 × 1', 'dashboard of 8 fields'],
        running.map(({ contender: { name } }) => [
          name,
          ...ALL.map(
            (operation) =>
              `${of(name, operation).toFixed(0)} (${(of(name, operation) / of('floor', operation)).toFixed(2)})`,
          ),
        ]),
      ),
    };
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
    await redis.stop();
    await database.stop();
  }
}

if (import.meta.main) {
  const [rounds, seconds] = process.argv.slice(2).map(Number);
  const section = await benchReads({
    ...(rounds ? { rounds } : {}),
    ...(seconds ? { seconds } : {}),
  });
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
}
