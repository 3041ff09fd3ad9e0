/** One pass of the dispatcher: what its parts share, and the hours that hold for a contact in it. */
import type { App, Tx } from '../app.ts';
import type { EventList, NewDecision } from './progress.ts';
import { windowOfCampaign } from './schedule.ts';
import type { Turn } from './turns.ts';
import { endOfCurrent, windowsFor } from './window.ts';
import { dayAt, intervalsOfDay } from './zone.ts';

/** What a pass gathers, to be written at its end. */
export interface Pass {
  app: App;
  tx: Tx;
  now: Date;
  turns: Map<string, Turn>;
  decisions: NewDecision[];
  events: EventList;
}

const windowCache = new WeakMap<Turn, Map<string | null, ReturnType<typeof windowsFor>>>();

/** The windows that have to be open at once for a contact of this zone. */
export function windowsOf(turn: Turn, timezone: string | null): ReturnType<typeof windowsFor> {
  const known = windowCache.get(turn) ?? new Map<string | null, ReturnType<typeof windowsFor>>();
  windowCache.set(turn, known);
  const windows = known.get(timezone) ?? windowsFor(windowOfCampaign(turn.campaign), timezone);
  known.set(timezone, windows);
  return windows;
}

const closingCache = new WeakMap<Turn, Map<string | null, Date | null>>();

/**
 * When a call for a contact of this zone may not be sent any more, if it is claimed now: the window
 * closes, or the day ends whose cap counts it. Null if never.
 */
export function closes(turn: Turn, timezone: string | null, now: Date): Date | null {
  const known = closingCache.get(turn) ?? new Map<string | null, Date | null>();
  closingCache.set(turn, known);
  const earlier = known.get(timezone);
  if (earlier !== undefined) return earlier;
  const { campaign } = turn;
  const end = endOfCurrent(windowsOf(turn, timezone), instant(now))?.epochMilliseconds;
  // Beyond midnight it would count for another day.
  const day = dayAt(campaign.timezone, now.getTime());
  const midnight =
    campaign.maxCallsPerDay === null
      ? undefined
      : intervalsOfDay(campaign.timezone, day).at(-1)?.to;
  const first = Math.min(end ?? Number.POSITIVE_INFINITY, midnight ?? Number.POSITIVE_INFINITY);
  const at = Number.isFinite(first) ? new Date(first) : null;
  known.set(timezone, at);
  return at;
}

export function instant(at: Date): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(at.getTime());
}
