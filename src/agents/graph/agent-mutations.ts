/** Mutations of agents. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { deleteAgent } from '../deletion.ts';
import { createAgent, replaceAgent, retryAgentSync, updateAgent } from '../service.ts';
import { AgentNode } from './agent.ts';
import { createInputFields, updateInputFields } from './agent-inputs.ts';

mutation('createAgent', {
  description:
    'Creates an agent and sends it to Ultravox. The returned agent is usually ACTIVE. It is DRAFT when Ultravox could not be reached, in which case it is sent again automatically, and FAILED when Ultravox refused it; `syncError` gives the reason.',
  scope: 'write',
  input: createInputFields,
  run: async (input, { app, viewer }) => ({ agent: await createAgent(app, viewer, input) }),
  payload: {
    agent: { type: AgentNode, description: 'The created agent.' },
  },
});

mutation('updateAgent', {
  description:
    'Updates an agent. Omitted fields stay unchanged, and null resets a field to its default. Lists and nested objects are replaced as a whole. Calls in progress keep the settings they began with.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the agent (`agt_…`).' }),
    ...updateInputFields(t),
  }),
  run: async (input, { app, viewer }) => ({ agent: await updateAgent(app, viewer, input) }),
  payload: {
    agent: { type: AgentNode, description: 'The updated agent.' },
  },
});

mutation('replaceAgent', {
  description:
    'Replaces all fields of an agent. Omitted fields, including the CRM webhook secret, are reset to their defaults.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the agent (`agt_…`).' }),
    ...createInputFields(t),
  }),
  run: async (input, { app, viewer }) => ({ agent: await replaceAgent(app, viewer, input) }),
  payload: {
    agent: { type: AgentNode, description: 'The updated agent.' },
  },
});

mutation('deleteAgent', {
  description:
    'Deletes an agent, here and at Ultravox, and unassigns its phone numbers. Its calls are kept. Fails with INVALID_STATE while the agent has calls that have not ended, and with IN_USE while a SCHEDULED, ACTIVE or PAUSED campaign uses it.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the agent (`agt_…`).' }) }),
  run: async (input, { app, viewer }) => ({ agent: await deleteAgent(app, viewer, input.id) }),
  payload: (t) => ({
    agent: t.field({
      type: AgentNode,
      nullable: true,
      description: 'The deleted agent, with `deletedAt` set.',
      resolve: (payload) => payload.agent ?? null,
    }),
    deletedAgentId: t.id({
      nullable: true,
      description: 'ID of the deleted agent.',
      resolve: ({ agent }) => (agent ? publicId('Agent', agent.id) : null),
    }),
  }),
});

mutation('retryAgentSync', {
  description:
    'Sends an agent to Ultravox immediately, even if Ultravox has refused it before. Has no effect if `isInSync` is true.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the agent (`agt_…`).' }) }),
  run: async (input, { app, viewer }) => ({ agent: await retryAgentSync(app, viewer, input.id) }),
  payload: {
    agent: { type: AgentNode, description: 'The agent with its current `status` and `syncError`.' },
  },
});
