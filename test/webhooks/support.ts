/** A server with a webhook receiver and an adjustable clock, and helpers to inspect deliveries. */
import { afterAll, beforeAll } from 'vitest';
import { announceDeliveries } from '../../src/webhooks/sending/sender.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  type Received,
  type Receiver,
  startReceiver,
  verifiesByRecipe as verifiesAt,
} from './receiver.ts';

/** What is sent of a call that is answered, in order, before its results. */
export const CALL_EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'];

export let server: TestServer;
export let receiver: Receiver;
export let caller: Caller;

let offsetMs = 0;

/** Moves the clock ahead, and has the senders look at it. */
export function moveClock(seconds: number): void {
  offsetMs += seconds * 1000;
  announceDeliveries(server.app);
}

export function useWebhookServer(): void {
  beforeAll(async () => {
    receiver = await startReceiver();
    server = await startTestServer({
      settings: {
        WEBHOOK_ALLOWED_URLS: `${receiver.url}/`,
        WEBHOOK_TIMEOUT_SECONDS: '3',
        TRANSCRIPT_RETENTION_DAYS: '3650',
      },
      simulator: { talkSeconds: 5, summaryDelaySeconds: 0 },
      now: () => new Date(Date.now() + offsetMs),
    });
    caller = await prepareCaller(server.client);
  });
  afterAll(async () => {
    await server?.close();
    await receiver?.close();
  });
}

export interface Endpoint {
  id: string;
  secret: string;
  path: string;
}

let made = 0;

/** An endpoint at a path of the receiver; without one, at a new path that answers 204. */
export async function createEndpoint(
  input: Record<string, unknown> = {},
  client: GraphQLClient = server.client,
): Promise<Endpoint> {
  made += 1;
  const { path = `/ok/${made}`, ...more } = input as { path?: string };
  const { webhookEndpoint, secret } = await runMutation(
    client,
    'createWebhookEndpoint',
    { url: `${receiver.url}${path}`, ...more },
    'webhookEndpoint { id } secret',
  );
  return { id: webhookEndpoint.id, secret, path };
}

export async function removeEndpoint({ id }: Pick<Endpoint, 'id'>): Promise<void> {
  await runMutation(server.client, 'deleteWebhookEndpoint', { id }, 'deletedWebhookEndpointId');
}

/** Sends a test event and returns its delivery. */
export async function sendTest({ id }: Pick<Endpoint, 'id'>, client = server.client) {
  const { webhookDelivery } = await runMutation(
    client,
    'sendTestWebhook',
    { id },
    'webhookDelivery { id }',
  );
  return webhookDelivery.id as string;
}

const DELIVERY = `id eventId eventType cursor status attemptCount nextAttemptAt finishedAt body
  attempts { totalCount nodes { number startedAt durationSeconds statusCode error responseBody } }`;

// biome-ignore lint/suspicious/noExplicitAny: whatever DELIVERY asks for
export async function deliveryOf(id: string, client = server.client): Promise<any> {
  const query = `query ($id: ID!) { webhookDelivery(id: $id) { ${DELIVERY} } }`;
  const { data } = await client.send(query, { id });
  return data.webhookDelivery;
}

/** Waits until a delivery has had so many attempts. */
export function attempted(id: string, count = 1) {
  return until(`attempt ${count}`, async () => {
    const delivery = await deliveryOf(id);
    return delivery.attemptCount >= count && delivery;
  });
}

export async function deliveriesOf(id: string, filter = '') {
  const answer = await server.client.send(
    `query ($id: ID!) { webhookEndpoint(id: $id) {
      enabled disabledReason disabledCursor failingSince pausedUntil replayCursor
      deliveries(first: 100${filter}) { totalCount nodes { ${DELIVERY} } } } }`,
    { id },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.webhookEndpoint;
}

/** Waits until a path has received these event types, in any order. */
export function eventsAt(path: string, types: readonly string[]): Promise<Received[]> {
  return until(`${types} at ${path}`, () => {
    const got = receiver.at(path);
    const seen = new Set(got.map(({ json }) => json.event));
    return types.every((type) => seen.has(type)) && got;
  });
}

/** As receivers of Truedy verify, by the clock of the server. */
export function verifiesByRecipe(request: Received, secret: string): boolean {
  return verifiesAt(request, secret, Date.now() + offsetMs);
}

/** The user errors of a mutation, or the messages of the errors that refused it. */
export async function problemsOf(
  name: string,
  input: Record<string, unknown>,
  client = server.client,
) {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { userErrors { code path message } } }`,
    { input },
  );
  if (answer.errors) return answer.errors.map(({ message }) => message);
  return answer.data[name].userErrors;
}
