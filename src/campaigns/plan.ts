/**
 * When each contact of a campaign is to be called.
 *
 * Without a daily cap all are due as the window opens, and concurrency sets the pace. With one, each
 * contact in the order of the list gets the earliest day on which it may be called and that has room
 * left, and a day's share is spread evenly over what is open of that day. Contacts with zones of
 * their own are spread each zone by itself, over the hours that suit it.
 *
 * A plan is made of segments, each an even row of calls, so that planning a hundred thousand
 * contacts is one statement with a few parameters (`plan-sql.ts`).
 */
import { inOneGo, type Steps } from './steps.ts';
import {
  isInside,
  nextInside,
  nextOpen,
  openIntervals,
  SEARCH_DAYS,
  type Window,
  windowsFor,
} from './window.ts';
import { dateOf, dayAt, type Interval, intersect, intervalsOfDay } from './zone.ts';

/** Contacts that follow each other in the list and have the same zone. */
export interface ContactRun {
  /** The contact's own zone, null if it has none. */
  readonly timezone: string | null;
  readonly count: number;
}

/** Calls per day by its date in the campaign's zone, such as `2026-11-20`. */
export type CallsPerDay = ReadonlyMap<string, number>;

export interface PlanInput {
  readonly window: Window;
  /** No contact is planned before this. */
  readonly startAt: Temporal.Instant;
  readonly maxCallsPerDay: number | null;
  /** How many, or in the order of the list with their zones. */
  readonly contacts: number | readonly ContactRun[];
  /** Attempts that the cap counts already. */
  readonly alreadyPerDay?: CallsPerDay;
  /** No contact is planned later than this many days after the start. */
  readonly horizonDays?: number;
}

/** The contacts `first` to `first + count - 1` of all that have this zone, counted from 0. */
interface Contacts {
  readonly timezone: string | null;
  readonly first: number;
  readonly count: number;
}

/** The i-th of these contacts is due at `from` + floor(i × `stepMs`) milliseconds. */
export interface PlanSegment extends Contacts {
  readonly from: Temporal.Instant;
  /** When the last of them is due. */
  readonly to: Temporal.Instant;
  /** 0: all at once. */
  readonly stepMs: number;
}

export interface Unplanned extends Contacts {
  /** `NEVER_OPEN`: no time suits both zones. `TOO_LATE`: there is no room before the horizon. */
  readonly reason: 'NEVER_OPEN' | 'TOO_LATE';
}

export interface Plan {
  /** By zone and contact within each zone, not by time over all of them. */
  readonly segments: readonly PlanSegment[];
  readonly unplanned: readonly Unplanned[];
}

/** Five years: what would take longer is a mistake in the cap or the window. */
export const HORIZON_DAYS = 5 * 366;

/** All contacts of one zone. */
interface Group {
  readonly timezone: string | null;
  readonly windows: readonly Window[];
  /** Stretches of the list, `start` being a place in it. */
  readonly runs: { start: number; count: number }[];
  /** The run that comes next. */
  run: number;
  planned: number;
  count: number;
}

/** How many contacts of a mixed list are looked at between two yields. */
const STEP = 200;

export function planSegments(input: PlanInput): Plan {
  return inOneGo(planSteps(input));
}

/** As `planSegments`, in steps. */
export function* planSteps(input: PlanInput): Steps<Plan> {
  const groups = groupByZone(input);
  const startAt = ceilMs(input.startAt);
  const segments: PlanSegment[] = [];
  const unplanned: Unplanned[] = [];
  const open = groups.filter((group) => {
    const opens = nextOpen(group.windows, startAt);
    if (opens === null) unplanned.push(restOf(group, 'NEVER_OPEN'));
    else if (input.maxCallsPerDay === null) {
      segments.push(segment(group.timezone, 0, group.count, opens, 0));
      group.planned = group.count;
    }
    return opens !== null;
  });
  if (input.maxCallsPerDay !== null) {
    yield* planByDay(input, input.maxCallsPerDay, startAt, open, segments);
    for (const group of open) {
      if (group.planned < group.count) unplanned.push(restOf(group, 'TOO_LATE'));
    }
  }
  return { segments, unplanned };
}

/** When each contact is due, in the order of the list; null for one that is not planned. */
export function planContacts(input: PlanInput): (Temporal.Instant | null)[] {
  const byZone = new Map<string | null, Temporal.Instant[]>();
  for (const part of planSegments(input).segments) {
    const due = byZone.get(part.timezone) ?? [];
    byZone.set(part.timezone, due);
    for (let i = 0; i < part.count; i++) due[part.first + i] = dueAt(part, i);
  }
  const taken = new Map<string | null, number>();
  return runsOf(input.contacts).flatMap(({ timezone, count }) => {
    const first = taken.get(timezone) ?? 0;
    taken.set(timezone, first + count);
    const due = byZone.get(timezone);
    return Array.from({ length: count }, (_, i) => due?.[first + i] ?? null);
  });
}

/** When the i-th contact of a segment is due. */
export function dueAt(part: PlanSegment, i: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(
    part.from.epochMilliseconds + Math.floor(i * part.stepMs),
  );
}

/** The runs in a list of contacts given by their zones. */
export function toRuns(timezones: Iterable<string | null>): ContactRun[] {
  const runs: { timezone: string | null; count: number }[] = [];
  for (const timezone of timezones) {
    const last = runs.at(-1);
    if (last?.timezone === timezone) last.count++;
    else runs.push({ timezone, count: 1 });
  }
  return runs;
}

/**
 * The earliest instant not before `from` that is inside and on a day with room for one more call:
 * when a contact that cannot be called now may be, and when a retry is due. Null if there is none.
 */
export function nextEligibleAt({
  window,
  timezone = null,
  from,
  maxCallsPerDay,
  alreadyPerDay,
}: {
  window: Window;
  /** The contact's own zone. */
  timezone?: string | null;
  from: Temporal.Instant;
  maxCallsPerDay: number | null;
  alreadyPerDay?: CallsPerDay;
}): Temporal.Instant | null {
  const windows = windowsFor(window, timezone);
  if (maxCallsPerDay === null) return nextInside(windows, from);
  const isFull = (day: number) => (alreadyPerDay?.get(dateOf(day)) ?? 0) >= maxCallsPerDay;
  const at = from.epochMilliseconds;
  const today = dayAt(window.timezone, at);
  if (!isFull(today) && isInside(windows, from)) return from;
  for (let day = today; day <= today + SEARCH_DAYS; day++) {
    if (isFull(day)) continue;
    const [first] = openOfDay(windows, window.timezone, day, at);
    if (first) return Temporal.Instant.fromEpochMilliseconds(first.from);
  }
  return null;
}

export function ceilMs(instant: Temporal.Instant): number {
  return instant.round({ smallestUnit: 'millisecond', roundingMode: 'ceil' }).epochMilliseconds;
}

function* planByDay(
  { window, alreadyPerDay, horizonDays = HORIZON_DAYS }: PlanInput,
  maxCallsPerDay: number,
  startAt: number,
  groups: readonly Group[],
  segments: PlanSegment[],
): Steps<void> {
  const firstDay = dayAt(window.timezone, startAt);
  let waiting = groups.filter((group) => group.count > 0);
  for (let day = firstDay; waiting.length > 0 && day <= firstDay + horizonDays; day++) {
    yield;
    const room = maxCallsPerDay - (alreadyPerDay?.get(dateOf(day)) ?? 0);
    if (room <= 0) continue;
    const open = waiting.flatMap((group) => {
      const intervals = openOfDay(group.windows, window.timezone, day, startAt);
      return intervals.length > 0 ? [{ group, intervals, share: 0 }] : [];
    });
    yield* shareOut(open, room);
    for (const { group, intervals, share } of open) {
      spread(group, intervals, share, segments);
      group.planned += share;
    }
    if (open.length > 0) waiting = waiting.filter((group) => group.planned < group.count);
  }
}

/** Gives the room of a day to the first contacts of the list among those that the day suits. */
function* shareOut(open: { group: Group; share: number }[], room: number): Steps<void> {
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

/** The j-th of the share is due when j/share of the open time has passed. */
function spread(
  group: Group,
  intervals: readonly Interval[],
  share: number,
  segments: PlanSegment[],
): void {
  const total = intervals.reduce((sum, { from, to }) => sum + to - from, 0);
  const step = total / share;
  let passed = 0;
  let next = 0;
  for (const { from, to } of intervals) {
    const first = next;
    // Those whose time has come before this interval ends: j × total / share < passed.
    const before = passed;
    passed += to - from;
    next = Math.min(share, Math.ceil((passed * share) / total));
    if (next === first) continue;
    const offset = Math.floor((first * total) / share) - before;
    segments.push(
      segment(group.timezone, group.planned + first, next - first, from + offset, step),
    );
  }
}

function openOfDay(
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
  for (const { timezone, count } of runsOf(contacts)) {
    if (count === 0) continue;
    let group = groups.get(timezone);
    if (!group) {
      const windows = windowsFor(window, timezone);
      group = { timezone, windows, runs: [], run: 0, planned: 0, count: 0 };
      groups.set(timezone, group);
    }
    group.runs.push({ start, count });
    group.count += count;
    start += count;
  }
  return [...groups.values()];
}

function runsOf(contacts: PlanInput['contacts']): readonly ContactRun[] {
  return typeof contacts === 'number' ? [{ timezone: null, count: contacts }] : contacts;
}

function segment(
  timezone: string | null,
  first: number,
  count: number,
  from: number,
  stepMs: number,
): PlanSegment {
  return {
    timezone,
    first,
    count,
    from: Temporal.Instant.fromEpochMilliseconds(from),
    to: Temporal.Instant.fromEpochMilliseconds(from + Math.floor((count - 1) * stepMs)),
    stepMs,
  };
}

function restOf({ timezone, planned, count }: Group, reason: Unplanned['reason']): Unplanned {
  return { timezone, first: planned, count: count - planned, reason };
}
