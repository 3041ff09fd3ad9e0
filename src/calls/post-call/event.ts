/** The step EVENT after a call. */
import type { StepHandler } from './steps.ts';

/**
 * The step EVENT: appends an event once everything about the call is known, for consumers that wait for transcript,
 * summary and verdict, such as a CRM. A call that was not answered has no such event.
 */
export const announceResults: StepHandler = async (app) => ({
  status: 'DONE',
  save: async () => ({
    change: { analyzedAt: app.now() },
    events: [{ type: 'CALL_ANALYZED', data: {} }],
  }),
});
