/** What the bus tells the subscribers of an organization when events have got their cursors. */
import type { Event } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';
import { decodeEvents } from './event-rows.ts';

/** Cursors that were assigned by one numbering: those greater than `after`, up to `through`. */
export interface Numbering {
  after: bigint;
  through: bigint;
  /** The events in between, as `decodeEvents` takes them. Null if there are none, or they are too many or too large. */
  events: string | null;
}

/** Limit of the events in one message: the others are read from the log. */
export const MAX_ANNOUNCED_EVENTS = 100;
export const MAX_ANNOUNCED_BYTES = 65_536;

export function announcementOf({ after, through, events }: Numbering): Json {
  return { after: String(after), through: String(through), events };
}

/** Null for the message of another version of this program, which only says that there is something to read. */
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

/** Null if they are not in the message, or it contains anything else. */
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
