/** Loaders for event pages, event counts and the calls of events. */
import type { App } from '../../app.ts';
import { type Call, type Event, Prisma } from '../../generated/prisma/client.ts';
import type { EventType } from '../../generated/prisma/enums.ts';
import type { RowsQuery } from '../../graphql/lists/page.ts';
import { batched } from '../../graphql/reading/batched.ts';
import { rowLoader } from '../../graphql/reading/row-loader.ts';
import { type RowSelection, selectionKey } from '../../graphql/reading/row-selection.ts';
import { addReadBytes, findMany, MAX_READ_BYTES } from '../../graphql/reading/rows.ts';
import { ResultTooLargeError } from '../../infra/rows/row-reader.ts';
import { batchOf, decodeEvents } from '../../live/event-rows.ts';
import { assignCursorsOfCalls } from '../../live/log.ts';
import { loggedSince } from '../../live/partitions.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';

interface EventKey {
  call: { id: string; createdAt: Date };
  types: readonly EventType[];
  query: RowsQuery<bigint>;
}

/** Loads the same page of events for any number of calls in one statement. */
export const loadEventPage = batched<EventKey, Event[]>(async ({ app, execution }, keys) => {
  const groups = Map.groupBy(
    keys,
    ({ types, query: { after, before, inclusive, limit, inverted } }) =>
      [after, before, inclusive, limit, inverted, types].join('/'),
  );
  await assignCursorsOfCalls(
    app,
    keys.map(({ call }) => call.id),
  );
  const found = new Map<EventKey, Event[]>();
  for (const group of groups.values()) {
    const { types, query } = group[0]!;
    const { after, before, inclusive, limit, inverted } = query;
    const [later, earlier] = inclusive
      ? [Prisma.sql`>=`, Prisma.sql`<=`]
      : [Prisma.sql`>`, Prisma.sql`<`];
    const events = Prisma.sql`
      SELECT e.* FROM unnest(${[...new Set(group.map(({ call }) => call.id))]}::uuid[]) AS c(id)
      CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE call_id = c.id AND cursor > 0 AND type::text = ANY(${[...types]}) AND ${loggedSince(group.map(({ call }) => call.createdAt))}
          ${after === null ? Prisma.empty : Prisma.sql`AND cursor ${later} ${after}`}
          ${before === null ? Prisma.empty : Prisma.sql`AND cursor ${earlier} ${before}`}
        ORDER BY sequence ${inverted ? Prisma.sql`DESC` : Prisma.sql`ASC`}
        LIMIT ${limit}
      ) e`;
    const [row] = await app.rows.$queryRaw<{ events: string | null }[]>`
      SELECT CASE WHEN octet_length(events) <= ${MAX_READ_BYTES}::int THEN events END AS events
      FROM (SELECT coalesce(json_agg(e), '[]')::text AS events FROM (${events}) e) found`;
    if (typeof row?.events !== 'string') throw new ResultTooLargeError(MAX_READ_BYTES);
    addReadBytes(execution, row.events.length);
    const byCall = Map.groupBy(decodeEvents(row.events), ({ callId }) => callId);
    for (const key of group) found.set(key, byCall.get(key.call.id) ?? []);
  }
  return keys.map((key) => found.get(key) ?? []);
});

/** Counts the events of any number of calls in one statement. */
export const loadEventCount = batched<Omit<EventKey, 'query'>, number>(async ({ app }, keys) => {
  const counts = await app.db.event.groupBy({
    by: ['callId', 'type'],
    where: {
      callId: { in: [...new Set(keys.map(({ call }) => call.id))] },
      type: { in: [...new Set(keys.flatMap(({ types }) => types))] },
    },
    _count: true,
  });
  const byCall = Map.groupBy(counts, ({ callId }) => callId);
  return keys.map(({ call, types }) => {
    const counted = byCall.get(call.id)?.filter(({ type }) => types.includes(type));
    return (counted ?? []).reduce((sum, { _count }) => sum + _count, 0);
  });
});

/** Loads the calls of events and decisions, and the latest calls of campaign contacts. */
export const loadCall = rowLoader('Call', ownedAndNotDeleted);

/** Calls of the events of a page, by the selection they were loaded with. */
const liveCalls = new WeakMap<Event, Map<string, Promise<Call | null>>>();

/**
 * Loads the call of a subscription's event, with the selected columns and relations. The feed hands all subscribers
 * in this process the same event object, so the call is read only once for all of them, together with the calls of
 * all events that were read from the log at once. All of these belong to one organization.
 */
export function loadLiveCall(
  app: App,
  event: Event,
  selection: RowSelection,
): Promise<Call | null> {
  const key = selectionKey(selection);
  const known = liveCalls.get(event)?.get(key);
  if (known) return known;
  const events = batchOf(event).filter((other) => !liveCalls.get(other)?.has(key));
  const read = async (of: readonly Event[]): Promise<Map<string, Call>> => {
    const ids = [...new Set(of.flatMap(({ callId }) => callId ?? []))];
    const where = { id: { in: ids }, deletedAt: null };
    const { query, options } = selection;
    const found = await findMany<Call>(app, 'Call', { ...query, where }, options);
    return new Map(found.map((call) => [call.id, call]));
  };
  const rows = read(events);
  for (const other of events) {
    const own = rows.catch((error: unknown) => {
      // Which events are read together is not for the subscriber to choose.
      if (error instanceof ResultTooLargeError && events.length > 1) return read([other]);
      throw error;
    });
    const call = own.then((byId) => byId.get(other.callId ?? '') ?? null);
    const loaded = liveCalls.get(other) ?? new Map<string, Promise<Call | null>>();
    liveCalls.set(other, loaded.set(key, call));
    call.catch(() => loaded.delete(key));
  }
  return liveCalls.get(event)?.get(key) ?? Promise.resolve(null);
}
