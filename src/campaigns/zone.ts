/**
 * The clock of a time zone as arithmetic: the stretches of time in which its offset stays the same,
 * found with Temporal once and then searched. Planning a long list asks for thousands of days, and
 * a `ZonedDateTime` for each would be most of the work.
 *
 * All times here are milliseconds since 1970; "local" ones are what the wall clock shows, read as
 * if it were UTC. Days are counted from 1970-01-01 by the wall clock.
 */

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** From `from` (included) to `to` (excluded). */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** A stretch of time with one offset: local = real + offset. */
export interface Period extends Interval {
  readonly offset: number;
}

interface Zone {
  periods: Period[];
  /** What `periods` covers. */
  from: number;
  to: number;
}

const zones = new Map<string, Zone>();

/** How much is looked up beyond what was asked for, so that the next question is answered already. */
const AHEAD = 800 * DAY_MS;
const FAR = 20_000 * DAY_MS;

/**
 * The zone under its proper name (`europe/berlin` is `Europe/Berlin`), or null if it is not one.
 *
 * Only names of the form Area/Location, and UTC and GMT: an offset has no clock changes, and a bare
 * abbreviation such as `CET` is the zone of Brussels here but a fixed offset to PostgreSQL.
 */
export function canonicalTimeZone(name: string): string | null {
  if (!/^(?:[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)+|utc|gmt)$/i.test(name)) return null;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name).timeZoneId;
  } catch {
    return null;
  }
}

/** The periods that overlap `from` to `to`, in order, not clipped to it. `from` < `to`. */
export function periodsBetween(timezone: string, from: number, to: number): readonly Period[] {
  const { periods } = covering(timezone, from, to);
  const first = indexAt(periods, from);
  const last = indexAt(periods, to - 1);
  return first === 0 && last === periods.length - 1 ? periods : periods.slice(first, last + 1);
}

export function periodAt(timezone: string, at: number): Period {
  const { periods } = covering(timezone, at, at + 1);
  return periods[indexAt(periods, at)] as Period;
}

/** The day that the calendar in the zone shows. */
export function dayAt(timezone: string, at: number): number {
  return Math.floor((at + periodAt(timezone, at).offset) / DAY_MS);
}

/** When the calendar in the zone shows this day; nothing for one that the zone left out. */
export function intervalsOfDay(timezone: string, day: number): Interval[] {
  const from = day * DAY_MS;
  const intervals: Interval[] = [];
  for (const period of periodsBetween(timezone, from - DAY_MS, from + 2 * DAY_MS)) {
    push(intervals, {
      from: Math.max(period.from, from - period.offset),
      to: Math.min(period.to, from + DAY_MS - period.offset),
    });
  }
  return intervals;
}

/** 1 is Monday, 7 Sunday. */
export function weekdayOf(day: number): number {
  return ((((day + 3) % 7) + 7) % 7) + 1;
}

/** As `2026-11-20`. */
export function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** Adds an interval after all others, joined to the last one if they touch. */
export function push(intervals: Interval[], next: Interval): void {
  if (next.from >= next.to) return;
  const last = intervals.at(-1);
  if (last && last.to === next.from) {
    intervals[intervals.length - 1] = { from: last.from, to: next.to };
  } else {
    intervals.push(next);
  }
}

/** What is in both; each list is in order. */
export function intersect(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const both: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [x, y] = [a[i] as Interval, b[j] as Interval];
    push(both, { from: Math.max(x.from, y.from), to: Math.min(x.to, y.to) });
    if (x.to < y.to) i++;
    else j++;
  }
  return both;
}

function covering(timezone: string, from: number, to: number): Zone {
  const known = zones.get(timezone);
  if (known && known.from <= from && to <= known.to) return known;
  // Far from what is known, to go on from there would look up centuries that nobody asked for.
  const near = known && from > known.from - FAR && to < known.to + FAR;
  const range = {
    from: Math.min(from - AHEAD, near ? known.from : Number.POSITIVE_INFINITY),
    to: Math.max(to + AHEAD, near ? known.to : Number.NEGATIVE_INFINITY),
  };
  const zone = { ...range, periods: lookUp(timezone, range) };
  zones.set(timezone, zone);
  return zone;
}

function lookUp(timezone: string, { from, to }: Interval): Period[] {
  const periods: Period[] = [];
  let clock = Temporal.Instant.fromEpochMilliseconds(from).toZonedDateTimeISO(timezone);
  for (let start = from; ; ) {
    const next = clock.getTimeZoneTransition('next');
    const end = Math.min(next?.epochMilliseconds ?? to, to);
    periods.push({ from: start, to: end, offset: clock.offsetNanoseconds / 1e6 });
    if (!next || end === to) return periods;
    clock = next;
    start = end;
  }
}

function indexAt(periods: readonly Period[], at: number): number {
  let low = 0;
  let high = periods.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((periods[middle] as Period).from <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}
