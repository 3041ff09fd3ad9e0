/**
 * How a campaign would run: the plan, and then the calls as the limits let them through, if each
 * is made once and takes as long as expected. Nothing is saved and no clock is read.
 */
import {
  ceilMs,
  HORIZON_DAYS,
  type Plan,
  type PlanInput,
  type PlanSegment,
  planSteps,
} from './plan.ts';
import { inOneGo, type Steps } from './steps.ts';
import { openingsFrom, windowsFor } from './window.ts';
import { DAY_MS, dateOf, dayAt, HOUR_MS, type Interval, intervalsOfDay, periodAt } from './zone.ts';

export interface ForecastInput extends PlanInput {
  readonly maxConcurrentCalls: number;
  /** How long a call is expected to hold its place, ringing included. */
  readonly callSeconds: number;
  /** Calls that may be created in any minute; null if only concurrency limits them. */
  readonly callsPerMinute?: number | null;
}

/** The contacts `first` to `first + count - 1` of all that have this zone, counted from 0. */
export interface ForecastContacts {
  readonly timezone: string | null;
  readonly first: number;
  readonly count: number;
}

export interface ForecastHour {
  /** The start of an hour by the campaign's clock, or of what a clock change leaves of it. */
  readonly from: Temporal.Instant;
  /** Calls that begin in this hour. */
  readonly calls: number;
  readonly contacts: readonly ForecastContacts[];
}

export interface ForecastProblem {
  /**
   * `NEVER_OPEN`: for some contacts no time suits both zones. `TOO_LATE`: it would take years.
   * `SPILLS_OVER`: some contacts are due in hours that are too short for all of them.
   */
  readonly code: 'NEVER_OPEN' | 'TOO_LATE' | 'SPILLS_OVER';
  /** Whether the campaign can reach its end at all in spite of it. */
  readonly severity: 'ERROR' | 'WARNING';
  readonly contacts: number;
  readonly message: string;
}

export interface Forecast {
  /** Every contact is called while the window is open in which it is due. */
  readonly fits: boolean;
  /** Only hours with calls, in order. */
  readonly hours: readonly ForecastHour[];
  /** Contacts that get called before the horizon. */
  readonly calls: number;
  readonly firstCallAt: Temporal.Instant | null;
  readonly lastCallAt: Temporal.Instant | null;
  /**
   * The earliest end of the last call. Where the horizon is too near it goes on at the pace until
   * then; null if there is no call at all.
   */
  readonly endsAt: Temporal.Instant | null;
  readonly problems: readonly ForecastProblem[];
}

/** The contacts of one zone, waiting to be called in the order in which they are due. */
interface Queue {
  readonly timezone: string | null;
  readonly segments: readonly PlanSegment[];
  segment: number;
  /** Within the segment. */
  index: number;
  due: number;
  /** When the contact could be called as last looked at. */
  ready: number;
  readonly dueOpenings: Iterator<Interval>;
  /** The opening in which the contact is due. */
  dueOpening: Interval | null;
  readonly openings: Iterator<Interval>;
  /** The first opening that ends after the time looked at; null when there is none left. */
  opening: Interval | null;
}

interface Hour extends Interval {
  calls: number;
  contacts: { timezone: string | null; first: number; count: number }[];
}

/** How many calls are made between two yields. */
const STEP = 200;

export function forecast(input: ForecastInput): Forecast {
  return inOneGo(forecastSteps(input));
}

/** As `forecast`, in steps: a hundred thousand calls take a while. */
export function* forecastSteps(input: ForecastInput): Steps<Forecast> {
  const { window, maxConcurrentCalls, horizonDays = HORIZON_DAYS } = input;
  const plan = yield* planSteps(input);
  const limit = ceilMs(input.startAt) + (horizonDays + 1) * DAY_MS;
  const queues = queuesOf(plan, input, limit);
  const room = dayRoom(input);
  const slots = pace(maxConcurrentCalls, input.callSeconds * 1000);
  const creations = input.callsPerMinute ? pace(input.callsPerMinute, 60_000) : null;
  const hours: Hour[] = [];
  let calls = 0;
  let late = 0;
  let firstAt: number | null = null;
  let lastAt = ceilMs(input.startAt);

  for (;;) {
    const free = room.from(Math.max(lastAt, slots.free(), creations?.free() ?? 0));
    let next: Queue | null = null;
    let at = Number.POSITIVE_INFINITY;
    for (const queue of queues) {
      // What a queue was ready at before it cannot be earlier now.
      if (queue.ready > at) continue;
      queue.ready = readyAt(queue, free, room);
      if (queue.ready < at || (queue.ready === at && next !== null && queue.due < next.due)) {
        next = queue;
        at = queue.ready;
      }
    }
    if (next === null) break;
    if (!next.dueOpening || at >= next.dueOpening.to) late++;
    slots.take(at);
    creations?.take(at);
    room.take(at);
    count(hours, window.timezone, at, next);
    advance(next);
    if (next.segment >= next.segments.length) queues.splice(queues.indexOf(next), 1);
    calls++;
    if (calls % STEP === 0) yield;
    firstAt ??= at;
    lastAt = at;
  }

  const left = queues.reduce((sum, queue) => sum + waiting(queue), 0);
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
  { window: { timezone }, maxCallsPerDay, maxConcurrentCalls, callsPerMinute }: ForecastInput,
): ForecastProblem[] {
  const problems: ForecastProblem[] = [];
  const end = endsAt === null ? null : onDay(endsAt, timezone);
  const minute = callsPerMinute ? ` and ${callsPerMinute} a minute` : '';
  const pace = `It is reckoned with ${maxConcurrentCalls} calls at once${minute}, which is the least of maxConcurrentCalls and the limits of the organization and of Ultravox.`;
  if (never > 0) {
    problems.push({
      code: 'NEVER_OPEN',
      severity: 'ERROR',
      contacts: never,
      message: `${contacts(never)} could never be called: no time is inside the window in the campaign's time zone and in the contact's own. Widen the window or the working days.`,
    });
  }
  if (tooLate > 0) {
    problems.push({
      code: 'TOO_LATE',
      severity: 'ERROR',
      contacts: tooLate,
      message: `The schedule is too small for the list: ${contacts(tooLate)} would have to wait for years${end ? `, the last until about ${end}` : ''}. ${maxCallsPerDay === null ? 'Widen the window, or call more at once' : 'Raise maxCallsPerDay, or widen the window'}. ${pace}`,
    });
  }
  if (late > 0) {
    problems.push({
      code: 'SPILLS_OVER',
      severity: 'WARNING',
      contacts: late,
      message: `The window is too small for the list: ${contacts(late)} would be called in a later window than the one they are due in${end ? `, and the campaign would end about ${end}` : ''}. Widen the window, call more at once, or set maxCallsPerDay to spread the list over days. ${pace}`,
    });
  }
  return problems;
}

/** What lets `limit` calls begin in any stretch of `lengthMs`: each holds its place so long. */
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

/** The day's cap. */
function dayRoom({ window: { timezone }, maxCallsPerDay, alreadyPerDay }: ForecastInput) {
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
    /** The first time from `at` on that is on a day with room. */
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

/** The first time from `free` on, which is on a day with room, for the head of a queue. */
function readyAt(queue: Queue, free: number, room: ReturnType<typeof dayRoom>): number {
  let at = Math.max(free, queue.due);
  for (;;) {
    while (queue.opening && queue.opening.to <= at) {
      queue.opening = queue.openings.next().value ?? null;
    }
    if (!queue.opening) return Number.POSITIVE_INFINITY;
    at = Math.max(at, queue.opening.from);
    if (at === free) return at;
    const withRoom = room.from(at);
    if (withRoom === at) return at;
    at = withRoom;
  }
}

function queuesOf(plan: Plan, { window, startAt }: ForecastInput, limit: number): Queue[] {
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
    settle(queue);
    return queue;
  });
}

/** To the next contact of the queue. */
function advance(queue: Queue): void {
  queue.index++;
  if (queue.index >= (queue.segments[queue.segment]?.count ?? 0)) {
    queue.segment++;
    queue.index = 0;
  }
  settle(queue);
}

function settle(queue: Queue): void {
  const part = queue.segments[queue.segment];
  if (!part) return;
  queue.due = part.from.epochMilliseconds + Math.floor(queue.index * part.stepMs);
  while (queue.dueOpening && queue.dueOpening.to <= queue.due) {
    queue.dueOpening = queue.dueOpenings.next().value ?? null;
  }
}

function waiting(queue: Queue): number {
  const left = queue.segments.slice(queue.segment).reduce((sum, { count }) => sum + count, 0);
  return left - queue.index;
}

function count(hours: Hour[], timezone: string, at: number, queue: Queue): void {
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

function contacts(count: number): string {
  return count === 1 ? '1 contact' : `${count} contacts`;
}

function onDay(at: number, timezone: string): string {
  return instantUpTo(at).toZonedDateTimeISO(timezone).toPlainDate().toString();
}

/** Times beyond what can be told are as late as can be. */
function instantUpTo(at: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(Math.min(Math.round(at), 8.64e15));
}
