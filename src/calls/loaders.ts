/** Batches what Prisma's relations do not cover: pages of events, and the call behind an event. */
import DataLoader from 'dataloader';
import type { App } from '../app.ts';
import { type Call, type Event, Prisma } from '../generated/prisma/client.ts';

/** A page of a call's events, as a cursor and a direction. */
export interface EventPage {
  after: bigint | null;
  before: bigint | null;
  limit: number;
  /** Newest first, for `last`. */
  inverted: boolean;
}

interface EventKey {
  callId: string;
  page: EventPage;
}

interface EventRow {
  organization_id: string;
  cursor: bigint;
  type: Event['type'];
  call_id: string;
  sequence: number;
  agent_id: string | null;
  campaign_id: string | null;
  data: Prisma.JsonValue;
  created_at: Date;
}

const eventPages = new WeakMap<object, DataLoader<EventKey, Event[], string>>();

/** The same page of events of any number of calls is one statement. */
export function loadEventPage(
  app: App,
  execution: object,
  callId: string,
  page: EventPage,
): Promise<Event[]> {
  let loader = eventPages.get(execution);
  if (!loader) {
    loader = new DataLoader((keys) => readEventPages(app, keys), {
      cacheKeyFn: ({ callId: id, page: p }) =>
        `${id}/${p.after}/${p.before}/${p.limit}/${p.inverted}`,
    });
    eventPages.set(execution, loader);
  }
  return loader.load({ callId, page });
}

async function readEventPages(app: App, keys: readonly EventKey[]): Promise<Event[][]> {
  const groups = new Map<string, EventKey[]>();
  for (const key of keys) {
    const group = `${key.page.after}/${key.page.before}/${key.page.limit}/${key.page.inverted}`;
    groups.set(group, [...(groups.get(group) ?? []), key]);
  }
  const found = new Map<EventKey, Event[]>();
  for (const group of groups.values()) {
    const { page } = group[0]!;
    const rows = await app.db.$queryRaw<EventRow[]>`
      SELECT e.* FROM unnest(${group.map(({ callId }) => callId)}::uuid[]) AS c(id)
      CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE call_id = c.id
          ${page.after === null ? Prisma.empty : Prisma.sql`AND cursor > ${page.after}`}
          ${page.before === null ? Prisma.empty : Prisma.sql`AND cursor < ${page.before}`}
        ORDER BY sequence ${page.inverted ? Prisma.sql`DESC` : Prisma.sql`ASC`}
        LIMIT ${page.limit}
      ) e`;
    const byCall = new Map<string, Event[]>();
    for (const row of rows) {
      byCall.set(row.call_id, [...(byCall.get(row.call_id) ?? []), toEvent(row)]);
    }
    for (const key of group) found.set(key, byCall.get(key.callId) ?? []);
  }
  return keys.map((key) => found.get(key) ?? []);
}

function toEvent(row: EventRow): Event {
  return {
    organizationId: row.organization_id,
    cursor: row.cursor,
    type: row.type,
    callId: row.call_id,
    sequence: row.sequence,
    agentId: row.agent_id,
    campaignId: row.campaign_id,
    data: row.data,
    createdAt: row.created_at,
  };
}

const eventCounts = new WeakMap<object, DataLoader<string, number>>();

/** How many events calls have in the log, in one statement for all. */
export function loadEventCount(app: App, execution: object, callId: string): Promise<number> {
  let loader = eventCounts.get(execution);
  if (!loader) {
    loader = new DataLoader<string, number>(async (ids) => {
      const counts = await app.db.event.groupBy({
        by: ['callId'],
        where: { callId: { in: [...ids] } },
        _count: true,
      });
      const byId = new Map(counts.map((row) => [row.callId, row._count]));
      return ids.map((id) => byId.get(id) ?? 0);
    });
    eventCounts.set(execution, loader);
  }
  return loader.load(callId);
}

const calls = new WeakMap<object, DataLoader<string, Call | null>>();

/** The calls behind events that are read in one execution. */
export function loadCall(app: App, execution: object, id: string): Promise<Call | null> {
  let loader = calls.get(execution);
  if (!loader) {
    loader = new DataLoader<string, Call | null>(async (ids) => {
      const rows = await app.db.call.findMany({ where: { id: { in: [...ids] }, deletedAt: null } });
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id) ?? null);
    });
    calls.set(execution, loader);
  }
  return loader.load(id);
}

const liveCalls = new WeakMap<Event, Promise<Call | null>>();

/**
 * The call behind a live event, read once for all its subscribers in this process: the feed hands
 * all of them the same object, and all of them belong to the same organization.
 */
export function loadLiveCall(app: App, event: Event): Promise<Call | null> {
  const { callId } = event;
  if (!callId) return Promise.resolve(null);
  let call = liveCalls.get(event);
  if (!call) {
    call = app.db.call.findFirst({ where: { id: callId, deletedAt: null } });
    liveCalls.set(event, call);
    call.catch(() => liveCalls.delete(event));
  }
  return call;
}
