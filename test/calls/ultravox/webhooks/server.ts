/** The server that the suites in this folder share, and deliveries to it. */
import { afterAll, beforeAll } from 'vitest';
import { signWebhook } from '../../../../src/ultravox/signature.ts';
import { startTestServer, type TestServer } from '../../../support/servers/server.ts';
import { until } from '../../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  dial,
  newCaller,
  newPerson,
  rowOf,
  setFaults,
} from '../../support.ts';

export const ANSWERED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

export interface PostOptions {
  at?: Date;
  headers?: Record<string, string>;
  body?: string;
  secret?: string;
}

/** Delivers something as Ultravox would. */
export async function post(server: TestServer, delivery: object, options: PostOptions = {}) {
  const body = options.body ?? JSON.stringify(delivery);
  const timestamp = (options.at ?? new Date()).toISOString();
  const secret = options.secret ?? server.app.cipher.derive('ultravox-webhook');
  const response = await fetch(`${server.url}/webhooks/ultravox`, {
    method: 'POST',
    headers: options.headers ?? {
      'content-type': 'application/json',
      'x-ultravox-webhook-timestamp': timestamp,
      'x-ultravox-webhook-signature': signWebhook(secret, body, timestamp),
    },
    body,
  });
  return response.status;
}

export const storedOf = (server: TestServer, ultravoxId: string) =>
  server.app.db.ultravoxWebhook.findMany({ where: { ultravoxCallId: ultravoxId } });

export const worked = (server: TestServer, ultravoxId: string, count: number) =>
  until('the webhooks to be worked on', async () => {
    const stored = await storedOf(server, ultravoxId);
    return stored.filter(({ processedAt }) => processedAt).length === count;
  });

/** Ultravox’s own deliveries are lost and nothing is looked up: only what tests deliver counts. */
export let server: TestServer;

export let caller: Caller;

/** A call that is over and billed at Ultravox, and only rings here. */
export async function unheard(number = newPerson()) {
  const { id } = await dial(caller, number);
  const { ultravoxId } = await rowOf(server, id);
  const remote = await until('the bill', async () => {
    const { body } = await atSimulator(server, 'GET', `/api/calls/${ultravoxId}`);
    return body.billingStatus !== 'BILLING_STATUS_PENDING' ? body : null;
  });
  const pending = { ...remote, billingStatus: 'BILLING_STATUS_PENDING', billedDuration: null };
  const ended = { event: 'call.ended', call: pending };
  const live = { ...pending, ended: null, endReason: null };
  return {
    id,
    ultravoxId: ultravoxId!,
    started: { event: 'call.started', call: { ...live, joined: null } },
    joined: { event: 'call.joined', call: live },
    ended,
    billed: { event: 'call.billed', call: remote },
  };
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useWebhookServer(): void {
  beforeAll(async () => {
    server = await startTestServer({
      settings: { CALL_CHECK_SECONDS: '3600', LOG_LEVEL: 'silent' },
      simulator: { ringSeconds: 0.1, talkSeconds: 6, jitter: 0, billingDelaySeconds: 0.1 },
    });
    caller = await newCaller(server);
    await setFaults(server, [{ kind: 'webhookLost' }]);
  });
  afterAll(() => server.close());
}
