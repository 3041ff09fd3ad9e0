/** Plans and simulations without yielding to the event loop, and other forms of them that are easy to compare. */
import { openIntervals, type Windows } from '../../../src/campaigns/schedule/calling-window.ts';
import type { CooperativeLoop } from '../../../src/campaigns/schedule/cooperative-loop.ts';
import {
  type ContactRun,
  type Plan,
  type PlanInput,
  type PlanSegment,
  planLoop,
} from '../../../src/campaigns/schedule/planner.ts';
import {
  type Simulation,
  type SimulationInput,
  simulationLoop,
} from '../../../src/campaigns/schedule/simulation.ts';

/** Runs a computation synchronously to completion. */
function runToCompletion<Result>(loop: CooperativeLoop<Result>): Result {
  for (;;) {
    const step = loop.next();
    if (step.done) return step.value;
  }
}

export function simulate(input: SimulationInput): Simulation {
  return runToCompletion(simulationLoop(input));
}

export function planSegments(input: PlanInput): Plan {
  return runToCompletion(planLoop(input));
}

/** Returns when each contact is due, in list order; null for contacts that are not planned. */
export function planContacts(input: PlanInput): (Temporal.Instant | null)[] {
  const { contacts } = input;
  const runs = typeof contacts === 'number' ? [{ timezone: null, count: contacts }] : contacts;
  const byZone = new Map<string | null, Temporal.Instant[]>();
  for (const part of planSegments(input).segments) {
    const due = byZone.get(part.timezone) ?? [];
    byZone.set(part.timezone, due);
    for (let i = 0; i < part.count; i++) due[part.first + i] = dueAt(part, i);
  }
  const taken = new Map<string | null, number>();
  return runs.flatMap(({ timezone, count }) => {
    const first = taken.get(timezone) ?? 0;
    taken.set(timezone, first + count);
    const due = byZone.get(timezone);
    return Array.from({ length: count }, (_, i) => due?.[first + i] ?? null);
  });
}

/** When contact i of a segment is due. */
function dueAt(part: PlanSegment, i: number): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(
    part.from.epochMilliseconds + Math.floor(i * part.stepMs),
  );
}

/** Groups a list of time zones into runs. */
export function toRuns(timezones: Iterable<string | null>): ContactRun[] {
  const runs: { timezone: string | null; count: number }[] = [];
  for (const timezone of timezones) {
    const last = runs.at(-1);
    if (last?.timezone === timezone) last.count++;
    else runs.push({ timezone, count: 1 });
  }
  return runs;
}

interface Opening {
  readonly open: Temporal.Instant;
  readonly close: Temporal.Instant;
}

/** Returns the openings between `from` (inclusive) and `to` (exclusive), in order, clipped to that range. */
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
