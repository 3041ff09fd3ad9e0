/** Every benchmark beside its peers, written to `bench/RESULTS.md`: `npm run bench`. */
import { benchCampaignCalls } from './campaign-call.ts';
import { benchEventLog } from './event-log.ts';
import { benchFanOut } from './fan-out.ts';
import { benchIdle } from './idle.ts';
import { benchOpening } from './opening.ts';
import { benchReads } from './reads.ts';
import { benchRetention } from './retention.ts';
import { benchScale } from './scale.ts';
import { benchStart } from './start.ts';
import { measuredAt, type Section, saveSections } from './support/results.ts';
import { benchWebhooksIn } from './webhooks-in.ts';

const sections: Section[] = [
  await benchReads({ rounds: 3, seconds: 2 }),
  await benchFanOut([10, 1_000, 5_000]),
  await benchOpening(5_000),
  await benchScale(),
  await benchWebhooksIn(5_000),
  await benchIdle(),
  ...(await benchCampaignCalls(60)),
  await benchEventLog(10),
  await benchRetention(1_000_000),
  await benchStart(),
];

await saveSections(
  sections,
  `# Results of the benchmarks\n\nWritten by \`npm run bench\` ${measuredAt()}. Compare ratios, not figures of different machines.`,
);
for (const { title, text, table } of sections) {
  process.stdout.write(`## ${title}\n\n${text}\n\n${table}\n\n`);
}
process.exit(0);
