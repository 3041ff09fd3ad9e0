import { z } from 'zod';
import { defineJob } from '../infra/jobs.ts';

/** Removes a deleted call, with its recording and transcript, from Ultravox. */
export const removeUltravoxCallJob = defineJob({
  name: 'removeUltravoxCall',
  payload: z.object({ id: z.uuid() }),
});

/**
 * The calls of campaigns have moved on: a slot is free, a contact is done with or waits again. What
 * has changed is in the rows; the job only says that somebody has to look.
 */
export const runCampaignsJob = defineJob({
  name: 'runCampaigns',
  payload: z.object({}),
  concurrency: 100,
});
