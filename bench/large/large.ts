/**
 * Lists, analytics and exports with 5 million calls, written to `bench/RESULTS.md`:
 * `npx node bench/large/large.ts [directory] [calls]`. Filling the database takes a quarter of an hour and 15 GB; a
 * directory keeps it for further runs. With fewer calls, no results are written.
 */
import type { Client } from 'pg';
import { startBenchDatabase } from '../support/database.ts';
import { measuredAt, saveSections } from '../support/results.ts';
import { analyticsAtSize } from './analytics.ts';
import { exportsAtSize } from './exports.ts';
import { listsAtSize } from './lists.ts';
import { FULL, fillLarge, type LargeSizes, organizationsOf } from './rows.ts';
import { LargeServer } from './server.ts';

const [, , keepIn, calls = FULL.calls] = process.argv;
const scale = Number(calls) / FULL.calls;
const sizes: LargeSizes = {
  calls: Number(calls),
  turns: Math.round(FULL.turns * scale),
  contacts: Math.round(FULL.contacts * scale),
  campaigns: FULL.campaigns,
};
const database = await startBenchDatabase({
  fill: (client) => fillLarge(client, sizes),
  keepIn,
});
try {
  const organizations = await organizationsOf(database.client);
  const server = await LargeServer.start(database, organizations);
  try {
    await rolledUp(database.client);
    const about = `Measured by \`npx node bench/large/large.ts\` ${measuredAt()}, while other programs ran.`;
    const sections = [
      await analyticsAtSize(server, database.client, organizations),
      await listsAtSize(server),
      await exportsAtSize(server),
    ];
    if (scale === 1) {
      await saveSections(sections.map((one) => ({ ...one, text: `${one.text} ${about}` })));
    }
    for (const { title, table } of sections) process.stdout.write(`${title}\n\n${table}\n\n`);
  } finally {
    await server.stop();
  }
} finally {
  await database.stop();
}
process.exit(0);

/** Waits until the worker, which starts with the server, has rolled up all calls. */
async function rolledUp(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ behind: number }>(
      `SELECT count(*)::int AS behind FROM organizations AS o
       WHERE NOT EXISTS (SELECT 1 FROM call_rollup_progress WHERE organization_id = o.id
         AND through >= (now() AT TIME ZONE 'UTC')::date - 3)`,
    );
    if (rows[0]?.behind === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  await client.query('VACUUM ANALYZE call_rollups');
}
