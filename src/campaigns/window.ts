/**
 * When a campaign may call: the working days and hours of a zone, as instants.
 *
 * An instant is inside when the wall clock shows a working day and a time from the start (included)
 * to the end (excluded). So an hour that a clock change skips is not there, and one that it repeats
 * counts both times. An end before the start crosses midnight, and the hours after midnight belong
 * to the day on which the window opened.
 *
 * Several windows together are open when each of them is: so a contact with a zone of its own is
 * called only when it suits both zones.
 */
import {
  DAY_MS,
  type Interval,
  intersect,
  MINUTE_MS,
  periodAt,
  periodsBetween,
  push,
  weekdayOf,
} from './zone.ts';

export interface Window {
  /** IANA name. */
  readonly timezone: string;
  /** ISO weekdays, 1 (Monday) to 7. */
  readonly workingDays: readonly number[];
  /** Minutes after midnight; null is the start of the day. */
  readonly startMinute: number | null;
  /** Minutes after midnight, not included; null is the end of the day. Never equal to the start. */
  readonly endMinute: number | null;
}

export type Windows = Window | readonly Window[];

export interface Opening {
  readonly open: Temporal.Instant;
  readonly close: Temporal.Instant;
}

/** A window that does not open within this many days never does. */
export const SEARCH_DAYS = 740;

/** Days looked at in one go, enough for every window of the week to open once. */
const STRIDE = 9 * DAY_MS;

/** The campaign's window, and the same hours in the contact's own zone if that is another. */
export function windowsFor(window: Window, timezone: string | null): readonly Window[] {
  return timezone === null || timezone === window.timezone
    ? [window]
    : [window, { ...window, timezone }];
}

export function isInside(windows: Windows, instant: Temporal.Instant): boolean {
  const at = instant.epochMilliseconds;
  return list(windows).every((window) => {
    const { start, length } = hours(window);
    // Moved back by its start, a window that crosses midnight lies within the day it belongs to.
    const local = at + periodAt(window.timezone, at).offset - start;
    const day = Math.floor(local / DAY_MS);
    return window.workingDays.includes(weekdayOf(day)) && local - day * DAY_MS < length;
  });
}

/** The earliest instant inside that is not before `from`; null if there never is one. */
export function nextInside(windows: Windows, from: Temporal.Instant): Temporal.Instant | null {
  const at = from.epochMilliseconds;
  const next = nextOpen(windows, at);
  if (next === null) return null;
  return next === at ? from : Temporal.Instant.fromEpochMilliseconds(next);
}

/** When what is open at the instant closes; null if nothing is, or if it never closes. */
export function endOfCurrent(windows: Windows, instant: Temporal.Instant): Temporal.Instant | null {
  if (!isInside(windows, instant)) return null;
  const at = instant.epochMilliseconds;
  const limit = at + SEARCH_DAYS * DAY_MS;
  const { value: opening } = openingsFrom(windows, at, limit).next();
  return opening && opening.to < limit ? Temporal.Instant.fromEpochMilliseconds(opening.to) : null;
}

/** The longest stretches of time inside, in order, cut to `from` (included) and `to` (excluded). */
export function openings(
  windows: Windows,
  from: Temporal.Instant,
  to: Temporal.Instant,
): Opening[] {
  return openIntervals(windows, from.epochMilliseconds, to.epochMilliseconds).map((opening) => ({
    open: Temporal.Instant.fromEpochMilliseconds(opening.from),
    close: Temporal.Instant.fromEpochMilliseconds(opening.to),
  }));
}

/** As `openings`, in milliseconds. */
export function openIntervals(windows: Windows, from: number, to: number): Interval[] {
  if (from >= to) return [];
  let result: Interval[] | null = null;
  for (const window of list(windows)) {
    const open = openOf(window, from, to);
    result = result === null ? open : intersect(result, open);
    if (result.length === 0) break;
  }
  return result ?? [{ from, to }];
}

/** As `openings`, one after the other as they are asked for. */
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

/** As `nextInside`, in milliseconds. */
export function nextOpen(windows: Windows, from: number): number | null {
  const limit = from + SEARCH_DAYS * DAY_MS;
  for (let at = from; at < limit; at += STRIDE) {
    const [first] = openIntervals(windows, at, at + STRIDE);
    if (first) return first.from;
  }
  return null;
}

/** The local days whose windows reach into each period of the zone, brought back to real time. */
function openOf(window: Window, from: number, to: number): Interval[] {
  const { start, length } = hours(window);
  const open: Interval[] = [];
  for (const period of periodsBetween(window.timezone, from, to)) {
    const begin = Math.max(period.from, from);
    const end = Math.min(period.to, to);
    const shift = start - period.offset;
    const firstDay = Math.floor((begin - shift) / DAY_MS);
    for (let day = firstDay; day * DAY_MS + shift < end; day++) {
      if (!window.workingDays.includes(weekdayOf(day))) continue;
      const opens = day * DAY_MS + shift;
      push(open, { from: Math.max(opens, begin), to: Math.min(opens + length, end) });
    }
  }
  return open;
}

function hours({ startMinute, endMinute }: Window): { start: number; length: number } {
  const start = startMinute ?? 0;
  const end = endMinute ?? 1440;
  return {
    start: start * MINUTE_MS,
    length: (end > start ? end - start : end - start + 1440) * MINUTE_MS,
  };
}

function list(windows: Windows): readonly Window[] {
  return Array.isArray(windows) ? windows : [windows as Window];
}
