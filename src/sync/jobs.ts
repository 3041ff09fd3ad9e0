/** The job by which tools, voices and knowledge bases reach agents without importing them. */
import { z } from 'zod';
import { defineJob } from '../infra/jobs/jobs.ts';

const resyncAgentsPayload = z.object({
  kind: z.enum(['TOOL', 'KNOWLEDGE_BASE', 'VOICE']),
  id: z.uuid(),
});
export type ResyncAgents = z.output<typeof resyncAgentsPayload>;

/**
 * Sends every agent that uses this tool, knowledge base or voice to Ultravox again. Enqueue it when
 * the remote id or the tokens that agents contain have changed.
 */
export const resyncAgents = defineJob({
  name: 'resyncAgents',
  payload: resyncAgentsPayload,
});
