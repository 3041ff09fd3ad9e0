/**
 * Plans when each contact of a campaign is due.
 *
 * Without a daily limit, all contacts are due when the window opens, and concurrency sets the pace. With a limit, each
 * contact in list order gets the earliest day on which it may be called and capacity is left, and the contacts of a day
 * are spread evenly over its open hours. Contacts of each time zone are spread separately, over the hours that are open
 * in that zone.
 *
 * A plan consists of evenly spaced segments, so that planning 100,000 contacts takes one statement with
 * a few parameters (`../enrollment/plan-sql.ts`).
 */

import { dateOf, dayAt, type Interval, intersect, intervalsOfDay } from '../../infra/time-zone.ts';
import {
  isInside,
  nextInside,
  nextOpen,
  openIntervals,
  SEARCH_DAYS,
  type Window,
  windowsFor,
} from './calling-window.ts';
import type { CooperativeLoop } from './cooperative-loop.ts';

/** Consecutive contacts of the list with the same time zone. */
export interface ContactRun {
  /** Time zone of the contacts; null if they have none. */
  readonly timezone: string | null;
  readonly count: number;
}

/** Number of calls by date in the campaign's time zone, such as `2026-11-20`. */
export type CallsPerDay = ReadonlyMap<string, number>;

export interface PlanInput {
  readonly window: Window;
  /** No contact is planned before this instant. */
  readonly startAt: Temporal.Instant;
  readonly maxCallsPerDay: number | null;
  /** Number of contacts, or the time zones of the list. */
  readonly contacts: number | readonly ContactRun[];
  /** Attempts that already count toward the daily limit. */
  readonly alreadyPerDay?: CallsPerDay;
}

/** The contacts `first` to `first + count - 1` of those with this time zone, counted from 0. */
interface Contacts {
  readonly timezone: string | null;
  readonly first: number;
  readonly count: number;
}

/** Contact i of the segment is due at `from` + floor(i × `stepMs`) milliseconds. */
export interface PlanSegment extends Contacts {
  readonly from: Temporal.Instant;
  /** Time at which the last contact is due. */
  readonly to: Temporal.Instant;
  /** 0 if all contacts are due at the same time. */
  readonly stepMs: number;
}

export interface Unplanned extends Contacts {
  /** `NEVER_OPEN`: the windows of both zones never overlap. `TOO_LATE`: no capacity before the horizon. */
  readonly reason: 'NEVER_OPEN' | 'TOO_LATE';
}

export interface Plan {
  /** Ordered by contact within each zone, not by time over all zones. */
  readonly segments: readonly PlanSegment[];
  readonly unplanned: readonly Unplanned[];
}

/** Contacts are planned for five years. A longer plan indicates a mistake in the daily limit or the window. */
export const HORIZON_DAYS = 5 * 366;

/** All contacts of one time zone. */
interface Group {
  readonly timezone: string | null;
  readonly windows: readonly Window[];
  /** The same windows without the margin. */
  readonly hours: readonly Window[];
  /** Runs of the list; `start` is a position in it. */
  readonly runs: { start: number; count: number }[];
  /** Index of the next run. */
  run: number;
  planned: number;
  count: number;
}

/** Number of steps between two yields. */
const STEP = 200;

/** Plans contacts, in list order within each zone. */
export function* planLoop(input: PlanInput): CooperativeLoop<Plan> {
  const groups = groupByZone(input);
  const startAt = ceilMs(input.startAt);
  const segments: PlanSegment[] = [];
  const unplanned: Unplanned[] = [];
  const { maxCallsPerDay } = input;
  const open = groups.filter((group) => {
    const { timezone, count } = group;
    const opens = nextOpen(group.windows, startAt);
    if (opens === null) unplanned.push(restOf(group, 'NEVER_OPEN'));
    else if (maxCallsPerDay === null) {
      segments.push(segment({ timezone, first: 0, count }, { from: opens, stepMs: 0 }));
      group.planned = count;
    }
    return opens !== null;
  });
  if (maxCallsPerDay !== null) {
    yield* planByDay(input, { maxCallsPerDay, startAt }, open, segments);
    for (const group of open) {
      if (group.planned < group.count) unplanned.push(restOf(group, 'TOO_LATE'));
    }
  }
  return { segments, unplanned };
}

/**
 * Returns the earliest instant at or after `from` inside the window, on a day with capacity for another call. Null if
 * there is none.
 */
export function nextEligibleAt({
  window,
  from,
  maxCallsPerDay,
  alreadyPerDay,
}: {
  window: Window;
  from: Temporal.Instant;
  maxCallsPerDay: number | null;
  alreadyPerDay?: CallsPerDay;
}): Temporal.Instant | null {
  if (maxCallsPerDay === null) return nextInside(window, from);
  const isFull = (day: number) => (alreadyPerDay?.get(dateOf(day)) ?? 0) >= maxCallsPerDay;
  const at = from.epochMilliseconds;
  const today = dayAt(window.timezone, at);
  if (!isFull(today) && isInside(window, from)) return from;
  for (let day = today; day <= today + SEARCH_DAYS; day++) {
    if (isFull(day)) continue;
    const [first] = openIntervalsOfDay([window], window.timezone, day, at);
    if (first) return Temporal.Instant.fromEpochMilliseconds(first.from);
  }
  return null;
}

export function ceilMs(instant: Temporal.Instant): number {
  return instant.round({ smallestUnit: 'millisecond', roundingMode: 'ceil' }).epochMilliseconds;
}

/** Plans the contacts of the groups under a daily limit, and adds their segments. */
function* planByDay(
  { window, alreadyPerDay }: PlanInput,
  { maxCallsPerDay, startAt }: { maxCallsPerDay: number; startAt: number },
  groups: readonly Group[],
  segments: PlanSegment[],
): CooperativeLoop<void> {
  const firstDay = dayAt(window.timezone, startAt);
  let waiting = groups.filter((group) => group.count > 0);
  for (let day = firstDay; waiting.length > 0 && day <= firstDay + HORIZON_DAYS; day++) {
    yield;
    const room = maxCallsPerDay - (alreadyPerDay?.get(dateOf(day)) ?? 0);
    if (room <= 0) continue;
    const open = waiting.flatMap((group) => {
      const intervals = openIntervalsOfDay(group.windows, window.timezone, day, startAt);
      const hours = openIntervalsOfDay(group.hours, window.timezone, day, startAt);
      return intervals.length > 0 ? [{ group, hours, intervals, share: 0 }] : [];
    });
    yield* distributeShares(open, room);
    for (const { group, hours, intervals, share } of open) {
      segments.push(...spreadOverDay(group, { hours, intervals, share }));
      group.planned += share;
    }
    if (open.length > 0) waiting = waiting.filter((group) => group.planned < group.count);
  }
}

/** Assigns the capacity of a day to the first contacts of the list that can be called on it. */
function* distributeShares(
  open: { group: Group; share: number }[],
  room: number,
): CooperativeLoop<void> {
  let looked = 0;
  for (let left = room; left > 0; ) {
    if (++looked % STEP === 0) yield;
    let next: { group: Group; share: number } | null = null;
    let start = Number.POSITIVE_INFINITY;
    for (const candidate of open) {
      const head = candidate.group.runs[candidate.group.run];
      if (head && head.start < start) {
        next = candidate;
        start = head.start;
      }
    }
    const run = next?.group.runs[next.group.run];
    if (!next || !run) return;
    const taken = Math.min(left, run.count);
    run.start += taken;
    run.count -= taken;
    if (run.count === 0) next.group.run++;
    next.share += taken;
    left -= taken;
  }
}

/**
 * Spreads the share of a day over the hours of the window; if that makes a contact due in the margin before an end,
 * over the hours without the margin.
 */
function spreadOverDay(
  group: Group,
  {
    hours,
    intervals,
    share,
  }: { hours: readonly Interval[]; intervals: readonly Interval[]; share: number },
): PlanSegment[] {
  const even = spread(group, hours, share);
  const fits = even.every((part) =>
    intervals.some(
      ({ from, to }) => from <= part.from.epochMilliseconds && part.to.epochMilliseconds < to,
    ),
  );
  return fits ? even : spread(group, intervals, share);
}

/** Spreads evenly: contact j of the share is due when j/share of the open time has passed. */
function spread(group: Group, intervals: readonly Interval[], share: number): PlanSegment[] {
  const segments: PlanSegment[] = [];
  const total = intervals.reduce((sum, { from, to }) => sum + to - from, 0);
  const stepMs = total / share;
  let passed = 0;
  let next = 0;
  for (const { from, to } of intervals) {
    const first = next;
    // Contacts that are due before this interval ends: j × total / share < passed.
    const before = passed;
    passed += to - from;
    next = Math.min(share, Math.ceil((passed * share) / total));
    if (next === first) continue;
    const offset = Math.floor((first * total) / share) - before;
    segments.push(
      segment(
        { timezone: group.timezone, first: group.planned + first, count: next - first },
        { from: from + offset, stepMs },
      ),
    );
  }
  return segments;
}

function openIntervalsOfDay(
  windows: readonly Window[],
  timezone: string,
  day: number,
  notBefore: number,
): Interval[] {
  const parts = intervalsOfDay(timezone, day)
    .map(({ from, to }) => ({ from: Math.max(from, notBefore), to }))
    .filter(({ from, to }) => from < to);
  const [first, last] = [parts[0], parts.at(-1)];
  if (!first || !last) return [];
  return intersect(openIntervals(windows, first.from, last.to), parts);
}

function groupByZone({ window, contacts }: PlanInput): Group[] {
  const groups = new Map<string | null, Group>();
  let start = 0;
  for (const { timezone, count } of zoneRunsOf(contacts)) {
    if (count === 0) continue;
    let group = groups.get(timezone);
    if (!group) {
      const windows = windowsFor(window, timezone);
      const hours = windowsFor({ ...window, marginSeconds: 0 }, timezone);
      group = { timezone, windows, hours, runs: [], run: 0, planned: 0, count: 0 };
      groups.set(timezone, group);
    }
    group.runs.push({ start, count });
    group.count += count;
    start += count;
  }
  return [...groups.values()];
}

function zoneRunsOf(contacts: PlanInput['contacts']): readonly ContactRun[] {
  return typeof contacts === 'number' ? [{ timezone: null, count: contacts }] : contacts;
}

function segment(
  contacts: Contacts,
  { from, stepMs }: { from: number; stepMs: number },
): PlanSegment {
  const to = from + Math.floor((contacts.count - 1) * stepMs);
  return {
    ...contacts,
    from: Temporal.Instant.fromEpochMilliseconds(from),
    to: Temporal.Instant.fromEpochMilliseconds(to),
    stepMs,
  };
}

function restOf({ timezone, planned, count }: Group, reason: Unplanned['reason']): Unplanned {
  return { timezone, first: planned, count: count - planned, reason };
}
