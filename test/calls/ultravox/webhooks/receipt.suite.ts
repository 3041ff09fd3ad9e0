/** Webhooks that are forged, repeated, reordered or malformed. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { signWebhook } from '../../../../src/ultravox/signature.ts';
import {
  type CallView,
  callOf,
  isBilled,
  steered,
  typesOf,
  uuidOf,
  waitForCall,
} from '../../support.ts';
import {
  ANSWERED,
  caller,
  type PostOptions,
  post,
  server,
  storedOf,
  unheard,
  worked,
} from './server.ts';

export function receiptSuite(): void {
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

  it.each([
    ['joined in the year 9998', { joined: '9998-01-01T00:00:00Z' }],
    ['joined in the year 275760', { joined: '+275760-09-13T00:00:00Z' }],
    ['joined in the year 1', { joined: '0001-01-01T00:00:00Z' }],
    ['ended in the year 9998', { ended: '9998-01-01T00:00:00Z' }],
    ['ended before it was joined', { ended: '1999-01-01T00:00:00Z' }],
  ])('ends a call that was allegedly %s', async (_, times) => {
    const call = await unheard();
    const { joined, ended } = { ...call.ended.call, ...times };
    await post(server, { event: 'call.joined', call: { ...call.joined.call, joined } });
    await post(server, { event: 'call.ended', call: { ...call.ended.call, joined, ended } });
    await post(server, { event: 'call.billed', call: { ...call.billed.call, joined, ended } });
    await worked(server, call.ultravoxId, 3);
    const seen = await callOf(caller.client, call.id);
    expect(typesOf(seen)).toEqual(ANSWERED);
    expect(seen.durationSeconds).toBeGreaterThanOrEqual(0);
    const day = 24 * 3_600_000;
    for (const at of [seen.answeredAt, seen.endedAt].map(Date.parse)) {
      expect(Math.abs(at - Date.now())).toBeLessThan(25 * day);
    }
  });

  it('refuses a webhook that cannot be stored', async () => {
    const { ultravoxId, ended } = await unheard();
    const long = randomBytes(3_000).toString('hex');
    const nested = (levels: number) =>
      JSON.stringify({ ...ended, call: { ...ended.call, later: 'HERE' } }).replace(
        '"HERE"',
        '['.repeat(levels) + ']'.repeat(levels),
      );
    const bodies = [
      JSON.stringify({ ...ended, event: long }),
      JSON.stringify({ ...ended, call: { ...ended.call, callId: long } }),
      nested(20_000),
      nested(500_000),
    ];
    for (const body of bodies) expect(await post(server, {}, { body })).toBe(400);
    expect(await storedOf(server, ultravoxId)).toEqual([]);
    expect(await post(server, {}, { body: nested(50) })).toBe(204);
    await worked(server, ultravoxId, 1);
  });
}
