/** Mutations of webhook endpoints and deliveries. */
import { type InputBuilder, mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  MAX_DESCRIPTION,
  MAX_ENDPOINTS,
  rotateWebhookSecret,
  sendTestWebhook,
  updateWebhookEndpoint,
} from '../endpoints.ts';
import { replayFailedWebhooks, replayWebhookDelivery, replayWebhookEvents } from '../replays.ts';
import { WebhookDeliveryNode } from './webhook-delivery.ts';
import { WebhookEndpointNode, WebhookEventTypeEnum } from './webhook-endpoint.ts';

const URL_DESCRIPTION =
  'Public `https://` address, at most 2,000 characters. The name is resolved again for each request, and private, loopback and link-local addresses are never connected to.';

const endpoint = (description: string) => ({ type: WebhookEndpointNode, description });

const endpointId = (t: InputBuilder) =>
  t.id({ required: true, description: 'ID of the endpoint (`whe_…`).' });

mutation('createWebhookEndpoint', {
  description: `Creates a webhook endpoint, which receives events from then on. The signing secret is returned only once. An organization can have at most ${MAX_ENDPOINTS} endpoints.`,
  scope: 'write',
  input: (t) => ({
    url: t.field({ type: 'Url', required: true, description: URL_DESCRIPTION }),
    description: t.string({
      description: `Description of the endpoint, at most ${MAX_DESCRIPTION} characters.`,
    }),
    eventTypes: t.field({
      type: [WebhookEventTypeEnum],
      description: 'Types of events to receive. Default, and when empty: all types.',
    }),
  }),
  run: (input, { app, viewer }) => createWebhookEndpoint(app, viewer, input),
  payload: {
    webhookEndpoint: endpoint('The created endpoint.'),
    secret: {
      type: 'String',
      description:
        'Signing secret, `whsec_` followed by base64. Store it now; it cannot be retrieved later.',
    },
  },
});

mutation('updateWebhookEndpoint', {
  description:
    'Updates a webhook endpoint. Omitted fields stay unchanged. Disabling it gives up the undelivered events, in the background if there are many; those that have not been given up when it is enabled again are sent. After enabling it, `replayFailedWebhooks` and `replayWebhookEvents` send what it missed.',
  scope: 'write',
  input: (t) => ({
    id: endpointId(t),
    url: t.field({ type: 'Url', description: `${URL_DESCRIPTION} Cannot be null.` }),
    description: t.string({
      description: `Description of the endpoint, at most ${MAX_DESCRIPTION} characters. Null removes it.`,
    }),
    eventTypes: t.field({
      type: [WebhookEventTypeEnum],
      description: 'Types of events to receive. Null or empty: all types.',
    }),
    enabled: t.boolean({ description: 'Whether to send events. Cannot be null.' }),
  }),
  run: async (input, { app, viewer }) => ({
    webhookEndpoint: await updateWebhookEndpoint(app, viewer, input),
  }),
  payload: { webhookEndpoint: endpoint('The updated endpoint.') },
});

mutation('deleteWebhookEndpoint', {
  description:
    'Permanently deletes a webhook endpoint with its deliveries. The CRM webhook of an agent is removed with `updateAgent` instead.',
  scope: 'write',
  input: (t) => ({ id: endpointId(t) }),
  run: async (input, { app, viewer }) => ({
    id: await deleteWebhookEndpoint(app, viewer, input.id),
  }),
  payload: (t) => ({
    deletedWebhookEndpointId: t.id({
      nullable: true,
      description: 'ID of the deleted endpoint.',
      resolve: ({ id }) => (id ? publicId('WebhookEndpoint', id) : null),
    }),
  }),
});

mutation('rotateWebhookSecret', {
  description:
    'Replaces the signing secret of a webhook endpoint. For a day, requests are signed with the new and the previous secret, so that receivers can be updated without losing events. A secret before the previous one becomes invalid at once.',
  scope: 'write',
  input: (t) => ({ id: endpointId(t) }),
  run: (input, { app, viewer }) => rotateWebhookSecret(app, viewer, input.id),
  payload: {
    webhookEndpoint: endpoint('The endpoint.'),
    secret: {
      type: 'String',
      description: 'The new signing secret. Store it now; it cannot be retrieved later.',
    },
  },
});

mutation('sendTestWebhook', {
  description:
    'Sends a test event (`webhook.test`) to a webhook endpoint, regardless of its `eventTypes`. The `attempts` of the delivery contain the response.',
  scope: 'write',
  input: (t) => ({ id: endpointId(t) }),
  run: async (input, { app, viewer }) => ({
    webhookDelivery: await sendTestWebhook(app, viewer, input.id),
  }),
  payload: { webhookDelivery: { type: WebhookDeliveryNode, description: 'The queued delivery.' } },
});

mutation('replayWebhookDelivery', {
  description:
    'Sends a webhook delivery again, with the same event ID and body, regardless of its status.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the delivery (`whd_…`).' }),
  }),
  run: async (input, { app, viewer }) => ({
    webhookDelivery: await replayWebhookDelivery(app, viewer, input.id),
  }),
  payload: { webhookDelivery: { type: WebhookDeliveryNode, description: 'The delivery.' } },
});

mutation('replayFailedWebhooks', {
  description: 'Sends all EXHAUSTED deliveries of a webhook endpoint again.',
  scope: 'write',
  input: (t) => ({ endpointId: endpointId(t) }),
  run: (input, { app, viewer }) => replayFailedWebhooks(app, viewer, input.endpointId),
  payload: {
    webhookEndpoint: endpoint('The endpoint.'),
    deliveryCount: { type: 'Int', description: 'Number of deliveries queued again.' },
  },
});

mutation('replayWebhookEvents', {
  description:
    'Sends all events after a cursor to a webhook endpoint, limited to its `eventTypes`: those sent before, with the same event IDs, and those it missed, which have `ultravox: null` when they are more than an hour old. Runs in the background; `replayCursor` of the endpoint shows its progress. Replaces a replay that is in progress.',
  scope: 'write',
  input: (t) => ({
    endpointId: endpointId(t),
    after: t.field({
      type: 'Cursor',
      required: true,
      description:
        'Cursor after which to begin, such as `disabledCursor` of the endpoint. `"0"` begins with the oldest event kept.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    webhookEndpoint: await replayWebhookEvents(app, viewer, input),
  }),
  payload: { webhookEndpoint: endpoint('The endpoint.') },
});
