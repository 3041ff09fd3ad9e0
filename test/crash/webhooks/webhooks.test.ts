/**
 * Work after calls while processes are killed. Post-call steps: no transcript is lost or duplicated, and a
 * language model is not asked again needlessly. Webhooks to receivers that fail at random, while workers, the
 * API, Redis and the database are killed and an hour passes: every event arrives under a single ID, and no other
 * events arrive.
 *
 * For a longer run: `CRASH_ROUNDS=100 CRASH_SEED=7 npx vitest run test/crash/webhooks`
 */
import { describe } from 'vitest';
import { redisAvailable } from '../../support/servers/redis.ts';
import { deliveriesSuite } from './deliveries.suite.ts';
import { useProcesses } from './processes.ts';
import { transcriptsSuite } from './transcripts.suite.ts';

describe.skipIf(!redisAvailable())('webhooks while processes are killed', () => {
  useProcesses();
  transcriptsSuite();
  deliveriesSuite();
});
