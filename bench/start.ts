/** Seconds from the start of the process to the first answer, with a database that is there: `node bench/start.ts`. */
import { startBenchDatabase } from './support/database.ts';
import { startOurs } from './support/ours.ts';
import { freePort, median, startServer } from './support/processes.ts';
import { type Section, table } from './support/results.ts';

const ROUNDS = 3;

export async function benchStart(): Promise<Section> {
  const database = await startBenchDatabase();
  const environment = {
    NODE_ENV: 'production',
    DATABASE_URL: database.url,
    ORGANIZATION_ID: database.organizationId,
  };
  const starters = {
    'this server': async () => (await startOurs(database)).server,
    'Mercurius 16': async () =>
      startServer({
        name: 'Mercurius 16',
        args: ['bench/peers/mercurius.ts'],
        env: environment,
        ready: /ready/,
        port: await freePort(),
      }),
    'Apollo Server 5': async () =>
      startServer({
        name: 'Apollo Server 5',
        args: ['bench/peers/apollo.ts'],
        env: environment,
        ready: /ready/,
        port: await freePort(),
      }),
  };
  try {
    const rows: string[][] = [];
    for (const [name, start] of Object.entries(starters)) {
      const seconds: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const server = await start();
        const answer = await fetch(`${server.url}/graphql`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"query":"{ __typename }"}',
        });
        await answer.text();
        seconds.push(server.readyMs() / 1000);
        await server.stop();
      }
      rows.push([name, median(seconds).toFixed(2)]);
    }
    return {
      title: 'Start',
      text: `Seconds from the start of the process until it answers. Median of ${ROUNDS}.`,
      table: table(['server', 'seconds'], rows),
    };
  } finally {
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchStart();
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
