/**
 * Time for which the row of a campaign is locked while contacts are added to it:
 * `npx node bench/campaigns/enrollment.ts [contacts …]`. Another session continuously takes and releases the same
 * lock; it waits as long as a dispatch cycle or an outcome would.
 */
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Client } from 'pg';
import { addCampaignContacts, createCampaign } from '../../src/campaigns/service.ts';
import { publicId } from '../../src/ids.ts';
import { FileFromText } from '../../src/infra/files/uploaded-file.ts';
import { demoAgent, withBenchServer } from '../support/server.ts';

const SIZES = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [10_000, 50_000];

function csvOf(count: number, series: number): FileFromText {
  const rows = Array.from(
    { length: count },
    (_, index) => `+1${212 + series}${2_000_000 + index},Ada,Number ${index},ada@example.com,gold`,
  );
  return new FileFromText('list.csv', `phone,first,last,email,plan\n${rows.join('\n')}\n`);
}

/** Milliseconds of each wait for the lock, until `work` is done. */
async function waitsDuring(client: Client, id: string, work: Promise<unknown>): Promise<number[]> {
  const waits: number[] = [];
  let done = false;
  const finished = work.finally(() => {
    done = true;
  });
  while (!done) {
    await client.query('BEGIN');
    const began = performance.now();
    await client.query('SELECT 1 FROM campaigns WHERE id = $1 FOR NO KEY UPDATE', [id]);
    waits.push(performance.now() - began);
    await client.query('COMMIT');
    await setImmediate();
  }
  await finished;
  return waits.sort((a, b) => a - b);
}

await withBenchServer(async (server) => {
  const { app, client, viewer } = server;
  const agentId = await demoAgent(server);
  const { campaign } = await createCampaign(app, viewer, {
    name: 'Benchmark',
    agentId: publicId('Agent', agentId),
    contacts: [{ phoneNumber: '+14155550123' }],
    scheduledAt: new Date(Date.now() + 30 * 86_400_000),
  });
  const campaignId = publicId('Campaign', campaign.id);
  const idle = await waitsDuring(client, campaign.id, setTimeout(2_000));
  const idleMedian = idle[Math.floor(idle.length / 2)] ?? 0;
  for (const [series, count] of SIZES.entries()) {
    const began = performance.now();
    const adding = addCampaignContacts(app, viewer, {
      campaignId,
      contactsFile: csvOf(count, series),
    });
    const waits = await waitsDuring(client, campaign.id, adding);
    const seconds = (performance.now() - began) / 1000;
    const at = (share: number) =>
      waits[Math.min(waits.length - 1, Math.floor(share * waits.length))]!;
    const longest = at(1);
    process.stdout.write(
      `${count.toLocaleString('en')} contacts in ${seconds.toFixed(1)} s; the lock was waited for ` +
        `${at(0.5).toFixed(1)} ms (median), ${at(0.99).toFixed(1)} ms (99 %), ${longest.toFixed(1)} ms (longest), ` +
        `${Math.round(longest / idleMedian)} times an idle one\n`,
    );
    const { totalCount } = await app.db.campaign.findUniqueOrThrow({
      where: { id: campaign.id },
    });
    process.stdout.write(`  ${totalCount.toLocaleString('en')} contacts are in the campaign\n`);
  }
});
