/** Table tests: what a dispatch cycle changes of its campaigns, without a database. */
import { describe, expect, it } from 'vitest';
import { decideCampaignUpdates } from '../../../src/campaigns/dispatch/campaign-updates.ts';
import { decideContacts } from '../../../src/campaigns/dispatch/contact-decisions.ts';
import { decideReleasedCalls } from '../../../src/campaigns/dispatch/released-calls.ts';
import type { Campaign } from '../../../src/generated/prisma/client.ts';
import {
  AGENT,
  cycleOf,
  dueContact,
  NEXT_MORNING,
  NOW,
  NUMBERS,
  releasedCall,
  slotsOf,
  TOKYO,
} from './cycles.ts';

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
