/** Message that tells an organization's subscribers which cursors were just assigned. */
import type { Event } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';
import { decodeEvents } from './event-rows.ts';

/** Cursors assigned in one step: those greater than `after`, up to and including `through`. */
export interface Numbering {
  after: bigint;
  through: bigint;
  /** The events with these cursors, for `decodeEvents`. Null if there are none, too many, or they are too large. */
  events: string | null;
}

/** Limits for the events in one message. If they are exceeded, subscribers read the events from the log. */
export const MAX_ANNOUNCED_EVENTS = 100;
export const MAX_ANNOUNCED_BYTES = 65_536;

export function buildAnnouncement({ after, through, events }: Numbering): Json {
  return { after: String(after), through: String(through), events };
}

/** Null if the message comes from another version of this program. It then only means that there are new events. */
export function readAnnouncement(message: Json): Numbering | null {
  if (message === null || typeof message !== 'object' || Array.isArray(message)) return null;
  const { after, through, events = null } = message;
  if (!isCursor(after) || !isCursor(through)) return null;
  if (events !== null && typeof events !== 'string') return null;
  return { after: BigInt(after), through: BigInt(through), events };
}

function isCursor(value: Json | undefined): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}

/** The events in the message. Null if it has none, or if it contains anything else. */
export function announcedEvents(
  organizationId: string,
  { after, through, events: text }: Numbering,
): Event[] | null {
  if (text === null) return null;
  let events: Event[];
  try {
    events = decodeEvents(text);
  } catch {
    return null;
  }
  const isComplete =
    BigInt(events.length) === through - after &&
    events.every(
      (event, index) =>
        event.cursor === after + BigInt(index + 1) && event.organizationId === organizationId,
    );
  return isComplete ? events : null;
}
