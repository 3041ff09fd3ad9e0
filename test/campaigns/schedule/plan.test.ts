/** Plans of campaigns: examples, and properties of generated campaigns. */
import fc from 'fast-check';
import { Client } from 'pg';
import { describe, expect, it, vi } from 'vitest';
import { plannedRows } from '../../../src/campaigns/enrollment/plan-sql.ts';
import { nextEligibleAt, type PlanInput } from '../../../src/campaigns/schedule/planner.ts';
import { createTestDatabase } from '../../support/servers/database.ts';
import { CLOCK_CHANGES, DEPTH, minutes, runs, SEED, ZONES } from './clocks.ts';
import {
  allows,
  at,
  campaigns,
  campaignsOf,
  dateIn,
  friday,
  type GeneratedCampaign,
  OFFICE,
  startIn,
  startNear,
} from './plan-support.ts';
import { openings, planContacts, planSegments, toRuns } from './without-yielding.ts';

// Many cases on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 * Math.max(1, DEPTH) });

describe('planContacts and planSegments', () => {
  it('make all contacts due when the window opens, or now, without a daily limit', () => {
    const plan = (startAt: Temporal.Instant) =>
      planContacts({ window: OFFICE, startAt, maxCallsPerDay: null, contacts: 3 }).map(String);
    expect(plan(friday)).toEqual(new Array(3).fill('2026-11-20T11:00:00Z'));
    expect(plan(at('2026-11-20T16:00Z'))).toEqual(new Array(3).fill('2026-11-23T08:00:00Z'));
  });

  it('spread the contacts of each day evenly over its open hours with a daily limit', () => {
    const plan = planContacts({ window: OFFICE, startAt: friday, maxCallsPerDay: 4, contacts: 10 });
    expect(plan.map(String)).toEqual([
      '2026-11-20T11:00:00Z',
      '2026-11-20T12:15:00Z',
      '2026-11-20T13:30:00Z',
      '2026-11-20T14:45:00Z',
      '2026-11-23T08:00:00Z',
      '2026-11-23T10:00:00Z',
      '2026-11-23T12:00:00Z',
      '2026-11-23T14:00:00Z',
      '2026-11-24T08:00:00Z',
      '2026-11-24T12:00:00Z',
    ]);
  });

  it('plan no contact in the margin before a window closes, and spread evenly where none would be', () => {
    const minute = { timezone: 'UTC', workingDays: [5], startMinute: 540, endMinute: 541 };
    const plan = (contacts: number) =>
      planContacts({
        window: { ...minute, marginSeconds: 2 },
        startAt: Temporal.Instant.from('2026-11-20T00:00Z'),
        maxCallsPerDay: 60,
        contacts,
      }).map(String);
    expect(plan(3)).toEqual([
      '2026-11-20T09:00:00Z',
      '2026-11-20T09:00:20Z',
      '2026-11-20T09:00:40Z',
    ]);
    const many = plan(60);
    expect(many.at(0)).toBe('2026-11-20T09:00:00Z');
    expect(many.at(-1)).toBe('2026-11-20T09:00:57.033Z');
  });

  it('count the calls that a day already has', () => {
    const plan = planContacts({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: 4,
      contacts: 3,
      alreadyPerDay: new Map([
        ['2026-11-20', 3],
        ['2026-11-23', 9],
      ]),
    });
    expect(plan.map(String)).toEqual([
      '2026-11-20T11:00:00Z',
      '2026-11-24T08:00:00Z',
      '2026-11-24T12:00:00Z',
    ]);
  });

  it('count the hours after midnight for their own calendar day', () => {
    const window = { ...OFFICE, workingDays: [5], startMinute: 22 * 60, endMinute: 2 * 60 };
    const plan = planContacts({ window, startAt: friday, maxCallsPerDay: 2, contacts: 4 });
    expect(plan.map(String)).toEqual([
      '2026-11-20T21:00:00Z',
      '2026-11-20T22:00:00Z',
      '2026-11-20T23:00:00Z',
      '2026-11-21T00:00:00Z',
    ]);
  });

  it('plan a contact with its own time zone while the window is open in both zones', () => {
    const plan = planContacts({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: null,
      contacts: toRuns([null, 'America/New_York', 'Europe/Berlin', 'Australia/Brisbane', null]),
    });
    // 9:00 in New York is 15:00 in Berlin; Brisbane has closed when Berlin opens.
    expect(plan.map((due) => due && String(due))).toEqual([
      '2026-11-20T11:00:00Z',
      '2026-11-20T14:00:00Z',
      '2026-11-20T11:00:00Z',
      null,
      '2026-11-20T11:00:00Z',
    ]);
  });

  it('report contacts that no time fits, or only after the horizon', () => {
    const plan = planSegments({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: 1,
      contacts: [
        { timezone: 'Australia/Brisbane', count: 2 },
        { timezone: null, count: 2_000 },
      ],
    });
    expect(plan.unplanned).toEqual([
      { timezone: 'Australia/Brisbane', first: 0, count: 2, reason: 'NEVER_OPEN' },
      { timezone: null, first: 1_307, count: 693, reason: 'TOO_LATE' },
    ]);
  });

  it('need few segments for 100,000 contacts', () => {
    const plan = planSegments({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: 5000,
      contacts: 100_000,
    });
    expect(plan.segments).toHaveLength(20);
    expect(plan.segments.reduce((sum, { count }) => sum + count, 0)).toBe(100_000);
  });

  it('return the same instants as the SQL of plannedRows', async () => {
    const database = await createTestDatabase({ empty: true });
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      const zones = [null, 'America/New_York', 'Europe/Lisbon'];
      const input: PlanInput = {
        window: OFFICE,
        startAt: friday,
        maxCallsPerDay: 707,
        contacts: toRuns(Array.from({ length: 5000 }, (_, i) => zones[((i * i) % 7) % 3] ?? null)),
      };
      const query = plannedRows(planSegments(input).segments);
      const { rows } = await client.query<{ timezone: string | null; ordinal: number; at: string }>(
        `SELECT timezone, ordinal, (extract(epoch FROM scheduled_at) * 1000)::bigint AS at
         FROM (${query.text}) AS planned ORDER BY ordinal`,
        query.values,
      );
      const due = planContacts(input);
      let place = 0;
      const byZone = new Map<string | null, number[]>();
      for (const { timezone, count } of input.contacts as ReturnType<typeof toRuns>) {
        const list = byZone.get(timezone) ?? [];
        byZone.set(timezone, list);
        for (let i = 0; i < count; i++) list.push(due[place++]?.epochMilliseconds ?? 0);
      }
      expect(rows).toHaveLength(5000);
      for (const zone of zones) {
        const inZone = rows.filter(({ timezone }) => timezone === zone);
        expect(inZone.map(({ ordinal }) => ordinal)).toEqual(inZone.map((_, i) => i));
        expect(inZone.map((row) => Number(row.at))).toEqual(byZone.get(zone));
      }
    } finally {
      await client.end();
      await database.drop();
    }
  });
});

function expectWithinRules({ input, zones }: GeneratedCampaign): void {
  const { window, startAt, maxCallsPerDay, alreadyPerDay } = input;
  const perDay = new Map<string, number>();
  planContacts(input).forEach((due, i) => {
    if (!due) return;
    if (Temporal.Instant.compare(due, startAt) < 0 || !allows(window, zones[i] ?? null, due)) {
      expect.fail(`${due} ${JSON.stringify({ ...input, zone: zones[i] })}`);
    }
    const date = dateIn(window.timezone, due);
    perDay.set(date, (perDay.get(date) ?? 0) + 1);
  });
  for (const [date, count] of perDay) {
    if (maxCallsPerDay === null) continue;
    expect(count + (alreadyPerDay.get(date) ?? 0)).toBeLessThanOrEqual(maxCallsPerDay);
  }
}

describe('any plan', () => {
  it('keeps to the windows and the daily limit around every clock change of two years', () => {
    CLOCK_CHANGES.forEach((change, i) => {
      const { numRuns } = runs(2);
      const samples = fc.sample(campaignsOf(startNear(change)), { numRuns, seed: SEED + i });
      for (const campaign of samples) expectWithinRules(campaign);
    });
  });

  it('keeps to the windows and the daily limit in every time zone', () => {
    ZONES.forEach((timezone, i) => {
      const { numRuns } = runs(2);
      const samples = fc.sample(campaignsOf(startIn(timezone)), { numRuns, seed: SEED + i });
      for (const campaign of samples) expectWithinRules(campaign);
    });
  });

  it('keeps to the windows and the daily limit of generated campaigns', () => {
    fc.assert(fc.property(campaigns, expectWithinRules), runs(1000));
  });

  it('gives each contact the earliest day with capacity under a daily limit', () => {
    fc.assert(
      fc.property(campaigns, ({ input, zones: all }) => {
        // Few zones, since every minute of each is checked.
        const few = [...new Set(all)].slice(0, 4);
        const zones = all.filter((zone) => few.includes(zone));
        const { window, startAt, alreadyPerDay } = input;
        const cap = input.maxCallsPerDay ?? 1;
        const due = planContacts({ ...input, contacts: toRuns(zones), maxCallsPerDay: cap });
        // Minute by minute from the start. Windows open and close at whole minutes, so only the minute in
        // which the campaign starts is partial.
        const left = new Map<string, number>();
        const openDays = new Map<string | null, Set<string>>();
        const span = 9 * 1440;
        const wholeMinute = startAt.round({ smallestUnit: 'minute', roundingMode: 'floor' });
        for (const timezone of new Set(zones)) {
          const days = new Set<string>();
          openDays.set(timezone, days);
          for (let m = 0; m < span; m++) {
            const instant = minutes(wholeMinute, m);
            if (!allows(window, timezone, instant)) continue;
            const date = dateIn(window.timezone, instant);
            days.add(date);
            left.set(date, cap - (alreadyPerDay.get(date) ?? 0));
          }
        }
        const lastDay = dateIn(window.timezone, minutes(wholeMinute, span - 1440));
        zones.forEach((timezone, i) => {
          const date = [...(openDays.get(timezone) ?? [])]
            .sort()
            .find((day) => (left.get(day) ?? 0) > 0);
          const planned = due[i] ? dateIn(window.timezone, due[i]) : null;
          if (date === undefined || date >= lastDay) {
            if (planned !== null) expect(planned >= (date ?? lastDay)).toBe(true);
            left.set(planned ?? '', (left.get(planned ?? '') ?? 0) - 1);
            return;
          }
          expect(planned).toBe(date);
          left.set(date, (left.get(date) ?? 0) - 1);
        });
      }),
      runs(40),
    );
  });

  it('gives each contact the earliest instant without a daily limit', () => {
    fc.assert(
      fc.property(campaigns, ({ input, zones }) => {
        const { window, startAt } = input;
        const due = planContacts({ ...input, maxCallsPerDay: null });
        const first = startAt.round({ smallestUnit: 'minute', roundingMode: 'ceil' });
        zones.slice(0, 5).forEach((timezone, i) => {
          const planned = due[i];
          if (planned) expect(allows(window, timezone, planned)).toBe(true);
          if (planned?.equals(startAt)) return;
          expect(allows(window, timezone, startAt)).toBe(false);
          const span = planned ? Math.min(9000, planned.since(first).total('minutes')) : 3000;
          for (let m = 0; m < span; m++) {
            if (allows(window, timezone, minutes(first, m))) expect.fail(String(minutes(first, m)));
          }
        });
      }),
      runs(60),
    );
  });

  it('spreads the contacts of a day evenly over its open hours', () => {
    fc.assert(
      fc.property(campaigns, fc.integer({ min: 2, max: 50 }), ({ input }, cap) => {
        const { window, startAt } = input;
        const due = planContacts({ window, startAt, maxCallsPerDay: cap, contacts: 3 * cap - 1 });
        const byDay = Map.groupBy(due, (instant) =>
          instant ? dateIn(window.timezone, instant) : '',
        );
        for (const [date, share] of byDay) {
          const day = Temporal.PlainDate.from(date);
          const from = day.toZonedDateTime(window.timezone).toInstant();
          const to = day.add({ days: 1 }).toZonedDateTime(window.timezone).toInstant();
          const begin = Temporal.Instant.compare(from, startAt) < 0 ? startAt : from;
          const open = openings(window, begin, to);
          const total = open.reduce(
            (sum, o) => sum + o.close.since(o.open).total('milliseconds'),
            0,
          );
          share.forEach((instant, j) => {
            const passed = open.reduce((sum, o) => {
              const until = Temporal.Instant.compare(o.close, instant!) < 0 ? o.close : instant!;
              return sum + Math.max(0, until.since(o.open).total('milliseconds'));
            }, 0);
            expect(Math.abs(passed - (j * total) / share.length)).toBeLessThanOrEqual(2);
          });
        }
      }),
      runs(200),
    );
  });
});

describe('nextEligibleAt', () => {
  it('returns the earliest open instant on a day with capacity', () => {
    fc.assert(
      fc.property(campaigns, ({ input }) => {
        const { window, startAt, maxCallsPerDay, alreadyPerDay } = input;
        const next = nextEligibleAt({
          window,
          from: startAt,
          maxCallsPerDay,
          alreadyPerDay,
        });
        const isAllowed = (instant: Temporal.Instant) =>
          allows(window, null, instant) &&
          (maxCallsPerDay === null ||
            (alreadyPerDay.get(dateIn(window.timezone, instant)) ?? 0) < maxCallsPerDay);
        if (next) expect(isAllowed(next)).toBe(true);
        if (next?.equals(startAt)) return;
        expect(isAllowed(startAt)).toBe(false);
        const first = startAt.round({ smallestUnit: 'minute', roundingMode: 'ceil' });
        const span = next ? Math.min(9000, next.since(first).total('minutes')) : 3000;
        for (let m = 0; m < span; m++) {
          if (isAllowed(minutes(first, m))) expect.fail(String(minutes(first, m)));
        }
      }),
      runs(150),
    );
  });
});
