/**
 * Durable consumers of the event log. Each has a cursor per organization in the database and receives every
 * event exactly once, in order: its writes and the advance of its cursor are one transaction.
 */
import type { App, Tx } from '../app.ts';
import { type Event, Prisma } from '../generated/prisma/client.ts';
import type { PeriodicTask } from '../infra/jobs/periodic-tasks.ts';
import { onWakeUp, PAUSE_MS } from './consumer-wake-ups.ts';
import { decodeEvents } from './event-rows.ts';
import { eventsAfter } from './log.ts';

export interface EventConsumer {
  /** Stored in the database; must never change. */
  readonly name: string;
  /**
   * Handles the next events of an organization, oldest first, in the transaction that advances the cursor.
   * Must write only through `tx`: if it throws, the same events are delivered again.
   */
  handle(
    app: App,
    tx: Tx,
    organizationId: string,
    events: readonly Event[],
  ): Promise<HandledEvents>;
  /**
   * SQL condition on the rows of `batch`, which are events of an organization. True if `handle` has nothing to do for
   * any of them; a single statement then skips them.
   */
  readonly ignores?: (organizationId: string) => Prisma.Sql;
  /** Called after the commit, at most once per batch, since the process may die before the call. */
  onCommit?(app: App, organizationId: string): void;
}

export interface HandledEvents {
  /** Cursor of the last event that was handled, at least the first one. The others are delivered again. */
  through: bigint;
  /** Whether to call `onCommit`. */
  announce: boolean;
}

const BATCH = 200;
/** Number of organizations that a consumer handles concurrently in one process. */
const CONCURRENCY = 4;
const RETRY_MS = { first: 1_000, longest: 300_000 };
/** Delay before trying again when another process is handling the events. */
const LOCKED_RETRY_MS = 100;
/**
 * Random delay before a process handles new events. The first process saves the others the work; usually it is
 * the one that handled the last batch, which does not wait.
 */
const STANDBY_DELAY_MS = { min: 100, max: 400 };

/**
 * Runs the consumers until the app closes: when events are announced, and in the returned periodic tasks.
 * Safe in several processes: one process at a time handles an organization's events. A consumer that fails is
 * retried with increasing delays, and delays neither other organizations nor other consumers. A new consumer
 * starts with the oldest retained event.
 */
export function startConsumers(app: App, consumers: readonly EventConsumer[]): PeriodicTask[] {
  return consumers.map((consumer) => new ConsumerLoop(app, consumer).start());
}

type ConsumedMessage = {
  organizationId: string;
  /** Cursor of the last event that was handled. */
  cursor: string;
};

/** An organization with events that may not have been handled. */
interface Backlog {
  /** Cursor of its newest event. */
  last: bigint;
  timer: NodeJS.Timeout | null;
}

/** A failed batch of an organization. */
interface Failure {
  /** Number of failures since an event was handled. */
  count: number;
  retryAt: number;
  /** Number of its events that may not have been handled yet. */
  left: number;
}

class ConsumerLoop {
  readonly #app: App;
  readonly #consumer: EventConsumer;
  readonly #backlogs = new Map<string, Backlog>();
  /** When the pause after the last batch ends, whichever process handled it. */
  readonly #pausedUntil = new Map<string, number>();
  /** Organizations whose last batch was handled by this process. */
  readonly #handledLastBatch = new Set<string>();
  readonly #running = new Set<string>();
  /** Organizations that are due, in order. */
  readonly #waiting = new Set<string>();
  readonly #failures = new Map<string, Failure>();
  /** Organizations whose last batch was not ignored, so the next one is probably not ignored either. */
  readonly #withRelevantEvents = new Set<string>();

  constructor(app: App, consumer: EventConsumer) {
    this.#app = app;
    this.#consumer = consumer;
  }

  /** @returns the periodic task that covers lost wake-ups and the unfinished work of processes that died. */
  start(): PeriodicTask {
    const { bus, closing, config } = this.#app;
    const stopListening = [
      onWakeUp(bus, (organizationId, last) => this.#wake(organizationId, last)),
      bus.subscribe(this.#topic, (message) => {
        const { organizationId, cursor } = message as ConsumedMessage;
        this.#recordHandled(organizationId, BigInt(cursor));
      }),
    ];
    closing.addEventListener('abort', () => {
      for (const stop of stopListening) stop();
      for (const backlog of this.#backlogs.values()) clearTimeout(backlog.timer ?? undefined);
    });
    return {
      name: this.#name,
      everySeconds: config.EVENT_POLL_SECONDS,
      shared: true,
      hasWork: () => Prisma.sql`EXISTS (SELECT 1 ${this.#unhandled()})`,
      run: () => this.#poll(),
    };
  }

  /** SQL: the organizations whose log extends past the cursor of the consumer. */
  #unhandled(): Prisma.Sql {
    return Prisma.sql`
      FROM event_counters e LEFT JOIN event_consumers c
        ON c.organization_id = e.organization_id AND c.name = ${this.#consumer.name}
      WHERE e.last_cursor > coalesce(c.cursor, 0)`;
  }

  get #name(): string {
    return `consumer ${this.#consumer.name}`;
  }

  /** Bus topic that tells the other processes how far this one has come. */
  get #topic(): string {
    return `consumed:${this.#consumer.name}`;
  }

  async #poll(): Promise<void> {
    for (const [id, until] of this.#pausedUntil) {
      if (until < Date.now()) this.#pausedUntil.delete(id);
    }
    const backlog = await this.#app.db.$queryRaw<{ organization_id: string; last: bigint }[]>`
      SELECT e.organization_id, e.last_cursor AS last ${this.#unhandled()}`;
    for (const { organization_id, last } of backlog) this.#wake(organization_id, last);
  }

  #wake(organizationId: string, last: bigint): void {
    const backlog = this.#backlogs.get(organizationId) ?? { last, timer: null };
    if (last > backlog.last) backlog.last = last;
    this.#backlogs.set(organizationId, backlog);
    this.#schedule(organizationId);
  }

  /** Records that a process, possibly this one, has handled the events up to this cursor. */
  #recordHandled(organizationId: string, cursor: bigint): void {
    this.#pausedUntil.set(organizationId, Date.now() + PAUSE_MS);
    this.#handledLastBatch.delete(organizationId);
    const backlog = this.#backlogs.get(organizationId);
    if (!backlog) return;
    clearTimeout(backlog.timer ?? undefined);
    backlog.timer = null;
    if (backlog.last > cursor) {
      this.#schedule(organizationId);
    } else {
      this.#backlogs.delete(organizationId);
      this.#waiting.delete(organizationId);
    }
  }

  #schedule(organizationId: string): void {
    const backlog = this.#backlogs.get(organizationId);
    if (!backlog || backlog.timer || this.#app.closing.aborted) return;
    if (this.#running.has(organizationId) || this.#waiting.has(organizationId)) return;
    const isAlone =
      this.#app.bus.kind === 'in-process' || this.#handledLastBatch.has(organizationId);
    const standbyDelay =
      STANDBY_DELAY_MS.min + Math.random() * (STANDBY_DELAY_MS.max - STANDBY_DELAY_MS.min);
    const pause = Math.max(0, (this.#pausedUntil.get(organizationId) ?? 0) - Date.now());
    backlog.timer = setTimeout(
      () => {
        backlog.timer = null;
        this.#waiting.add(organizationId);
        this.#startNext();
      },
      pause + (isAlone ? 0 : standbyDelay),
    );
  }

  #startNext(): void {
    for (const organizationId of this.#waiting) {
      if (this.#running.size >= CONCURRENCY || this.#app.closing.aborted) return;
      this.#waiting.delete(organizationId);
      if ((this.#failures.get(organizationId)?.retryAt ?? 0) > Date.now()) continue;
      this.#running.add(organizationId);
      this.#app.background(this.#name, () => this.#handleBatch(organizationId));
    }
  }

  /** Handles one batch, then queues the organization behind the others for its next batch. */
  async #handleBatch(organizationId: string): Promise<void> {
    const failed = this.#failures.get(organizationId);
    let more = false;
    try {
      // After a failure, one event at a time, so that the events before the failing one are handled.
      const batch = await this.#consume(organizationId, failed ? 1 : BATCH);
      more = batch?.isFull ?? false;
      if (failed && failed.left > 1 && more) {
        this.#failures.set(organizationId, { count: 0, retryAt: 0, left: failed.left - 1 });
      } else if (batch) this.#failures.delete(organizationId);
      if (batch) {
        const cursor = String(batch.cursor);
        this.#app.bus.publish(this.#topic, { organizationId, cursor } satisfies ConsumedMessage);
        this.#handledLastBatch.add(organizationId);
      } else {
        this.#pausedUntil.set(organizationId, Date.now() + LOCKED_RETRY_MS);
      }
    } catch (error) {
      const count = (failed?.count ?? 0) + 1;
      const delay = Math.min(RETRY_MS.first * 2 ** (count - 1), RETRY_MS.longest);
      // The first retry is immediate and finds the event that fails.
      const retryAt = count === 1 ? 0 : Date.now() + delay;
      this.#failures.set(organizationId, { count, retryAt, left: failed?.left ?? BATCH });
      more = count === 1;
      this.#app.failures.record(this.#name, error, {
        level: 'error',
        message: 'A consumer of the event log failed; will retry',
        organizationId,
      });
    } finally {
      this.#running.delete(organizationId);
      if (more) this.#waiting.add(organizationId);
      else this.#schedule(organizationId);
      this.#startNext();
    }
  }

  async #consume(organizationId: string, size: number): Promise<Batch | null> {
    const consumer = this.#consumer;
    if (consumer.ignores && !this.#withRelevantEvents.has(organizationId)) {
      const ignored = await ignoreBatch(this.#app, consumer, organizationId, size);
      if (ignored !== undefined) return ignored;
    }
    const batch = await handleBatch(this.#app, consumer, organizationId, size);
    if (batch?.announce) {
      this.#withRelevantEvents.add(organizationId);
      consumer.onCommit?.(this.#app, organizationId);
    } else this.#withRelevantEvents.delete(organizationId);
    return batch;
  }
}

interface Batch {
  /** Cursor up to which events have been handled. */
  cursor: bigint;
  /** Whether there may be more events. */
  isFull: boolean;
  /** Whether to call `onCommit`. */
  announce: boolean;
}

/**
 * Skips the next events of an organization if the consumer ignores all of them.
 *
 * @returns null if another process is handling them; undefined if `handle` must process them.
 */
async function ignoreBatch(
  { rows }: App,
  { name, ignores = () => Prisma.sql`false` }: EventConsumer,
  organizationId: string,
  size: number,
): Promise<Batch | null | undefined> {
  type Row = { known: boolean; cursor: bigint | null; skipped: bigint | null; count: number };
  const at = Prisma.sql`organization_id = ${organizationId}::uuid AND name = ${name}`;
  const batch = eventsAfter(Prisma.sql`${organizationId}::uuid`, Prisma.sql`p.cursor`, size);
  const [row] = await rows.$queryRaw<Row[]>`
    WITH position AS (
      SELECT cursor FROM event_consumers WHERE ${at} FOR NO KEY UPDATE SKIP LOCKED
    ), batch AS (
      SELECT e.* FROM position p, LATERAL (${batch}) e
    ), skipped AS (
      UPDATE event_consumers SET cursor = last, updated_at = now()
      FROM (SELECT max(cursor) AS last FROM batch HAVING count(*) > 0) AS b
      WHERE ${at} AND (${ignores(organizationId)})
      RETURNING event_consumers.cursor
    )
    SELECT EXISTS (SELECT FROM event_consumers WHERE ${at}) AS known,
      (SELECT cursor FROM position) AS cursor, (SELECT cursor FROM skipped) AS skipped,
      (SELECT count(*) FROM batch)::int AS count`;
  if (!row?.known) return undefined;
  if (row.cursor === null) return null;
  if (row.count > 0 && row.skipped === null) return undefined;
  return { cursor: row.skipped ?? row.cursor, isFull: row.count === size, announce: false };
}

/**
 * Hands a consumer its next events of an organization.
 *
 * @returns null if another process is handling them.
 */
async function handleBatch(
  app: App,
  consumer: EventConsumer,
  organizationId: string,
  size: number,
): Promise<Batch | null> {
  const { name } = consumer;
  return app.db.$transaction(async (tx) => {
    const found = eventsAfter(Prisma.sql`${organizationId}::uuid`, Prisma.sql`p.cursor`, size);
    const read = () => tx.$queryRaw<{ cursor: bigint; events: string | null }[]>`
      WITH position AS (
        SELECT cursor FROM event_consumers
        WHERE organization_id = ${organizationId}::uuid AND name = ${name}
        FOR NO KEY UPDATE SKIP LOCKED)
      SELECT p.cursor, (
        SELECT json_agg(e ORDER BY e.cursor)::text FROM (${found}) e) AS events
      FROM position p`;
    let [row] = await read();
    if (!row && (await insertCursor(tx, organizationId, name))) [row] = await read();
    if (!row) return null;
    const events = decodeEvents(row.events ?? '[]');
    const last = events.at(-1);
    if (!last) return { cursor: row.cursor, isFull: false, announce: false };
    const { through, announce } = await consumer.handle(app, tx, organizationId, events);
    await tx.$executeRaw`
      UPDATE event_consumers SET cursor = ${through}, updated_at = now()
      WHERE organization_id = ${organizationId}::uuid AND name = ${name}`;
    const isFull = events.length === size || through < last.cursor;
    return { cursor: through, isFull, announce };
  });
}

/**
 * SQL: cursor up to which a consumer has handled the events of an organization.
 *
 * @param organizationId SQL expression.
 */
export function handledThrough(consumer: string, organizationId: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`coalesce((
    SELECT cursor FROM event_consumers
    WHERE organization_id = ${organizationId} AND name = ${consumer}), 0)`;
}

/** Adds the cursor of a consumer. False if it already exists, which means that another process has locked it. */
async function insertCursor(tx: Tx, organizationId: string, name: string): Promise<boolean> {
  const added = await tx.$executeRaw`
    INSERT INTO event_consumers (organization_id, name, updated_at)
    VALUES (${organizationId}::uuid, ${name}, now()) ON CONFLICT DO NOTHING`;
  return added > 0;
}
