/** Webhooks lose the data of calls that are deleted and of transcripts that expire. */
import { describe, expect, it } from 'vitest';
import { expireTranscripts } from '../../../src/calls/post-call/transcript.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import {
  CALL_EVENTS,
  caller,
  createEndpoint,
  deliveriesOf,
  eventsAt,
  receiver,
  removeEndpoint,
  server,
} from '../support.ts';
import { isWaitedFor, waitingWriter } from './locks.ts';

export function erasureSuite(): void {
  describe('a webhook endpoint', () => {
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
}
