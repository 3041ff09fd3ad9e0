/** How events are queued for endpoints. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import { announceEvents, appendEvents, currentCursor } from '../../../src/live/log.ts';
import { webhookConsumer } from '../../../src/webhooks/consumer.ts';
import { announceDeliveries, startSender } from '../../../src/webhooks/sending/sender.ts';
import { createCampaign, people } from '../../campaigns/support.ts';
import { accepted, runMutation } from '../../support/calling.ts';
import { startTestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  caller,
  createEndpoint,
  deliveryOf,
  moveClock,
  receiver,
  removeEndpoint,
  sendTest,
  server,
} from '../support.ts';

export function queueingSuite(): void {
  describe('a webhook endpoint', () => {
    it('receives the cancellation of a campaign that is deleted before its end', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['BATCH_STATUS_CHANGED'] });
      const campaigns = [];
      for (const series of [5, 6]) {
        const { id } = await createCampaign(
          { client: server.client, caller },
          {
            contacts: people(1, { series }),
            scheduleType: 'SCHEDULED',
            scheduledAt: new Date(server.app.now().getTime() + 86_400_000).toISOString(),
          },
        );
        campaigns.push(id);
      }
      const [paused, cancelled] = campaigns;
      await runMutation(server.client, 'pauseCampaign', { id: paused }, 'campaign { id }');
      await runMutation(server.client, 'cancelCampaign', { id: cancelled }, 'campaign { id }');
      await runMutation(server.client, 'deleteCampaigns', { ids: campaigns }, 'deletedCampaignIds');
      const got = await until('all changes', () => {
        const all = receiver.at(endpoint.path);
        return all.length >= 5 && all;
      });
      const statusesOf = (id: string | undefined) =>
        got
          .map(({ json }) => json.data)
          .filter(({ batchId }) => batchId === id)
          .sort((a, b) => Number(a.cursor) - Number(b.cursor))
          .map(({ status }) => status);
      expect(statusesOf(paused)).toEqual(['SCHEDULED', 'PAUSED', 'CANCELLED']);
      expect(statusesOf(cancelled)).toEqual(['SCHEDULED', 'CANCELLED']);
      await removeEndpoint(endpoint);
    });

    it('is queued few events of large calls at a time, also by a replay beside one that fails', async () => {
      const { db } = server.app;
      const { organizationId } = server;
      const failing = await createEndpoint({ eventTypes: ['CALL_STARTED'] });
      const endpoint = await createEndpoint({ eventTypes: ['CALL_STARTED'] });
      const where = { id: { in: [failing, endpoint].map(({ id }) => id.slice(4)) } };
      const pausedUntil = new Date(server.app.now().getTime() + 86_400_000);
      await db.webhookEndpoint.updateMany({ where, data: { pausedUntil } });
      const callIds = Array.from({ length: 12 }, () => newId());
      await db.call.createMany({
        data: callIds.map((id) => ({
          id,
          organizationId,
          agentId: caller.agentId.slice(4),
          direction: 'OUTBOUND' as const,
          medium: 'SIP' as const,
          status: 'COMPLETED' as const,
          endReason: 'HANGUP' as const,
          ...accepted(),
          maxDurationSeconds: 60,
          joinTimeoutSeconds: 30,
          endedAt: new Date(),
          variables: { notes: 'x'.repeat(900_000) },
        })),
      });
      const after = await currentCursor(server.app, organizationId);
      await db.$transaction((tx) =>
        appendEvents(
          tx,
          organizationId,
          callIds.map((callId) => ({ type: 'CALL_CREATED', callId, data: {} })),
        ),
      );
      announceEvents(server.app, organizationId);
      const endpointId = endpoint.id.slice(4);
      const queued = (since: Date) =>
        until('all to be queued', async () => {
          const count = await db.webhookDelivery.count({
            where: { endpointId, nextAttemptAt: { gte: since } },
          });
          return count === callIds.length;
        });
      await queued(new Date(0));
      const events = await db.event.findMany({
        where: { organizationId, cursor: { gt: after }, callId: { in: callIds } },
        orderBy: { cursor: 'asc' },
      });
      const handled = await db.$transaction((tx) =>
        webhookConsumer.handle(server.app, tx, organizationId, events),
      );
      expect(handled.through).toBe(events[7]?.cursor);

      await db.$executeRawUnsafe(`CREATE FUNCTION refuse_delivery() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'refused'; END $$`);
      await db.$executeRawUnsafe(`CREATE TRIGGER refuse_delivery BEFORE UPDATE ON webhook_deliveries
      FOR EACH ROW WHEN (NEW.endpoint_id = '${failing.id.slice(4)}') EXECUTE FUNCTION refuse_delivery()`);
      const replayedAt = server.app.now();
      // As after the end of the process that was replaying.
      const replayThrough = events.at(-1)!.cursor;
      await db.webhookEndpoint.updateMany({ where, data: { replayAfter: after, replayThrough } });
      await queued(replayedAt);
      await db.$executeRawUnsafe('DROP TRIGGER refuse_delivery ON webhook_deliveries');
      await Promise.all([removeEndpoint(endpoint), removeEndpoint(failing)]);
      await db.call.deleteMany({ where: { id: { in: callIds } } });
    });

    it('waits for others of its organization, but not for those of another one', async () => {
      const { db, organizationId } = { db: server.app.db, organizationId: server.organizationId };
      const held: (() => void)[] = [];
      receiver.on('/slow', (response) => held.push(() => response.writeHead(204).end()));
      const slow = await Promise.all(
        Array.from({ length: 11 }, () => createEndpoint({ path: '/slow' })),
      );
      const [createdAt, nextAttemptAt] = [server.app.now(), server.app.now()];
      const ids = Array.from({ length: 6 }, () => newId());
      await db.webhookMessage.createMany({
        data: ids.map((id) => ({
          id,
          organizationId,
          type: 'webhook.test',
          body: '{}',
          createdAt,
        })),
      });
      const deliveries = ids.flatMap((messageId) =>
        slow.map(({ id }) => ({ messageId, endpointId: id.slice(4) })),
      );
      await db.webhookDelivery.createMany({
        data: deliveries.map((delivery) => ({
          ...delivery,
          id: newId(),
          organizationId,
          nextAttemptAt,
          createdAt,
        })),
      });
      announceDeliveries(server.app);
      const claimed = () =>
        db.webhookDelivery.count({ where: { organizationId, NOT: { claimId: null } } });
      await until('many requests', async () => (await claimed()) >= 50);
      const other = await server.newOrganization();
      const endpoint = await createEndpoint({}, other.client);
      const delivery = await sendTest(endpoint, other.client);
      await until('the delivery', async () => {
        const { status } = await deliveryOf(delivery, other.client);
        return status === 'DELIVERED';
      });
      expect(await claimed()).toBeLessThanOrEqual(50);
      receiver.on('/slow', (response) => response.writeHead(204).end());
      for (const answer of held) answer();
      await until('all others', async () => {
        const where = { messageId: { in: ids }, status: 'DELIVERED' as const };
        moveClock(10);
        return (await db.webhookDelivery.count({ where })) === deliveries.length;
      });
      await Promise.all(slow.map(removeEndpoint));
    });

    it('receives an event at once when its organization has as many endpoints as possible', async () => {
      // Runs no jobs, so that no endpoint is found by polling.
      const settings = { ROLE: 'api', WEBHOOK_ALLOWED_URLS: `${receiver.url}/` };
      const quiet = await startTestServer({ settings });
      try {
        const endpoints = await Promise.all(
          Array.from({ length: 20 }, () => createEndpoint({}, quiet.client)),
        );
        for (const endpoint of endpoints) {
          receiver.on(endpoint.path, () => undefined);
          await sendTest(endpoint, quiet.client);
        }
        startSender(quiet.app);
        announceDeliveries(quiet.app);
        const hasRequest = ({ path }: { path: string }) => receiver.at(path).length > 0;
        await until('a request to each', () => endpoints.every(hasRequest), 10_000);
      } finally {
        await quiet.close();
      }
    });
  });
}
