/** Converts events of the log to messages, and queues them for the endpoints that want them. */
import type { App, Tx } from '../app.ts';
import type { Event, WebhookEndpoint } from '../generated/prisma/client.ts';
import { derivedId, newId } from '../infra/ids.ts';
import { eventNamesOf, type MessageName, mayTriggerResults, RESULTS_EVENT } from './catalog.ts';
import { dataOf, loadSubjects, sizesOfCalls } from './payloads.ts';

export interface Message {
  id: string;
  organizationId: string;
  cursor: bigint | null;
  type: string;
  callId: string | null;
  body: string;
  createdAt: Date;
}

interface PendingMessage {
  event: Event;
  name: MessageName;
  endpoints: readonly WebhookEndpoint[];
}

/** Maximum size of the calls in messages that are queued together. */
const MAX_BYTES = 8_000_000;

export interface QueueOptions {
  organizationId: string;
  /** At least one. */
  events: readonly Event[];
  endpoints: readonly WebhookEndpoint[];
  /** Queues again what was already queued, and also events from before the endpoint existed. */
  replay?: boolean;
}

export interface QueuedEvents {
  /** Cursor of the last event whose messages are queued, at least the first one. */
  through: bigint;
  /** Number of deliveries. */
  count: number;
}

/**
 * Queues the messages that endpoints want for these events, or for the first of them if their calls are large.
 * Idempotent: the ID of a message is derived from its event and type.
 */
export async function queueEvents(app: App, tx: Tx, options: QueueOptions): Promise<QueuedEvents> {
  const wanted = await withEnabledEndpoints(tx, pendingMessagesOf(options));
  const pending = await withinSizeLimit(tx, wanted);
  const next = wanted[pending.length]?.event ?? null;
  return {
    through: next ? next.cursor - 1n : options.events.at(-1)!.cursor,
    count: await queueMessages(app, tx, options, pending),
  };
}

/** @returns the number of queued deliveries. */
async function queueMessages(
  app: App,
  tx: Tx,
  { organizationId, replay = false }: QueueOptions,
  pending: readonly PendingMessage[],
): Promise<number> {
  if (pending.length === 0) return 0;
  if (replay) await lockAgainstDeletion(tx, organizationId, pending);
  const subjects = await loadSubjects(tx, organizationId, pending);
  const now = app.now();
  const messages: Message[] = [];
  const queued: { messageId: string; endpointId: string }[] = [];
  for (const { event, name, endpoints } of pending) {
    const data = dataOf(name, event, subjects);
    if (!data) continue;
    const id = derivedId(`webhook/${organizationId}/${event.cursor}/${name}`, event.createdAt);
    const { cursor, callId } = event;
    const occurredAt = event.createdAt.toISOString();
    messages.push({
      id,
      organizationId,
      cursor,
      type: name,
      callId,
      body: envelope(id, name, now, { cursor: String(cursor), occurredAt, ...data }),
      createdAt: now,
    });
    for (const endpoint of endpoints) queued.push({ messageId: id, endpointId: endpoint.id });
  }
  if (queued.length === 0) return 0;
  await tx.webhookMessage.createMany({ data: messages, skipDuplicates: true });
  if (replay) await requeue(tx, queued, now);
  await tx.webhookDelivery.createMany({
    data: queued.map((delivery) => ({
      ...delivery,
      id: newId(),
      organizationId,
      nextAttemptAt: now,
      createdAt: now,
    })),
    skipDuplicates: true,
  });
  return queued.length;
}

/** Returns the JSON text of a message. Members that receivers look for are the same in every event. */
export function envelope(id: string, event: string, at: Date, data: object): string {
  const eventId = messageId(id);
  const timestamp = at.toISOString();
  return JSON.stringify({ id: eventId, event, timestamp, data: { eventId, ...data } });
}

/** Returns the ID of a message as receivers see it. */
export function messageId(id: string): string {
  return `evt_${id}`;
}

/**
 * The first messages whose calls are not too large together, at least those of one event. A message is in memory several
 * times while it is built and stored.
 */
async function withinSizeLimit(
  tx: Tx,
  pending: readonly PendingMessage[],
): Promise<readonly PendingMessage[]> {
  const sizes = await sizesOfCalls(tx, pending);
  let bytes = 0;
  const over = pending.find(({ event }) => {
    bytes += sizes.get(event.callId ?? '') ?? 0;
    return bytes > MAX_BYTES && event !== pending[0]?.event;
  });
  return over
    ? pending.slice(
        0,
        pending.findIndex(({ event }) => event === over.event),
      )
    : pending;
}

/** Returns the messages for endpoints that are neither deleted nor disabled, and locks these endpoints. */
async function withEnabledEndpoints(
  tx: Tx,
  pending: readonly PendingMessage[],
): Promise<PendingMessage[]> {
  const ids = [...new Set(pending.flatMap(({ endpoints }) => endpoints.map(({ id }) => id)))];
  if (ids.length === 0) return [];
  const enabled = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM webhook_endpoints WHERE id = ANY(${ids}::uuid[]) AND disabled_at IS NULL
    ORDER BY id FOR SHARE`;
  const open = new Set(enabled.map(({ id }) => id));
  return pending
    .map((item) => ({ ...item, endpoints: item.endpoints.filter(({ id }) => open.has(id)) }))
    .filter(({ endpoints }) => endpoints.length > 0);
}

/**
 * Keeps calls from being deleted until the transaction ends, so that their deletion also erases what it has queued. The
 * consumer of the event log needs no lock: it reads a deletion only after what it has queued.
 */
async function lockAgainstDeletion(
  tx: Tx,
  organizationId: string,
  pending: readonly PendingMessage[],
): Promise<void> {
  const ids = [...new Set(pending.map(({ event }) => event.callId).filter((id) => id !== null))];
  await tx.$queryRaw`
    SELECT 1 FROM calls WHERE id = ANY(${ids}::uuid[]) AND organization_id = ${organizationId}::uuid
    ORDER BY id FOR KEY SHARE`;
}

async function requeue(
  tx: Tx,
  queued: readonly { messageId: string; endpointId: string }[],
  now: Date,
): Promise<void> {
  await tx.$executeRaw`
    UPDATE webhook_deliveries d
    SET status = 'PENDING', tries = 0, next_attempt_at = ${now}, finished_at = NULL,
      claim_id = NULL, claimed_until = NULL
    FROM unnest(${queued.map(({ messageId }) => messageId)}::uuid[],
                ${queued.map(({ endpointId }) => endpointId)}::uuid[]) AS q(message_id, endpoint_id)
    WHERE d.message_id = q.message_id AND d.endpoint_id = q.endpoint_id`;
}

function pendingMessagesOf({ events, endpoints, replay }: QueueOptions): PendingMessage[] {
  const pending: PendingMessage[] = [];
  for (const event of events) {
    const open = endpoints.filter(({ startCursor }) => replay || startCursor < event.cursor);
    for (const name of eventNamesOf(event.type)) {
      const subscribed = open.filter(
        (endpoint) => isSubscribed(endpoint, name) && !isAbout(event, endpoint),
      );
      if (subscribed.length > 0) pending.push({ event, name, endpoints: subscribed });
    }
    if (!mayTriggerResults(event.type)) continue;
    const crm = open.filter(({ agentId }) => agentId !== null && agentId === event.agentId);
    if (crm.length > 0) pending.push({ event, name: RESULTS_EVENT, endpoints: crm });
  }
  return pending;
}

function isSubscribed({ agentId, eventTypes }: WebhookEndpoint, name: string): boolean {
  return agentId === null && (eventTypes.length === 0 || eventTypes.includes(name));
}

/** An endpoint receives no event about itself. */
function isAbout(event: Event, endpoint: WebhookEndpoint): boolean {
  return (event.data as { endpointId?: unknown }).endpointId === endpoint.id;
}
