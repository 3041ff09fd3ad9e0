/** Agents, and starting a call with one. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { AgentFilter } from '../filters.ts';
import { path } from '../transport.ts';
import {
  agentSchema,
  type CreateAgentRequest,
  callSchema,
  type StartAgentCallRequest,
  type UpdateAgentRequest,
} from '../wire.ts';
import type { Api } from './lists.ts';

export function agentsApi({ listOf, requestJson, requestNoContent }: Api) {
  return {
    ...listOf<z.output<typeof agentSchema>, AgentFilter>('/api/agents', agentSchema),
    create: (body: CreateAgentRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/agents', json: body, ...options }, agentSchema),
    get: (agentId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/agents/${agentId}`, ...options }, agentSchema),
    /** Always send the full template, `sharedSecrets` included: it is replaced as a whole. */
    update: (agentId: string, body: UpdateAgentRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/agents/${agentId}`, json: body, ...options },
        agentSchema,
      ),
    delete: (agentId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/agents/${agentId}`, ...options }),
    /**
     * Starts a call. Put an id of your own into `metadata`: after an `outcomeUnknown` it is the
     * only way to find out, with `calls.listAll({ metadata })`, whether the call exists.
     */
    startCall: (agentId: string, body: StartAgentCallRequest, options: RequestOptions = {}) =>
      requestJson(
        {
          method: 'POST',
          path: path`/api/agents/${agentId}/calls`,
          json: body,
          pauseRule: 'own',
          ...options,
        },
        callSchema,
      ),
  };
}
