/**
 * The event log: what happened, one row per event, written in the transaction that makes the
 * change and numbered within its organisation without gaps.
 *
 * The number is taken by an update of the organisation's counter row, which stays locked until the
 * transaction ends. So numbers become visible in their own order: whoever has read up to N never
 * later finds something at or below N. A database sequence would not give that.
 */
import type { App, Tx } from '../app.ts';
import { type Event, type EventType, Prisma } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';

export interface NewEvent {
  type: EventType;
  callId?: string;
  /** The number within the call, from the counter on the call's row. */
  sequence?: number;
  agentId?: string;
  data: Record<string, Json>;
  /** When it happened; absent means now. */
  at?: Date;
}

/** The topic on which a process hears that an organisation's log has grown. */
export const EVENTS_TOPIC = 'events';

/**
 * Appends events, in the order given. Call it last in the transaction: it holds the organisation's
 * counter until the end. After the commit, call `announceEvents`.
 *
 * @returns the cursor of the last event.
 */
export async function appendEvents(
  tx: Tx,
  organizationId: string,
  events: readonly NewEvent[],
): Promise<bigint> {
  const [counter] = await tx.$queryRaw<{ last_cursor: bigint }[]>`
    INSERT INTO event_counters (organization_id, last_cursor)
    VALUES (${organizationId}::uuid, ${events.length})
    ON CONFLICT (organization_id)
      DO UPDATE SET last_cursor = event_counters.last_cursor + ${events.length}
    RETURNING last_cursor`;
  if (!counter) throw new Error('The event counter gave no number');
  const first = counter.last_cursor - BigInt(events.length) + 1n;
  await tx.event.createMany({
    data: events.map((event, index) => ({
      organizationId,
      cursor: first + BigInt(index),
      type: event.type,
      callId: event.callId ?? null,
      sequence: event.sequence ?? null,
      agentId: event.agentId ?? null,
      data: event.data,
      ...(event.at ? { createdAt: event.at } : {}),
    })),
  });
  return counter.last_cursor;
}

/** Wakes the subscribers of every process. A lost wake-up delays them, nothing more. */
export function announceEvents(app: App, organizationId: string): void {
  app.bus.publish(EVENTS_TOPIC, organizationId);
}

export interface LogBounds {
  last: bigint;
  /** Events up to here are gone. */
  expiredThrough: bigint;
}

export async function logBounds(app: App, organizationId: string): Promise<LogBounds> {
  const counter = await app.db.eventCounter.findUnique({ where: { organizationId } });
  return { last: counter?.lastCursor ?? 0n, expiredThrough: counter?.expiredThrough ?? 0n };
}

/** The cursor of the newest event; 0 when there is none. */
export async function currentCursor(app: App, organizationId: string): Promise<bigint> {
  return (await logBounds(app, organizationId)).last;
}

/** Events after a cursor, oldest first. */
export async function readEvents(
  app: App,
  organizationId: string,
  after: bigint,
  limit: number,
  where: Prisma.EventWhereInput = {},
): Promise<Event[]> {
  return app.db.event.findMany({
    where: { ...where, organizationId, cursor: { gt: after } },
    orderBy: { cursor: 'asc' },
    take: limit,
  });
}

/**
 * Drops events older than the retention time, from the beginning of each log up to the first one
 * that is kept: an event's time may be that of Ultravox, so an old one can stand after newer ones.
 * What is dropped is remembered in the counter row in the same statement, so that an older cursor is
 * refused instead of silently skipping.
 */
export async function dropExpiredEvents(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - app.config.EVENT_RETENTION_DAYS * 86_400_000);
  await app.db.$executeRaw(Prisma.sql`
    WITH edges AS (
      SELECT c.organization_id, coalesce(
        (SELECT v.cursor - 1 FROM events v
          WHERE v.organization_id = c.organization_id AND v.created_at >= ${before}
          ORDER BY v.cursor LIMIT 1),
        c.last_cursor) AS through
      FROM event_counters c
    ), marked AS (
      UPDATE event_counters c SET expired_through = e.through
      FROM edges e WHERE c.organization_id = e.organization_id AND c.expired_through < e.through
    )
    DELETE FROM events v USING edges e
    WHERE v.organization_id = e.organization_id AND v.cursor <= e.through`);
}
