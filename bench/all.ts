/**
 * Runs all benchmarks one after another, with their peers, and writes them to `bench/RESULTS.md`: `npm run bench`. To
 * run only some: `npx node bench/all.ts fan-out opening`.
 * A benchmark that fails keeps its previous figures and their commit, is listed at the end, and makes the exit code 1.
 */
import { benchCampaignCalls } from './campaigns/call.ts';
import { benchEventLog } from './live/event-log.ts';
import { benchFanOut } from './live/fan-out.ts';
import { benchOpening } from './live/opening.ts';
import { benchRetention } from './live/retention.ts';
import { benchIdle } from './processes/idle.ts';
import { benchScale } from './processes/scale.ts';
import { benchStart } from './processes/start.ts';
import { benchReads } from './reads/reads.ts';
import { measuredAt, type Section, saveSections } from './support/results.ts';
import { benchWebhooksIn } from './webhooks/in.ts';

const BENCHMARKS: readonly (readonly [string, () => Promise<Section | Section[]>])[] = [
  ['reads', () => benchReads({ rounds: 3, seconds: 2 })],
  ['campaign-call', () => benchCampaignCalls(60)],
  ['fan-out', () => benchFanOut([10, 1_000, 5_000])],
  ['scale', () => benchScale()],
  ['event-log', () => benchEventLog(10)],
  ['webhooks-in', () => benchWebhooksIn(5_000)],
  ['opening', () => benchOpening(5_000)],
  ['idle', () => benchIdle()],
  ['start', () => benchStart()],
  ['retention', () => benchRetention(1_000_000)],
];

const HEAD =
  '# Benchmark results\n\nWritten by `npm run bench`. Each table names the commit and the machine of its measurement. Machines differ: compare ratios, not absolute figures.';
const measured = `Measured ${measuredAt()}.`;
process.stdout.write(`${HEAD}\n\n${measured}\n\n`);
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !BENCHMARKS.some(([known]) => known === name));
if (unknown.length > 0) throw new Error(`No such benchmark: ${unknown.join(', ')}`);
const failed: string[] = [];
for (const [name, bench] of BENCHMARKS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const beganAt = performance.now();
  try {
    const sections = [await bench()]
      .flat()
      .map((section) => ({ ...section, text: `${section.text} ${measured}` }));
    await saveSections(sections, HEAD);
    for (const { title, text, table } of sections) {
      process.stdout.write(`## ${title}\n\n${text}\n\n${table}\n\n`);
    }
  } catch (error) {
    failed.push(name);
    process.stderr.write(`${name} failed: ${error instanceof Error ? error.stack : error}\n`);
  }
  const seconds = ((performance.now() - beganAt) / 1_000).toFixed(0);
  process.stderr.write(`${name}: ${seconds} s\n`);
}
if (failed.length > 0) process.stderr.write(`Failed: ${failed.join(', ')}\n`);
process.exit(failed.length > 0 ? 1 : 0);
