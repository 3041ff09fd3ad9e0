/** Table tests: which campaigns may call, without a database. */
import { describe, expect, it } from 'vitest';
import { eligibleCampaign } from '../../../src/campaigns/dispatch/cycle-input.ts';
import type { Agent, Campaign } from '../../../src/generated/prisma/client.ts';
import { AGENT, CLOSES, later, NEXT_MORNING, NOW, slotsOf } from './cycles.ts';

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
