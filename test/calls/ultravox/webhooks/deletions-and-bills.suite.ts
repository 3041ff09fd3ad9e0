/** Webhooks for deleted calls, and bills that are unusual. */
import { expect, it } from 'vitest';
import { until } from '../../../support/wait.ts';
import {
  type CallView,
  callOf,
  done,
  isBilled,
  rowOf,
  typesOf,
  uuidOf,
  waitForCall,
} from '../../support.ts';
import { ANSWERED, caller, post, server, storedOf, unheard, worked } from './server.ts';

export function deletionsAndBillsSuite(): void {
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
}
