/** Webhooks with bodies of many megabytes, which are in memory while their receivers take them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { announceDeliveries } from '../../src/webhooks/sending/sender.ts';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { addWebhooks } from './large-webhooks.ts';
import { type Receiver, startReceiver } from './receiver.ts';

const MB = 2 ** 20;
const PATHS = ['/one', '/two', '/three'];
const DELIVERIES = 3;

let server: TestServer;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  server = await startTestServer({
    settings: { WEBHOOK_ALLOWED_URLS: `${receiver.url}/`, WEBHOOK_TIMEOUT_SECONDS: '30' },
  });
});
afterAll(async () => {
  await server?.close();
  await receiver?.close();
});

/** An endpoint to which large webhooks are due. */
async function addEndpoint(path: string): Promise<void> {
  const { webhookEndpoint } = await runMutation(
    server.client,
    'createWebhookEndpoint',
    { url: receiver.url + path, eventTypes: ['AGENT_SYNCED'] },
    'webhookEndpoint { id }',
  );
  await addWebhooks(server, webhookEndpoint.id.slice(4), {
    ...{ count: DELIVERIES, bytes: 9 * MB, nextAttemptAt: new Date() },
  });
}

/** Number of deliveries that are being sent. */
async function countClaimed(): Promise<number> {
  const [row] = await server.app.db.$queryRaw<[{ count: number }]>`
    SELECT count(*)::int AS count FROM webhook_deliveries WHERE claimed_until > clock_timestamp()`;
  return row.count;
}

it('sends webhooks with up to 32 MiB of an organization at the same time, and the others in turn', async () => {
  let isHolding = true;
  const held: (() => void)[] = [];
  for (const path of PATHS) {
    receiver.on(path, (response) => {
      const answer = () => void response.writeHead(204).end();
      if (isHolding) held.push(answer);
      else answer();
    });
    await addEndpoint(path);
  }
  announceDeliveries(server.app);
  await until('all requests that are sent together', async () => {
    const received = held.length;
    return received > 1 && (await countClaimed()) === received;
  });
  // Four take all the room. A fifth may be claimed at the same time as the fourth, while some room is left.
  expect(held.length).toBeLessThanOrEqual(5);
  isHolding = false;
  for (const answer of held) answer();
  await until('all webhooks', () => receiver.received.length === PATHS.length * DELIVERIES);
}, 60_000);
