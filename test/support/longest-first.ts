/** Starts the longest test files first, so that no worker ends with a long one alone. */
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/** Those that take longest, in this order: a fresh clone has no recorded durations. */
const LONGEST = [
  'crash/campaign.test.ts',
  'infra/postgres.test.ts',
  'live/storm.test.ts',
  'crash/webhooks.test.ts',
  'calls/placement.test.ts',
  'crash/crash.test.ts',
  'graphql/lists.test.ts',
  'campaigns/limits.test.ts',
  'contacts/import-crash.test.ts',
  'analytics/analytics.test.ts',
  'campaigns/restarts.test.ts',
  'contacts/import-upload.test.ts',
  'calls/creation-limits.test.ts',
  'campaigns/engine.test.ts',
  'campaigns/planning.test.ts',
  'live/event-log.test.ts',
  'live/subscriptions.test.ts',
  'knowledge-bases/knowledge-bases.test.ts',
  'calls/inbound.test.ts',
  'campaigns/ultravox.test.ts',
  'campaigns/claims.test.ts',
  'phone-numbers/carriers.test.ts',
  'webhooks/webhooks.test.ts',
  'campaigns/retries.test.ts',
  'analysis.test.ts',
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
