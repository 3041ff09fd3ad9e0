import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import {
  ALL_EVENTS,
  type Api,
  apiOf,
  type Body,
  billed,
  dial,
  isSigned,
  makeAgent,
  type Receiver,
  startReceiver,
  until,
} from './harness.ts';

const SECRETS = ['first-secret', 'second-secret'];
let simulator: Simulator;
let api: Api;
let receiver: Receiver;
let agent: Body;
let hook: Body;

beforeEach(async () => {
  simulator = await startSimulator({ speed: 300, settings: { webhookRetryFactor: 0.1 } });
  api = apiOf(simulator);
  receiver = await startReceiver();
  agent = await makeAgent(api);
  hook = (
    await api('POST', '/api/webhooks', { url: receiver.url, events: ALL_EVENTS, secrets: SECRETS })
  ).body;
});
afterEach(async () => {
  await simulator.close();
  await receiver.close();
});

const eventsOf = (callId: string) =>
  receiver.received.filter((item) => item.callId === callId).map((item) => item.event);

describe('webhooks of the simulator', () => {
  it('wait only as long as the fault that delays them says', async () => {
    simulator.setFaults([
      { kind: 'webhookDelay', ms: 1, event: 'call.started' },
      { kind: 'webhookDuplicate', ms: 3_600_000, event: 'call.started' },
    ]);
    const { callId } = await dial(api, agent.agentId, '+14155551234');
    await until(
      'both copies',
      () => eventsOf(callId).filter((e) => e === 'call.started').length === 2,
    );
  });

  it('report the events of a call in order, signed with every secret', async () => {
    const call = await dial(api, agent.agentId, '+14155551234');
    await until('four deliveries', () => receiver.received.length === 4);
    expect(eventsOf(call.callId)).toEqual(ALL_EVENTS);
    for (const item of receiver.received) {
      expect(String(item.headers['x-ultravox-webhook-signature']).split(',')).toHaveLength(2);
      expect(SECRETS.every((secret) => isSigned(item, secret))).toBe(true);
      const sent = Date.parse(String(item.headers['x-ultravox-webhook-timestamp']));
      expect(Math.abs(sent - item.at)).toBeLessThan(5000);
    }
    expect(receiver.received.at(-1)?.call).toEqual(
      (await api('GET', `/api/calls/${call.callId}`)).body,
    );
  });

  it('are sent to hooks of the agent and event, and to callbacks of the call', async () => {
    const other = await makeAgent(api, {}, 'Other');
    await api('PATCH', `/api/webhooks/${hook.webhookId}`, {
      agentId: other.agentId,
      events: ['call.ended'],
    });
    const aside = await startReceiver();
    const callbacks = { billed: { url: aside.url, secrets: ['callback-secret'] } };
    const ours = await dial(api, agent.agentId, '+14155550001', { callbacks });
    const theirs = await dial(api, other.agentId, '+14155550001');
    await Promise.all([billed(api, ours.callId), billed(api, theirs.callId)]);
    await until('the callback', () => aside.received.length === 1);
    await until('the hook', () => receiver.received.length === 1);
    expect(eventsOf(theirs.callId)).toEqual(['call.ended']);
    expect(aside.received[0]).toMatchObject({ event: 'call.billed', callId: ours.callId });
    expect(aside.received.every((item) => isSigned(item, 'callback-secret'))).toBe(true);
    await aside.close();
  });

  it('are retried with a new signature, and failures are recorded', async () => {
    let refusals = 3;
    receiver.answer((item) => (item.event === 'call.started' && refusals-- > 0 ? 500 : 204));
    await dial(api, agent.agentId, '+14155550001');
    const delivery = await until('the delivery to succeed', async () => {
      const { body } = await api('GET', '/simulator/deliveries?event=call.started');
      return body.results[0]?.state === 'delivered' && body.results[0];
    });
    expect(delivery.attempts.map((attempt: Body) => attempt.status)).toEqual([500, 500, 500, 204]);
    const pauses = receiver.received
      .filter((item) => item.event === 'call.started')
      .map((item, index, all) => item.at - (all[index - 1]?.at ?? item.at));
    // 30 s, 60 s and 120 s, a tenth of that, 300 times faster: 10, 20 and 40 ms.
    expect(pauses[3]).toBeGreaterThanOrEqual(38);
    expect(receiver.received.every((item) => isSigned(item, 'first-secret'))).toBe(true);
    const { body } = await api('GET', `/api/webhooks/${hook.webhookId}`);
    expect(body.recentFailures[0]).toEqual({ timestamp: expect.any(String), failure: 'HTTP 500' });
  });

  it('make a hook unhealthy and stop after the last retry', async () => {
    simulator.updateSettings({ webhookMaxRetries: 2, unhealthyAfterFailures: 3 });
    receiver.answer(() => 404);
    const call = await dial(api, agent.agentId, '+14155550001');
    await until('every delivery to be given up', () => {
      const ours = simulator.deliveries().filter((item) => item.callId === call.callId);
      return ours.length === 3 && ours.every((item) => item.state === 'exhausted');
    });
    expect(simulator.deliveries().every((item) => item.attempts.length === 3)).toBe(true);
    const { body } = await api('GET', `/api/webhooks/${hook.webhookId}`);
    expect(body.status).toBe('unhealthy');
    expect(body.lastStatusChange).not.toBeNull();
  });

  it('can be lost, repeated, badly signed, stale and out of order', async () => {
    simulator.setFaults([
      { kind: 'webhookReorder', event: 'call.started', ms: 2_000 },
      { kind: 'webhookDuplicate', event: 'call.joined', count: 1 },
      { kind: 'webhookLost', event: 'call.ended' },
      { kind: 'webhookStaleTimestamp', event: 'call.joined' },
      { kind: 'webhookBadSignature', event: 'call.billed' },
    ]);
    const call = await dial(api, agent.agentId, '+14155551234');
    await until(
      'all of them',
      () => eventsOf(call.callId).includes('call.started') && eventsOf(call.callId).length >= 4,
    );
    expect(eventsOf(call.callId).toSorted()).toEqual([
      'call.billed',
      'call.joined',
      'call.joined',
      'call.started',
    ]);
    expect(eventsOf(call.callId)[0]).not.toBe('call.started');
    for (const item of receiver.received) {
      expect(isSigned(item, 'first-secret')).toBe(item.event !== 'call.billed');
      const age = item.at - Date.parse(String(item.headers['x-ultravox-webhook-timestamp']));
      expect(age > 300_000).toBe(item.event === 'call.joined');
    }
    expect(simulator.faults().find((fault) => fault.kind === 'webhookDuplicate')?.count).toBe(0);
  });

  it('are rejected with an invalid address or event', async () => {
    const url = receiver.url;
    for (const body of [
      { events: ALL_EVENTS },
      { url, events: ['call.dreamt'] },
      { url: 'ftp://x', events: ALL_EVENTS },
      { url: `http://x.test/${'x'.repeat(200)}`, events: ALL_EVENTS },
      { url, events: ALL_EVENTS, secrets: ['x'.repeat(121)] },
      { url, events: ALL_EVENTS, agentId: crypto.randomUUID() },
    ]) {
      expect((await api('POST', '/api/webhooks', body)).status).toBe(400);
    }
    const made = (await api('POST', '/api/webhooks', { url, events: ['call.ended'] })).body;
    expect(made.secrets).toHaveLength(1);
    expect((await api('DELETE', `/api/webhooks/${made.webhookId}`)).status).toBe(204);
  });
});
