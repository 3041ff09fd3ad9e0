/**
 * Simulates a campaign: plans it, then paces its calls by the limits. Each call is placed once and lasts as long as
 * expected. Pure: nothing is saved and no clock is read.
 */
import { formatNumber } from '../../infra/format-number.ts';
import {
  DAY_MS,
  dateOf,
  dayAt,
  HOUR_MS,
  type Interval,
  intervalsOfDay,
  periodAt,
} from '../../infra/time-zone.ts';
import { openingsFrom, windowsFor } from './calling-window.ts';
import type { CooperativeLoop } from './cooperative-loop.ts';
import {
  ceilMs,
  HORIZON_DAYS,
  type Plan,
  type PlanInput,
  type PlanSegment,
  planLoop,
} from './planner.ts';

export interface SimulationInput extends PlanInput {
  readonly maxConcurrentCalls: number;
  /** Expected duration of a call in seconds, including ringing. */
  readonly callSeconds: number;
  /** Maximum number of calls created per minute; null if only concurrency limits them. */
  readonly callsPerMinute?: number | null;
  /** The plan of this input, if it is known. */
  readonly plan?: Plan;
}

/** The contacts `first` to `first + count - 1` of all contacts with this zone, counted from 0. */
export interface ContactRange {
  readonly timezone: string | null;
  readonly first: number;
  readonly count: number;
}

export interface SimulatedHour {
  /** Start of an hour by the clock of the campaign, or of the part of an hour that a clock change leaves. */
  readonly from: Temporal.Instant;
  /** Number of calls that begin in this hour. */
  readonly calls: number;
  readonly contacts: readonly ContactRange[];
}

export interface SimulationProblem {
  /**
   * `NEVER_OPEN`: for some contacts the windows of both zones never overlap. `TOO_LATE`: some contacts
   * would be called after the horizon. `SPILLS_OVER`: some are called in a later window than planned.
   */
  readonly code: 'NEVER_OPEN' | 'TOO_LATE' | 'SPILLS_OVER';
  /** `WARNING` if every contact is still called. */
  readonly severity: 'ERROR' | 'WARNING';
  readonly contacts: number;
  readonly message: string;
}

export interface Simulation {
  /** Whether every contact is called in the window in which it is due. */
  readonly fits: boolean;
  /** Hours with calls only, in order. */
  readonly hours: readonly SimulatedHour[];
  /** Number of contacts called before the horizon. */
  readonly calls: number;
  readonly firstCallAt: Temporal.Instant | null;
  readonly lastCallAt: Temporal.Instant | null;
  /**
   * Earliest end of the last call, extrapolated at the same pace beyond the horizon; null if there are no calls.
   */
  readonly endsAt: Temporal.Instant | null;
  readonly problems: readonly SimulationProblem[];
}

/** The contacts of one zone, in the order in which they are due. */
interface Queue {
  readonly timezone: string | null;
  readonly segments: readonly PlanSegment[];
  segment: number;
  /** Index within the segment. */
  index: number;
  due: number;
  /** Lower bound of the time at which the head of the queue can be called. */
  ready: number;
  readonly dueOpenings: Iterator<Interval>;
  /** The opening in which the contact is due. */
  dueOpening: Interval | null;
  readonly openings: Iterator<Interval>;
  /** The first opening that ends after the current time; null if none is left. */
  opening: Interval | null;
}

interface Hour extends Interval {
  calls: number;
  contacts: { timezone: string | null; first: number; count: number }[];
}

/** Number of calls between two yields. */
const STEP = 200;

export function* simulationLoop(input: SimulationInput): CooperativeLoop<Simulation> {
  const { window, maxConcurrentCalls } = input;
  const plan = input.plan ?? (yield* planLoop(input));
  const limit = ceilMs(input.startAt) + (HORIZON_DAYS + 1) * DAY_MS;
  const queues = queuesOf(plan, input, limit);
  const capacity = dailyCapacity(input);
  const slots = pace(maxConcurrentCalls, input.callSeconds * 1000);
  const creations = input.callsPerMinute ? pace(input.callsPerMinute, 60_000) : null;
  const hours: Hour[] = [];
  let calls = 0;
  let late = 0;
  let firstAt: number | null = null;
  let lastAt = ceilMs(input.startAt);

  for (;;) {
    const free = capacity.from(Math.max(lastAt, slots.free(), creations?.free() ?? 0));
    let next: Queue | null = null;
    let at = Number.POSITIVE_INFINITY;
    for (const queue of queues) {
      // `ready` only grows, so a queue that was later stays later.
      if (queue.ready > at) continue;
      queue.ready = readyAt(queue, free, capacity);
      if (queue.ready < at || (queue.ready === at && next !== null && queue.due < next.due)) {
        next = queue;
        at = queue.ready;
      }
    }
    if (next === null) break;
    if (!next.dueOpening || at >= next.dueOpening.to) late++;
    slots.take(at);
    creations?.take(at);
    capacity.take(at);
    countCall(hours, window.timezone, at, next);
    advance(next);
    if (next.segment >= next.segments.length) queues.splice(queues.indexOf(next), 1);
    calls++;
    if (calls % STEP === 0) yield;
    firstAt ??= at;
    lastAt = at;
  }

  const left = queues.reduce((sum, queue) => sum + countWaiting(queue), 0);
  const unplanned = (reason: string) =>
    plan.unplanned.reduce((sum, part) => sum + (part.reason === reason ? part.count : 0), 0);
  const tooLate = left + unplanned('TOO_LATE');
  const lastEnd = lastAt + input.callSeconds * 1000;
  const endsAt =
    firstAt === null
      ? null
      : tooLate === 0
        ? lastEnd
        : lastEnd + ((lastAt - firstAt) / Math.max(calls - 1, 1)) * tooLate;
  const problems = problemsOf({ never: unplanned('NEVER_OPEN'), tooLate, late, endsAt }, input);
  return {
    fits: problems.length === 0,
    hours: hours.map((hour) => ({
      from: Temporal.Instant.fromEpochMilliseconds(hour.from),
      calls: hour.calls,
      contacts: hour.contacts,
    })),
    calls,
    firstCallAt: firstAt === null ? null : Temporal.Instant.fromEpochMilliseconds(firstAt),
    lastCallAt: firstAt === null ? null : Temporal.Instant.fromEpochMilliseconds(lastAt),
    endsAt: endsAt === null ? null : instantUpTo(endsAt),
    problems,
  };
}

function problemsOf(
  {
    never,
    tooLate,
    late,
    endsAt,
  }: { never: number; tooLate: number; late: number; endsAt: number | null },
  { window: { timezone }, maxCallsPerDay, maxConcurrentCalls, callsPerMinute }: SimulationInput,
): SimulationProblem[] {
  const problems: SimulationProblem[] = [];
  const end = endsAt === null ? null : onDay(endsAt, timezone);
  const minute = callsPerMinute ? ` and ${callsPerMinute} new calls per minute` : '';
  const pace = `The forecast assumes ${maxConcurrentCalls} concurrent calls${minute}: the lowest of \`maxConcurrentCalls\` and the limits of the organization and of Ultravox.`;
  if (never > 0) {
    problems.push({
      code: 'NEVER_OPEN',
      severity: 'ERROR',
      contacts: never,
      message: `${contactsText(never)} could never be called: the calling window is never open in the campaign's and the contact's time zone at the same time. Extend the window or the working days.`,
    });
  }
  if (tooLate > 0) {
    problems.push({
      code: 'TOO_LATE',
      severity: 'ERROR',
      contacts: tooLate,
      message: `The schedule leaves too little time for the contacts: ${contactsText(tooLate)} would be called only after more than five years${end ? `, the last about ${end}` : ''}. ${maxCallsPerDay === null ? 'Extend the calling window or raise `maxConcurrentCalls`' : 'Raise `maxCallsPerDay` or extend the calling window'}. ${pace}`,
    });
  }
  if (late > 0) {
    problems.push({
      code: 'SPILLS_OVER',
      severity: 'WARNING',
      contacts: late,
      message: `The calling window is too short for the contacts: ${contactsText(late)} would be called in a later window than planned${end ? `, and the campaign would end about ${end}` : ''}. Extend the window, raise \`maxConcurrentCalls\`, or set \`maxCallsPerDay\` to spread the contacts over days. ${pace}`,
    });
  }
  return problems;
}

/** `limit` slots, each held for `lengthMs` by the call that takes it. */
function pace(limit: number, lengthMs: number) {
  const until: number[] = new Array(limit).fill(0);
  let oldest = 0;
  return {
    free: () => until[oldest] as number,
    take(at: number) {
      until[oldest] = at + lengthMs;
      oldest = (oldest + 1) % limit;
    },
  };
}

/** Tracks the capacity left under the daily cap. */
function dailyCapacity({ window: { timezone }, maxCallsPerDay, alreadyPerDay }: SimulationInput) {
  let day = Number.NaN;
  let part: Interval = { from: 0, to: 0 };
  const used = new Map<number, number>();
  const look = (at: number) => {
    if (at >= part.from && at < part.to) return;
    day = dayAt(timezone, at);
    part = intervalsOfDay(timezone, day).find(({ from, to }) => from <= at && at < to) ?? part;
    if (!used.has(day)) used.set(day, alreadyPerDay?.get(dateOf(day)) ?? 0);
  };
  return {
    /** The earliest time, at or after `at`, on a day with capacity left. */
    from(at: number): number {
      if (maxCallsPerDay === null) return at;
      for (look(at); (used.get(day) ?? 0) >= maxCallsPerDay; look(at)) at = part.to;
      return at;
    },
    take(at: number) {
      if (maxCallsPerDay === null) return;
      look(at);
      used.set(day, (used.get(day) ?? 0) + 1);
    },
  };
}

/** The earliest time, at or after `free`, at which the head of a queue can be called. */
function readyAt(queue: Queue, free: number, capacity: ReturnType<typeof dailyCapacity>): number {
  let at = Math.max(free, queue.due);
  for (;;) {
    while (queue.opening && queue.opening.to <= at) {
      queue.opening = queue.openings.next().value ?? null;
    }
    if (!queue.opening) return Number.POSITIVE_INFINITY;
    at = Math.max(at, queue.opening.from);
    if (at === free) return at;
    const withCapacity = capacity.from(at);
    if (withCapacity === at) return at;
    at = withCapacity;
  }
}

function queuesOf(plan: Plan, { window, startAt }: SimulationInput, limit: number): Queue[] {
  const byZone = new Map<string | null, PlanSegment[]>();
  for (const part of plan.segments) {
    const parts = byZone.get(part.timezone);
    if (parts) parts.push(part);
    else byZone.set(part.timezone, [part]);
  }
  return [...byZone].map(([timezone, segments]) => {
    const windows = windowsFor(window, timezone);
    const openings = openingsFrom(windows, ceilMs(startAt), limit);
    const dueOpenings = openingsFrom(windows, ceilMs(startAt), limit);
    const queue: Queue = {
      timezone,
      segments,
      segment: 0,
      index: 0,
      due: 0,
      ready: 0,
      dueOpenings,
      dueOpening: dueOpenings.next().value ?? null,
      openings,
      opening: openings.next().value ?? null,
    };
    seek(queue);
    return queue;
  });
}

/** Advances to the next contact of the queue. */
function advance(queue: Queue): void {
  queue.index++;
  if (queue.index >= (queue.segments[queue.segment]?.count ?? 0)) {
    queue.segment++;
    queue.index = 0;
  }
  seek(queue);
}

function seek(queue: Queue): void {
  const part = queue.segments[queue.segment];
  if (!part) return;
  queue.due = part.from.epochMilliseconds + Math.floor(queue.index * part.stepMs);
  while (queue.dueOpening && queue.dueOpening.to <= queue.due) {
    queue.dueOpening = queue.dueOpenings.next().value ?? null;
  }
}

function countWaiting(queue: Queue): number {
  const left = queue.segments.slice(queue.segment).reduce((sum, { count }) => sum + count, 0);
  return left - queue.index;
}

function countCall(hours: Hour[], timezone: string, at: number, queue: Queue): void {
  let hour = hours.at(-1);
  if (!hour || at >= hour.to) {
    const period = periodAt(timezone, at);
    const from = Math.floor((at + period.offset) / HOUR_MS) * HOUR_MS - period.offset;
    hour = {
      from: Math.max(from, period.from),
      to: Math.min(from + HOUR_MS, period.to),
      calls: 0,
      contacts: [],
    };
    hours.push(hour);
  }
  hour.calls++;
  const part = queue.segments[queue.segment] as PlanSegment;
  const known = hour.contacts.find((contacts) => contacts.timezone === queue.timezone);
  if (known) known.count++;
  else hour.contacts.push({ timezone: queue.timezone, first: part.first + queue.index, count: 1 });
}

function contactsText(count: number): string {
  return count === 1 ? '1 contact' : `${formatNumber(count)} contacts`;
}

function onDay(at: number, timezone: string): string {
  return instantUpTo(at).toZonedDateTimeISO(timezone).toPlainDate().toString();
}

/** Converts to an instant, clamped to the latest one supported. */
function instantUpTo(at: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(Math.min(Math.round(at), 8.64e15));
}
