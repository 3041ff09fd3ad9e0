/** Webhook endpoints: the type, its list and its lookup. */
import { AgentNode } from '../../agents/graph/agent.ts';
import { WebhookDisabledReason } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { ONLY_ORIGIN, receiverUrlFor } from '../../graphql/receiver-url.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import { RESULTS_EVENT, TEST_EVENT, WEBHOOK_EVENTS, type WebhookEventName } from '../catalog.ts';
import { endpointsWhere } from '../search.ts';

const EVENTS = Object.entries(WEBHOOK_EVENTS) as [
  WebhookEventName,
  (typeof WEBHOOK_EVENTS)[WebhookEventName],
][];

const subscribable = Object.fromEntries(
  EVENTS.map(([value, { name, description }]) => [
    name,
    { value, description: `\`${value}\`: ${description}` },
  ]),
) as Record<string, { value: WebhookEventName; description: string }>;

export const WebhookEventTypeEnum = builder.enumType('WebhookEventType', {
  description: 'Type of event that webhook endpoints can receive.',
  values: subscribable,
});

export const WebhookMessageTypeEnum = builder.enumType('WebhookMessageType', {
  description: 'Type of a webhook that was sent.',
  values: {
    ...(subscribable as Record<string, { value: string; description: string }>),
    CALL_RESULTS: {
      value: RESULTS_EVENT as string,
      description: `\`${RESULTS_EVENT}\`: The results of a call, sent to the CRM webhook of its agent.`,
    },
    TEST: {
      value: TEST_EVENT as string,
      description: `\`${TEST_EVENT}\`: Sent by \`sendTestWebhook\`.`,
    },
  },
});

const WebhookDisabledReasonEnum = builder.enumType('WebhookDisabledReason', {
  description: 'Reason why a webhook endpoint is disabled.',
  values: {
    [WebhookDisabledReason.REQUESTED]: { description: 'Disabled with `updateWebhookEndpoint`.' },
    [WebhookDisabledReason.FAILING]: { description: 'No attempt succeeded for five days.' },
    [WebhookDisabledReason.GONE]: { description: 'The receiver answered 410 Gone.' },
  } as const,
});

export const WebhookEndpointNode = builder.prismaNode('WebhookEndpoint', {
  nullable: true,
  description:
    'Address to which events are sent as HTTP requests. An event is sent until the receiver answers with a 2xx status, for three days, so it can arrive more than once and out of order. See `docs/webhooks.md` for how to verify, deduplicate and order them.',
  authScopes: { read: true },
  select: { id: true },
  id: { field: 'id', description: 'Node ID, `whe_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, ...ownedAndNotDeleted(viewer!) }),
  fields: (t) => ({
    url: t.field({
      type: 'Url',
      description: `Address to which the requests are sent. ${ONLY_ORIGIN}`,
      select: { url: true },
      resolve: ({ url }, _args, { viewer }) => receiverUrlFor(viewer, url),
    }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description of the endpoint. Null if there is none.',
    }),
    eventTypes: t.field({
      type: [WebhookEventTypeEnum],
      description:
        'Types of events that are sent. Empty means all types, including ones added later. Empty for the CRM webhook of an agent, which receives only `call.results`.',
      select: { agentId: true, eventTypes: true },
      resolve: ({ agentId, eventTypes }) => (agentId ? [] : (eventTypes as WebhookEventName[])),
    }),
    agent: t.relation('agent', {
      nullable: true,
      description:
        'Agent whose CRM webhook this is. Such an endpoint exists while the agent has a `crmWebhookUrl`. Null for other endpoints.',
    }),
    enabled: t.boolean({
      description: 'Whether events are sent.',
      select: { disabledAt: true },
      resolve: ({ disabledAt }) => disabledAt === null,
    }),
    disabledAt: t.expose('disabledAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the endpoint was disabled. Null while it is enabled.',
    }),
    disabledReason: t.expose('disabledReason', {
      type: WebhookDisabledReasonEnum,
      nullable: true,
      description: 'Reason why the endpoint is disabled. Null while it is enabled.',
    }),
    disabledCursor: t.field({
      type: 'Cursor',
      nullable: true,
      description:
        'Cursor up to which every event was queued before the endpoint was disabled. Pass it to `replayWebhookEvents` after enabling the endpoint to receive what it missed. Null while it is enabled.',
      select: { disabledCursor: true },
      resolve: ({ disabledCursor }) => (disabledCursor === null ? null : String(disabledCursor)),
    }),
    failingSince: t.expose('failingSince', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time of the first failed attempt since the last success. The first attempt that fails five days later or more disables the endpoint. Null if the last attempt succeeded, and before the first one.',
    }),
    pausedUntil: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Time until which nothing is sent, because the receiver asked for it with `Retry-After`. Null if there is no pause.',
      select: { pausedUntil: true },
      resolve: ({ pausedUntil }, _args, { app }) =>
        pausedUntil && pausedUntil > app.now() ? pausedUntil : null,
    }),
    previousSecretExpiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Time until which requests are also signed with the secret before the last rotation. Null if there is no previous secret.',
      select: { previousSecretUntil: true },
      resolve: ({ previousSecretUntil }, _args, { app }) =>
        previousSecretUntil && previousSecretUntil > app.now() ? previousSecretUntil : null,
    }),
    replayCursor: t.field({
      type: 'Cursor',
      nullable: true,
      description:
        'Position of a replay that `replayWebhookEvents` started: events after this cursor are still to be queued. Null if no replay is in progress.',
      select: { replayAfter: true },
      resolve: ({ replayAfter }) => (replayAfter === null ? null : String(replayAfter)),
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the endpoint was created.',
    }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'Time of the last change.' }),
  }),
});

const WebhookEndpointFilter = builder.inputType('WebhookEndpointFilter', {
  description: 'Filters for webhook endpoints. All of them must match.',
  fields: (t) => ({
    search: t.string({
      description:
        'Substring of the description or, with the scope `WRITE`, of the address, case-insensitive.',
    }),
    agentId: t.id({ description: 'ID of an agent (`agt_…`): the endpoint of its CRM webhook.' }),
    enabled: t.boolean({ description: 'Whether the endpoint is enabled.' }),
  }),
});

const webhookEndpoints = new List({
  type: WebhookEndpointNode,
  items: 'webhook endpoints',
  visible: ownedAndNotDeleted,
  filter: { type: WebhookEndpointFilter, where: endpointsWhere },
  sort: { CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' } },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

webhookEndpoints.query('webhookEndpoints', {
  description: 'Webhook endpoints of the organization, including the CRM webhooks of agents.',
  authScopes: { read: true },
});

addLookup('webhookEndpoint', {
  type: WebhookEndpointNode,
  where: ownedAndNotDeleted,
  description: 'Looks up a webhook endpoint by ID. Null if the organization has no such endpoint.',
  authScopes: { read: true },
});

builder.prismaObjectField(AgentNode, 'crmWebhookEndpoint', (t) =>
  t.relation('crmWebhookEndpoint', {
    nullable: true,
    description:
      'Endpoint of the CRM webhook, with its deliveries. Null if `crmWebhookUrl` is not set. Reflects a change of `crmWebhookUrl` within seconds.',
  }),
);
