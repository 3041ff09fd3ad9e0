/**
 * Time zone arithmetic on cached periods of constant offset. A plan for a long list needs thousands of
 * days, and creating a `ZonedDateTime` for each would take most of its time.
 *
 * Times are milliseconds since 1970; local times are wall-clock times interpreted as UTC. Days are
 * counted from 1970-01-01 in local time.
 */

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** From `from` (inclusive) to `to` (exclusive). */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** A period of constant offset: local time = time + offset. */
export interface Period extends Interval {
  readonly offset: number;
}

interface CachedZone {
  periods: Period[];
  /** The range that `periods` covers. */
  from: number;
  to: number;
}

const zones = new Map<string, CachedZone>();

/** Time to look up beyond the requested range, for later requests. */
const LOOKAHEAD_MS = 800 * DAY_MS;
/** Maximum range that is kept for a zone, unless a caller asks for a longer one: 55 years. */
const MAX_CACHED_RANGE_MS = 20_000 * DAY_MS;

/**
 * The canonical name of a time zone (`Europe/Berlin` for `europe/berlin`), or null if there is none.
 *
 * Accepts names of the form Area/Location, UTC and GMT. Offsets have no clock changes, and JavaScript
 * and PostgreSQL interpret abbreviations such as `CET` differently.
 */
export function canonicalTimeZone(name: string): string | null {
  if (!/^(?:[A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)+|utc|gmt)$/i.test(name)) return null;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name).timeZoneId;
  } catch {
    return null;
  }
}

/** The periods that overlap the range `from` to `to`, in order, not clipped. `from` < `to`. */
export function periodsBetween(timezone: string, from: number, to: number): readonly Period[] {
  const { periods } = zoneCovering(timezone, from, to);
  const first = indexAt(periods, from);
  const last = indexAt(periods, to - 1);
  return first === 0 && last === periods.length - 1 ? periods : periods.slice(first, last + 1);
}

export function periodAt(timezone: string, at: number): Period {
  const { periods } = zoneCovering(timezone, at, at + 1);
  return periods[indexAt(periods, at)] as Period;
}

/** The calendar day in the time zone. */
export function dayAt(timezone: string, at: number): number {
  return Math.floor((at + periodAt(timezone, at).offset) / DAY_MS);
}

/** The intervals of a calendar day in the time zone; empty for a day that the zone skipped. */
export function intervalsOfDay(timezone: string, day: number): Interval[] {
  const from = day * DAY_MS;
  const intervals: Interval[] = [];
  for (const period of periodsBetween(timezone, from - DAY_MS, from + 2 * DAY_MS)) {
    appendInterval(intervals, {
      from: Math.max(period.from, from - period.offset),
      to: Math.min(period.to, from + DAY_MS - period.offset),
    });
  }
  return intervals;
}

/** ISO weekday of a day, 1 (Monday) to 7 (Sunday). */
export function weekdayOf(day: number): number {
  return ((((day + 3) % 7) + 7) % 7) + 1;
}

/** Formats a day as a date such as `2026-11-20`. */
export function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** Appends an interval, or extends the last one if they touch. */
export function appendInterval(intervals: Interval[], next: Interval): void {
  if (next.from >= next.to) return;
  const last = intervals.at(-1);
  if (last && last.to === next.from) {
    intervals[intervals.length - 1] = { from: last.from, to: next.to };
  } else {
    intervals.push(next);
  }
}

/** The intersection of two ordered lists of intervals. */
export function intersect(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const both: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [x, y] = [a[i] as Interval, b[j] as Interval];
    appendInterval(both, { from: Math.max(x.from, y.from), to: Math.min(x.to, y.to) });
    if (x.to < y.to) i++;
    else j++;
  }
  return both;
}

function zoneCovering(timezone: string, from: number, to: number): CachedZone {
  const known = zones.get(timezone);
  if (known && known.from <= from && to <= known.to) return known;
  const wanted = { from: from - LOOKAHEAD_MS, to: to + LOOKAHEAD_MS };
  const joined = known
    ? { from: Math.min(wanted.from, known.from), to: Math.max(wanted.to, known.to) }
    : wanted;
  // A longer range takes too much time to look up, and callers choose the years.
  const range = joined.to - joined.from > MAX_CACHED_RANGE_MS ? wanted : joined;
  const zone = { ...range, periods: computePeriods(timezone, range) };
  zones.set(timezone, zone);
  return zone;
}

function computePeriods(timezone: string, { from, to }: Interval): Period[] {
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

/** The instant as a `Date`, to the millisecond. */
export function toDate(instant: Temporal.Instant | null): Date | null {
  return instant && new Date(instant.epochMilliseconds);
}
