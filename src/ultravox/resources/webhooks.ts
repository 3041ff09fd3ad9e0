/** Webhooks that Ultravox sends. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import type { WebhookFilter } from '../filters.ts';
import { path } from '../transport.ts';
import { type CreateWebhookRequest, type UpdateWebhookRequest, webhookSchema } from '../wire.ts';
import type { Api } from './lists.ts';

export function webhooksApi({ listOf, requestJson, requestNoContent }: Api) {
  return {
    ...listOf<z.output<typeof webhookSchema>, WebhookFilter>('/api/webhooks', webhookSchema),
    create: (body: CreateWebhookRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'POST', path: '/api/webhooks', json: body, ...options }, webhookSchema),
    update: (webhookId: string, body: UpdateWebhookRequest, options: RequestOptions = {}) =>
      requestJson(
        { method: 'PATCH', path: path`/api/webhooks/${webhookId}`, json: body, ...options },
        webhookSchema,
      ),
    delete: (webhookId: string, options: RequestOptions = {}) =>
      requestNoContent({ method: 'DELETE', path: path`/api/webhooks/${webhookId}`, ...options }),
  };
}
