/** Jobs between what is synced, where the one who knows may not import the one who acts. */
import { z } from 'zod';
import { defineJob } from '../infra/jobs.ts';

const resyncAgentsPayload = z.object({
  kind: z.enum(['TOOL', 'KNOWLEDGE_BASE', 'VOICE']),
  id: z.uuid(),
});
export type ResyncAgents = z.output<typeof resyncAgentsPayload>;

/**
 * What an agent's copy says about this tool, knowledge base or voice is no longer right: it has an
 * id at Ultravox for the first time, another id, or other tokens. All agents that use it have to be
 * sent again.
 */
export const resyncAgents = defineJob({
  name: 'resyncAgents',
  payload: resyncAgentsPayload,
});
