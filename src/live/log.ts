/**
 * The event log: what happened, one row per event, written in the transaction that makes the
 * change and numbered within its organisation without gaps.
 *
 * The number is taken by an update of the organisation's counter row, which stays locked until the
 * transaction ends. So numbers become visible in their own order: whoever has read up to N never
 * later finds something at or below N. A database sequence would not give that.
 */
import type { App, Tx } from '../app.ts';
import type { Event, EventType, Prisma } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';

export interface NewEvent {
  type: EventType;
  callId?: string;
  /** The number within the call, from the counter on the call's row. */
  sequence?: number;
  agentId?: string;
  campaignId?: string;
  data: Record<string, Json>;
  /** When it happened; absent means now. */
  at?: Date;
}

/** The topic on which a process hears that an organisation's log has grown. */
export const EVENTS_TOPIC = 'events';

/**
 * Appends events, in the order given. Call it last in the transaction: it holds the organization's
 * counter until the end. After the commit, call `announceEvents`.
 *
 * @returns the cursor of the last event.
 */
export async function appendEvents(
  tx: Tx,
  organizationId: string,
  events: readonly NewEvent[],
): Promise<bigint> {
  const last = await appendEventsOf(tx, new Map([[organizationId, events]]));
  return last.get(organizationId) ?? 0n;
}

/**
 * The same for several organizations in as many statements. Their counters are taken in one order by
 * everybody, so two that need the same ones wait for each other and never both.
 *
 * @returns the cursor of the last event of each.
 */
export async function appendEventsOf(
  tx: Tx,
  events: ReadonlyMap<string, readonly NewEvent[]>,
): Promise<Map<string, bigint>> {
  const counts = [...events]
    .filter(([, list]) => list.length > 0)
    .map(([organizationId, { length }]) => ({ organization_id: organizationId, count: length }));
  if (counts.length === 0) return new Map();
  const counters = await tx.$queryRaw<{ organization_id: string; last_cursor: bigint }[]>`
    INSERT INTO event_counters (organization_id, last_cursor)
    SELECT n.organization_id, n.count
    FROM jsonb_to_recordset(${JSON.stringify(counts)}::jsonb) AS n(organization_id uuid, count int)
    ORDER BY n.organization_id
    ON CONFLICT (organization_id)
      DO UPDATE SET last_cursor = event_counters.last_cursor + EXCLUDED.last_cursor
    RETURNING organization_id, last_cursor`;
  const last = new Map(counters.map((row) => [row.organization_id, row.last_cursor]));
  await tx.event.createMany({
    data: [...events].flatMap(([organizationId, list]) => {
      const first = (last.get(organizationId) ?? 0n) - BigInt(list.length) + 1n;
      return list.map((event, index) => ({
        organizationId,
        cursor: first + BigInt(index),
        type: event.type,
        callId: event.callId ?? null,
        sequence: event.sequence ?? null,
        agentId: event.agentId ?? null,
        campaignId: event.campaignId ?? null,
        data: event.data,
        ...(event.at ? { createdAt: event.at } : {}),
      }));
    }),
  });
  return last;
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
 * What is dropped is remembered in the counter row first, so that an older cursor is refused instead
 * of silently skipping. One log after the other, as nobody else can write to one meanwhile.
 */
export async function dropExpiredEvents(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - app.config.EVENT_RETENTION_DAYS * 86_400_000);
  const counters = await app.db.eventCounter.findMany({ select: { organizationId: true } });
  for (const { organizationId } of counters) {
    if (app.closing.aborted) return;
    const [edge] = await app.db.$queryRaw<{ through: bigint }[]>`
      SELECT coalesce(
        (SELECT v.cursor - 1 FROM events v
          WHERE v.organization_id = c.organization_id AND v.created_at >= ${before}
          ORDER BY v.cursor LIMIT 1),
        c.last_cursor) AS through
      FROM event_counters c WHERE c.organization_id = ${organizationId}::uuid`;
    if (!edge || edge.through === 0n) continue;
    await app.db.$executeRaw`
      UPDATE event_counters SET expired_through = ${edge.through}
      WHERE organization_id = ${organizationId}::uuid AND expired_through < ${edge.through}`;
    await app.db.event.deleteMany({ where: { organizationId, cursor: { lte: edge.through } } });
  }
}
