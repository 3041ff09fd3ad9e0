/** Table tests: what becomes of released calls, without a database. */
import { describe, expect, it } from 'vitest';
import type { ReleasedCall } from '../../../src/campaigns/dispatch/campaign-slots.ts';
import { decideReleasedCalls } from '../../../src/campaigns/dispatch/released-calls.ts';
import type { Campaign } from '../../../src/generated/prisma/client.ts';
import { AGENT, CLOSES, cycleOf, later, releasedCall, slotsOf, TOKYO } from './cycles.ts';

describe('decideReleasedCalls', () => {
  type Case = { columns?: Partial<Campaign>; slots?: object; call?: Partial<ReleasedCall> };

  it.each<[string, Case, string]>([
    ['a paused campaign', { columns: { status: 'PAUSED' } }, 'CAMPAIGN_PAUSED'],
    ['a cancelled campaign', { columns: { status: 'CANCELLED' } }, 'CAMPAIGN_OVER'],
    ['a closed window', { columns: { startMinute: 18 * 60, endMinute: 20 * 60 } }, 'WINDOW_CLOSED'],
    [
      'a window that is closed for the contact',
      { call: { timezone: TOKYO } },
      'CONTACT_WINDOW_CLOSED',
    ],
    [
      'an agent that is not ready',
      { slots: { agent: { ...AGENT, status: 'FAILED' } } },
      'AGENT_NOT_READY',
    ],
    ['a campaign without a number', { slots: { numbers: [] } }, 'NO_PHONE_NUMBER'],
    ['a number that left the pool', { call: { phoneNumberId: 'gone' } }, 'NO_PHONE_NUMBER'],
    [
      'an attempt of another day under a daily cap',
      {
        columns: { maxCallsPerDay: 5 },
        slots: { attemptsToday: 1 },
        call: { attemptDay: '2037-06-01' },
      },
      'ULTRAVOX_WAITS',
    ],
    [
      'an attempt of another day when the daily cap is reached',
      {
        columns: { maxCallsPerDay: 5 },
        slots: { attemptsToday: 5 },
        call: { attemptDay: '2037-06-01' },
      },
      'DAILY_CAP_REACHED',
    ],
    [
      'an attempt above a lowered daily cap',
      { columns: { maxCallsPerDay: 5 }, slots: { attemptsToday: 6 } },
      'DAILY_CAP_REACHED',
    ],
    ['a call above lowered slots', { columns: { callingCount: 11 } }, 'CONCURRENCY_REACHED'],
  ])('withdraws the call of %s', (_title, { columns = {}, slots = {}, call = {} }, reason) => {
    const cycle = cycleOf([slotsOf(columns, slots)], { released: [releasedCall(call)] });
    const { claims, withdrawals } = decideReleasedCalls(cycle);
    expect(claims).toEqual([]);
    const status = columns.status === 'CANCELLED' ? 'CANCELLED' : 'SCHEDULED';
    expect(withdrawals).toEqual([{ call: cycle.released[0], reason, status }]);
  });

  it('counts no attempt of another day against the daily cap', () => {
    const released = [releasedCall({ attemptDay: '2037-06-01' }), releasedCall({ id: 'k2' })];
    const slots = slotsOf({ maxCallsPerDay: 5 }, { attemptsToday: 6 });
    const { withdrawals } = decideReleasedCalls(cycleOf([slots], { released }));
    expect(withdrawals.map(({ call }) => call.id)).toEqual(['k1', 'k2']);
  });

  it.each<[string, Partial<Campaign>, object]>([
    ['an active', {}, { reason: 'NOT_RETRIED', status: 'FAILED' }],
    ['a paused', { status: 'PAUSED' }, { reason: 'NOT_RETRIED', status: 'FAILED' }],
    ['a cancelled', { status: 'CANCELLED' }, { reason: 'CAMPAIGN_OVER', status: 'CANCELLED' }],
  ])('withdraws a retry of %s campaign when the call before has rung after all', (_title, columns, end) => {
    const released = [releasedCall({ finalCalls: [{ id: 'k0', finality: 'FINAL' }] })];
    const { claims, withdrawals } = decideReleasedCalls(cycleOf([slotsOf(columns)], { released }));
    expect(claims).toEqual([]);
    expect(withdrawals).toEqual([{ call: released[0], ...end }]);
  });

  it.each<[string, Partial<Campaign>, Date]>([
    ['the end of the window', {}, CLOSES],
    [
      'the end of the day under a daily cap',
      { endMinute: null, maxCallsPerDay: 9 },
      later(12 * 3600),
    ],
  ])('claims a call again until %s', (_title, columns, placeBefore) => {
    const slots = slotsOf({ callingCount: 10, ...columns }, { attemptsToday: 9 });
    const cycle = cycleOf([slots], { released: [releasedCall()] });
    expect(decideReleasedCalls(cycle)).toEqual({
      claims: [{ call: cycle.released[0], placeBefore }],
      withdrawals: [],
    });
  });

  it('leaves a call released whose time has not come', () => {
    const released = [releasedCall({ placeNotBefore: later(1) })];
    const cycle = cycleOf([slotsOf()], { released });
    expect(decideReleasedCalls(cycle)).toEqual({ claims: [], withdrawals: [] });
  });

  it('withdraws only as many calls as a limit was lowered by', () => {
    const released = ['k1', 'k2', 'k3'].map((id) => releasedCall({ id }));
    const cycle = cycleOf([slotsOf({ callingCount: 11 })], { released });
    const { claims, withdrawals } = decideReleasedCalls(cycle);
    expect(withdrawals.map(({ call }) => call.id)).toEqual(['k1']);
    expect(claims.map(({ call }) => call.id)).toEqual(['k2', 'k3']);
  });

  it('leaves calls released for which the organization has no slot', () => {
    const released = ['k1', 'k2'].map((id) => releasedCall({ id }));
    const { claims, withdrawals } = decideReleasedCalls(
      cycleOf([slotsOf()], { released, organizationMax: 3, activeCalls: { o1: 2 } }),
    );
    expect(claims.map(({ call }) => call.id)).toEqual(['k1']);
    expect(withdrawals).toEqual([]);
  });

  it('leaves the calls of campaigns alone that are locked elsewhere', () => {
    const cycle = cycleOf([], { released: [releasedCall()] });
    expect(decideReleasedCalls(cycle)).toEqual({ claims: [], withdrawals: [] });
  });
});
