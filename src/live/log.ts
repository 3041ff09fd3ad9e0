/**
 * The event log: one row per event, written in the transaction that makes the change
 * and numbered per organization without gaps.
 *
 * An event gets its cursor after its transaction has committed, from the process that announces or reads it. So
 * cursors become visible in order (a reader that has seen N never later finds an event at or
 * below N), no writer waits for another, and a long transaction delays no other events. The events of
 * one call keep their order, because their transactions lock the row of the call one after another.
 * Events that became visible since the last numbering are found by the transactions that inserted them, so the cost
 * of numbering does not depend on how many dead rows an open transaction keeps from being removed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App, Tx } from '../app.ts';
import { type Event, type EventType, Prisma } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';
import { perInstance } from '../infra/per-instance.ts';
import type { RawReader } from '../infra/rows/row-reader.ts';
import {
  buildAnnouncement,
  MAX_ANNOUNCED_BYTES,
  MAX_ANNOUNCED_EVENTS,
  type Numbering,
} from './announcement.ts';
import { wakeConsumers } from './consumer-wake-ups.ts';
import { decodeEvents, EVERY_COLUMN, markAsBatch } from './event-rows.ts';
import { partitionDays, utcDay, WITHOUT_CURSOR } from './partitions.ts';

export interface NewEvent {
  type: EventType;
  callId?: string;
  /** Number within the call, from the counter in the call's row. */
  sequence?: number;
  agentId?: string;
  campaignId?: string;
  data: Record<string, Json>;
  /** When it happened. Default: now. */
  at?: Date;
}

/** Bus topic that announces new events of one organization. */
export function eventsTopicOf(organizationId: string): string {
  return `events:${organizationId}`;
}

/** Appends events, in the order given. After the commit, call `announceEvents`. */
export async function appendEvents(
  tx: Tx,
  organizationId: string,
  events: readonly NewEvent[],
): Promise<void> {
  await appendEventsOf(tx, new Map([[organizationId, events]]));
}

/** Appends events of several organizations with one statement, whose text does not depend on their number. */
export async function appendEventsOf(
  tx: Tx,
  events: ReadonlyMap<string, readonly NewEvent[]>,
): Promise<void> {
  if ([...events.values()].every((list) => list.length === 0)) return;
  await tx.$executeRaw(appendStatement(events));
}

/**
 * SQL: the INSERT that appends these events, as part of a statement that makes the change.
 *
 * @param only condition on the rows `r`, such as that the call `r.call_id` was changed; other rows are not inserted.
 */
export function appendStatement(
  events: ReadonlyMap<string, readonly NewEvent[]>,
  only = Prisma.sql`true`,
): Prisma.Sql {
  const rows = [...events].flatMap(([organizationId, list]) =>
    list.map(({ type, callId, sequence, agentId, campaignId, data, at }) => ({
      organization_id: organizationId,
      type,
      call_id: callId,
      sequence,
      agent_id: agentId,
      campaign_id: campaignId,
      data,
      at,
    })),
  );
  return Prisma.sql`
    INSERT INTO events (organization_id, type, call_id, sequence, agent_id, campaign_id, data,
      created_at)
    SELECT organization_id, type::"EventType", call_id, sequence, agent_id, campaign_id, data,
      coalesce(at, now())
    FROM ROWS FROM (jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS (
      organization_id uuid, type text, call_id uuid, sequence int, agent_id uuid, campaign_id uuid,
      data jsonb, at timestamptz)) WITH ORDINALITY AS r(
      organization_id, type, call_id, sequence, agent_id, campaign_id, data, at, place)
    WHERE ${only}
    ORDER BY place`;
}

/** Time that events appended during a numbering wait for further ones. */
const BATCH_DELAY_MS = 10;

/** Organizations whose cursors this process is assigning. True if it has to check again. */
const numberingOf = perInstance<App, Map<string, boolean>>(() => new Map());

/**
 * Assigns cursors to new events and wakes the subscribers of every process. Concurrent announcements
 * share one statement. A failure delays subscribers until the next announcement or poll.
 */
export function announceEvents(app: App, organizationId: string): void {
  const running = numberingOf(app);
  if (running.has(organizationId)) {
    running.set(organizationId, true);
    return;
  }
  running.set(organizationId, false);
  app.background('assignCursors', async () => {
    try {
      do {
        running.set(organizationId, false);
        announce(
          app,
          organizationId,
          await numberEvents(app, organizationId, MAX_ANNOUNCED_EVENTS),
        );
        // Collects the events committed meanwhile for one statement, even if several processes do this in turn.
        if (running.get(organizationId)) await pause(BATCH_DELAY_MS);
      } while (running.get(organizationId));
    } finally {
      running.delete(organizationId);
    }
  });
}

function announce(app: App, organizationId: string, numbering: Numbering): void {
  app.bus.publish(eventsTopicOf(organizationId), buildAnnouncement(numbering));
  wakeConsumers(app, organizationId, numbering.through);
}

/**
 * Runs statements that append events of these organizations, and announces the events. The numbering for the first
 * organization is sent together with the statement, which saves the database and this process a wake-up.
 */
export function announcing(app: App, organizationIds: ReadonlySet<string>): RawReader {
  const [first, ...others] = organizationIds;
  const numbering = first ? [numberingStatement(app, first, MAX_ANNOUNCED_EVENTS)] : [];
  return {
    async $queryRaw<T>(query: TemplateStringsArray | Prisma.Sql, ...values: unknown[]): Promise<T> {
      const statement = 'text' in query ? query : Prisma.sql(query, ...values);
      const [rows, numbered] = app.rows.queryInOrder(statement, ...numbering);
      if (first) {
        app.background('assignCursors', async () =>
          announce(app, first, numberingIn(await numbered)),
        );
      }
      const result = await rows;
      for (const id of others) announceEvents(app, id);
      return result as T;
    },
  };
}

/** Day, and width in days, of the partition for events that get their cursors now. */
function today(app: App): Prisma.Sql {
  const width = partitionDays(app.config.EVENT_RETENTION_DAYS);
  return Prisma.sql`${utcDay(app.now())}::date, ${width}::integer`;
}

const MAX_BYTES = Prisma.raw(String(MAX_ANNOUNCED_BYTES));

/**
 * Assigns a cursor to every committed event of the organization.
 *
 * @param limit maximum number of events to return; none are returned if there are more.
 */
async function numberEvents(app: App, organizationId: string, limit: number): Promise<Numbering> {
  return numberingIn(await app.rows.$queryRaw(numberingStatement(app, organizationId, limit)));
}

function numberingStatement(app: App, organizationId: string, limit: number): Prisma.Sql {
  return Prisma.sql`
    SELECT after, through, CASE WHEN octet_length(events) <= ${MAX_BYTES} THEN events END AS events
    FROM number_events(${organizationId}::uuid, ${today(app)}, ${limit}::integer)`;
}

/** The result of `numberingStatement`. */
function numberingIn(rows: unknown): Numbering {
  const [row] = rows as Numbering[];
  return row ?? { after: 0n, through: 0n, events: null };
}

/**
 * Assigns a cursor to every committed event of the organization.
 *
 * @returns the cursor of the newest event; 0 when there is none.
 */
export async function currentCursor(app: App, organizationId: string): Promise<bigint> {
  return (await numberEvents(app, organizationId, 0)).through;
}

/** Assigns a cursor to every committed event of these calls' organizations. To be called before reading events. */
export async function assignCursorsOfCalls(app: App, callIds: readonly string[]): Promise<void> {
  await app.rows.$queryRaw`
    SELECT count(through) FROM (
      SELECT DISTINCT organization_id FROM calls WHERE id = ANY(${[...callIds]}::uuid[])) owners,
      number_events(organization_id, ${today(app)}, 0)`;
}

/** SQL condition that is true if a committed event has no cursor. */
export function hasUnnumberedEvents(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM events WHERE ${WITHOUT_CURSOR})`;
}

/**
 * Assigns cursors to events whose process ended between the commit and the announcement.
 *
 * @param organizationIds organizations whose events to number; default: all.
 */
export async function numberMissedEvents(
  app: App,
  organizationIds?: readonly string[],
): Promise<void> {
  const only = organizationIds
    ? Prisma.sql`AND organization_id = ANY(${[...organizationIds]}::uuid[])`
    : Prisma.empty;
  const rows = await app.db.$queryRaw<{ id: string; missed: boolean | null }[]>`
    SELECT organization_id AS id, bool_or(pg_visible_in_snapshot(inserted_in, (
      SELECT numbered_in FROM event_counters c
      WHERE c.organization_id = events.organization_id))) AS missed
    FROM events WHERE ${WITHOUT_CURSOR} ${only} GROUP BY organization_id`;
  const missed = rows.filter((row) => row.missed).map(({ id }) => id);
  if (missed.length > 0) await restartNumbering(app, missed);
  for (const { id } of rows) announceEvents(app, id);
}

/**
 * Restarts the numbering of organizations with events that the last numbering should have seen but did not, for
 * example after the database was restored on a server whose transaction counter starts at 1.
 */
async function restartNumbering(app: App, organizationIds: readonly string[]): Promise<void> {
  app.log.warn({ organizationIds }, 'Events were left without a cursor, and get theirs now');
  await app.db.$executeRaw`
    UPDATE event_counters SET numbered_in = NULL
    WHERE organization_id = ANY(${[...organizationIds]}::uuid[])`;
}

/**
 * Removes members from the data of calls' events, such as what a person said. The events remain, so that
 * cursors and sequence numbers have no gaps.
 */
export async function eraseEventData(
  tx: Tx,
  callIds: readonly string[],
  type: EventType,
  members: readonly string[],
): Promise<void> {
  await tx.$queryRaw`
    SELECT 1 FROM erase_event_data(
      ${[...callIds]}::uuid[], ${type}::"EventType", ${[...members]}::text[])`;
}

export interface LogBounds {
  last: bigint;
  /** Events up to and including this cursor have been dropped. */
  expiredThrough: bigint;
}

export async function logBounds(app: App, organizationId: string): Promise<LogBounds> {
  const [row] = await app.rows.$queryRaw<{ last: bigint; expired: bigint | null }[]>`
    SELECT through AS last, (
      SELECT expired_through FROM event_counters
      WHERE organization_id = ${organizationId}::uuid) AS expired
    FROM number_events(${organizationId}::uuid, ${today(app)}, 0)`;
  return { last: row?.last ?? 0n, expiredThrough: row?.expired ?? 0n };
}

/** Selects the events that a subscriber receives. */
export interface EventFilter {
  /** For rows read from the table. */
  where: Prisma.EventWhereInput;
  /** The same condition, for events that have already been read. */
  matches: (event: Event) => boolean;
  /** Whether only few events of an organization match, such as those of one call. */
  isRare: boolean;
}

export interface EventPage {
  after: bigint;
  limit: number;
  where?: Prisma.EventWhereInput;
}

/** Events after a cursor, oldest first. */
export async function readEvents(
  app: App,
  organizationId: string,
  { after, limit, where }: EventPage,
): Promise<Event[]> {
  if (!where) {
    const found = eventsAfter(Prisma.sql`${organizationId}::uuid`, Prisma.sql`${after}`, limit);
    const [row] = await app.rows.$queryRaw<{ events: string | null }[]>`
      SELECT json_agg(e ORDER BY e.cursor)::text AS events FROM (${found}) e`;
    return decodeEvents(row?.events ?? '[]');
  }
  const query: Prisma.EventFindManyArgs = {
    // The last condition is that of the partial index.
    where: { AND: [where, { organizationId, cursor: { gt: after } }, { cursor: { gt: 0 } }] },
    orderBy: { cursor: 'asc' },
    take: limit,
  };
  const selected = app.rows.findMany('Event', { select: EVERY_COLUMN, ...query });
  return markAsBatch(((await selected) as Event[] | null) ?? (await app.db.event.findMany(query)));
}

/** SQL: the first events of an organization after a cursor, both given as SQL. */
export function eventsAfter(
  organizationId: Prisma.Sql,
  cursor: Prisma.Sql,
  limit: number,
): Prisma.Sql {
  // The last condition is that of the partial index; no parameter value implies it.
  return Prisma.sql`
    SELECT * FROM events
    WHERE organization_id = ${organizationId} AND cursor > ${cursor} AND cursor > 0
    ORDER BY cursor LIMIT ${Prisma.raw(String(limit))}`;
}
