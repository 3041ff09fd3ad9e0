/** Table tests: how many slots each campaign and organization gets, without a database. */
import { describe, expect, it } from 'vitest';
import { UNUSED } from '../../../src/calls/placement/slot-shares.ts';
import { allowancesOf, shareCycle } from '../../../src/campaigns/dispatch/cycle-input.ts';
import type { Campaign } from '../../../src/generated/prisma/client.ts';
import { cycleOf, dueContact, releasedCall, slotsOf } from './cycles.ts';

describe('allowancesOf', () => {
  it('counts the calls that are claimed again against their organization', () => {
    const cycle = cycleOf([slotsOf({ callingCount: 4 })], {
      organizationMax: 8,
      activeCalls: { o1: 2 },
    });
    expect(allowancesOf(cycle, [{ call: releasedCall() }])).toEqual([
      {
        campaignId: 'c1',
        organizationId: 'o1',
        calls: 6,
        campaignCalls: 4,
        organizationCalls: 3,
        organizationSlots: 5,
        recentCalls: 1,
        lastUsedAt: null,
      },
    ]);
  });

  it.each<[string, Partial<Campaign>, Record<string, number>]>([
    ['that may not call', { status: 'PAUSED' }, {}],
    ['whose organization has no slot left', {}, { o1: 100 }],
  ])('leaves out campaigns %s', (_title, columns, activeCalls) => {
    expect(allowancesOf(cycleOf([slotsOf(columns)], { activeCalls }), [])).toEqual([]);
  });
});

describe('shareCycle', () => {
  const share = (waiting: number, free: number) => {
    const organization = { ...UNUSED, active: 1, waiting };
    const cycle = { ...cycleOf([], { free }), organizations: new Map([['o2', organization]]) };
    const claims = [{ call: releasedCall() }];
    const due = ['p2', 'p3', 'p4'].map((id) => dueContact({ id }));
    const shares = shareCycle(cycle, { claims, due });
    return [shares.claims.length, shares.due.length, shares.waiting.get('o2') ?? 0];
  };

  it('gives slots to the organization with the fewest active calls, released calls first', () => {
    expect(share(5, 1)).toEqual([1, 0, 0]);
    expect(share(5, 2)).toEqual([1, 0, 1]);
    expect(share(5, 5)).toEqual([1, 2, 2]);
  });

  it('gives all slots to the others when one organization has no more calls', () => {
    expect(share(1, 50)).toEqual([1, 3, 1]);
    expect(share(50, 50)).toEqual([1, 3, 46]);
  });
});
