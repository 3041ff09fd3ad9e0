/** Checks the calling window of a campaign for a contact, also in the contact's own time zone. */

import type { Campaign } from '../../generated/prisma/client.ts';
import { dayAt, intervalsOfDay, toDate } from '../../infra/time-zone.ts';
import {
  endOfCurrent,
  isInside,
  nextInside,
  type Window,
  windowsFor,
} from '../schedule/calling-window.ts';

/** State of the window now for contacts with a given time zone, or without one (null). */
export interface ContactWindow {
  /** Whether the window is open both in the campaign's and in the contact's time zone. */
  open: boolean;
  /** When it opens next; null if it is open or never opens. */
  opensAt: Date | null;
  /**
   * A call claimed now must not be sent from this instant on: the end of the open window, less the margin, or of the
   * day whose cap counts the call. Null if there is no end.
   */
  deadline: Date | null;
}

type Schedule = Pick<Campaign, 'timezone' | 'maxCallsPerDay'>;

/** Returns a function from a contact's time zone to its window at `now`, computed once per zone. */
export function contactWindow(
  campaign: Schedule,
  window: Window,
  now: Date,
): (timezone: string | null) => ContactWindow {
  const byZone = new Map<string | null, ContactWindow>();
  return (timezone) => {
    const known = byZone.get(timezone) ?? windowAt(campaign, windowsFor(window, timezone), now);
    byZone.set(timezone, known);
    return known;
  };
}

function windowAt(campaign: Schedule, windows: readonly Window[], now: Date): ContactWindow {
  const instant = now.toTemporalInstant();
  if (!isInside(windows, instant)) {
    return { open: false, opensAt: toDate(nextInside(windows, instant)), deadline: null };
  }
  const closes = toDate(endOfCurrent(windows, instant));
  // After midnight the call would count for another day.
  const midnight = campaign.maxCallsPerDay === null ? null : endOfDay(campaign.timezone, now);
  const ends = [closes, midnight].filter((end) => end !== null).map((end) => end.getTime());
  return {
    open: true,
    opensAt: null,
    deadline: ends.length > 0 ? new Date(Math.min(...ends)) : null,
  };
}

function endOfDay(timezone: string, now: Date): Date | null {
  const last = intervalsOfDay(timezone, dayAt(timezone, now.getTime())).at(-1);
  return last ? new Date(last.to) : null;
}
