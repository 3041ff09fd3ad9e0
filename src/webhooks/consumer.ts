/** Consumes the event log: queues webhooks, and keeps the CRM webhooks of agents up to date. */
import type { App, Tx } from '../app.ts';
import { type Event, type EventType, Prisma } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import type { EventConsumer } from '../live/consumers.ts';
import { RESULTS_EVENT } from './catalog.ts';
import { deletedState, HEALTHY, WEBHOOK_CONSUMER } from './endpoint-health.ts';
import { queueEvents } from './messages.ts';
import { eraseDeletedCalls } from './retention.ts';
import { announceDeliveries } from './sending/sender.ts';

const AGENT_CHANGES: readonly EventType[] = ['AGENT_CREATED', 'AGENT_UPDATED', 'AGENT_DELETED'];
const CALL_DELETED: EventType = 'CALL_DELETED';
const FOLLOWED_TYPES = [...AGENT_CHANGES, CALL_DELETED];

export const webhookConsumer: EventConsumer = {
  name: WEBHOOK_CONSUMER,

  async handle(app, tx, organizationId, events) {
    await syncAgentEndpoints(app, tx, organizationId, events);
    await eraseDeletedCalls(
      tx,
      events.flatMap(({ type, callId }) => (type === CALL_DELETED && callId ? callId : [])),
    );
    const endpoints = await tx.webhookEndpoint.findMany({
      where: { organizationId, disabledAt: null },
    });
    const { through, count } = await queueEvents(app, tx, { organizationId, events, endpoints });
    return { through, announce: count > 0 };
  },

  // Without an endpoint, only events of types that `handle` reads are followed.
  ignores: (organizationId) => Prisma.sql`
    NOT EXISTS (SELECT FROM batch WHERE type::text = ANY(${FOLLOWED_TYPES}))
    AND NOT EXISTS (
      SELECT FROM webhook_endpoints
      WHERE organization_id = ${organizationId}::uuid AND disabled_at IS NULL)`,

  onCommit: (app: App) => announceDeliveries(app),
};

/** Creates or updates the endpoint of each agent with a CRM webhook, and deletes it for agents without one. */
async function syncAgentEndpoints(
  app: App,
  tx: Tx,
  organizationId: string,
  events: readonly Event[],
): Promise<void> {
  const changed = new Map<string, bigint>();
  for (const { type, agentId, cursor } of events) {
    if (agentId && AGENT_CHANGES.includes(type)) {
      if (!changed.has(agentId)) changed.set(agentId, cursor);
    }
  }
  if (changed.size === 0) return;
  const agents = await tx.agent.findMany({
    where: { organizationId, id: { in: [...changed.keys()] } },
    select: { id: true, crmWebhookUrl: true, deletedAt: true },
  });
  for (const { id: agentId, crmWebhookUrl: url, deletedAt } of agents) {
    const where = { organizationId, agentId };
    // The results of the last calls of a deleted agent still have to be sent.
    if (deletedAt) continue;
    if (!url) {
      await tx.webhookEndpoint.updateMany({ where, data: deletedState(app.now()) });
      continue;
    }
    const existing = await tx.webhookEndpoint.findFirst({ where });
    if (!existing) {
      const startCursor = changed.get(agentId) ?? 0n;
      const eventTypes = [RESULTS_EVENT];
      await tx.webhookEndpoint.create({
        data: { id: newId(), ...where, url, eventTypes, startCursor },
      });
    } else if (existing.url !== url) {
      await tx.webhookEndpoint.update({ where: { id: existing.id }, data: { url, ...HEALTHY } });
    }
  }
}
