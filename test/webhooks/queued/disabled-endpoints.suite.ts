/** Deliveries of an endpoint that is disabled, replayed or deleted meanwhile. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import type { Viewer } from '../../../src/viewer.ts';
import { giveUpRemainingDeliveries } from '../../../src/webhooks/endpoint-health.ts';
import { replayFailedWebhooks } from '../../../src/webhooks/replays.ts';
import { removeDeletedEndpoints } from '../../../src/webhooks/retention.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import {
  attempted,
  caller,
  createEndpoint,
  deliveriesOf,
  eventsAt,
  receiver,
  removeEndpoint,
  sendTest,
  server,
} from '../support.ts';
import { isWaitedFor, waitingWriter } from './locks.ts';

export function disabledEndpointsSuite(): void {
  describe('a webhook endpoint', () => {
    it('is left nothing to send when it is disabled while an event is queued', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['AGENT_SYNCED'] });
      const { db } = server.app;
      const where = { name: 'webhooks', organizationId: server.organizationId };
      let change: Promise<unknown> = Promise.resolve();
      let isDisabled = false;
      await db.$transaction(async (tx) => {
        await tx.$executeRaw`LOCK TABLE webhook_messages IN SHARE MODE`;
        const agent = { id: caller.agentId, name: 'Renamed' };
        await runMutation(server.client, 'updateAgent', agent, 'agent { id }');
        const writer = await waitingWriter(tx);
        const disabled = { id: endpoint.id, enabled: false };
        change = runMutation(
          server.client,
          'updateWebhookEndpoint',
          disabled,
          'webhookEndpoint { id }',
        );
        void change.then(() => {
          isDisabled = true;
        });
        await until(
          'the change',
          async () => isDisabled || isWaitedFor(writer, '%webhook_endpoints%'),
        );
      });
      await change;
      await until('the event to be queued', async () => {
        const consumer = await db.eventConsumer.findFirstOrThrow({ where });
        const event = await db.event.findFirst({
          where: { type: 'AGENT_SYNCED', organizationId: server.organizationId },
          orderBy: { cursor: 'desc' },
        });
        return event?.cursor && consumer.cursor >= event.cursor;
      });
      const { deliveries } = await deliveriesOf(endpoint.id);
      expect(
        deliveries.nodes.filter(({ nextAttemptAt }: { nextAttemptAt: unknown }) => nextAttemptAt),
      ).toEqual([]);
      await removeEndpoint(endpoint);
    });

    it('can be sent the events that were not queued yet when it was disabled', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['AGENT_SYNCED'] });
      const { db } = server.app;
      const where = { name: 'webhooks', organizationId: server.organizationId };
      const set = (enabled: boolean) =>
        runMutation(
          server.client,
          'updateWebhookEndpoint',
          { id: endpoint.id, enabled },
          'webhookEndpoint { disabledCursor }',
        );
      const { cursor } = await db.eventConsumer.findFirstOrThrow({ where });
      const [synced, disabledCursor] = await db.$transaction(async (tx) => {
        // Another consumer of these events could not lock them either.
        await tx.$queryRaw`
        SELECT 1 FROM event_consumers WHERE organization_id = ${where.organizationId}::uuid FOR UPDATE`;
        const agent = { id: caller.agentId, name: 'Renamed again' };
        await runMutation(server.client, 'updateAgent', agent, 'agent { id }');
        const event = await until('the event', () =>
          db.event.findFirst({
            where: {
              type: 'AGENT_SYNCED',
              organizationId: where.organizationId,
              cursor: { gt: cursor },
            },
          }),
        );
        const { webhookEndpoint } = await set(false);
        return [event.cursor!, webhookEndpoint.disabledCursor as string];
      });
      await until('the event to be skipped', async () => {
        const consumer = await db.eventConsumer.findFirstOrThrow({ where });
        return consumer.cursor >= synced;
      });
      await set(true);
      const input = { endpointId: endpoint.id, after: disabledCursor };
      await runMutation(server.client, 'replayWebhookEvents', input, 'webhookEndpoint { id }');
      const [received] = await eventsAt(endpoint.path, ['agent.synced']);
      expect(received?.json.data.cursor).toBe(String(synced));
      await removeEndpoint(endpoint);
    });

    it('is sent a delivery again that was replayed during an attempt, of which the answer is kept', async () => {
      const endpoint = await createEndpoint();
      const held: ((status: number) => void)[] = [];
      receiver.on(endpoint.path, (response) =>
        held.push((status) => response.writeHead(status).end()),
      );
      const id = await sendTest(endpoint);
      await until('the attempt', () => held.length === 1);
      await runMutation(server.client, 'replayWebhookDelivery', { id }, 'webhookDelivery { id }');
      await until('another attempt', () => held.length === 2);
      held[0]?.(500);
      expect(await attempted(id)).toMatchObject({
        status: 'PENDING',
        finishedAt: null,
        attempts: { nodes: [{ statusCode: 500 }] },
      });
      await until('the failure', async () => (await deliveriesOf(endpoint.id)).failingSince);
      held[1]?.(204);
      expect(await attempted(id, 2)).toMatchObject({
        status: 'DELIVERED',
        attempts: { nodes: [{ statusCode: 500 }, { statusCode: 204 }] },
      });
      await removeEndpoint(endpoint);
    });

    it('is disabled, replayed and deleted in short transactions, however many deliveries it has', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['AGENT_SYNCED'] });
      const { db } = server.app;
      const endpointId = endpoint.id.slice(4);
      // More than a batch, of messages that need not exist.
      await db.$transaction([
        db.$executeRaw`SET LOCAL session_replication_role = replica`,
        db.$executeRaw`
        INSERT INTO webhook_deliveries (id, organization_id, endpoint_id, message_id, status,
          next_attempt_at, created_at)
        SELECT gen_random_uuid(), ${server.organizationId}::uuid, ${endpointId}::uuid,
          gen_random_uuid(), 'RETRYING', now() + interval '1 year', now()
        FROM generate_series(1, 5500)`,
      ]);
      const whileLocked = (work: () => Promise<unknown>) =>
        db.$transaction(async (tx) => {
          await tx.$queryRaw`
          SELECT id FROM webhook_deliveries WHERE endpoint_id = ${endpointId}::uuid LIMIT 10 FOR UPDATE`;
          await work();
        });
      const set = (enabled: boolean) => {
        const input = { id: endpoint.id, enabled };
        return runMutation(server.client, 'updateWebhookEndpoint', input, 'webhookEndpoint { id }');
      };
      await whileLocked(() => set(false));
      await until('all to be given up', async () => {
        await giveUpRemainingDeliveries(server.app);
        return (
          (await db.webhookDelivery.count({ where: { endpointId, status: 'RETRYING' } })) === 0
        );
      });
      await set(true);
      const pausedUntil = new Date(server.app.now().getTime() + 86_400_000);
      await db.webhookEndpoint.update({ where: { id: endpointId }, data: { pausedUntil } });
      const closing = new AbortController();
      // Stops after the first batch.
      const bus = { ...server.app.bus, publish: () => closing.abort() };
      const stopping = { ...server.app, bus, closing: closing.signal };
      const viewer = { organizationId: server.organizationId } as Viewer;
      await expect(replayFailedWebhooks(stopping, viewer, endpoint.id)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
      const input = { endpointId: endpoint.id };
      expect(
        await runMutation(server.client, 'replayFailedWebhooks', input, 'deliveryCount'),
      ).toMatchObject({ deliveryCount: 500 });
      const stranger = { organizationId: newId() } as Viewer;
      await expect(replayFailedWebhooks(stopping, stranger, endpoint.id)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
      const delivery = await db.webhookDelivery.findFirstOrThrow({ where: { endpointId } });
      await whileLocked(async () => {
        await removeEndpoint(endpoint);
        const { data } = await server.client.send(
          `{ webhookEndpoint(id: "${endpoint.id}") { id } webhookDelivery(id: "whd_${delivery.id}") { id } }`,
        );
        expect(data).toEqual({ webhookEndpoint: null, webhookDelivery: null });
      });
      await until('the removal', async () => {
        await removeDeletedEndpoints(server.app);
        return (await db.webhookEndpoint.count({ where: { id: endpointId } })) === 0;
      });
      expect(await db.webhookDelivery.count({ where: { endpointId } })).toBe(0);
    });
  });
}
