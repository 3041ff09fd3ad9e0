/**
 * Whole campaigns on a clock that the test moves across weekends and clock changes. Every attempt that the
 * simulator received is compared with calendars that are independent of our time zone arithmetic.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCampaigns } from '../../src/campaigns/dispatch/run-campaigns.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  act,
  brokenRules,
  createCampaign,
  dialedTwice,
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

/** The lead of the moved clock, and the real instant from which it applies. */
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
    settings: {
      // Calls run on the real clock, so nothing checks them by the moved one.
      CALL_CHECK_SECONDS: '3600',
      SIMULATOR_SPEED: '500',
      // So that no request ends by itself while a test runs.
      ULTRAVOX_TIMEOUT_SECONDS: '300',
    },
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

/** Moves the clock from one possible dispatch to the next until the campaign ends. */
async function runThrough(id: string): Promise<void> {
  const giveUp = movedAt(Date.now()) + 60 * 86_400_000;
  for (;;) {
    await runCampaigns(server.app);
    await until('the end of the calls', async () => {
      const open = await server.app.db.campaignAttempt.count({
        where: { campaignId: uuidOf(id), outcomeRecordedAt: null },
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
    // The last run began calls. They are dialed before the clock moves on.
    if (row.callingCount > 0) continue;
    const next = row.nextDispatchAt.getTime();
    if (next <= now + 50) continue;
    // Nothing may be dialed just before that instant.
    if (next - now > 60_000) {
      const before = dialsOf(server, id).length;
      moveTo(next - 1_000);
      await runCampaigns(server.app);
      const dials = dialsOf(server, id).slice(before);
      // A slow run may end after it.
      expect(dials.filter(({ at }) => movedAt(Date.parse(at)) < next)).toEqual([]);
    }
    moveTo(Math.max(next + 5, movedAt(Date.now())));
  }
}

const CASES: { name: string; start: string; schedule: Schedule; zones: (string | null)[] }[] = [
  {
    name: 'office hours in Berlin at the start of summer time, with contacts in other zones',
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
    name: 'nights in New York at the end of summer time',
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

describe('a campaign on a moved clock', () => {
  it.each(CASES)('calls only within $name', async ({ start, schedule, zones }) => {
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
      const shown = `${new Date(moved).toISOString()} to ${number} (${own ?? 'no zone'})`;
      expect(allows(schedule, schedule.timezone, moved), shown).toBe(true);
      if (own) expect(allows(schedule, own, moved), shown).toBe(true);
      const { date } = clockIn(schedule.timezone, moved);
      perDay.set(date, (perDay.get(date) ?? 0) + 1);
    }
    for (const [day, count] of perDay) {
      expect(count, day).toBeLessThanOrEqual(schedule.maxCallsPerDay);
    }
    expect(dialedTwice(server)).toEqual([]);
    expect(await brokenRules(server)).toEqual([]);
  });

  it('does not dial in the last two seconds of the window', async () => {
    // A Friday.
    const closes = Date.parse('2028-05-12T11:00:00Z');
    moveTo(closes - 1_900);
    const { id } = await createCampaign(operator, {
      timezone: 'Europe/Lisbon',
      startTime: '09:00',
      endTime: '12:00',
      workingDays: [1, 2, 3, 4, 5],
      contacts: people(3),
      scheduleType: 'IMMEDIATE',
    });
    await runCampaigns(server.app);
    const opens = '2028-05-15T08:00:00.000Z';
    const campaign = await showCampaign(operator, id);
    expect(campaign).toMatchObject({ status: 'ACTIVE', counts: { pending: 3, called: 0 } });
    for (const contact of campaign.contacts.nodes) {
      expect(contact).toMatchObject({ scheduledAt: opens, nextEligibleAt: opens });
    }
    expect(dialsOf(server, id)).toEqual([]);
    await act(operator, 'cancelCampaign', id);
  });

  it('does not send a call that was claimed before the window closed', async () => {
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
    await until('the calls to be refused', async () => {
      await runCampaigns(server.app);
      const refused = await server.app.db.call.count({
        where: { campaignId: uuidOf(id), placement: 'QUEUED' },
      });
      return refused === 3;
    });
    moveTo(Date.parse('2028-05-08T11:00:00Z'));
    const campaign = await until('the calls to be withdrawn', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.counts.calling === 0 ? shown : null;
    });
    // Not before: a request on its way would be carried out.
    server.simulator.clearFaults();
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

  it('abandons a request that Ultravox has not answered when the window closes', async () => {
    // A Tuesday, 11:55 in Lisbon.
    moveTo(Date.parse('2028-05-16T10:55:00Z'));
    server.simulator.setFaults([{ kind: 'timeout', method: 'POST', path: '/calls$' }]);
    const { id } = await createCampaign(operator, {
      timezone: 'Europe/Lisbon',
      startTime: '09:00',
      endTime: '12:00',
      contacts: people(1),
      scheduleType: 'IMMEDIATE',
    });
    const inPlacement = (placement: 'SENDING' | 'UNKNOWN') =>
      server.app.db.call.findFirst({ where: { campaignId: uuidOf(id), placement } });
    await until('the request', () => inPlacement('SENDING'));
    moveTo(Date.parse('2028-05-16T11:00:00Z'));
    await until('the request to be abandoned', () => inPlacement('UNKNOWN'));
    server.simulator.clearFaults();
    expect(dialsOf(server, id)).toEqual([]);
    await act(operator, 'cancelCampaign', id);
  });

  it('calls nobody while the clock of the process is wrong', async () => {
    // A Monday, 11:00 in Lisbon.
    moveTo(Date.parse('2028-05-22T10:00:00Z'));
    const rightNow = Date.now.bind(Date);
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => rightNow() + 60_000);
    const { id } = await createCampaign(operator, {
      timezone: 'Europe/Lisbon',
      startTime: '09:00',
      endTime: '12:00',
      contacts: people(1),
      scheduleType: 'IMMEDIATE',
    });
    await runCampaigns(server.app);
    const { counts } = await showCampaign(operator, id);
    expect(counts).toMatchObject({ pending: 1, called: 0 });
    clock.mockRestore();
    // Past the time for which the wrong clock has planned it.
    moveTo(Date.parse('2028-05-22T10:05:00Z'));
    await until('the call', async () => {
      await runCampaigns(server.app);
      return dialsOf(server, id).length === 1;
    });
  });
});
