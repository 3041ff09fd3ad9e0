/** Jobs of contacts. */
import { z } from 'zod';
import { defineJob } from '../infra/jobs/jobs.ts';

/** Imports rows of one file for a few seconds, then enqueues itself again for the rest. */
export const importContactsJob = defineJob({
  name: 'importContacts',
  payload: z.object({ id: z.uuid() }),
});
