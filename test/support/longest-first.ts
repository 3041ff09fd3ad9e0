/** Starts the longest test files first, so that no worker ends with a long one alone. */
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/** Those that take longest, in this order: a fresh clone has no recorded durations. */
const LONGEST = [
  'live/storm.test.ts',
  'infra/postgres.test.ts',
  'crash/campaign.test.ts',
  'calls/placement.test.ts',
  'crash/crash.test.ts',
  'graphql/lists.test.ts',
  'calls/creation-limits.test.ts',
  'contacts/import-crash.test.ts',
  'campaigns/limits.test.ts',
  'campaigns/restarts.test.ts',
  'campaigns/engine.test.ts',
  'knowledge-bases/knowledge-bases.test.ts',
  'calls/inbound.test.ts',
  'campaigns/ultravox.test.ts',
  'crash/webhooks.test.ts',
  'live/subscriptions.test.ts',
  'campaigns/retries.test.ts',
  'contacts/import-upload.test.ts',
].map((file) => fileURLToPath(new URL(`../${file}`, import.meta.url)));

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const weights = new Map(files.map((file) => [file, weightOf(file.moduleId)]));
    return files.toSorted((a, b) => weights.get(b)! - weights.get(a)!);
  }
}

/** After the longest, by the length of the source. */
function weightOf(file: string): number {
  const place = LONGEST.indexOf(file);
  return place === -1 ? statSync(file).size : Number.MAX_SAFE_INTEGER - place;
}
