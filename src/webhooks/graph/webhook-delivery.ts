/** Webhook deliveries and their attempts: the types, their lists and the lookup. */
import { WebhookDeliveryStatus } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { visibleId } from '../../graphql/reading/visible-id.ts';
import { ownedBy } from '../../viewer.ts';
import { messageId } from '../messages.ts';
import { deliveriesOf, deliveriesWhere } from '../search.ts';
import { WebhookEndpointNode, WebhookMessageTypeEnum } from './webhook-endpoint.ts';

const WebhookDeliveryStatusEnum = builder.enumType('WebhookDeliveryStatus', {
  description: 'Status of a webhook delivery.',
  values: {
    [WebhookDeliveryStatus.PENDING]: { description: 'Queued; not attempted yet.' },
    [WebhookDeliveryStatus.RETRYING]: {
      description: 'The last attempt failed. The next one is at `nextAttemptAt`.',
    },
    [WebhookDeliveryStatus.DELIVERED]: { description: 'The receiver answered with a 2xx status.' },
    [WebhookDeliveryStatus.EXHAUSTED]: {
      description:
        'Given up, after three days or because the endpoint was disabled. It can be replayed.',
    },
  } as const,
});

const visibleDeliveryId = visibleId('WebhookDelivery', deliveriesOf);

const WebhookDeliveryNode = builder.prismaNode('WebhookDelivery', {
  nullable: true,
  description: 'Event that is sent to one endpoint, with its attempts.',
  authScopes: { read: true },
  select: { id: true },
  id: { field: 'id', description: 'Node ID, `whd_` followed by a UUID.' },
  findUnique: async (id, context) => ({
    id: await visibleDeliveryId(context, id),
    ...ownedBy(context.viewer!),
  }),
  fields: (t) => ({
    endpoint: t.relation('endpoint', { description: 'Endpoint to which the event is sent.' }),
    eventId: t.string({
      description:
        'ID of the event, `evt_` followed by a UUID: the header `webhook-id` of every attempt, the same for all endpoints and in replays.',
      select: { messageId: true },
      resolve: (delivery) => messageId(delivery.messageId),
    }),
    eventType: t.field({
      type: WebhookMessageTypeEnum,
      description: 'Type of the event.',
      select: { message: { select: { type: true } } },
      resolve: ({ message }) => message.type,
    }),
    cursor: t.field({
      type: 'Cursor',
      nullable: true,
      description: 'Position of the event in the event log. Null for a test event.',
      select: { message: { select: { cursor: true } } },
      resolve: ({ message }) => (message.cursor === null ? null : String(message.cursor)),
    }),
    body: t.field({
      type: 'JSONObject',
      description:
        'Body of the requests. Of a deleted call, only its IDs are kept. An expired transcript is removed.',
      select: { message: { select: { body: true } } },
      resolve: ({ message }) => JSON.parse(message.body) as Record<string, unknown>,
    }),
    status: t.expose('status', {
      type: WebhookDeliveryStatusEnum,
      description: 'Status of the delivery.',
    }),
    attemptCount: t.exposeInt('attemptCount', {
      description: 'Number of attempts so far, including those before a replay.',
    }),
    nextAttemptAt: t.expose('nextAttemptAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Earliest time of the next attempt. Null if there will be none.',
    }),
    finishedAt: t.expose('finishedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the event was delivered or given up. Null until then.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the delivery was queued first.',
    }),
  }),
});

const WebhookAttemptType = builder.prismaObject('WebhookAttempt', {
  description: 'Request of a webhook delivery.',
  authScopes: { read: true },
  select: { number: true },
  fields: (t) => ({
    number: t.exposeInt('number', { description: 'Number within the delivery, starting at 1.' }),
    startedAt: t.expose('startedAt', {
      type: 'DateTime',
      description: 'Time at which the request was sent.',
    }),
    durationSeconds: t.float({
      description: 'Time until the response or the failure, in seconds.',
      select: { durationMs: true },
      resolve: ({ durationMs }) => durationMs / 1000,
    }),
    statusCode: t.exposeInt('statusCode', {
      nullable: true,
      description: 'HTTP status of the response. Null if there was no response.',
    }),
    error: t.exposeString('error', {
      nullable: true,
      description: 'Reason why the attempt failed. Null if it succeeded.',
    }),
    responseBody: t.exposeString('responseBody', {
      nullable: true,
      description:
        'First kilobyte of the response body. The rest is not read. Null if there was no response, and for a deleted call or an expired transcript.',
    }),
  }),
});

const WebhookDeliveryFilterInput = builder.inputType('WebhookDeliveryFilter', {
  description: 'Filters for webhook deliveries. All of them must match.',
  fields: (t) => ({
    status: t.field({
      type: [WebhookDeliveryStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
    eventType: t.field({
      type: [WebhookMessageTypeEnum],
      description: 'Types of events to include. Default, and when empty: all.',
    }),
    eventId: t.string({
      description: 'ID of the event, `evt_` followed by a UUID: the header `webhook-id`.',
    }),
    createdFrom: t.field({
      type: 'DateTime',
      description: 'Deliveries that were queued first at or after this time.',
    }),
    createdBefore: t.field({
      type: 'DateTime',
      description: 'Deliveries that were queued first before this time.',
    }),
  }),
});

new List({
  type: WebhookDeliveryNode,
  items: 'webhook deliveries',
  visible: ownedBy,
  filter: { type: WebhookDeliveryFilterInput, where: deliveriesWhere },
  sort: { CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' } },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
}).related(WebhookEndpointNode, 'deliveries', {
  relation: 'deliveries',
  description: 'Deliveries to the endpoint, made and pending. Kept as long as the event log.',
});

new List({
  type: WebhookAttemptType,
  items: 'attempts',
  key: 'number',
  visible: ownedBy,
  sort: { NUMBER: { column: 'number', description: 'Sort by number.' } },
  defaultSort: { field: 'NUMBER', direction: 'asc', description: 'oldest first' },
}).related(WebhookDeliveryNode, 'attempts', {
  relation: 'attempts',
  fixedSort: { field: 'NUMBER', direction: 'asc' },
  description: 'Attempts to deliver the event, oldest first.',
});

addLookup('webhookDelivery', {
  type: WebhookDeliveryNode,
  where: deliveriesOf,
  description: 'Looks up a webhook delivery by ID. Null if the organization has no such delivery.',
  authScopes: { read: true },
});

export { WebhookDeliveryNode };
