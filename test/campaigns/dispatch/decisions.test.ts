/** Table tests for the decisions of a dispatch cycle, without a database. */
import { describe, expect, it } from 'vitest';
import { UNUSED } from '../../../src/calls/placement/slot-shares.ts';
import type { ReleasedCall } from '../../../src/campaigns/dispatch/campaign-slots.ts';
import { decideCampaignUpdates } from '../../../src/campaigns/dispatch/campaign-updates.ts';
import { decideContacts } from '../../../src/campaigns/dispatch/contact-decisions.ts';
import {
  allowancesOf,
  eligibleCampaign,
  shareCycle,
} from '../../../src/campaigns/dispatch/cycle-input.ts';
import type { DueContact } from '../../../src/campaigns/dispatch/due-contacts.ts';
import { decideReleasedCalls } from '../../../src/campaigns/dispatch/released-calls.ts';
import type { Agent, Campaign } from '../../../src/generated/prisma/client.ts';
import {
  AGENT,
  cycleOf,
  dueContact,
  later,
  NOW,
  NUMBERS,
  releasedCall,
  slotsOf,
} from './cycles.ts';

/** Noon UTC is nine in the evening here. */
const TOKYO = 'Asia/Tokyo';
const TOKYO_OPENS = new Date('2037-06-03T09:00:00Z');
const CLOSES = new Date('2037-06-02T17:00:00Z');
const NEXT_MORNING = new Date('2037-06-03T09:00:00Z');
/** Nine to five here is over when it begins in UTC. */
const NEVER = 'Australia/Brisbane';

describe('eligibleCampaign', () => {
  it.each<[string, Partial<Campaign>, object, object | null]>([
    ['allows as many calls as it has slots', { callingCount: 4 }, {}, { open: true, calls: 6 }],
    [
      'allows no more calls than the daily cap leaves',
      { maxCallsPerDay: 5 },
      { attemptsToday: 3 },
      { open: true, calls: 2 },
    ],
    ['holds no campaign that is not ACTIVE', { status: 'PAUSED' }, {}, null],
    [
      'holds a campaign until its window opens',
      { startMinute: 18 * 60, endMinute: 20 * 60 },
      {},
      { open: false, hold: 'WINDOW_CLOSED', until: later(6 * 3600) },
    ],
    [
      'holds a campaign until the next working day',
      { workingDays: [3] },
      {},
      { open: false, hold: 'WINDOW_CLOSED', until: NEXT_MORNING },
    ],
    [
      'holds a campaign whose daily cap is reached until the next day',
      { maxCallsPerDay: 5 },
      { attemptsToday: 5 },
      { open: false, hold: 'DAILY_CAP_REACHED', until: NEXT_MORNING },
    ],
    [
      'holds a campaign while its agent is not ready',
      {},
      { agent: { ...AGENT, status: 'CREATING' } },
      { open: false, hold: 'AGENT_NOT_READY', until: later(15) },
    ],
    [
      'waits for the end of a call when all slots are in use',
      { callingCount: 10 },
      {},
      { open: false, hold: null, until: null },
    ],
    [
      'pauses a campaign without a number',
      {},
      { numbers: [] },
      { open: false, pause: expect.stringContaining('Assign an outbound number') },
    ],
    [
      'pauses a campaign whose own numbers were all released',
      {},
      { numbers: [], hasOwnNumbers: true },
      { open: false, pause: expect.stringContaining('null to use the outbound numbers') },
    ],
    [
      'lets active calls end when nobody waits and no number is left',
      { pendingCount: 0 },
      { numbers: [] },
      { open: false, hold: null, until: null },
    ],
    [
      'fails a campaign whose agent was deleted',
      {},
      { agent: { ...AGENT, deletedAt: NOW } as Agent },
      { open: false, fail: expect.stringContaining('agent') },
    ],
  ])('%s', (_title, columns, rest, eligibility) => {
    expect(eligibleCampaign(slotsOf(columns, rest), NOW, 0).eligibility).toEqual(eligibility);
  });

  it.each<[string, Partial<Campaign>, boolean]>([
    ['starts a SCHEDULED campaign at its time', { nextDispatchAt: NOW }, true],
    ['leaves a SCHEDULED campaign alone before it', { nextDispatchAt: later(1) }, false],
  ])('%s', (_title, columns, starts) => {
    const eligible = eligibleCampaign(slotsOf({ status: 'SCHEDULED', ...columns }), NOW, 0);
    expect(eligible.starts).toBe(starts);
    expect(eligible.campaign.status).toBe(starts ? 'ACTIVE' : 'SCHEDULED');
    expect(eligible.eligibility === null).toBe(!starts);
  });
});

describe('eligibleCampaign with a margin', () => {
  const MARGIN = 2;
  /** So long before the window closes, at five. */
  const sooner = (seconds: number) => new Date(CLOSES.getTime() - seconds * 1000);

  it('gives calls the deadline before the window closes', () => {
    const { eligibility, windowOf } = eligibleCampaign(slotsOf(), sooner(3), MARGIN);
    expect(eligibility).toMatchObject({ open: true });
    expect(windowOf(null)).toMatchObject({ open: true, deadline: sooner(2) });
    const berlin = { open: false, opensAt: new Date('2037-06-03T09:00:00Z') };
    expect(windowOf('Europe/Berlin')).toMatchObject(berlin);
  });

  it('holds the campaign from then on, and its contacts in time zones of their own', () => {
    const { eligibility } = eligibleCampaign(slotsOf(), sooner(2), MARGIN);
    expect(eligibility).toEqual({ open: false, hold: 'WINDOW_CLOSED', until: NEXT_MORNING });
    const berlinCloses = new Date('2037-06-02T14:59:58Z');
    const { windowOf } = eligibleCampaign(slotsOf(), berlinCloses, MARGIN);
    expect(windowOf('Europe/Berlin').open).toBe(false);
    expect(windowOf(null).open).toBe(true);
  });
});

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

describe('decideContacts', () => {
  const decide = (contacts: Partial<DueContact>[], columns: Partial<Campaign> = {}) => {
    let calls = 0;
    const cycle = cycleOf([slotsOf(columns)]);
    return decideContacts(cycle, contacts.map(dueContact), () => `k${++calls}`);
  };

  it.each<[string, Partial<DueContact>, Partial<Campaign>, Date | null]>([
    ['until the window closes', {}, {}, CLOSES],
    [
      'without a deadline when the window never closes',
      {},
      { startMinute: null, endMinute: null },
      null,
    ],
    [
      'until the window closes in its own time zone',
      { timezone: 'Europe/Berlin' },
      {},
      new Date('2037-06-02T15:00:00Z'),
    ],
  ])('calls a contact %s', (_title, contact, columns, placeBefore) => {
    const { attempts, uncalled } = decide([contact], columns);
    expect(attempts).toMatchObject([
      { callId: 'k1', contact: { id: 'p1' }, number: { id: 'n1' }, placeBefore },
    ]);
    expect(uncalled.count).toBe(0);
  });

  it('skips a contact on the do-not-call list, and calls the others', () => {
    const { attempts, uncalled, uncalledCampaignIds } = decide([
      { onDoNotCallList: true },
      { id: 'p2' },
    ]);
    const skip = { id: 'p1', status: 'SKIPPED', skipReason: 'DO_NOT_CALL' };
    expect(uncalled).toMatchObject({ skipped: [skip], dropped: [], deferred: [] });
    expect([...uncalledCampaignIds]).toEqual(['c1']);
    expect(attempts.map(({ contact }) => contact.id)).toEqual(['p2']);
  });

  it('ends a contact that an earlier call has reached, unless it reached a voicemail to retry', () => {
    const voicemail = { finalCalls: [{ id: 'k0', finality: 'VOICEMAIL' as const }] };
    const end = { id: 'p1', status: 'FAILED', reason: 'NOT_RETRIED', callId: 'k0' };
    expect(decide([voicemail]).uncalled).toMatchObject({ dropped: [end], skipped: [] });
    expect(decide([voicemail], { retryVoicemail: true }).attempts).toHaveLength(1);
  });

  it.each<[string, string, Date | null]>([
    ['defers contacts until the window opens in their time zone', TOKYO, TOKYO_OPENS],
    ['skips contacts in whose time zone the window never opens', NEVER, null],
  ])('%s', (_title, timezone, until) => {
    const window = timezone === TOKYO ? { startMinute: 9 * 60, endMinute: 20 * 60 } : {};
    const { attempts, uncalled } = decide([{ timezone }, { id: 'p2', timezone }], window);
    expect(attempts).toEqual([]);
    const skip = { status: 'SKIPPED', skipReason: 'NEVER_OPEN' };
    const defer = { status: 'SCHEDULED', nextEligibleAt: until };
    const moves = ['p1', 'p2'].map((id) => ({ id, ...(until ? defer : skip) }));
    expect(until ? uncalled.deferred : uncalled.skipped).toEqual(moves);
    expect(uncalled.count).toBe(2);
  });

  it.each<[string, Partial<Campaign>, Partial<DueContact>[], [string[], number]]>([
    ['goes on where the campaign stopped', { rotationIndex: 2 }, [{}, {}], [['n3', 'n1'], 1]],
    [
      'keeps the number of a withdrawn call',
      {},
      [{ withdrawnNumberId: 'n2' }, {}],
      [['n2', 'n1'], 1],
    ],
    [
      'skips the number that is to be called',
      {},
      [{ phoneNumber: NUMBERS[0]!.phoneNumber }, {}],
      [['n2', 'n3'], 0],
    ],
    [
      'gives the contact who has the number of its block the next one',
      { phoneRotationStrategy: 'SEQUENTIAL', totalCount: 3 },
      [{ position: 2, phoneNumber: NUMBERS[2]!.phoneNumber }],
      [['n1'], 0],
    ],
    [
      'gives each block of a SEQUENTIAL campaign its number',
      { phoneRotationStrategy: 'SEQUENTIAL', totalCount: 3 },
      [{ position: 2 }, { position: 0 }],
      [['n3', 'n1'], 0],
    ],
  ])('rotation: %s', (_title, columns, contacts, [numbers, index]) => {
    const { attempts, rotation } = decide(contacts, columns);
    expect(attempts.map(({ number }) => number.id)).toEqual(numbers);
    expect(rotation.get('c1')).toBe(index);
  });
});

describe('decideCampaignUpdates', () => {
  const NONE = { attempts: [], rotation: new Map() };
  const NOTHING = { withdrawals: [] };

  it.each<[string, Partial<Campaign>, object, object]>([
    [
      'looks for the next due contact of a campaign that may call',
      { holdReason: 'WINDOW_CLOSED' },
      {},
      { campaign: { holdReason: null }, nextDispatchAt: 'NEXT_DUE', decision: null },
    ],
    [
      'records a hold when it begins',
      { workingDays: [3] },
      {},
      {
        campaign: { holdReason: 'WINDOW_CLOSED' },
        nextDispatchAt: NEXT_MORNING,
        decision: { outcome: 'WAITS', reason: 'WINDOW_CLOSED', until: NEXT_MORNING },
      },
    ],
    [
      'records no hold twice',
      { workingDays: [3], holdReason: 'WINDOW_CLOSED' },
      {},
      { nextDispatchAt: NEXT_MORNING, decision: null },
    ],
    [
      'pauses a campaign without a number',
      {},
      { numbers: [] },
      {
        campaign: { status: 'PAUSED', holdReason: null, endedAt: null },
        nextDispatchAt: null,
        stops: true,
        event: 'CAMPAIGN_PAUSED',
        decision: { outcome: 'WAITS', reason: 'NO_PHONE_NUMBER' },
      },
    ],
    [
      'fails a campaign whose agent was deleted',
      {},
      { agent: { ...AGENT, deletedAt: NOW } },
      {
        campaign: { status: 'FAILED', endedAt: NOW },
        nextDispatchAt: null,
        stops: true,
        event: 'CAMPAIGN_FAILED',
        decision: { outcome: 'CANCELLED', reason: 'CAMPAIGN_OVER' },
      },
    ],
    [
      'changes nothing about a campaign that is locked for its released calls only',
      { status: 'PAUSED', nextDispatchAt: null },
      {},
      { campaign: { status: 'PAUSED' }, nextDispatchAt: null, stops: false, decision: null },
    ],
  ])('%s', (_title, columns, rest, update) => {
    const cycle = cycleOf([slotsOf(columns, rest)]);
    expect(decideCampaignUpdates(cycle, NOTHING, NONE)).toMatchObject([update]);
  });

  it.each<[string, Partial<Campaign>, object, string | null]>([
    ['looks for the next due contact after', { callingCount: 10 }, {}, null],
    [
      'lifts the hold of the daily cap after',
      { maxCallsPerDay: 5, holdReason: 'DAILY_CAP_REACHED' },
      { attemptsToday: 5 },
      null,
    ],
    [
      'looks for the next due contact, for which it has no number, after',
      { pendingCount: 0 },
      { numbers: [] },
      null,
    ],
    ['holds until the window opens after', { workingDays: [3] }, {}, 'WINDOW_CLOSED'],
  ])('%s the withdrawal of a call', (_title, columns, rest, holdReason) => {
    const released = [releasedCall({ timezone: TOKYO })];
    const cycle = cycleOf([slotsOf(columns, rest)], { released });
    const decisions = decideReleasedCalls(cycle);
    expect(decisions.withdrawals).toHaveLength(1);
    const [update] = decideCampaignUpdates(cycle, decisions, NONE);
    expect(update).toMatchObject({
      campaign: { status: 'ACTIVE', holdReason },
      nextDispatchAt: holdReason ? NEXT_MORNING : 'NEXT_DUE',
      stops: false,
    });
  });

  it('notes which campaigns placed calls, and where their rotation goes on', () => {
    const cycle = cycleOf([slotsOf(), slotsOf({ id: 'c2' })]);
    const decisions = decideContacts(cycle, [dueContact()], () => 'k1');
    expect(decideCampaignUpdates(cycle, NOTHING, decisions)).toMatchObject([
      { campaign: { id: 'c1', rotationIndex: 1 }, placedCalls: true },
      { campaign: { id: 'c2', rotationIndex: 0 }, placedCalls: false },
    ]);
    expect(NUMBERS).toHaveLength(3);
  });
});
