import fc from 'fast-check';
import { Client } from 'pg';
import { describe, expect, it, vi } from 'vitest';
import { type ForecastInput, forecast } from '../../src/campaigns/forecast.ts';
import {
  nextEligibleAt,
  type PlanInput,
  planContacts,
  planSegments,
  toRuns,
} from '../../src/campaigns/plan.ts';
import { plannedRows } from '../../src/campaigns/plan-sql.ts';
import { openings, type Window, windowsFor } from '../../src/campaigns/window.ts';
import { createTestDatabase } from '../support/database.ts';
import {
  anyInstant,
  anyWindow,
  CLOCK_CHANGES,
  type ClockChange,
  DEPTH,
  minutes,
  runs,
  SEED,
  showsInside,
  windowsNear,
  ZONES,
} from './clocks.ts';

const at = (text: string) => Temporal.Instant.from(text);
const OFFICE: Window = {
  timezone: 'Europe/Berlin',
  workingDays: [1, 2, 3, 4, 5],
  startMinute: 9 * 60,
  endMinute: 17 * 60,
};
const friday = at('2026-11-20T11:00Z');

const dateIn = (timezone: string, instant: Temporal.Instant) =>
  instant.toZonedDateTimeISO(timezone).toPlainDate().toString();

/** What the rules allow, from the wall clock alone. */
function allows(window: Window, timezone: string | null, instant: Temporal.Instant): boolean {
  return (
    showsInside(window, instant) &&
    (timezone === null || showsInside({ ...window, timezone }, instant))
  );
}

// Many cases, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 * Math.max(1, DEPTH) });

describe('a plan', () => {
  it('without a cap has all due as the window opens, or now', () => {
    const plan = (startAt: Temporal.Instant) =>
      planContacts({ window: OFFICE, startAt, maxCallsPerDay: null, contacts: 3 }).map(String);
    expect(plan(friday)).toEqual(new Array(3).fill('2026-11-20T11:00:00Z'));
    expect(plan(at('2026-11-20T16:00Z'))).toEqual(new Array(3).fill('2026-11-23T08:00:00Z'));
  });

  it('with a cap spreads each share evenly over what is left of the day', () => {
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

  it('leaves room for the calls that a day has had', () => {
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

  it('counts the hours after midnight for the calendar day that they are in', () => {
    const window = { ...OFFICE, workingDays: [5], startMinute: 22 * 60, endMinute: 2 * 60 };
    const plan = planContacts({ window, startAt: friday, maxCallsPerDay: 2, contacts: 4 });
    expect(plan.map(String)).toEqual([
      '2026-11-20T21:00:00Z',
      '2026-11-20T22:00:00Z',
      '2026-11-20T23:00:00Z',
      '2026-11-21T00:00:00Z',
    ]);
  });

  it('calls a contact with a zone of its own when it suits both', () => {
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

  it('says whom it has no time for', () => {
    const plan = planSegments({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: 1,
      contacts: [
        { timezone: 'Australia/Brisbane', count: 2 },
        { timezone: null, count: 10 },
      ],
      horizonDays: 7,
    });
    expect(plan.unplanned).toEqual([
      { timezone: 'Australia/Brisbane', first: 0, count: 2, reason: 'NEVER_OPEN' },
      { timezone: null, first: 6, count: 4, reason: 'TOO_LATE' },
    ]);
  });

  it('of 100,000 contacts is a handful of segments', () => {
    const started = performance.now();
    const plan = planSegments({
      window: OFFICE,
      startAt: friday,
      maxCallsPerDay: 5000,
      contacts: 100_000,
    });
    expect(performance.now() - started).toBeLessThan(1000);
    expect(plan.segments).toHaveLength(20);
    expect(plan.segments.reduce((sum, { count }) => sum + count, 0)).toBe(100_000);
  });

  it('is the same in PostgreSQL', async () => {
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

interface Start {
  window: Window;
  startAt: Temporal.Instant;
}

const startNear = (change: ClockChange): fc.Arbitrary<Start> =>
  fc
    .record({ window: windowsNear(change), m: fc.integer({ min: -3000, max: 100 }) })
    .map(({ window, m }) => ({ window, startAt: minutes(change.at, m) }));

const startIn = (timezone: string): fc.Arbitrary<Start> =>
  fc.record({ window: anyWindow(timezone), startAt: anyInstant });

const campaignsOf = (start: fc.Arbitrary<Start>) =>
  start
    .chain(({ window, startAt }) =>
      fc.record({
        window: fc.constant(window),
        startAt: fc.constant(startAt),
        maxCallsPerDay: fc.option(fc.integer({ min: 1, max: 40 })),
        zones: fc.array(
          fc.oneof(
            { weight: 3, arbitrary: fc.constant(null) },
            fc.constant(window.timezone),
            fc.constantFrom(...ZONES),
          ),
          { minLength: 1, maxLength: 60 },
        ),
        already: fc.array(fc.integer({ min: 0, max: 45 }), { maxLength: 3 }),
      }),
    )
    .map(({ window, startAt, maxCallsPerDay, zones, already }) => {
      const today = startAt.toZonedDateTimeISO(window.timezone).toPlainDate();
      return {
        zones,
        input: {
          window,
          startAt,
          maxCallsPerDay,
          contacts: toRuns(zones),
          alreadyPerDay: new Map(
            already.map((count, i) => [today.add({ days: i }).toString(), count]),
          ),
          horizonDays: 400,
        },
      };
    });

/** Campaigns that start anywhere, or shortly before a clock change. */
const campaigns = campaignsOf(
  fc.oneof(
    fc.constantFrom(...CLOCK_CHANGES).chain(startNear),
    fc.constantFrom(...ZONES).chain(startIn),
  ),
);

type Campaign = ReturnType<typeof campaignsOf> extends fc.Arbitrary<infer T> ? T : never;

function expectWithinRules({ input, zones }: Campaign): void {
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
  it('around every clock change of two years has no instant outside, and no day above its cap', () => {
    CLOCK_CHANGES.forEach((change, i) => {
      const { numRuns } = runs(2);
      const samples = fc.sample(campaignsOf(startNear(change)), { numRuns, seed: SEED + i });
      for (const campaign of samples) expectWithinRules(campaign);
    });
  });

  it('in every zone has no instant outside, and no day above its cap', () => {
    ZONES.forEach((timezone, i) => {
      const { numRuns } = runs(2);
      const samples = fc.sample(campaignsOf(startIn(timezone)), { numRuns, seed: SEED + i });
      for (const campaign of samples) expectWithinRules(campaign);
    });
  });

  it('has no instant outside, and no day above its cap', () => {
    fc.assert(fc.property(campaigns, expectWithinRules), runs(1000));
  });

  it('with a cap gives each contact the earliest day that has room for it', () => {
    fc.assert(
      fc.property(campaigns, ({ input, zones: all }) => {
        // Minutes are looked at for each zone, so that there are to be few.
        const few = [...new Set(all)].slice(0, 4);
        const zones = all.filter((zone) => few.includes(zone));
        const { window, startAt, alreadyPerDay } = input;
        const cap = input.maxCallsPerDay ?? 1;
        const due = planContacts({ ...input, contacts: toRuns(zones), maxCallsPerDay: cap });
        // Day by day and minute by minute, as one would do it by hand. A later start is no loss:
        // what is open is open for a whole minute, but for the one in which the campaign starts.
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

  it('without a cap gives each contact the earliest instant', () => {
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

  it('spreads a share evenly over what is open of the day', () => {
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
  it('is the earliest instant inside on a day with room', () => {
    fc.assert(
      fc.property(campaigns, ({ input, zones }) => {
        const { window, startAt, maxCallsPerDay, alreadyPerDay } = input;
        const timezone = zones[0] ?? null;
        const next = nextEligibleAt({
          window,
          timezone,
          from: startAt,
          maxCallsPerDay,
          alreadyPerDay,
        });
        const isAllowed = (instant: Temporal.Instant) =>
          allows(window, timezone, instant) &&
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

describe('a forecast', () => {
  const input: ForecastInput = {
    window: OFFICE,
    startAt: friday,
    maxCallsPerDay: null,
    contacts: 100,
    maxConcurrentCalls: 10,
    callSeconds: 120,
  };
  const hours = (more: Partial<ForecastInput>) =>
    forecast({ ...input, ...more }).hours.map(({ from, calls }) => `${from} ${calls}`);

  it('tells by the hour whom would be called, and when the last call ends', () => {
    const result = forecast({ ...input, contacts: 700 });
    expect(result.hours).toEqual([
      {
        from: at('2026-11-20T11:00Z'),
        calls: 300,
        contacts: [{ timezone: null, first: 0, count: 300 }],
      },
      {
        from: at('2026-11-20T12:00Z'),
        calls: 300,
        contacts: [{ timezone: null, first: 300, count: 300 }],
      },
      {
        from: at('2026-11-20T13:00Z'),
        calls: 100,
        contacts: [{ timezone: null, first: 600, count: 100 }],
      },
    ]);
    expect(result).toMatchObject({ fits: true, calls: 700, problems: [] });
    expect(result.firstCallAt).toEqual(friday);
    expect(result.lastCallAt).toEqual(at('2026-11-20T13:18Z'));
    expect(result.endsAt).toEqual(at('2026-11-20T13:20Z'));
  });

  it('holds to the calls that may be created in a minute', () => {
    expect(hours({ contacts: 200, callsPerMinute: 2 })).toEqual([
      '2026-11-20T11:00:00Z 120',
      '2026-11-20T12:00:00Z 80',
    ]);
  });

  it('warns of a window that is too small, with an estimate', () => {
    const result = forecast({ ...input, contacts: 1600 });
    expect(result).toMatchObject({ fits: false, calls: 1600 });
    expect(result.hours.at(-1)?.from).toEqual(at('2026-11-23T08:00Z'));
    expect(result.endsAt).toEqual(at('2026-11-23T08:20Z'));
    expect(result.problems).toMatchObject([
      { code: 'SPILLS_OVER', severity: 'WARNING', contacts: 100 },
    ]);
    expect(result.problems[0]?.message).toContain('2026-11-23');
  });

  it('warns of a share that its day has no time for, and keeps to the cap nevertheless', () => {
    const result = forecast({
      ...input,
      contacts: 400,
      maxCallsPerDay: 200,
      maxConcurrentCalls: 1,
    });
    expect(result.problems).toMatchObject([{ code: 'SPILLS_OVER', severity: 'WARNING' }]);
    const perDay = Map.groupBy(result.hours, ({ from }) => dateIn(OFFICE.timezone, from));
    for (const list of perDay.values()) {
      expect(list.reduce((sum, { calls }) => sum + calls, 0)).toBeLessThanOrEqual(200);
    }
    expect(result.calls).toBe(400);
  });

  it('passes over the days that are full already', () => {
    const result = forecast({
      ...input,
      contacts: 2,
      maxCallsPerDay: 2,
      maxConcurrentCalls: 1,
      callSeconds: 6 * 3600,
      alreadyPerDay: new Map([['2026-11-23', 2]]),
    });
    expect(result.hours.map(({ from }) => String(from))).toEqual([
      '2026-11-20T11:00:00Z',
      '2026-11-24T08:00:00Z',
    ]);
  });

  it('refuses what would take years, with an estimate', () => {
    const result = forecast({ ...input, contacts: 100_000, maxCallsPerDay: 10 });
    expect(result.fits).toBe(false);
    expect(result.problems).toMatchObject([{ code: 'TOO_LATE', severity: 'ERROR' }]);
    expect(result.endsAt?.toZonedDateTimeISO('UTC').year).toBe(2065);
    expect(result.problems[0]?.message).toContain('2065');
  });

  it('refuses contacts that could never be called', () => {
    const result = forecast({ ...input, contacts: [{ timezone: 'Australia/Brisbane', count: 5 }] });
    expect(result).toMatchObject({
      fits: false,
      calls: 0,
      firstCallAt: null,
      endsAt: null,
      hours: [],
    });
    expect(result.problems).toMatchObject([{ code: 'NEVER_OPEN', severity: 'ERROR', contacts: 5 }]);
  });

  it('calls nobody outside, each contact once, and never more than the day may have', () => {
    fc.assert(
      fc.property(
        campaigns,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3600 }),
        ({ input: campaign, zones }, maxConcurrentCalls, callSeconds) => {
          const { window, maxCallsPerDay, alreadyPerDay } = campaign;
          const result = forecast({ ...campaign, maxConcurrentCalls, callSeconds });
          const called = new Map<string | null, number[]>();
          const perDay = new Map<string, number>();
          for (const hour of result.hours) {
            const date = dateIn(window.timezone, hour.from);
            perDay.set(date, (perDay.get(date) ?? 0) + hour.calls);
            expect(hour.contacts.reduce((sum, { count }) => sum + count, 0)).toBe(hour.calls);
            for (const { timezone, first, count } of hour.contacts) {
              const both = windowsFor(window, timezone);
              expect(openings(both, hour.from, minutes(hour.from, 60))).not.toEqual([]);
              const list = called.get(timezone) ?? [];
              called.set(timezone, list);
              for (let i = 0; i < count; i++) list.push(first + i);
            }
          }
          for (const [date, count] of perDay) {
            if (maxCallsPerDay === null) continue;
            const already = alreadyPerDay.get(date) ?? 0;
            expect(count).toBeLessThanOrEqual(Math.max(0, maxCallsPerDay - already));
          }
          for (const list of called.values()) expect(list).toEqual(list.map((_, i) => i));
          const missing = result.problems
            .filter(({ severity }) => severity === 'ERROR')
            .reduce((sum, { contacts }) => sum + contacts, 0);
          expect(result.calls + missing).toBe(zones.length);
        },
      ),
      runs(300),
    );
  });
});
