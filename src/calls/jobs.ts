/** Names and payloads of the jobs of calls. */
import { z } from 'zod';
import { defineJob } from '../infra/jobs/jobs.ts';

/** Removes a deleted call, with its recording and transcript, from Ultravox. */
export const removeUltravoxCallJob = defineJob({
  name: 'removeUltravoxCall',
  payload: z.object({ id: z.uuid() }),
});
