/** Webhooks from Ultravox that are forged, repeated, reordered or failed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCalls } from '../../../src/calls/lock.ts';
import { updateOf } from '../../../src/calls/ultravox/apply-update.ts';
import { dropOldWebhooks } from '../../../src/calls/ultravox/webhooks.ts';
import { writeUpdates } from '../../../src/calls/updates/write-updates.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { newId } from '../../../src/infra/ids.ts';
import { signWebhook } from '../../../src/ultravox/signature.ts';
import { callSchema } from '../../../src/ultravox/wire.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  type CallView,
  callOf,
  dial,
  done,
  isBilled,
  newCaller,
  newPerson,
  rowOf,
  setFaults,
  steered,
  typesOf,
  uuidOf,
  waitForCall,
} from '../support.ts';

const ANSWERED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

interface PostOptions {
  at?: Date;
  headers?: Record<string, string>;
  body?: string;
  secret?: string;
}

/** Delivers something as Ultravox would. */
async function post(server: TestServer, delivery: object, options: PostOptions = {}) {
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

const storedOf = (server: TestServer, ultravoxId: string) =>
  server.app.db.ultravoxWebhook.findMany({ where: { ultravoxCallId: ultravoxId } });

const worked = (server: TestServer, ultravoxId: string, count: number) =>
  until('the webhooks to be worked on', async () => {
    const stored = await storedOf(server, ultravoxId);
    return stored.filter(({ processedAt }) => processedAt).length === count;
  });

describe('receiveUltravoxWebhook', () => {
  /** Ultravox’s own deliveries are lost and nothing is looked up: only what tests deliver counts. */
  let server: TestServer;
  let caller: Caller;

  beforeAll(async () => {
    server = await startTestServer({
      settings: { CALL_CHECK_SECONDS: '3600', LOG_LEVEL: 'silent' },
      simulator: { ringSeconds: 0.1, talkSeconds: 6, jitter: 0, billingDelaySeconds: 0.1 },
    });
    caller = await newCaller(server);
    await setFaults(server, [{ kind: 'webhookLost' }]);
  });
  afterAll(() => server.close());

  /** A call that is over and billed at Ultravox, and only rings here. */
  async function unheard(number = newPerson()) {
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

  it('rejects a webhook with a bad signature, age or body, and changes nothing', async () => {
    const { id, ultravoxId, ended } = await unheard();
    const { call } = ended;
    const now = new Date().toISOString();
    const body = JSON.stringify(ended);
    const signature = signWebhook(server.app.cipher.derive('ultravox-webhook'), body, now);
    const cases: [number, PostOptions][] = [
      [401, { secret: 'somebody else’s secret' }],
      [401, { at: new Date(Date.now() - 61_000) }],
      [401, { at: new Date(Date.now() - 3_600_000) }],
      [401, { at: new Date(Date.now() + 60_000) }],
      [401, { headers: {} }],
      [401, { headers: { 'x-ultravox-webhook-timestamp': now } }],
      [401, { headers: { 'x-ultravox-webhook-signature': signature } }],
      // The signature is of another body, or of another time.
      [
        401,
        {
          body: JSON.stringify({ ...ended, call: { ...call, endReason: 'timeout' } }),
          headers: {
            'x-ultravox-webhook-timestamp': now,
            'x-ultravox-webhook-signature': signature,
          },
        },
      ],
      [
        401,
        {
          body,
          headers: {
            'x-ultravox-webhook-timestamp': new Date(Date.now() - 1_000).toISOString(),
            'x-ultravox-webhook-signature': signature,
          },
        },
      ],
      [400, { body: 'not JSON' }],
      [400, { body: '' }],
      [400, { body: '{"event":"call.ended"}' }],
      [400, { body: JSON.stringify({ event: 'call.ended', call: { callId: ultravoxId } }) }],
    ];
    for (const [status, options] of cases) {
      expect([await post(server, ended, options), JSON.stringify(options)]).toEqual([
        status,
        JSON.stringify(options),
      ]);
    }
    expect(await storedOf(server, ultravoxId)).toEqual([]);
    expect((await callOf(caller.client, id)).status).toBe('RINGING');
    // The same, properly signed and fresh enough, is taken.
    expect(await post(server, ended, { at: new Date(Date.now() - 50_000) })).toBe(204);
    await waitForCall(caller.client, id, 'over', ({ status }) => status === 'COMPLETED');
  });

  it('processes a repeated webhook once, also when delivered at the same time', async () => {
    const call = await unheard();
    for (const delivery of [call.started, call.joined, call.ended, call.billed]) {
      const statuses = await Promise.all(Array.from({ length: 10 }, () => post(server, delivery)));
      expect(new Set(statuses)).toEqual(new Set([204]));
    }
    await waitForCall(caller.client, call.id, 'billed', isBilled);
    for (const delivery of [call.billed, call.joined, call.started]) await post(server, delivery);
    await worked(server, call.ultravoxId, 4);
    const seen = await callOf(caller.client, call.id);
    expect(typesOf(seen)).toEqual(ANSWERED);
    expect(seen.events.nodes.map(({ sequence }: CallView) => sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(seen.billedDurationSeconds).toBe(6);
  });

  it('applies a webhook in the transaction that stores it, and one of a locked call later', async () => {
    const { db } = server.app;
    const storedAlone = async (call: { ultravoxId: string }) => {
      const [row] = await db.$queryRaw<{ alone: boolean }[]>`
        SELECT w.xmin <> c.xmin AS alone FROM ultravox_webhooks w
        JOIN calls c ON c.ultravox_id = w.ultravox_call_id
        WHERE c.ultravox_id = ${call.ultravoxId}`;
      return row?.alone;
    };
    const free = await unheard();
    await post(server, free.billed);
    expect(await callOf(caller.client, free.id)).toMatchObject({ billingStatus: 'BILLED' });
    expect(await storedAlone(free)).toBe(false);

    const locked = await unheard();
    await db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${uuidOf(locked.id)}::uuid FOR UPDATE`;
      expect(await post(server, locked.billed)).toBe(204);
      expect(await storedOf(server, locked.ultravoxId)).toMatchObject([{ processedAt: null }]);
    });
    await waitForCall(caller.client, locked.id, 'billed', isBilled);
    await worked(server, locked.ultravoxId, 1);
  });

  it('ignores a webhook that arrives after a newer one', async () => {
    const orders = [
      ['ended', 'joined', 'started', 'billed'],
      ['billed', 'ended', 'joined', 'started'],
      ['joined', 'billed', 'started', 'ended'],
    ] as const;
    for (const order of orders) {
      const call = await unheard();
      for (const [index, name] of order.entries()) {
        expect(await post(server, call[name])).toBe(204);
        await worked(server, call.ultravoxId, index + 1);
      }
      const seen = await callOf(caller.client, call.id);
      expect(seen).toMatchObject({ status: 'COMPLETED', endReason: 'HANGUP' });
      expect(seen.billingStatus).toBe('BILLED');
      expect(typesOf(seen)).toEqual(ANSWERED);
      const { joined, ended } = call.billed.call;
      expect([new Date(seen.answeredAt), new Date(seen.endedAt)]).toEqual([
        new Date(joined),
        new Date(ended),
      ]);
    }
  });

  it('produces the same events for any order of webhooks', async () => {
    const call = await unheard();
    const all = [call.ended, call.started, call.billed, call.joined];
    await Promise.all(all.map((delivery) => post(server, delivery)));
    await worked(server, call.ultravoxId, 4);
    const seen = await callOf(caller.client, call.id);
    expect(typesOf(seen)).toEqual(ANSWERED);
  });

  it('produces all events from the last webhook alone', async () => {
    const call = await unheard(steered('0001'));
    await post(server, call.billed);
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(seen).toMatchObject({ status: 'FAILED', endReason: 'BUSY', billingStatus: 'FREE' });
    expect(typesOf(seen)).toEqual(['CREATED', 'RINGING', 'FAILED', 'BILLED']);
  });

  it('applies a webhook whose less important members have other types than documented', async () => {
    const call = await unheard();
    const drifted = { ...call.billed.call, billedSideInputTokens: {}, temperature: 'warm' };
    expect(await post(server, { event: 'call.billed', call: drifted })).toBe(204);
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(seen.billedDurationSeconds).toBe(6);
  });

  it('processes a webhook whose process died after it was stored', async () => {
    const call = await unheard();
    const id = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id,
        ultravoxCallId: call.ultravoxId,
        event: 'call.billed',
        payload: call.billed.call,
        receivedAt: new Date(Date.now() - 60_000),
      },
    });
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(typesOf(seen)).toEqual(ANSWERED);
    const stored = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(stored.processedAt).not.toBeNull();
    await server.app.db.ultravoxWebhook.update({
      where: { id },
      data: { processedAt: new Date(Date.now() - 3_601_000) },
    });
    await dropOldWebhooks(server.app);
    const kept = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(kept.payload).toEqual({});
  });

  it('retries a webhook that fails with a growing delay, without delaying others', async () => {
    const call = await unheard();
    const broken = newId();
    await server.app.db.ultravoxWebhook.createMany({
      data: [
        {
          id: broken,
          ultravoxCallId: newId(),
          event: 'call.ended',
          payload: { callId: 7 },
          receivedAt: new Date(Date.now() - 120_000),
          attempts: 5,
          nextAttemptAt: new Date(),
        },
        {
          id: newId(),
          ultravoxCallId: call.ultravoxId,
          event: 'call.ended',
          payload: call.ended.call,
          receivedAt: new Date(Date.now() - 60_000),
        },
      ],
    });
    await waitForCall(caller.client, call.id, 'over', ({ status }) => status === 'COMPLETED');
    const row = await until('the failure to be recorded', async () => {
      const found = await server.app.db.ultravoxWebhook.findUnique({ where: { id: broken } });
      return found?.error ? found : null;
    });
    expect(row).toMatchObject({ attempts: 6, processedAt: null, failedAt: null });
    const delay = row.nextAttemptAt!.getTime() - Date.now();
    expect(delay).toBeGreaterThan(80_000);
    expect(delay).toBeLessThanOrEqual(96_000);
  });

  it('processes webhooks that arrive with one that fails, or whose call is locked', async () => {
    const [failing, locked, good] = [await unheard(), await unheard(), await unheard()];
    const tooLong = { ...failing.billed.call, ended: '2099-01-01T00:00:00Z' };
    await server.app.db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${uuidOf(locked.id)}::uuid FOR UPDATE`;
        const statuses = await Promise.all(
          [{ event: 'call.billed', call: tooLong }, locked.billed, good.billed].map((delivery) =>
            post(server, delivery),
          ),
        );
        expect(new Set(statuses)).toEqual(new Set([204]));
        await waitForCall(caller.client, good.id, 'billed', isBilled);
        // A webhook does not wait for ever for a lock, such as that of a process that is frozen.
        for (const { ultravoxId } of [failing, locked]) {
          const row = await until('the failure to be recorded', () =>
            server.app.db.ultravoxWebhook.findFirst({
              where: { ultravoxCallId: ultravoxId, error: { not: null } },
            }),
          );
          expect(row.processedAt).toBeNull();
        }
        expect((await callOf(caller.client, locked.id)).status).toBe('RINGING');
      },
      { timeout: 60_000 },
    );
    await waitForCall(caller.client, locked.id, 'billed', isBilled);
    expect((await callOf(caller.client, failing.id)).status).toBe('RINGING');
  });

  it('writes nothing over a call that has changed since it was read', async () => {
    const { app } = server;
    const { id, ended } = await unheard();
    const where = { id: uuidOf(id) };
    const apply = async (change: () => Promise<unknown>): Promise<number> => {
      const read = await readCalls(app.db, Prisma.sql`id = ${where.id}::uuid`);
      const updates = read.map(({ call, version }) => ({
        ...updateOf(app, call, { seen: callSchema.parse(ended.call) }),
        version,
      }));
      await change();
      return (await writeUpdates(app, app.db, updates)).ids.size;
    };
    const data = { answeredBy: 'HUMAN' } as const;
    expect(await apply(() => app.db.call.update({ where, data }))).toBe(0);
    expect(typesOf(await callOf(caller.client, id))).toEqual(['CREATED', 'RINGING']);
    expect(await apply(async () => undefined)).toBe(1);
    expect(typesOf(await callOf(caller.client, id))).toEqual(ANSWERED.slice(0, 4));
    expect(await rowOf(server, id)).toMatchObject({ status: 'COMPLETED', ...data });
  });

  it('marks a webhook as failed after its last attempt and counts it in /health', async () => {
    const failedWebhooks = async (): Promise<number> => {
      const response = await fetch(`${server.url}/health`);
      return ((await response.json()) as { failedWebhooks: number }).failedWebhooks;
    };
    expect(await failedWebhooks()).toBe(0);
    const id = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id,
        ultravoxCallId: newId(),
        event: 'call.ended',
        payload: { callId: 7 },
        receivedAt: new Date(Date.now() - 6 * 3_600_000),
        attempts: 14,
        nextAttemptAt: new Date(),
      },
    });
    await until('the webhook to be given up', async () => (await failedWebhooks()) === 1);
    const row = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(row).toMatchObject({
      attempts: 15,
      payload: { callId: 7 },
      error: expect.stringContaining('expected string'),
      processedAt: null,
      nextAttemptAt: null,
    });
  });

  it('restores nothing of a deleted call', async () => {
    const call = await unheard();
    await post(server, call.ended);
    await worked(server, call.ultravoxId, 1);
    const stored = await server.app.db.ultravoxWebhook.findFirstOrThrow({
      where: { ultravoxCallId: call.ultravoxId },
    });
    await done(caller.client, 'deleteCalls', { ids: [call.id] });
    // The job that removes it at Ultravox ends with a look at its webhooks.
    await until('its removal', async () => {
      const row = await server.app.db.ultravoxWebhook.findUniqueOrThrow({
        where: { id: stored.id },
      });
      return row.processedAt! > stored.processedAt!;
    });
    await post(server, call.billed);
    await worked(server, call.ultravoxId, 2);
    expect(await storedOf(server, call.ultravoxId)).toMatchObject([
      { payload: {} },
      { payload: {} },
    ]);
    expect(await rowOf(server, call.id)).toMatchObject({
      phoneNumber: null,
      billingStatus: 'PENDING',
      costAmount: null,
    });
    const last = await server.app.db.event.findFirst({
      where: { callId: uuidOf(call.id) },
      orderBy: { sequence: 'desc' },
    });
    expect(last?.type).toBe('CALL_DELETED');
  });

  it('hangs up a deleted call that turns out to be live', async () => {
    const call = await unheard();
    await post(server, call.ended);
    await worked(server, call.ultravoxId, 1);
    await done(caller.client, 'deleteCalls', { ids: [call.id] });
    const hangUps = () =>
      server.simulator
        .requests()
        .filter(({ path }) => path.endsWith(`/calls/${call.ultravoxId}/send_data_message`)).length;
    await post(server, call.started);
    await worked(server, call.ultravoxId, 2);
    expect(hangUps()).toBe(0);
    await post(server, call.joined);
    await until('the hang-up', () => hangUps() > 0);
  });

  it('ends billing with an unknown status of a bill, and reports it', async () => {
    const call = await unheard();
    const billingStatus = 'BILLING_STATUS_COMPED';
    await post(server, { event: 'call.ended', call: { ...call.ended.call, billingStatus } });
    await worked(server, call.ultravoxId, 1);
    expect((await callOf(caller.client, call.id)).billingStatus).toBe('PENDING');
    await post(server, { event: 'call.billed', call: { ...call.billed.call, billingStatus } });
    await worked(server, call.ultravoxId, 2);
    const seen = await callOf(caller.client, call.id);
    expect([seen.billingStatus, seen.cost.amount]).toEqual(['FREE', '0']);
    expect(server.app.failures.counts()).toContainEqual(
      expect.objectContaining({ name: 'unknownBillingStatus', count: 1 }),
    );
  });

  it('bills a call that was taken for one that was never created', async () => {
    const call = await unheard();
    await server.app.db.call.update({
      where: { id: uuidOf(call.id) },
      data: {
        ...{ placement: 'NOT_CREATED', ultravoxId: null, status: 'FAILED', endedAt: new Date() },
        ...{ endReason: 'SYSTEM_ERROR', lostAt: null, billingStatus: 'FREE', costAmount: 0 },
      },
    });
    await post(server, call.ended);
    await worked(server, call.ultravoxId, 1);
    const pending = { billingStatus: 'PENDING', costAmount: null, nextCheckAt: expect.any(Date) };
    expect(await rowOf(server, call.id)).toMatchObject(pending);
    await post(server, call.billed);
    await waitForCall(caller.client, call.id, 'billed', isBilled);
  });

  it.each([
    ['BILLED for fewer seconds', { billedDuration: '1s' }],
    ['FREE', { billingStatus: 'BILLING_STATUS_FREE_OTHER' }],
  ])('replaces a bill of %s by the current one, and not the other way round', async (_, change) => {
    const call = await unheard();
    const current = call.billed;
    const old = { event: 'call.billed', call: { ...current.call, ...change } };
    const isCurrent = (seen: CallView) =>
      seen.billingStatus === 'BILLED' && seen.billedDurationSeconds === 6;
    await post(server, old);
    await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(isCurrent(await callOf(caller.client, call.id))).toBe(false);
    await post(server, current);
    await waitForCall(caller.client, call.id, 'billed anew', isCurrent);
    const { eventCount } = await rowOf(server, call.id);
    await post(server, old);
    await until('the look-up', async () => (await rowOf(server, call.id)).nextCheckAt === null);
    expect(isCurrent(await callOf(caller.client, call.id))).toBe(true);
    expect(await rowOf(server, call.id)).toMatchObject({ eventCount });
  });

  it('applies a refund, and ignores the older bill that arrives later', async () => {
    const call = await unheard();
    const refund = { ...call.billed.call, billingStatus: 'BILLING_STATUS_REFUNDED' };
    await post(server, call.billed);
    await worked(server, call.ultravoxId, 1);
    await post(server, { event: 'call.refunded', call: refund });
    await worked(server, call.ultravoxId, 2);
    await post(server, { event: 'call.late', call: call.billed.call });
    await worked(server, call.ultravoxId, 3);
    const seen = await callOf(caller.client, call.id);
    expect(seen.billingStatus).toBe('REFUNDED');
    expect(seen.cost.amount).toBe('0');
    expect(typesOf(seen)).toEqual([...ANSWERED, 'BILLED']);
  });
});
