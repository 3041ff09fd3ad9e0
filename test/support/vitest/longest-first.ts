/** Starts the longest test files first, so that no worker is left with a long one at the end. */
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/**
 * The longest test files, roughly in order, because a fresh clone has no recorded durations. Files that keep the
 * CPUs busy are mixed with those that mostly wait.
 */
const LONGEST = [
  'crash/webhooks/webhooks.test.ts',
  'calls/placement/results/results.test.ts',
  'campaigns/running/running.test.ts',
  'campaigns/dispatch/limits.test.ts',
  'infra/embedded-postgres/postgres.test.ts',
  'crash/crash.test.ts',
  'graphql/lists/lists.test.ts',
  'calls/placement/creation-limits.test.ts',
  'analysis/analysis.test.ts',
  'crash/campaign.test.ts',
  'campaigns/restarts.test.ts',
  'live/subscriptions.test.ts',
  'analytics/analytics.test.ts',
  'live/storm.test.ts',
  'live/event-log/event-log.test.ts',
  'calls/post-call/post-call.test.ts',
  'calls/inbound.test.ts',
  'contacts/import/import-crash.test.ts',
  'contacts/import/import-retries.test.ts',
  'crash/every-mutation.test.ts',
  'server/database-away.test.ts',
  'calls/live-turns/live-turns.test.ts',
  'campaigns/moved-clock.test.ts',
  'calls/live-turns/many-calls.test.ts',
  'campaigns/enrollment/planning/planning.test.ts',
  'contacts/import/import-lifecycle.test.ts',
  'campaigns/schedule/plan.test.ts',
  'campaigns/schedule/window.test.ts',
  'campaigns/dispatch/one-by-one.test.ts',
  'campaigns/dispatch/planned-retries.test.ts',
  'infra/json-schema.test.ts',
  'knowledge-bases/knowledge-bases.test.ts',
  'calls/ending/ending.test.ts',
  'contacts/import/import-upload.test.ts',
  'hostile/fuzz/fuzz.test.ts',
  'webhooks/sending/sending.test.ts',
  'campaigns/dispatch/claims/claims.test.ts',
  'organizations/deployment.test.ts',
  'contacts/import/contacts/import.test.ts',
  'infra/jobs/periodic-tasks.test.ts',
  'live/recipes.test.ts',
  'campaigns/bad-rows.test.ts',
  'calls/ultravox/webhooks/webhooks.test.ts',
  'live/redis.test.ts',
  'campaigns/enrollment/sources/sources.test.ts',
].map((file) => {
  const place = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  if (!existsSync(place)) throw new Error(`${file} has moved: name its place here`);
  return place;
});

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const weights = new Map(files.map((file) => [file, weightOf(file.moduleId)]));
    return files.toSorted((a, b) => weights.get(b)! - weights.get(a)!);
  }
}

/** Files that are not among the longest are sorted by source size. */
function weightOf(file: string): number {
  const place = LONGEST.indexOf(file);
  return place === -1 ? statSync(file).size : Number.MAX_SAFE_INTEGER - place;
}
