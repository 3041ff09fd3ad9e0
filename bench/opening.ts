/**
 * Opening subscriptions, and again after the server was killed: `node bench/opening.ts [count]`. Beside
 * the time that a bare `ws` server takes to open as many.
 */
import { startBenchDatabase } from './support/database.ts';
import { startOurs } from './support/ours.ts';
import { freePort, startServer } from './support/processes.ts';
import { type Section, table } from './support/results.ts';
import { startSubscribers } from './support/subscribers.ts';

const QUERY = 'subscription live { callEvents { cursor type status } }';

export async function benchOpening(count: number): Promise<Section> {
  const database = await startBenchDatabase();
  const settings = { MAX_SUBSCRIPTIONS: String(2 * count) };
  let ours = await startOurs(database, settings);
  const bare = await startServer({
    name: 'bare server',
    args: ['bench/peers/bare-ws.ts'],
    env: {},
    ready: /ready/,
    port: await freePort(),
  });
  const open = async (url: string, key: string): Promise<number> => {
    const subscribers = await startSubscribers({
      url: `${url}/graphql`,
      count,
      transport: 'ws',
      headers: { authorization: `Bearer ${key}` },
      query: QUERY,
    });
    await subscribers.stop();
    return subscribers.openedMs / 1000;
  };
  try {
    const first = await open(ours.server.url, ours.key);
    ours.server.kill();
    ours = await startOurs(database, settings);
    const again = await open(ours.server.url, ours.key);
    const floor = await open(bare.url, '');
    const row = (name: string, seconds: number): string[] => [
      name,
      seconds.toFixed(1),
      (seconds / floor).toFixed(1),
    ];
    return {
      title: 'Opening subscriptions',
      text: `Seconds from the first of ${count} connections to the last acknowledged one, 100 at a time from one process.`,
      table: table(
        ['server', 'seconds', 'ratio to bare'],
        [row('this server', first), row('after a kill', again), row('bare `ws`', floor)],
      ),
    };
  } finally {
    await Promise.all([ours.server.stop(), bare.stop()]);
    await database.stop();
  }
}

if (import.meta.main) {
  const section = await benchOpening(Number(process.argv[2] ?? 5_000));
  process.stdout.write(`${section.text}\n\n${section.table}\n`);
  process.exit(0);
}
