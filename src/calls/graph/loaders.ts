/** Loaders for event pages, event counts and the calls of events. */
import type { App } from '../../app.ts';
import { type Call, type Event, Prisma } from '../../generated/prisma/client.ts';
import type { EventType } from '../../generated/prisma/enums.ts';
import type { RowsQuery } from '../../graphql/lists/page.ts';
import { batched } from '../../graphql/reading/batched.ts';
import { rowLoader } from '../../graphql/reading/row-loader.ts';
import { type RowSelection, selectionKey } from '../../graphql/reading/row-selection.ts';
import { findMany } from '../../graphql/reading/rows.ts';
import { batchOf } from '../../live/event-rows.ts';
import { assignCursorsOfCalls } from '../../live/log.ts';
import { loggedSince } from '../../live/partitions.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';

interface EventKey {
  call: { id: string; createdAt: Date };
  types: readonly EventType[];
  query: RowsQuery<bigint>;
}

interface EventRow {
  id: bigint;
  organization_id: string;
  cursor: bigint;
  type: Event['type'];
  call_id: string;
  sequence: number;
  agent_id: string | null;
  campaign_id: string | null;
  data: Prisma.JsonValue;
  created_at: Date;
  logged_on: Date;
}

/** Loads the same page of events for any number of calls in one statement. */
export const loadEventPage = batched<EventKey, Event[]>(async ({ app }, keys) => {
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
    const rows = await app.db.$queryRaw<EventRow[]>`
      SELECT e.organization_id, e.cursor, e.id, e.type, e.call_id, e.sequence, e.agent_id, e.campaign_id,
        e.data, e.created_at, e.logged_on
      FROM unnest(${[...new Set(group.map(({ call }) => call.id))]}::uuid[]) AS c(id)
      CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE call_id = c.id AND cursor > 0 AND type::text = ANY(${[...types]}) AND ${loggedSince(group.map(({ call }) => call.createdAt))}
          ${after === null ? Prisma.empty : Prisma.sql`AND cursor ${later} ${after}`}
          ${before === null ? Prisma.empty : Prisma.sql`AND cursor ${earlier} ${before}`}
        ORDER BY sequence ${inverted ? Prisma.sql`DESC` : Prisma.sql`ASC`}
        LIMIT ${limit}
      ) e`;
    const ofCall = Map.groupBy(rows.map(toEvent), ({ callId }) => callId);
    for (const key of group) found.set(key, ofCall.get(key.call.id) ?? []);
  }
  return keys.map((key) => found.get(key) ?? []);
});

function toEvent(row: EventRow): Event {
  return {
    id: row.id,
    organizationId: row.organization_id,
    cursor: row.cursor,
    type: row.type,
    callId: row.call_id,
    sequence: row.sequence,
    agentId: row.agent_id,
    campaignId: row.campaign_id,
    data: row.data,
    createdAt: row.created_at,
    loggedOn: row.logged_on,
  };
}

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
  const ids = [...new Set(events.flatMap(({ callId }) => callId ?? []))];
  const where = { id: { in: ids }, deletedAt: null };
  const { query, options } = selection;
  const rows = findMany<Call>(app, 'Call', { ...query, where }, options).then(
    (found) => new Map(found.map((call) => [call.id, call])),
  );
  for (const other of events) {
    const call = rows.then((byId) => byId.get(other.callId ?? '') ?? null);
    const loaded = liveCalls.get(other) ?? new Map<string, Promise<Call | null>>();
    liveCalls.set(other, loaded.set(key, call));
    call.catch(() => loaded.delete(key));
  }
  return liveCalls.get(event)?.get(key) ?? Promise.resolve(null);
}
