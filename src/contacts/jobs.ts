import { z } from 'zod';
import { defineJob } from '../infra/jobs.ts';

/** Reads on in the file of one import, for a few seconds; what is left is the next job's. */
export const importContactsJob = defineJob({
  name: 'importContacts',
  payload: z.object({ id: z.uuid() }),
});
