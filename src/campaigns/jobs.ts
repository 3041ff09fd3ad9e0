/** Names and payloads of the jobs of campaigns. */
import { z } from 'zod';
import { defineJob } from '../infra/jobs/jobs.ts';

/** Runs all campaigns after a change. The payload is empty because the change is in the database. */
export const runCampaignsJob = defineJob({
  name: 'runCampaigns',
  payload: z.object({}),
  concurrency: 2,
  coalesce: 100,
});
