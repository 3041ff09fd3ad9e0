/** Decodes events from rows that PostgreSQL wrote as JSON, in messages on the bus and in reads of the log. */
import type { Event } from '../generated/prisma/client.ts';
import { TABLES } from '../generated/tables.ts';

type JsonRow = Record<string, unknown>;
type Decode = (value: never) => unknown;

/** Decoders by type in the Prisma schema. Other values are the same in JSON. */
const DECODE: Record<string, Decode> = {
  // Cursors and ids are far from the limit of 2^53.
  BigInt: (value: number | null) => (value === null ? null : BigInt(value)),
  DateTime: (value: string | null) => (value === null ? null : new Date(value)),
};

/** The columns of an event. Derived from generated code, so that new columns are included. */
const COLUMNS = Object.entries(TABLES.Event?.columns ?? {}).map(([member, { name, type }]) => ({
  member,
  name,
  decode: DECODE[type],
}));

/** For Prisma's `select`. */
export const EVERY_COLUMN = Object.fromEntries(COLUMNS.map(({ member }) => [member, true]));

const pages = new WeakMap<Event, readonly Event[]>();

/**
 * The events that came from the same read of the log, or the same message, including this one. The objects that they
 * refer to are read together.
 */
export function batchOf(event: Event): readonly Event[] {
  return pages.get(event) ?? [event];
}

/** Marks events as read together, and returns them. */
export function markAsBatch(events: Event[]): Event[] {
  for (const event of events) pages.set(event, events);
  return events;
}

/**
 * The events in a JSON array of rows, in the shape that Prisma returns.
 *
 * @throws SyntaxError for other text, and TypeError if a column is missing, as in a message of an older
 *   version of this program.
 */
export function decodeEvents(text: string): Event[] {
  return markAsBatch((JSON.parse(text) as JsonRow[]).map(decodeRow));
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
