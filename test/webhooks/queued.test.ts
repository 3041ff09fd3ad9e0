/** Webhooks that wait: sent in turn, replayed, given up, or removed with their call, campaign or endpoint. */
import { describe, expect, it } from 'vitest';
import type { Tx } from '../../src/app.ts';
import { expireTranscripts } from '../../src/calls/post-call/transcript.ts';
import { newId } from '../../src/infra/ids.ts';
import { announceEvents, appendEvents, currentCursor } from '../../src/live/log.ts';
import type { Viewer } from '../../src/viewer.ts';
import { webhookConsumer } from '../../src/webhooks/consumer.ts';
import { giveUpRemainingDeliveries } from '../../src/webhooks/endpoint-health.ts';
import { replayFailedWebhooks } from '../../src/webhooks/replays.ts';
import { removeDeletedEndpoints } from '../../src/webhooks/retention.ts';
import { announceDeliveries, startSender } from '../../src/webhooks/sending/sender.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { accepted, runMutation } from '../support/calling.ts';
import { blockedSessions, sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  attempted,
  caller,
  createEndpoint,
  deliveriesOf,
  deliveryOf,
  eventsAt,
  moveClock,
  receiver,
  removeEndpoint,
  sendTest,
  server,
  useWebhookServer,
} from './support.ts';

useWebhookServer();

const CALL_EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'];

/**
 * @returns the session that waits to insert messages while `tx` locks their table. A sweep of expired
 *   messages may wait for the same lock.
 */
async function waitingWriter(tx: Tx): Promise<number> {
  const [writer] = await untilBlocked(server.app.db, {
    holder: await sessionOf(tx),
    statement: 'INSERT INTO%webhook_messages%',
  });
  return writer!;
}

/** Whether a statement waits for a lock that this session holds. */
async function isWaitedFor(holder: number, statement: string): Promise<boolean> {
  return (await blockedSessions(server.app.db, { holder, statement })).length > 0;
}

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
      return (await db.webhookDelivery.count({ where: { endpointId, status: 'RETRYING' } })) === 0;
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
      data: ids.map((id) => ({ id, organizationId, type: 'webhook.test', body: '{}', createdAt })),
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

  it('loses the personal data of deleted calls, delivered or not', async () => {
    const endpoint = await createEndpoint();
    const { id } = await caller.call('+14155550187');
    await eventsAt(endpoint.path, CALL_EVENTS);
    await runMutation(server.client, 'deleteCalls', { ids: [id] }, 'deletedCallIds');
    const kept = await until('the erasure', async () => {
      const { deliveries } = await deliveriesOf(endpoint.id);
      return !JSON.stringify(deliveries).includes('+14155550187') && deliveries;
    });
    const about = kept.nodes
      .map(({ body }: { body: { data: { call: { id: string } } } }) => body.data.call)
      .filter((call: { id: string }) => call.id === id);
    expect(about.length).toBeGreaterThanOrEqual(CALL_EVENTS.length);
    expect(about).toEqual(about.map(() => ({ id, deleted: true })));
    await removeEndpoint(endpoint);
  });

  it('keeps nothing of a call that is deleted while a replay queues its events', async () => {
    // Of one type, so that the consumer of the event log queues nothing meanwhile.
    const endpoint = await createEndpoint({ eventTypes: ['CALL_STARTED'] });
    const { data } = await server.client.send('{ eventCursor }');
    const disabled = { id: endpoint.id, enabled: false };
    await runMutation(server.client, 'updateWebhookEndpoint', disabled, 'webhookEndpoint { id }');
    const { id } = await caller.call('+14155550188');
    await until('the bill', async () => {
      const answer = await server.client.send(`{ call(id: "${id}") { billingStatus } }`);
      return answer.data.call.billingStatus === 'BILLED';
    });
    const enabled = { ...disabled, enabled: true };
    await runMutation(server.client, 'updateWebhookEndpoint', enabled, 'webhookEndpoint { id }');
    const { db } = server.app;
    const isConsumed = async () => {
      const deleted = await db.event.findFirst({
        where: { type: 'CALL_DELETED', callId: id.slice(4), cursor: { gt: 0 } },
      });
      const where = { name: 'webhooks', organizationId: server.organizationId };
      const consumer = await db.eventConsumer.findFirst({ where });
      return deleted !== null && consumer !== null && consumer.cursor >= deleted.cursor!;
    };
    let deletion: Promise<unknown> = Promise.resolve();
    await db.$transaction(async (tx) => {
      await tx.$executeRaw`LOCK TABLE webhook_messages IN SHARE MODE`;
      const input = { endpointId: endpoint.id, after: data.eventCursor };
      await runMutation(server.client, 'replayWebhookEvents', input, 'webhookEndpoint { id }');
      const writer = await waitingWriter(tx);
      deletion = runMutation(server.client, 'deleteCalls', { ids: [id] }, 'deletedCallIds');
      await until(
        'the deletion',
        async () => (await isWaitedFor(writer, '%FROM calls%')) || isConsumed(),
      );
    });
    await deletion;
    const kept = await until('the replay and the erasure', async () => {
      if (!(await isConsumed())) return false;
      const { replayCursor, deliveries } = await deliveriesOf(endpoint.id);
      return replayCursor === null && deliveries;
    });
    expect(kept.totalCount).toBe(1);
    expect(JSON.stringify(kept)).not.toContain('+14155550188');
    await removeEndpoint(endpoint);
  });

  it('loses the words of a transcript that expires, and answers that may repeat them', async () => {
    const crm = { id: caller.agentId, crmWebhookUrl: 'https://crm.example.com/calls' };
    await runMutation(server.client, 'updateAgent', crm, 'agent { id }');
    const agentId = caller.agentId.slice(4);
    const endpoint = await until('the endpoint', () =>
      server.app.db.webhookEndpoint.findFirst({ where: { agentId } }),
    );
    // The address of the test's receiver, which no agent may have.
    const url = `${receiver.url}/echo`;
    await server.app.db.webhookEndpoint.update({ where: { id: endpoint.id }, data: { url } });
    receiver.on('/echo', (response) => response.writeHead(200).end('I heard you'));
    const { id } = await caller.call();
    const delivered = await until('the results', async () => {
      const { deliveries } = await deliveriesOf(`whe_${endpoint.id}`);
      const [delivery] = deliveries.nodes;
      return delivery?.status === 'DELIVERED' && delivery;
    });
    expect(delivered.body.data.transcript.length).toBeGreaterThan(0);
    expect(delivered.attempts.nodes).toMatchObject([{ responseBody: 'I heard you' }]);
    await server.app.db.callTranscript.update({
      where: { callId: id.slice(4) },
      data: { storedAt: new Date(0) },
    });
    await expireTranscripts(server.app);
    const { deliveries } = await deliveriesOf(`whe_${endpoint.id}`);
    expect(deliveries.nodes).toMatchObject([
      {
        body: { id: delivered.eventId, data: { transcript: [], call: { id } } },
        attempts: { nodes: [{ statusCode: 200, responseBody: null }] },
      },
    ]);
  });
});
