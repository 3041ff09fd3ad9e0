/** Generated campaigns for property tests of plans, and what the rules allow in local time. */
import fc from 'fast-check';
import type { Window } from '../../../src/campaigns/schedule/calling-window.ts';
import {
  anyInstant,
  anyWindow,
  CLOCK_CHANGES,
  type ClockChange,
  minutes,
  showsInside,
  windowsNear,
  ZONES,
} from './clocks.ts';
import { toRuns } from './without-yielding.ts';

export const at = (text: string) => Temporal.Instant.from(text);
export const OFFICE: Window = {
  timezone: 'Europe/Berlin',
  workingDays: [1, 2, 3, 4, 5],
  startMinute: 9 * 60,
  endMinute: 17 * 60,
};
export const friday = at('2026-11-20T11:00Z');

export const dateIn = (timezone: string, instant: Temporal.Instant) =>
  instant.toZonedDateTimeISO(timezone).toPlainDate().toString();

/** Whether the windows of campaign and contact are open, by the wall clock alone. */
export function allows(
  window: Window,
  timezone: string | null,
  instant: Temporal.Instant,
): boolean {
  return (
    showsInside(window, instant) &&
    (timezone === null || showsInside({ ...window, timezone }, instant))
  );
}

interface Start {
  window: Window;
  startAt: Temporal.Instant;
}

export const startNear = (change: ClockChange): fc.Arbitrary<Start> =>
  fc
    .record({ window: windowsNear(change), m: fc.integer({ min: -3000, max: 100 }) })
    .map(({ window, m }) => ({ window, startAt: minutes(change.at, m) }));

export const startIn = (timezone: string): fc.Arbitrary<Start> =>
  fc.record({ window: anyWindow(timezone), startAt: anyInstant });

export const campaignsOf = (start: fc.Arbitrary<Start>) =>
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
        },
      };
    });

/** Campaigns that start anywhere, or shortly before a clock change. */
export const campaigns = campaignsOf(
  fc.oneof(
    fc.constantFrom(...CLOCK_CHANGES).chain(startNear),
    fc.constantFrom(...ZONES).chain(startIn),
  ),
);

export type GeneratedCampaign =
  ReturnType<typeof campaignsOf> extends fc.Arbitrary<infer T> ? T : never;
