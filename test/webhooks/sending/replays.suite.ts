/** Replays, and endpoints that fail for days. */
import { describe, expect, it } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import {
  attempted,
  caller,
  createEndpoint,
  deliveriesOf,
  eventsAt,
  moveClock,
  problemsOf,
  receiver,
  removeEndpoint,
  sendTest,
  server,
} from '../support.ts';

export function replaysSuite(): void {
  describe('replays', () => {
    it('send one delivery, all that failed, and all events since a cursor, under the same ids', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['CALL_ENDED', 'CALL_BILLED'] });
      const { data } = await server.client.send('{ eventCursor }');
      await caller.call();
      const first = await eventsAt(endpoint.path, ['call.ended', 'call.billed']);
      const ids = new Set(first.map(({ json }) => json.id));
      const { deliveries } = await deliveriesOf(endpoint.id);

      const fields = 'webhookDelivery { id }';
      const { id } = deliveries.nodes[0];
      await runMutation(server.client, 'replayWebhookDelivery', { id }, fields);
      await attempted(id, 2);

      // Disabled, it misses events.
      const disabled = { id: endpoint.id, enabled: false };
      await runMutation(server.client, 'updateWebhookEndpoint', disabled, 'webhookEndpoint { id }');
      await caller.call();
      await until('the bill', async () => {
        const bills = await server.app.db.event.count({
          where: { type: 'CALL_BILLED', cursor: { gt: BigInt(data.eventCursor) } },
        });
        return bills === 2;
      });
      const enabled = { id: endpoint.id, enabled: true };
      await runMutation(server.client, 'updateWebhookEndpoint', enabled, 'webhookEndpoint { id }');
      const input = { endpointId: endpoint.id, after: data.eventCursor };
      await runMutation(
        server.client,
        'replayWebhookEvents',
        input,
        'webhookEndpoint { replayCursor }',
      );
      const all = await until('all four', () => {
        const got = receiver.at(endpoint.path);
        return new Set(got.map(({ json }) => json.id)).size === 4 && got.length >= 7 && got;
      });
      expect(all.filter(({ json }) => ids.has(json.id))).toHaveLength(5);
      expect(await deliveriesOf(endpoint.id)).toMatchObject({ replayCursor: null });

      receiver.on(endpoint.path, (response) => response.writeHead(410).end());
      await attempted(await sendTest(endpoint));
      receiver.on(endpoint.path, (response) => response.writeHead(204).end());
      await runMutation(server.client, 'updateWebhookEndpoint', enabled, 'webhookEndpoint { id }');
      const replayed = await runMutation(
        server.client,
        'replayFailedWebhooks',
        { endpointId: endpoint.id },
        'deliveryCount',
      );
      expect(replayed.deliveryCount).toBe(1);
      await until('its delivery', async () => {
        const left = await deliveriesOf(endpoint.id, ', filter: { status: [DELIVERED] }');
        return left.deliveries.totalCount === 5;
      });
      expect(await problemsOf('replayWebhookEvents', { ...input, after: '999999' })).toMatchObject([
        { path: ['after'] },
      ]);
      await removeEndpoint(endpoint);
    });
  });

  describe('an endpoint that keeps failing', () => {
    it('is retried for three days with growing delays, and disabled after five', async () => {
      // Of a type that does not occur here: a late event of a call would be sent, and fail, in between.
      const endpoint = await createEndpoint({ path: '/fails', eventTypes: ['AGENT_SYNCED'] });
      const id = await sendTest(endpoint);
      const pauses: number[] = [];
      let delivery = await attempted(id);
      while (delivery.nextAttemptAt) {
        const [last] = delivery.attempts.nodes.slice(-1);
        pauses.push((Date.parse(delivery.nextAttemptAt) - Date.parse(last.startedAt)) / 1000);
        moveClock(pauses.at(-1)!);
        delivery = await attempted(id, delivery.attemptCount + 1);
      }
      expect(delivery.status).toBe('EXHAUSTED');
      expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
      const days = pauses.reduce((sum, pause) => sum + pause, 0) / 86_400;
      expect(days).toBeGreaterThan(2.3);
      expect(days).toBeLessThan(3.7);
      expect((await deliveriesOf(endpoint.id)).enabled).toBe(true);
      moveClock((5.1 - days) * 86_400);
      await attempted(await sendTest(endpoint));
      const view = await until('the end', async () => {
        const seen = await deliveriesOf(endpoint.id);
        return !seen.enabled && seen;
      });
      expect(view.disabledReason).toBe('FAILING');
    });
  });
}
