/** Tools of agents. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { ToolFilter } from '../filters.ts';
import { path } from '../transport.ts';
import { toolSchema, type WriteToolRequest } from '../wire.ts';
import type { Api } from './lists.ts';

export function toolsApi({ listOf, requestJson, requestNoContent }: Api) {
  return {
    ...listOf<z.output<typeof toolSchema>, ToolFilter>('/api/tools', toolSchema),
    create: (body: WriteToolRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/tools', json: body, ...options }, toolSchema),
    get: (toolId: string, options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: path`/api/tools/${toolId}`, ...options }, toolSchema),
    /** Replaces the whole tool; Ultravox has no partial update. */
    replace: (toolId: string, body: WriteToolRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PUT', path: path`/api/tools/${toolId}`, json: body, ...options },
        toolSchema,
      ),
    delete: (toolId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/tools/${toolId}`, ...options }),
  };
}
