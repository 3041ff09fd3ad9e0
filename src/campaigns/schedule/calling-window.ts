/**
 * Calling windows: the working days and hours of a time zone, as instants.
 *
 * An instant is inside a window if the wall clock shows a working day and a time from the start (inclusive) to the end
 * (exclusive). An hour that a clock change skips is not inside, and an hour that it repeats is inside twice. A window
 * whose end is before its start crosses midnight; the hours after midnight belong to the day on which it opened.
 *
 * A list of windows is open while all of them are: a contact with its own time zone is called only
 * while the window is open in both zones.
 *
 * Every opening ends `marginSeconds` before the window closes, so that a request sent just before does not make a phone
 * ring after the end. The end of a day is not an end if the window stays open.
 */
import {
  appendInterval,
  DAY_MS,
  type Interval,
  intersect,
  MINUTE_MS,
  periodAt,
  periodsBetween,
  weekdayOf,
} from '../../infra/time-zone.ts';

export interface Window {
  /** IANA name of the time zone. */
  readonly timezone: string;
  /** ISO weekdays, 1 (Monday) to 7. */
  readonly workingDays: readonly number[];
  /** Minutes after midnight; null is the start of the day. */
  readonly startMinute: number | null;
  /** Minutes after midnight, exclusive; null is the end of the day. Never equal to the start. */
  readonly endMinute: number | null;
  /** Less than a minute. Default: 0. */
  readonly marginSeconds?: number;
}

export type Windows = Window | readonly Window[];

/** A window that does not open within this number of days never opens. */
export const SEARCH_DAYS = 740;

/** Days covered by one step of a search, enough for every weekly window to open once. */
const STRIDE = 9 * DAY_MS;

/** The window of the campaign and, if the contact's time zone differs, the same window in that zone. */
export function windowsFor(window: Window, timezone: string | null): readonly Window[] {
  return timezone === null || timezone === window.timezone
    ? [window]
    : [window, { ...window, timezone }];
}

export function isInside(windows: Windows, instant: Temporal.Instant): boolean {
  const at = instant.epochMilliseconds;
  return toList(windows).every((window) => {
    const margin = marginMs(window);
    // A window is never open or closed for less than a minute.
    return isOpen(window, at) && (margin === 0 || isOpen(window, at + margin));
  });
}

/** Whether the clock shows a time inside the window. */
function isOpen(window: Window, at: number): boolean {
  const { start, length } = dailyHours(window);
  // Shifted back by its start, a window that crosses midnight lies within one day.
  const local = at + periodAt(window.timezone, at).offset - start;
  const day = Math.floor(local / DAY_MS);
  return window.workingDays.includes(weekdayOf(day)) && local - day * DAY_MS < length;
}

/** Returns the earliest instant inside, at or after `from`; null if there is none. */
export function nextInside(windows: Windows, from: Temporal.Instant): Temporal.Instant | null {
  const at = from.epochMilliseconds;
  const next = nextOpen(windows, at);
  if (next === null) return null;
  return next === at ? from : Temporal.Instant.fromEpochMilliseconds(next);
}

/** Returns the end of the opening that contains the instant; null if there is none or it never closes. */
export function endOfCurrent(windows: Windows, instant: Temporal.Instant): Temporal.Instant | null {
  if (!isInside(windows, instant)) return null;
  const at = instant.epochMilliseconds;
  const limit = at + SEARCH_DAYS * DAY_MS;
  const { value: opening } = openingsFrom(windows, at, limit).next();
  return opening && opening.to < limit ? Temporal.Instant.fromEpochMilliseconds(opening.to) : null;
}

/** Returns the openings between `from` (inclusive) and `to` (exclusive), in order, clipped to that range. */
export function openIntervals(windows: Windows, from: number, to: number): Interval[] {
  if (from >= to) return [];
  let result: Interval[] | null = null;
  for (const window of toList(windows)) {
    const open = computeOpenIntervals(window, from, to);
    result = result === null ? open : intersect(result, open);
    if (result.length === 0) break;
  }
  return result ?? [{ from, to }];
}

/** Same as `openIntervals`, computed lazily. */
export function* openingsFrom(windows: Windows, from: number, to: number): Generator<Interval> {
  let last: Interval | null = null;
  for (let at = from; at < to; at += STRIDE) {
    for (const next of openIntervals(windows, at, Math.min(at + STRIDE, to))) {
      if (last?.to === next.from) {
        last = { from: last.from, to: next.to };
        continue;
      }
      if (last) yield last;
      last = next;
    }
  }
  if (last) yield last;
}

/** Same as `nextInside`, in milliseconds. */
export function nextOpen(windows: Windows, from: number): number | null {
  const limit = from + SEARCH_DAYS * DAY_MS;
  for (let at = from; at < limit; at += STRIDE) {
    const [first] = openIntervals(windows, at, at + STRIDE);
    if (first) return first.from;
  }
  return null;
}

/** Openings of one window, each shorter by the margin. */
function computeOpenIntervals(window: Window, from: number, to: number): Interval[] {
  const margin = marginMs(window);
  if (margin === 0) return clockHours(window, from, to);
  // An opening that continues past `to` is not shortened at `to`, since the range is extended by the margin.
  return clockHours(window, from, to + margin)
    .map((open) => ({ from: open.from, to: open.to - margin }))
    .filter((open) => open.from < open.to);
}

/** The hours of a window by its clock, computed for each period of constant UTC offset in its zone. */
function clockHours(window: Window, from: number, to: number): Interval[] {
  const { start, length } = dailyHours(window);
  const open: Interval[] = [];
  for (const period of periodsBetween(window.timezone, from, to)) {
    const begin = Math.max(period.from, from);
    const end = Math.min(period.to, to);
    const shift = start - period.offset;
    const firstDay = Math.floor((begin - shift) / DAY_MS);
    for (let day = firstDay; day * DAY_MS + shift < end; day++) {
      if (!window.workingDays.includes(weekdayOf(day))) continue;
      const opens = day * DAY_MS + shift;
      appendInterval(open, { from: Math.max(opens, begin), to: Math.min(opens + length, end) });
    }
  }
  return open;
}

function dailyHours({ startMinute, endMinute }: Window): { start: number; length: number } {
  const start = startMinute ?? 0;
  const end = endMinute ?? 1440;
  return {
    start: start * MINUTE_MS,
    length: (end > start ? end - start : end - start + 1440) * MINUTE_MS,
  };
}

function marginMs({ marginSeconds = 0 }: Window): number {
  return marginSeconds * 1000;
}

function toList(windows: Windows): readonly Window[] {
  return Array.isArray(windows) ? windows : [windows as Window];
}
