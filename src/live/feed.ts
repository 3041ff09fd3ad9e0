/**
 * Delivery of the event log to live subscribers: each receives every event after its cursor exactly
 * once and in order, regardless of what happens to Redis, the database connection or a wake-up.
 *
 * Each process has one reader per organization. A wake-up makes it read the new rows once and hand the
 * same objects to all subscribers. A subscriber first reads by itself what it missed, and joins the
 * reader where it has caught up. One that is too slow goes back to reading by itself, which bounds its
 * queue.
 */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event, Prisma } from '../generated/prisma/client.ts';
import { withCleanup } from '../infra/async-iterators.ts';
import { shareReads } from '../infra/shared-reads.ts';
import {
  assignLeftOverCursors,
  eventsTopicOf,
  type LogBounds,
  logBounds,
  readEvents,
} from './log.ts';
import { EXPIRY_GRACE_MS } from './partitions.ts';

export interface EventFilter {
  /** For rows read from the table. */
  where: Prisma.EventWhereInput;
  /** The same condition, for rows handed on by the reader. */
  matches: (event: Event) => boolean;
}

/** Takes live events as they are read, without waiting for the consumer of the stream. */
export interface LiveSink {
  take(event: Event): void;
  /** Called once, when nothing more is handed on. */
  end(): void;
}

/**
 * Makes the sink for a time in which a subscriber is live. A sink that cannot take an event calls
 * `fallBehind` with its cursor: the stream then yields that event and the following ones until it has caught up.
 */
export type OpenSink = (fallBehind: (cursor: bigint) => void) => LiveSink;

/** The events of one subscriber. */
export interface EventStream extends AsyncIterableIterator<Event> {
  /**
   * Hands live events to a sink; the stream itself then yields only the missed ones, and waits. All
   * events that were yielded have been consumed before a sink is opened, since that happens when the
   * consumer asks for the next event. Call it before the first `next`.
   */
  deliverTo(openSink: OpenSink): void;
}

export interface EventFeed {
  /**
   * Every matching event after `after`, then live ones, until the caller stops.
   * Without `after` it starts now.
   *
   * @throws RequestError CURSOR_EXPIRED when events after the cursor have been dropped, and
   *   BAD_USER_INPUT when the cursor lies ahead of the log.
   */
  subscribe(
    organizationId: string,
    after: bigint | null,
    filter: EventFilter,
  ): Promise<EventStream>;
  close(): void;
}

interface Channel {
  readonly organizationId: string;
  /** Cursor of the last event delivered to the live subscribers. */
  position: bigint;
  readonly live: Set<LiveSubscriber>;
  subscribers: number;
  reading: boolean;
  again: boolean;
  stopListening: () => void;
}

interface LiveSubscriber {
  readonly matches: (event: Event) => boolean;
  take(event: Event): void;
}

/** One subscription while it runs. */
interface Follower {
  channel: Channel;
  filter: EventFilter;
  signal: AbortSignal;
  openSink: OpenSink | null;
  /** When no event after the cursor had been dropped, as milliseconds of `performance.now()`. */
  checkedAt: number;
}

const PAGE = 500;
const MAX_QUEUE = 1_000;
const RETRY_MS = 500;
/** Events are dropped only this time after a check could have found out, with a margin for the reading. */
const CHECK_MS = EXPIRY_GRACE_MS / 2;

export function createEventFeed(app: App): EventFeed {
  return new LogFeed(app);
}

class LogFeed implements EventFeed {
  readonly #app: App;
  readonly #channels = new Map<string, Channel>();
  /** Functions that wake all waiting subscribers when the feed closes. */
  readonly #waiting = new Set<() => void>();
  readonly #timer: NodeJS.Timeout;
  /** Thousands of subscribers may come back at once. */
  readonly #bounds: (organizationId: string) => Promise<LogBounds>;
  #closed = false;

  constructor(app: App) {
    this.#app = app;
    this.#bounds = shareReads((organizationId) => logBounds(app, organizationId));
    this.#timer = setInterval(() => void this.#poll(), app.config.EVENT_POLL_SECONDS * 1000);
    this.#timer.unref();
  }

  async subscribe(
    organizationId: string,
    after: bigint | null,
    filter: EventFilter,
  ): Promise<EventStream> {
    const checkedAt = performance.now();
    const { last, expiredThrough } = await this.#bounds(organizationId);
    if (after !== null) checkCursor(after, last, expiredThrough);
    const channel = this.#enter(organizationId, last);
    const stop = new AbortController();
    const follower: Follower = { channel, filter, signal: stop.signal, openSink: null, checkedAt };
    const events = withCleanup(this.#follow(follower, after ?? last), () => {
      if (stop.signal.aborted) return;
      stop.abort();
      this.#leave(channel);
    });
    return Object.assign(events, {
      deliverTo: (openSink: OpenSink) => {
        follower.openSink = openSink;
      },
    });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const channel of this.#channels.values()) channel.stopListening();
    for (const wake of this.#waiting) wake();
  }

  /** Checks all organizations with subscribers, in case a wake-up was lost. */
  async #poll(): Promise<void> {
    if (this.#channels.size === 0) return;
    try {
      const organizationIds = [...this.#channels.keys()];
      await assignLeftOverCursors(this.#app, organizationIds);
      const counters = await this.#app.db.eventCounter.findMany({
        where: { organizationId: { in: organizationIds } },
      });
      for (const { organizationId, lastCursor } of counters) {
        const channel = this.#channels.get(organizationId);
        if (channel && lastCursor > channel.position) void this.#advance(channel);
      }
    } catch (error) {
      this.#app.failures.record('pollEventLog', error);
    }
  }

  /** Reads new events and delivers them. One reader at a time per organization. */
  async #advance(channel: Channel): Promise<void> {
    channel.again = true;
    if (channel.reading) return;
    channel.reading = true;
    try {
      while (channel.again && !this.#closed) {
        channel.again = false;
        const events = await readEvents(this.#app, channel.organizationId, {
          after: channel.position,
          limit: PAGE,
        });
        for (const event of events) {
          channel.position = event.cursor;
          for (const subscriber of channel.live) {
            if (subscriber.matches(event)) subscriber.take(event);
          }
        }
        if (events.length === PAGE) channel.again = true;
      }
    } catch (error) {
      this.#app.failures.record('readEventLog', error, {
        message: 'Could not read the event log; the next poll reads it again',
      });
    } finally {
      channel.reading = false;
    }
  }

  /** @param position end of the log as the caller has just read it; a new channel starts there. */
  #enter(organizationId: string, position: bigint): Channel {
    const known = this.#channels.get(organizationId);
    if (known) {
      known.subscribers += 1;
      return known;
    }
    const channel: Channel = {
      organizationId,
      position,
      live: new Set(),
      subscribers: 1,
      reading: false,
      again: false,
      stopListening: () => undefined,
    };
    this.#channels.set(organizationId, channel);
    const advance = (): void => void this.#advance(channel);
    channel.stopListening = this.#app.bus.subscribe(
      eventsTopicOf(organizationId),
      advance,
      advance,
    );
    // A wake-up may have arrived before the channel existed.
    void this.#advance(channel);
    return channel;
  }

  #leave(channel: Channel): void {
    channel.subscribers -= 1;
    if (channel.subscribers > 0) return;
    this.#channels.delete(channel.organizationId);
    channel.stopListening();
  }

  /** @throws RequestError CURSOR_EXPIRED if events after the cursor may have been dropped before a read. */
  async #checkNotExpired(follower: Follower, cursor: bigint): Promise<void> {
    const now = performance.now();
    if (now - follower.checkedAt < CHECK_MS) return;
    const { last, expiredThrough } = await this.#bounds(follower.channel.organizationId);
    checkCursor(cursor, last, expiredThrough);
    follower.checkedAt = now;
  }

  /**
   * Reads the log until the subscriber has all events that the channel has delivered.
   *
   * @throws RequestError CURSOR_EXPIRED if the subscriber is so slow that missing events were dropped.
   */
  async *#catchUp(follower: Follower, from: bigint): AsyncGenerator<Event, bigint> {
    const { channel, filter, signal } = follower;
    let cursor = from;
    while (cursor < channel.position && !this.#closed && !signal.aborted) {
      const through = channel.position;
      let events: Event[];
      try {
        events = await readEvents(this.#app, channel.organizationId, {
          after: cursor,
          limit: PAGE,
          where: { AND: [filter.where, { cursor: { lte: through } }] },
        });
        await this.#checkNotExpired(follower, cursor);
      } catch (error) {
        if (error instanceof RequestError) throw error;
        this.#app.failures.record('readEventLog', error, {
          message: 'A subscriber could not read the event log and will read it again',
        });
        await this.#pause(RETRY_MS);
        continue;
      }
      for (const event of events) {
        cursor = event.cursor;
        yield event;
      }
      if (events.length < PAGE) cursor = through;
    }
    return cursor;
  }

  async *#follow(follower: Follower, start: bigint): AsyncGenerator<Event> {
    let cursor = start;
    while (!this.#closed && !follower.signal.aborted) {
      cursor = yield* this.#catchUp(follower, cursor);
      // No await between the last comparison above and joining the channel: nothing is handed on
      // in between.
      if (follower.openSink) cursor = await this.#handOn(follower, cursor, follower.openSink);
      else cursor = yield* this.#queue(follower, cursor);
    }
  }

  /** Live events go to a sink until the subscription ends or the sink falls behind. */
  async #handOn(
    { channel, filter, signal }: Follower,
    from: bigint,
    openSink: OpenSink,
  ): Promise<bigint> {
    return new Promise<bigint>((resolve) => {
      const leave = (cursor: bigint): void => {
        // At once: nothing may reach the sink after this.
        if (!channel.live.delete(subscriber)) return;
        this.#waiting.delete(end);
        signal.removeEventListener('abort', end);
        sink.end();
        resolve(cursor);
      };
      const end = (): void => leave(from);
      const sink = openSink((next) => leave(next - 1n));
      const subscriber: LiveSubscriber = {
        matches: filter.matches,
        // The channel may still be behind a subscriber that has just begun.
        take: (event) => {
          if (event.cursor > from) sink.take(event);
        },
      };
      channel.live.add(subscriber);
      this.#waiting.add(end);
      signal.addEventListener('abort', end);
    });
  }

  /** Live events in the pace of the consumer, until the subscription ends or its queue is full. */
  async *#queue(
    { channel, filter, signal }: Follower,
    from: bigint,
  ): AsyncGenerator<Event, bigint> {
    let cursor = from;
    let overflowed = false;
    let wake: () => void = () => undefined;
    const queue: Event[] = [];
    const subscriber: LiveSubscriber = {
      matches: filter.matches,
      take(event) {
        if (queue.length >= MAX_QUEUE) overflowed = true;
        else if (!overflowed) queue.push(event);
        wake();
      },
    };
    const wakeUp = (): void => wake();
    signal.addEventListener('abort', wakeUp);
    this.#waiting.add(wakeUp);
    channel.live.add(subscriber);
    try {
      while (!this.#closed && !signal.aborted && !overflowed) {
        const event = queue.shift();
        if (!event) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (event.cursor > cursor) {
          cursor = event.cursor;
          yield event;
        }
      }
    } finally {
      channel.live.delete(subscriber);
      this.#waiting.delete(wakeUp);
      signal.removeEventListener('abort', wakeUp);
    }
    return cursor;
  }

  /** Ends early when the feed closes. */
  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(handle);
        this.#waiting.delete(done);
        resolve();
      };
      const handle = setTimeout(done, ms);
      this.#waiting.add(done);
    });
  }
}

/** `0` is the beginning of the retained log. */
export function checkCursor(after: bigint, last: bigint, expiredThrough: bigint): void {
  if (after > last) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `The cursor ${after} is ahead of the event log, which ends at ${last}. Use cursors of events, or eventCursor.`,
    );
  }
  if (after !== 0n && after < expiredThrough) {
    throw new RequestError(
      'CURSOR_EXPIRED',
      `Events after cursor ${after} are no longer retained. Read the current state and continue from eventCursor, or read the remaining events with after: "0".`,
      { oldestCursor: String(expiredThrough) },
    );
  }
}
