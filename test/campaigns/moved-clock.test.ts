/**
 * Whole campaigns on a clock that the test moves, over weekends and clock changes: every dial, as the
 * simulator saw it, is held against calendars that know nothing of our own arithmetic.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCampaigns } from '../../src/campaigns/engine.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  act,
  brokenRules,
  createCampaign,
  dialledTwice,
  dialsOf,
  ENDINGS,
  type Operator,
  people,
  prepareOperator,
  showCampaign,
  uuidOf,
} from './support.ts';

let server: TestServer;
let operator: Operator;

/** How far the moved clock is ahead, and from which real instant on. */
const moves: { from: number; aheadMs: number }[] = [{ from: 0, aheadMs: 0 }];

function movedAt(real: number): number {
  const move = moves.findLast(({ from }) => from <= real);
  return real + (move?.aheadMs ?? 0);
}

function moveTo(instant: number): void {
  const real = Date.now();
  moves.push({ from: real, aheadMs: instant - real });
}

beforeAll(async () => {
  server = await startTestServer({
    now: () => new Date(movedAt(Date.now())),
    // Nothing that goes by the moved clock looks at calls that go by the real one.
    settings: { CALL_CHECK_SECONDS: '3600', SIMULATOR_SPEED: '500' },
    simulator: { talkSeconds: 5 },
  });
  operator = await prepareOperator(server.client);
});
afterAll(() => server?.close());

const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

interface Clock {
  date: string;
  weekday: number;
  time: string;
}

function clockIn(zone: string, at: number): Clock {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(at);
  const part = (type: string) => parts.find((one) => one.type === type)?.value ?? '';
  return {
    date: `${part('year')}-${part('month')}-${part('day')}`,
    weekday: WEEKDAYS.indexOf(part('weekday')) + 1,
    time: `${part('hour')}:${part('minute')}`,
  };
}

interface Schedule {
  timezone: string;
  workingDays: number[];
  startTime: string;
  endTime: string;
  maxCallsPerDay: number;
}

function allows(schedule: Schedule, zone: string, at: number): boolean {
  const { weekday, time } = clockIn(zone, at);
  const { startTime, endTime, workingDays } = schedule;
  if (startTime < endTime) {
    return workingDays.includes(weekday) && time >= startTime && time < endTime;
  }
  const yesterday = weekday === 1 ? 7 : weekday - 1;
  return (
    (workingDays.includes(weekday) && time >= startTime) ||
    (workingDays.includes(yesterday) && time < endTime)
  );
}

/** Moves the clock from one instant at which something may happen to the next, to the very end. */
async function runThrough(id: string): Promise<void> {
  const giveUp = movedAt(Date.now()) + 60 * 86_400_000;
  for (;;) {
    await runCampaigns(server.app);
    await until('the end of the calls', async () => {
      const open = await server.app.db.call.count({
        where: { campaignId: uuidOf(id), settledAt: null },
      });
      if (open > 0) await runCampaigns(server.app);
      return open === 0;
    });
    await runCampaigns(server.app);
    const row = await server.app.db.campaign.findUniqueOrThrow({ where: { id: uuidOf(id) } });
    if (row.status === 'COMPLETED') return;
    if (!row.nextDispatchAt) throw new Error(`${id} is ${row.status} and waits for nothing`);
    const now = movedAt(Date.now());
    if (now > giveUp) throw new Error(`${id} goes on for months`);
    const next = row.nextDispatchAt.getTime();
    if (next <= now + 50) continue;
    // Right before it nothing may happen.
    if (next - now > 60_000) {
      const before = dialsOf(server, id).length;
      moveTo(next - 1_000);
      await runCampaigns(server.app);
      expect(dialsOf(server, id)).toHaveLength(before);
    }
    moveTo(next + 5);
  }
}

const CASES: { name: string; start: string; schedule: Schedule; zones: (string | null)[] }[] = [
  {
    name: 'office hours of Berlin over the beginning of summer time, with people elsewhere',
    start: '2027-03-26T15:40:00Z',
    schedule: {
      timezone: 'Europe/Berlin',
      workingDays: [1, 2, 5, 7],
      startTime: '09:00',
      endTime: '17:30',
      maxCallsPerDay: 7,
    },
    zones: [null, 'America/New_York', 'Asia/Calcutta'],
  },
  {
    name: 'nights in New York over the end of summer time',
    start: '2026-11-20T22:00:00Z',
    schedule: {
      timezone: 'America/New_York',
      workingDays: [5, 6, 7],
      startTime: '23:15',
      endTime: '02:30',
      maxCallsPerDay: 6,
    },
    zones: [null],
  },
  {
    name: 'half an hour of summer time on Lord Howe Island',
    start: '2027-04-02T00:00:00Z',
    schedule: {
      timezone: 'Australia/Lord_Howe',
      workingDays: [1, 2, 3, 4, 5, 6, 7],
      startTime: '01:00',
      endTime: '02:20',
      maxCallsPerDay: 5,
    },
    zones: [null, 'Australia/Sydney'],
  },
];

describe('on a moved clock', () => {
  it.each(CASES)('keeps to $name', async ({ start, schedule, zones }) => {
    moveTo(Math.max(Date.parse(start), movedAt(Date.now())));
    const contacts = [...people(18), ...people(4, { ending: ENDINGS.noAnswer })].map(
      (person, index) => ({ ...person, timezone: zones[index % zones.length] ?? null }),
    );
    const { id } = await createCampaign(operator, {
      ...schedule,
      contacts,
      retryFailed: true,
      maxRetryAttempts: 2,
      retryDelay: '1800s',
      scheduleType: 'IMMEDIATE',
    });
    await runThrough(id);

    const campaign = await showCampaign(operator, id);
    expect(campaign.counts).toMatchObject({ total: 22, completed: 18, failed: 4 });
    const dials = dialsOf(server, id);
    expect(dials).toHaveLength(18 + 4 * 3);
    const zoneOf = new Map(contacts.map(({ phoneNumber, timezone }) => [phoneNumber, timezone]));
    const perDay = new Map<string, number>();
    for (const { at, to } of dials) {
      const moved = movedAt(Date.parse(at));
      const number = /\+\d+/.exec(to)?.[0] ?? '';
      const own = zoneOf.get(number);
      const told = `${new Date(moved).toISOString()} to ${number} (${own ?? 'no zone'})`;
      expect(allows(schedule, schedule.timezone, moved), told).toBe(true);
      if (own) expect(allows(schedule, own, moved), told).toBe(true);
      const { date } = clockIn(schedule.timezone, moved);
      perDay.set(date, (perDay.get(date) ?? 0) + 1);
    }
    for (const [day, count] of perDay) {
      expect(count, day).toBeLessThanOrEqual(schedule.maxCallsPerDay);
    }
    expect(dialledTwice(server)).toEqual([]);
    expect(await brokenRules(server)).toEqual([]);
  }, 120_000);

  it('does not dial what was decided before the window closed and comes too late', async () => {
    // A Monday, 11:59 in Lisbon. Ultravox is full until after noon.
    moveTo(Date.parse('2028-05-08T10:59:00Z'));
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, method: 'POST', path: '/calls$' },
    ]);
    const { id } = await createCampaign(operator, {
      timezone: 'Europe/Lisbon',
      startTime: '09:00',
      endTime: '12:00',
      contacts: people(3),
      scheduleType: 'IMMEDIATE',
    });
    await until('a refused call', async () => {
      await runCampaigns(server.app);
      return server.app.db.call.count({
        where: { campaignId: uuidOf(id), placeNotBefore: { not: null } },
      });
    });
    moveTo(Date.parse('2028-05-08T11:00:00Z'));
    server.simulator.clearFaults();
    const campaign = await until('the calls to be taken back', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.counts.calling === 0 ? shown : null;
    });
    expect(dialsOf(server, id)).toEqual([]);
    expect(campaign).toMatchObject({
      status: 'ACTIVE',
      holdReason: 'WINDOW_CLOSED',
      nextDispatchAt: '2028-05-09T08:00:00.000Z',
    });
    for (const contact of campaign.contacts.nodes) {
      expect(contact).toMatchObject({
        status: 'SCHEDULED',
        attempts: 0,
        nextEligibleAt: '2028-05-09T08:00:00.000Z',
      });
    }
    expect(await brokenRules(server)).toEqual([]);
    await act(operator, 'cancelCampaign', id);
  });
});
