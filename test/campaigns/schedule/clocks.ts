/** Clock changes of all time zones, generated calling windows around them, and the definition of "inside". */
import fc from 'fast-check';
import type { Window } from '../../../src/campaigns/schedule/calling-window.ts';

/** Factor on the number of generated cases, for runs that may take longer than the suite. */
export const DEPTH = Number(process.env.CAMPAIGN_DEPTH ?? 1);
export const SEED = Number(process.env.CAMPAIGN_SEED ?? 20261120);

export const runs = (count: number) => ({ numRuns: Math.ceil(count * DEPTH), seed: SEED });

export const FROM = Temporal.Instant.from('2026-01-01T00:00Z');
export const TO = Temporal.Instant.from('2028-01-01T00:00Z');

export const ZONES = Intl.supportedValuesOf('timeZone');

export interface ClockChange {
  timezone: string;
  at: Temporal.Instant;
  /** Minutes on the wall clock just before and just after it. */
  before: number;
  after: number;
  weekday: number;
}

/** Every clock change of two years. */
export const CLOCK_CHANGES: readonly ClockChange[] = ZONES.flatMap((timezone) => {
  const changes: ClockChange[] = [];
  let clock = FROM.toZonedDateTimeISO(timezone);
  for (;;) {
    const next = clock.getTimeZoneTransition('next');
    if (!next || Temporal.Instant.compare(next.toInstant(), TO) > 0) return changes;
    const last = next.subtract({ minutes: 1 });
    changes.push({
      timezone,
      at: next.toInstant(),
      before: last.hour * 60 + last.minute + 1,
      after: next.hour * 60 + next.minute,
      weekday: next.dayOfWeek,
    });
    clock = next;
  }
});

/** Whether an instant is inside a window, by its definition. */
export function showsInside(window: Window, instant: Temporal.Instant): boolean {
  const clock = instant.toZonedDateTimeISO(window.timezone);
  const minute = clock.hour * 60 + clock.minute;
  const works = (weekday: number) => window.workingDays.includes(weekday);
  const start = window.startMinute ?? 0;
  const end = window.endMinute ?? 24 * 60;
  if (start < end) return works(clock.dayOfWeek) && start <= minute && minute < end;
  const yesterday = clock.dayOfWeek === 1 ? 7 : clock.dayOfWeek - 1;
  return (works(clock.dayOfWeek) && minute >= start) || (works(yesterday) && minute < end);
}

const days = fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 7 });
const minute = fc.integer({ min: 0, max: 1439 });
const modulo = (value: number) => ((value % 1440) + 1440) % 1440;

function withTimes(timezone: string, times: fc.Arbitrary<[number | null, number | null]>) {
  return fc
    .record({ workingDays: days, times })
    .filter(({ times: [start, end] }) => (start ?? 0) !== (end ?? 1440))
    .map(
      ({ workingDays, times: [startMinute, endMinute] }): Window => ({
        timezone,
        workingDays,
        startMinute,
        endMinute,
      }),
    );
}

/** Windows that begin or end near a clock change, within it, cross midnight, or are anywhere. */
export function windowsNear(change: ClockChange): fc.Arbitrary<Window> {
  const edge = fc.oneof(
    fc.constantFrom(change.before, change.after, 0).map(modulo),
    fc
      .record({
        at: fc.constantFrom(change.before, change.after),
        by: fc.integer({ min: -90, max: 90 }),
      })
      .map(({ at, by }) => modulo(at + by)),
    minute,
    fc.constant(null),
  );
  return withTimes(change.timezone, fc.tuple(edge, edge));
}

export function anyWindow(timezone: string): fc.Arbitrary<Window> {
  const time = fc.oneof(
    { weight: 4, arbitrary: minute },
    { weight: 1, arbitrary: fc.constant(null) },
  );
  return withTimes(timezone, fc.tuple(time, time));
}

/** An instant of the two years, more often than not within days of a clock change. */
export const anyInstant = fc.oneof(
  fc
    .record({
      change: fc.constantFrom(...CLOCK_CHANGES),
      seconds: fc.integer({ min: -3 * 86_400, max: 3 * 86_400 }),
    })
    .map(({ change, seconds }) => change.at.add({ seconds })),
  fc
    .integer({ min: FROM.epochMilliseconds / 1000, max: TO.epochMilliseconds / 1000 })
    .map((seconds) => Temporal.Instant.fromEpochMilliseconds(seconds * 1000)),
);

/** A clock change and a window near it. */
export const changeAndWindow = fc
  .constantFrom(...CLOCK_CHANGES)
  .chain((change) => fc.record({ change: fc.constant(change), window: windowsNear(change) }));

export const minutes = (instant: Temporal.Instant, count: number) =>
  instant.add({ minutes: count });
