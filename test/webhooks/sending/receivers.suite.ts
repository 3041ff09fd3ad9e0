/** Answers of receivers, and the secrets that they verify webhooks with. */
import { describe, expect, it } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import {
  attempted,
  createEndpoint,
  deliveriesOf,
  deliveryOf,
  eventsAt,
  moveClock,
  problemsOf,
  receiver,
  removeEndpoint,
  sendTest,
  server,
  verifiesByRecipe,
} from '../support.ts';

export function receiversSuite(): void {
  describe('sendTestWebhook', () => {
    it('sends a test event to an endpoint that wants other types, and records the answer', async () => {
      const endpoint = await createEndpoint({ eventTypes: ['AGENT_FAILED'] });
      receiver.on(endpoint.path, (response) => response.writeHead(200).end('Thank you'));
      const delivery = await attempted(await sendTest(endpoint));
      expect(delivery).toMatchObject({
        status: 'DELIVERED',
        eventType: 'TEST',
        cursor: null,
        attempts: {
          nodes: [{ number: 1, statusCode: 200, error: null, responseBody: 'Thank you' }],
        },
      });
      expect(receiver.at(endpoint.path)[0]?.headers['webhook-id']).toBe(delivery.eventId);
      await removeEndpoint(endpoint);
    });
  });

  describe('a receiver that does not accept', () => {
    const CASES = [
      ['/never', { statusCode: null, error: 'No response within 3 seconds.', responseBody: null }],
      [
        '/hangs-up',
        { statusCode: null, error: expect.stringContaining('closed before a response') },
      ],
      ['/fails', { statusCode: 500, responseBody: 'Out of order' }],
      ['/redirects', { statusCode: 302, error: expect.stringContaining('not followed') }],
    ] as const;

    it.each(CASES)('is tried again later: %s', async (path, attempt) => {
      const endpoint = await createEndpoint({ path });
      const id = await sendTest(endpoint);
      const delivery = await attempted(id);
      expect(delivery).toMatchObject({ status: 'RETRYING', attempts: { nodes: [attempt] } });
      const pause =
        Date.parse(delivery.nextAttemptAt) - Date.parse(delivery.attempts.nodes[0].startedAt);
      expect(pause / 1000).toBeGreaterThan(3.9);
      expect(pause / 1000).toBeLessThan(20);
      moveClock(10);
      await attempted(id, 2);
      const [first, second] = receiver.at(path);
      expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
      expect(second?.body).toBe(first?.body);
      expect(second?.headers['webhook-timestamp']).not.toBe(first?.headers['webhook-timestamp']);
      expect(receiver.at('/target')).toEqual([]);
      await removeEndpoint(endpoint);
    });

    it('has delivered when the status is 2xx, however the answer goes on', async () => {
      for (const [path, start] of [
        ['/half', 'the first half'],
        ['/huge', 'x'.repeat(1024)],
      ] as const) {
        const endpoint = await createEndpoint({ path });
        const delivery = await attempted(await sendTest(endpoint));
        expect(delivery).toMatchObject({
          status: 'DELIVERED',
          attempts: { nodes: [{ statusCode: 200, responseBody: start }] },
        });
        await removeEndpoint(endpoint);
      }
      expect(receiver.bytesWritten).toBeLessThan(50 * 1024 ** 2);
    });

    it('is left alone for as long as its Retry-After says, also with other events', async () => {
      const endpoint = await createEndpoint({ path: '/busy' });
      const first = await attempted(await sendTest(endpoint));
      const asked = Date.parse(first.attempts.nodes[0].startedAt) + 90_000;
      expect(Date.parse(first.nextAttemptAt)).toBeGreaterThanOrEqual(asked);
      const { pausedUntil } = await deliveriesOf(endpoint.id);
      expect(Date.parse(pausedUntil)).toBeGreaterThanOrEqual(asked);
      const later = await sendTest(endpoint);
      const other = await createEndpoint();
      moveClock(60);
      await attempted(await sendTest(other));
      expect(receiver.at('/busy')).toHaveLength(1);
      expect(await deliveryOf(later)).toMatchObject({ status: 'PENDING', attemptCount: 0 });
      moveClock(35);
      await attempted(later);
      await Promise.all([removeEndpoint(endpoint), removeEndpoint(other)]);
    });

    it('is disabled at once when it answers 410, which the others hear of', async () => {
      const witness = await createEndpoint({ eventTypes: ['WEBHOOK_ENDPOINT_DISABLED'] });
      const endpoint = await createEndpoint({ path: '/gone' });
      const delivery = await attempted(await sendTest(endpoint));
      expect(delivery).toMatchObject({ status: 'EXHAUSTED', nextAttemptAt: null });
      const [event] = await eventsAt(witness.path, ['webhook_endpoint.disabled']);
      expect(event!.json.data.endpoint).toMatchObject({ id: endpoint.id, disabledReason: 'GONE' });
      // Its URL may contain a token.
      expect(JSON.stringify(event!.json)).not.toContain('/gone');
      expect(await deliveriesOf(endpoint.id)).toMatchObject({
        enabled: false,
        disabledReason: 'GONE',
        disabledCursor: expect.any(String),
      });
      const listed = await server.client.send(
        '{ webhookEndpoints(filter: { enabled: false }) { nodes { id } } }',
      );
      expect(listed.data.webhookEndpoints.nodes).toEqual([{ id: endpoint.id }]);
      expect(await problemsOf('sendTestWebhook', { id: endpoint.id })).toMatchObject([
        { code: 'INVALID_STATE' },
      ]);
      await Promise.all([removeEndpoint(endpoint), removeEndpoint(witness)]);
    });
  });

  describe('rotateWebhookSecret', () => {
    it('keeps both secrets valid for a day, for both kinds of receivers', async () => {
      const endpoint = await createEndpoint();
      const rotated = await runMutation(
        server.client,
        'rotateWebhookSecret',
        { id: endpoint.id },
        'secret webhookEndpoint { previousSecretExpiresAt }',
      );
      expect(rotated.secret).not.toBe(endpoint.secret);
      /** Accepts what this secret verifies, as a receiver does. */
      const knows = (secret: string) =>
        receiver.on(endpoint.path, (response, request) =>
          response.writeHead(verifiesByRecipe(request, secret) ? 204 : 401).end(),
        );
      knows(endpoint.secret);
      expect(await attempted(await sendTest(endpoint))).toMatchObject({ status: 'DELIVERED' });
      const [request] = receiver.at(endpoint.path);
      expect(request!.headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);

      knows(rotated.secret);
      const id = await sendTest(endpoint);
      expect(await attempted(id)).toMatchObject({ status: 'RETRYING' });
      moveClock(10);
      expect(await attempted(id, 2)).toMatchObject({ status: 'DELIVERED' });
      // It has shown that it knows the new one.
      expect(await attempted(await sendTest(endpoint))).toMatchObject({
        status: 'DELIVERED',
        attemptCount: 1,
      });
      moveClock(86_400);
      await attempted(await sendTest(endpoint));
      const last = receiver.at(endpoint.path).at(-1)!;
      expect(last.headers['webhook-signature']).toMatch(/^v1,\S+$/);
      await removeEndpoint(endpoint);
    });

    it('tries the previous secret first when the one that was accepted has been replaced', async () => {
      const endpoint = await createEndpoint();
      const rotate = () =>
        runMutation(server.client, 'rotateWebhookSecret', { id: endpoint.id }, 'secret');
      const { secret } = await rotate();
      receiver.on(endpoint.path, (response) => response.writeHead(401).end());
      const id = await sendTest(endpoint);
      await attempted(id);
      // Rotated again while the receiver accepts the secret.
      receiver.on(endpoint.path, async (response) => {
        await rotate();
        response.writeHead(204).end();
      });
      moveClock(10);
      expect(await attempted(id, 2)).toMatchObject({ status: 'DELIVERED' });
      receiver.on(endpoint.path, (response) => response.writeHead(204).end());
      await attempted(await sendTest(endpoint));
      expect(verifiesByRecipe(receiver.at(endpoint.path).at(-1)!, secret)).toBe(true);
      await removeEndpoint(endpoint);
    });
  });
}
