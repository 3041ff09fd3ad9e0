import { z } from 'zod';
import { defineJob } from '../infra/jobs.ts';

/** Plans the contacts of a campaign that are not called yet. */
export const planCampaignJob = defineJob({
  name: 'planCampaign',
  payload: z.object({ id: z.uuid() }),
  concurrency: 2,
});
