/** Calling windows across all time zones and clock changes, and validation of schedules. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  endOfCurrent,
  isInside,
  nextInside,
  type Window,
  windowsFor,
} from '../../../src/campaigns/schedule/calling-window.ts';
import { validateSchedule, windowOf } from '../../../src/campaigns/schedule/schedule.ts';
import { canonicalTimeZone } from '../../../src/infra/time-zone.ts';
import {
  anyInstant,
  anyWindow,
  CLOCK_CHANGES,
  changeAndWindow,
  DEPTH,
  FROM,
  minutes,
  runs,
  SEED,
  showsInside,
  TO,
  windowsNear,
  ZONES,
} from './clocks.ts';
import { openings } from './without-yielding.ts';

const at = (text: string) => Temporal.Instant.from(text);
const texts = (list: readonly { open: Temporal.Instant; close: Temporal.Instant }[]) =>
  list.map(({ open, close }) => `${open} ${close}`);

function berlin(
  startMinute: number | null,
  endMinute: number | null,
  workingDays = [1, 2, 3, 4, 5, 6, 7],
): Window {
  return { timezone: 'Europe/Berlin', workingDays, startMinute, endMinute };
}

/** One generated window for each clock change of two years, the same in every run. */
const SAMPLES = CLOCK_CHANGES.flatMap((change, i) =>
  fc
    .sample(windowsNear(change), { numRuns: Math.ceil(runs(1).numRuns), seed: SEED + i })
    .map((window) => ({ change, window })),
);

// Many cases on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000 * Math.max(1, DEPTH) });

describe('isInside and openings', () => {
  it('include the start of a window and exclude its end', () => {
    const window = berlin(9 * 60, 17 * 60, [5]);
    expect(isInside(window, at('2026-11-20T08:00:00Z'))).toBe(true);
    expect(isInside(window, at('2026-11-20T07:59:59.999999999Z'))).toBe(false);
    expect(isInside(window, at('2026-11-20T15:59:59.999999999Z'))).toBe(true);
    expect(isInside(window, at('2026-11-20T16:00:00Z'))).toBe(false);
    expect(isInside(window, at('2026-11-21T10:00:00Z'))).toBe(false);
    expect(nextInside(window, at('2026-11-20T16:00:00Z'))).toEqual(at('2026-11-27T08:00:00Z'));
  });

  it('cover whole working days without times', () => {
    const window = berlin(null, null, [5, 6]);
    expect(texts(openings(window, at('2026-11-16T00:00Z'), at('2026-11-28T12:00Z')))).toEqual([
      '2026-11-19T23:00:00Z 2026-11-21T23:00:00Z',
      '2026-11-26T23:00:00Z 2026-11-28T12:00:00Z',
    ]);
  });

  it('let a window whose end is before its start cross midnight, belonging to the day of its start', () => {
    const window = berlin(22 * 60, 6 * 60, [5]);
    expect(texts(openings(window, at('2026-11-16T00:00Z'), at('2026-11-23T00:00Z')))).toEqual([
      '2026-11-20T21:00:00Z 2026-11-21T05:00:00Z',
    ]);
    expect(isInside(window, at('2026-11-20T04:00:00Z'))).toBe(false);
  });

  it('exclude an hour that a clock change skips', () => {
    const window = berlin(2 * 60, 3 * 60, [7]);
    expect(texts(openings(window, at('2026-03-20T00:00Z'), at('2026-04-06T00:00Z')))).toEqual([
      '2026-03-22T01:00:00Z 2026-03-22T02:00:00Z',
      '2026-04-05T00:00:00Z 2026-04-05T01:00:00Z',
    ]);
    expect(nextInside(berlin(150, 165, [7]), at('2026-03-29T00:00Z'))).toEqual(
      at('2026-04-05T00:30Z'),
    );
  });

  it('include a repeated hour twice, as one opening or two', () => {
    const day = [at('2026-10-24T22:00Z'), at('2026-10-25T23:00Z')] as const;
    expect(texts(openings(berlin(120, 180), ...day))).toEqual([
      '2026-10-25T00:00:00Z 2026-10-25T02:00:00Z',
    ]);
    expect(texts(openings(berlin(150, 240), ...day))).toEqual([
      '2026-10-25T00:30:00Z 2026-10-25T01:00:00Z',
      '2026-10-25T01:30:00Z 2026-10-25T03:00:00Z',
    ]);
  });

  it('intersect several windows', () => {
    const window = { ...berlin(9 * 60, 17 * 60), timezone: 'America/New_York' };
    const both = windowsFor(window, 'America/Los_Angeles');
    expect(texts(openings(both, at('2026-11-20T00:00Z'), at('2026-11-21T00:00Z')))).toEqual([
      '2026-11-20T17:00:00Z 2026-11-20T22:00:00Z',
    ]);
    expect(isInside(both, at('2026-11-20T16:59Z'))).toBe(false);
    expect(isInside(both, at('2026-11-20T17:00Z'))).toBe(true);
    expect(endOfCurrent(both, at('2026-11-20T17:00Z'))).toEqual(at('2026-11-20T22:00Z'));
    expect(nextInside(windowsFor(window, 'Asia/Tokyo'), FROM)).toBeNull();
    expect(windowsFor(window, 'America/New_York')).toEqual([window]);
    expect(windowsFor(window, null)).toEqual([window]);
  });

  it('end a margin before the window closes', () => {
    const window = { ...berlin(9 * 60, 17 * 60, [5]), marginSeconds: 2 };
    expect(texts(openings(window, at('2026-11-20T00:00Z'), at('2026-11-21T00:00Z')))).toEqual([
      '2026-11-20T08:00:00Z 2026-11-20T15:59:58Z',
    ]);
    expect(isInside(window, at('2026-11-20T15:59:57.999Z'))).toBe(true);
    expect(isInside(window, at('2026-11-20T15:59:58Z'))).toBe(false);
    expect(endOfCurrent(window, at('2026-11-20T12:00Z'))).toEqual(at('2026-11-20T15:59:58Z'));
    expect(nextInside(window, at('2026-11-20T15:59:58Z'))).toEqual(at('2026-11-27T08:00:00Z'));
    const both = windowsFor({ ...berlin(9 * 60, 17 * 60), marginSeconds: 2 }, 'Europe/London');
    expect(endOfCurrent(both, at('2026-11-20T12:00Z'))).toEqual(at('2026-11-20T15:59:58Z'));
    // Midnight is no end while the next day is a working day.
    const days = { ...berlin(null, null, [5, 6]), marginSeconds: 2 };
    expect(texts(openings(days, at('2026-11-16T00:00Z'), at('2026-11-28T12:00Z')))).toEqual([
      '2026-11-19T23:00:00Z 2026-11-21T22:59:58Z',
      '2026-11-26T23:00:00Z 2026-11-28T12:00:00Z',
    ]);
    expect(isInside(days, at('2026-11-20T22:59:59Z'))).toBe(true);
  });

  it('end a margin before any end around every clock change', () => {
    const wrong = SAMPLES.flatMap(({ change, window }) => {
      const early = { ...window, marginSeconds: 30 };
      const instants = [-3600, -1800, -31, -30, -1, 0, 1800, 3570, 3600].flatMap((seconds) =>
        [0, -1, -29, -30, -31].map((more) => change.at.add({ seconds: seconds + more })),
      );
      return instants.filter((instant) => {
        const open =
          showsInside(window, instant) && showsInside(window, instant.add({ seconds: 30 }));
        const [opening] = openings(early, instant, instant.add({ seconds: 1 }));
        const starts = opening && Temporal.Instant.compare(opening.open, instant) === 0;
        return isInside(early, instant) !== open || Boolean(starts) !== open;
      });
    });
    expect(wrong).toEqual([]);
  });

  it('find no end of a window that is always open', () => {
    expect(endOfCurrent(berlin(null, null), FROM)).toBeNull();
    expect(nextInside(berlin(null, null), FROM)).toEqual(FROM);
  });
});

describe('around every clock change of two years', () => {
  it('the clock changes are found', () => {
    expect(ZONES.length).toBeGreaterThan(400);
    expect(CLOCK_CHANGES.length).toBeGreaterThan(400);
    expect(new Set(CLOCK_CHANGES.map(({ timezone }) => timezone)).size).toBeGreaterThan(100);
    const changes = ZONES.map((timezone) => {
      let count = 0;
      let last = FROM.toZonedDateTimeISO(timezone).offset;
      for (let t = FROM; Temporal.Instant.compare(t, TO) <= 0; t = t.add({ hours: 12 })) {
        const { offset } = t.toZonedDateTimeISO(timezone);
        if (offset !== last) count++;
        last = offset;
      }
      return { timezone, count };
    });
    for (const { timezone, count } of changes) {
      const known = CLOCK_CHANGES.filter((change) => change.timezone === timezone);
      expect({ timezone, count: known.length }).toEqual({ timezone, count });
    }
  });

  it('isInside and openings agree with the wall clock at every minute', () => {
    for (const { change, window } of SAMPLES) {
      const [from, to] = [minutes(change.at, -50 * 60), minutes(change.at, 50 * 60)];
      const list = openings(window, from, to);
      let i = 0;
      for (let m = -50 * 60; m < 50 * 60; m += Math.abs(m) < 150 ? 1 : 10) {
        const instant = minutes(change.at, m);
        const expected = showsInside(window, instant);
        const text = () => JSON.stringify({ window, instant, change });
        if (isInside(window, instant) !== expected) expect.fail(`isInside ${text()}`);
        while (i < list.length && Temporal.Instant.compare(list[i]!.close, instant) <= 0) i++;
        const opening = list[i];
        const isOpen =
          opening !== undefined && Temporal.Instant.compare(opening.open, instant) <= 0;
        if (isOpen !== expected) expect.fail(`openings ${text()}`);
      }
    }
  });

  it('openings neither touch nor end early', () => {
    for (const { change, window } of SAMPLES) {
      const [from, to] = [minutes(change.at, -4 * 1440), minutes(change.at, 4 * 1440)];
      for (const { open, close } of openings(window, from, to)) {
        expect(Temporal.Instant.compare(open, close)).toBe(-1);
        expect(showsInside(window, open)).toBe(true);
        expect(showsInside(window, close.subtract({ nanoseconds: 1 }))).toBe(true);
        if (!open.equals(from))
          expect(showsInside(window, open.subtract({ nanoseconds: 1 }))).toBe(false);
        if (!close.equals(to)) expect(showsInside(window, close)).toBe(false);
      }
    }
  });
});

describe('at generated times in every zone', () => {
  const zoneAndWindow = fc.constantFrom(...ZONES).chain((timezone) => anyWindow(timezone));

  it('isInside agrees with the wall clock', () => {
    fc.assert(
      fc.property(zoneAndWindow, anyInstant, (window, instant) => {
        expect(isInside(window, instant)).toBe(showsInside(window, instant));
      }),
      runs(5000),
    );
  });

  it('nextInside returns the earliest instant inside', () => {
    fc.assert(
      fc.property(
        changeAndWindow,
        fc.integer({ min: -3000, max: 300 }),
        fc.integer({ min: 0, max: 59_999 }),
        ({ change, window }, m, milliseconds) => {
          const from = minutes(change.at, m).add({ milliseconds });
          const next = nextInside(window, from);
          // Windows and clocks change at whole minutes, so only these are checked.
          let expected = from;
          for (let i = 0; !showsInside(window, expected); i++) {
            expected = minutes(change.at, m + i + 1);
          }
          expect(next).toEqual(expected);
        },
      ),
      runs(300),
    );
  });

  it('nextInside returns the earliest instant inside two windows, or null', () => {
    fc.assert(
      fc.property(changeAndWindow, fc.constantFrom(...ZONES), ({ change, window }, timezone) => {
        const both = windowsFor(window, timezone);
        const next = nextInside(both, change.at);
        const allows = (instant: Temporal.Instant) =>
          showsInside(window, instant) && showsInside({ ...window, timezone }, instant);
        const span = next ? Math.min(6000, next.since(change.at).total('minutes')) : 3000;
        for (let m = 0; m < span; m++) {
          if (allows(minutes(change.at, m)))
            expect.fail(`${timezone} ${m} ${JSON.stringify(window)}`);
        }
        if (next) expect(allows(next) && isInside(both, next)).toBe(true);
      }),
      runs(200),
    );
  });

  it('endOfCurrent returns the first instant that is not inside', () => {
    fc.assert(
      fc.property(
        changeAndWindow,
        fc.integer({ min: -1500, max: 300 }),
        ({ change, window }, m) => {
          const from = minutes(change.at, m);
          const end = endOfCurrent(window, from);
          if (!end) {
            expect(showsInside(window, from) && !isAlwaysOpen(window)).toBe(false);
            return;
          }
          expect(showsInside(window, end)).toBe(false);
          for (let t = from; Temporal.Instant.compare(t, end) < 0; t = minutes(t, 1)) {
            if (!showsInside(window, t)) expect.fail(`${t} ${JSON.stringify(window)}`);
          }
        },
      ),
      runs(300),
    );
  });

  function isAlwaysOpen({ startMinute, endMinute, workingDays }: Window): boolean {
    return workingDays.length === 7 && (startMinute ?? 0) === 0 && (endMinute ?? 0) % 1440 === 0;
  }
});

describe('validateSchedule', () => {
  const now = at('2026-11-20T12:00Z');
  const paths = (input: Parameters<typeof validateSchedule>[0]) =>
    validateSchedule(input, now).map(({ path }) => path[0]);

  it('returns no problems of a valid schedule', () => {
    expect(paths({})).toEqual([]);
    expect(
      paths({
        scheduleType: 'SCHEDULED',
        scheduledAt: at('2026-11-21T00:00Z'),
        timezone: 'America/Argentina/Buenos_Aires',
        workingDays: [7, 1],
        startTime: '22:00',
        endTime: '00:00',
        maxConcurrentCalls: 100,
        maxCallsPerDay: 1,
        maxRetryAttempts: 3,
      }),
    ).toEqual([]);
  });

  it('returns all problems', () => {
    expect(
      paths({
        scheduleType: 'SCHEDULED',
        timezone: 'Mars/Olympus',
        workingDays: [1, 8],
        startTime: '9:00',
        endTime: '24:00',
        maxConcurrentCalls: 0,
        maxCallsPerDay: 0.5,
        maxRetryAttempts: 4,
      }),
    ).toEqual([
      'timezone',
      'workingDays',
      'startTime',
      'endTime',
      'scheduledAt',
      'maxConcurrentCalls',
      'maxCallsPerDay',
      'maxRetryAttempts',
    ]);
  });

  it.each([
    [{ startTime: '09:00', endTime: '09:00' }, 'endTime'],
    [{ endTime: '00:00' }, 'endTime'],
    [{ startTime: '09:60' }, 'startTime'],
    [{ workingDays: [] }, 'workingDays'],
    [{ workingDays: [0] }, 'workingDays'],
    [{ workingDays: [1.5] }, 'workingDays'],
    [{ workingDays: [1, 1] }, 'workingDays'],
    [{ scheduleType: 'IMMEDIATE', scheduledAt: at('2026-12-01T00:00Z') }, 'scheduledAt'],
    [{ scheduleType: 'SCHEDULED', scheduledAt: at('2026-11-20T11:00Z') }, 'scheduledAt'],
    [{ timezone: '' }, 'timezone'],
    [{ timezone: '+02:00' }, 'timezone'],
    [{ timezone: 'CET' }, 'timezone'],
    [{ timezone: 'UTC+3' }, 'timezone'],
    [{ timezone: 'Europe/Berlin[u-ca=iso8601]' }, 'timezone'],
  ] as const)('rejects %j', (input, path) => {
    expect(paths(input)).toEqual([path]);
  });

  it('rejects a start more than 20 years ahead', () => {
    const last = at('2046-11-20T12:00Z');
    expect(paths({ scheduledAt: last })).toEqual([]);
    const input = { scheduledAt: last.add({ milliseconds: 1 }) };
    expect(validateSchedule(input, now)).toEqual([
      {
        path: ['scheduledAt'],
        message: '`scheduledAt` must be within 20 years from now.',
      },
    ]);
    expect(paths({ scheduledAt: new Date('2046-11-20T12:00:00.001Z') })).toEqual(['scheduledAt']);
  });

  it('names the invalid working days', () => {
    const messages = (workingDays: number[]) =>
      validateSchedule({ workingDays }, now).map(({ message }) => message);
    expect(messages([1, 9])).toEqual([expect.stringMatching(/; 9 is not\.$/)]);
    expect(messages([3.5, 1, 9])).toEqual([expect.stringMatching(/; 3\.5, 9 are not\.$/)]);
  });

  it('accepts time zones in any case, and windowOf returns the canonical name', () => {
    expect(windowOf({ timezone: 'europe/berlin', startTime: '09:30' }, 2)).toEqual({
      marginSeconds: 2,
      timezone: 'Europe/Berlin',
      workingDays: [1, 2, 3, 4, 5],
      startMinute: 570,
      endMinute: null,
    });
    for (const zone of ZONES) expect(canonicalTimeZone(zone)).toBe(zone);
  });
});
