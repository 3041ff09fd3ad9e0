/** Divides a range into periods by the clock and calendar of a time zone, for grouping in analytics. */
import {
  dateOf,
  dayAt,
  HOUR_MS,
  intervalsOfDay,
  periodsBetween,
  weekdayOf,
} from '../infra/time-zone.ts';

export type TimeUnit = 'HOUR' | 'DAY' | 'WEEK' | 'MONTH' | 'HOUR_OF_WEEK';

export interface Periods {
  /** Start of each period, ascending. Each period ends where the next one starts. */
  starts: readonly Date[];
  /** Group of each period, as an index into `groups`. */
  labels: readonly number[];
  groups: readonly PeriodGroup[];
}

export interface PeriodGroup {
  /** Null for an hour of the week, which has many starts. */
  start: Date | null;
  /** 1 (Monday) to 7; set only for an hour of the week. */
  weekday: number | null;
  /** 0 to 23; set only for an hour of the week. */
  hour: number | null;
}

/**
 * Returns the periods that cover a range. A day is as long as the calendar of the zone makes it. An hour ends when the
 * wall clock shows the next one or is changed: an hour that a clock change repeats counts as two.
 */
export function periodsOf(unit: TimeUnit, timezone: string, from: Date, to: Date): Periods {
  const range = { from: from.getTime(), to: to.getTime() };
  if (unit === 'HOUR' || unit === 'HOUR_OF_WEEK') return hoursOf(unit, timezone, range);
  const starts: Date[] = [];
  let last: string | null = null;
  for (let day = firstDay(unit, dayAt(timezone, range.from)); ; day += 1) {
    const [first] = intervalsOfDay(timezone, day);
    if (!first) continue;
    if (first.from >= range.to) break;
    const label = labelOf(unit, day);
    if (label !== last) starts.push(new Date(first.from));
    last = label;
  }
  return {
    starts,
    labels: starts.map((_, index) => index),
    groups: starts.map((start) => ({ start, weekday: null, hour: null })),
  };
}

/** Estimates the number of groups of `periodsOf`, without building them. */
export function periodCount(unit: TimeUnit, from: Date, to: Date): number {
  const hours = Math.ceil((to.getTime() - from.getTime()) / HOUR_MS);
  if (unit === 'HOUR') return hours;
  if (unit === 'HOUR_OF_WEEK') return 168;
  const days = Math.ceil(hours / 24) + 1;
  return unit === 'DAY' ? days : Math.ceil(days / (unit === 'WEEK' ? 7 : 28)) + 1;
}

function firstDay(unit: TimeUnit, day: number): number {
  if (unit === 'WEEK') return day - weekdayOf(day) + 1;
  if (unit === 'MONTH') return day - Number(dateOf(day).slice(8, 10)) + 1;
  return day;
}

function labelOf(unit: TimeUnit, day: number): string {
  if (unit === 'WEEK') return dateOf(day - weekdayOf(day) + 1);
  return unit === 'MONTH' ? dateOf(day).slice(0, 7) : dateOf(day);
}

function hoursOf(
  unit: 'HOUR' | 'HOUR_OF_WEEK',
  timezone: string,
  range: { from: number; to: number },
): Periods {
  const starts: Date[] = [];
  const labels: number[] = [];
  for (const { from, to, offset } of periodsBetween(timezone, range.from - HOUR_MS, range.to)) {
    const first = Math.floor((Math.max(from, range.from) + offset) / HOUR_MS) * HOUR_MS - offset;
    for (let start = Math.max(first, from); start < Math.min(to, range.to); ) {
      const local = start + offset;
      starts.push(new Date(start));
      labels.push(hourOfWeek(local));
      start = Math.min((Math.floor(local / HOUR_MS) + 1) * HOUR_MS - offset, to);
    }
  }
  if (unit === 'HOUR_OF_WEEK') return { starts, labels, groups: HOURS_OF_WEEK };
  return {
    starts,
    labels: starts.map((_, index) => index),
    groups: starts.map((start) => ({ start, weekday: null, hour: null })),
  };
}

const HOURS_OF_WEEK: readonly PeriodGroup[] = Array.from({ length: 168 }, (_, index) => ({
  start: null,
  weekday: Math.floor(index / 24) + 1,
  hour: index % 24,
}));

function hourOfWeek(local: number): number {
  const hours = Math.floor(local / HOUR_MS);
  return (weekdayOf(Math.floor(hours / 24)) - 1) * 24 + (((hours % 24) + 24) % 24);
}
