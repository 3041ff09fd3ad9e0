/** Events as PostgreSQL writes their rows as JSON: in messages on the bus, and as they are read from the log. */
import type { Event } from '../generated/prisma/client.ts';
import { TABLES } from '../generated/tables.ts';

type JsonRow = Record<string, unknown>;
type Decode = (value: never) => unknown;

/** By types of the Prisma schema; other values are in JSON as they are. */
const DECODE: Record<string, Decode> = {
  // Cursors and ids are far from the limit of 2^53.
  BigInt: (value: number | null) => (value === null ? null : BigInt(value)),
  DateTime: (value: string | null) => (value === null ? null : new Date(value)),
};

/** The columns of an event. Generated, so that a new one is among them. */
const COLUMNS = Object.entries(TABLES.Event?.columns ?? {}).map(([member, { name, type }]) => ({
  member,
  name,
  decode: DECODE[type],
}));

/** For Prisma's `select`. */
export const EVERY_COLUMN = Object.fromEntries(COLUMNS.map(({ member }) => [member, true]));

const pages = new WeakMap<Event, readonly Event[]>();

/**
 * The events that one read of the log, or one message, has brought, this one included: what they refer to is
 * read at once.
 */
export function readTogether(event: Event): readonly Event[] {
  return pages.get(event) ?? [event];
}

/** Marks events as read together, and returns them. */
export function markTogether(events: Event[]): Event[] {
  for (const event of events) pages.set(event, events);
  return events;
}

/**
 * The events of a JSON array of rows, in the shape that Prisma gives them.
 *
 * @throws SyntaxError for something else, and TypeError if a column is missing, as in a message of an older
 *   version of this program.
 */
export function decodeEvents(text: string): Event[] {
  return markTogether((JSON.parse(text) as JsonRow[]).map(decodeRow));
}

function decodeRow(row: JsonRow): Event {
  const event: Record<string, unknown> = {};
  for (const { member, name, decode } of COLUMNS) {
    const value = row[name];
    if (value === undefined) throw new TypeError(`An event has no ${name}`);
    event[member] = decode ? decode(value as never) : value;
  }
  return event as unknown as Event;
}
