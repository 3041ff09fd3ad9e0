/**
 * Hands the event log to live subscribers: each sees every event after its cursor exactly once and
 * in order, whatever happens to Redis, to the database connection or to this process's wake-ups.
 *
 * Per organisation and process there is one reader. A wake-up makes it read the new rows once and
 * hand the same objects to everybody. A subscriber first reads what it missed by itself, and joins
 * the reader at the point where it has caught up; one that is too slow goes back to reading by
 * itself, so its queue stays bounded.
 */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event, Prisma } from '../generated/prisma/client.ts';
import { EVENTS_TOPIC, logBounds, readEvents } from './log.ts';

export interface EventFilter {
  /** For the rows read from the table. */
  where: Prisma.EventWhereInput;
  /** The same condition, for the rows handed on. */
  matches: (event: Event) => boolean;
}

export interface EventFeed {
  /**
   * Everything after `after` that matches, then what is live, until the caller stops.
   * Without `after` it begins now.
   *
   * @throws RequestError CURSOR_EXPIRED when events after the cursor have been dropped, and
   *   BAD_USER_INPUT when the cursor lies ahead of the log.
   */
  subscribe(
    organizationId: string,
    after: bigint | null,
    filter: EventFilter,
  ): Promise<AsyncIterableIterator<Event>>;
  close(): void;
}

interface Channel {
  /** Everything up to here has been handed to the live subscribers. */
  position: bigint;
  readonly live: Set<LiveSubscriber>;
  subscribers: number;
  reading: boolean;
  again: boolean;
}

interface LiveSubscriber {
  readonly queue: Event[];
  readonly matches: (event: Event) => boolean;
  overflowed: boolean;
  wake: () => void;
}

const PAGE = 500;
const MAX_QUEUE = 1_000;
const RETRY_MS = 500;

export function createEventFeed(app: App): EventFeed {
  const channels = new Map<string, Channel>();
  const waiting = new Set<() => void>();
  let closed = false;

  const unsubscribe = app.bus.subscribe(EVENTS_TOPIC, (organizationId) => {
    const channel = channels.get(String(organizationId));
    if (channel) void advance(String(organizationId), channel);
  });
  const timer = setInterval(() => void poll(), app.config.EVENT_POLL_SECONDS * 1000);
  timer.unref();

  /** One query for all organisations somebody listens to. */
  async function poll(): Promise<void> {
    if (channels.size === 0) return;
    try {
      const counters = await app.db.eventCounter.findMany({
        where: { organizationId: { in: [...channels.keys()] } },
      });
      for (const { organizationId, lastCursor } of counters) {
        const channel = channels.get(organizationId);
        if (channel && lastCursor > channel.position) void advance(organizationId, channel);
      }
    } catch (error) {
      app.log.debug({ err: error }, 'The event log could not be polled; trying again');
    }
  }

  /** Reads what is new and hands it on. One at a time for each organisation. */
  async function advance(organizationId: string, channel: Channel): Promise<void> {
    channel.again = true;
    if (channel.reading) return;
    channel.reading = true;
    try {
      while (channel.again && !closed) {
        channel.again = false;
        const events = await readEvents(app, organizationId, channel.position, PAGE);
        for (const event of events) {
          channel.position = event.cursor;
          for (const subscriber of channel.live) offer(subscriber, event);
        }
        if (events.length === PAGE) channel.again = true;
      }
    } catch (error) {
      app.log.debug({ err: error }, 'The event log could not be read; the next poll tries again');
    } finally {
      channel.reading = false;
    }
  }

  /** `position` is where a new channel begins: the log as the caller has just seen it. */
  function enter(organizationId: string, position: bigint): Channel {
    const channel = channels.get(organizationId) ?? {
      position,
      live: new Set(),
      subscribers: 0,
      reading: false,
      again: false,
    };
    channel.subscribers += 1;
    if (!channels.has(organizationId)) {
      channels.set(organizationId, channel);
      // For a wake-up that came before the channel was there to hear it.
      void advance(organizationId, channel);
    }
    return channel;
  }

  function leave(organizationId: string, channel: Channel): void {
    channel.subscribers -= 1;
    if (channel.subscribers === 0) channels.delete(organizationId);
  }

  /** Reads by itself until it has seen all that the channel has handed on. */
  async function* catchUp(
    organizationId: string,
    channel: Channel,
    from: bigint,
    where: Prisma.EventWhereInput,
    signal: AbortSignal,
  ): AsyncGenerator<Event, bigint> {
    let cursor = from;
    while (cursor < channel.position && !closed && !signal.aborted) {
      const target = channel.position;
      let events: Event[];
      try {
        events = await readEvents(app, organizationId, cursor, PAGE, {
          AND: [where, { cursor: { lte: target } }],
        });
      } catch (error) {
        app.log.debug({ err: error }, 'A subscriber could not read the event log; trying again');
        await pause(RETRY_MS);
        continue;
      }
      for (const event of events) {
        cursor = event.cursor;
        yield event;
      }
      if (events.length < PAGE) cursor = target;
    }
    return cursor;
  }

  async function pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(handle);
        waiting.delete(done);
        resolve();
      };
      const handle = setTimeout(done, ms);
      waiting.add(done);
    });
  }

  async function* follow(
    organizationId: string,
    channel: Channel,
    start: bigint,
    filter: EventFilter,
    signal: AbortSignal,
  ): AsyncGenerator<Event> {
    let cursor = start;
    const stopped = (): boolean => closed || signal.aborted;
    while (!stopped()) {
      cursor = yield* catchUp(organizationId, channel, cursor, filter.where, signal);
      // No await between the last comparison above and this: nothing is handed on in between.
      const subscriber: LiveSubscriber = {
        queue: [],
        matches: filter.matches,
        overflowed: false,
        wake: () => undefined,
      };
      const wake = (): void => subscriber.wake();
      signal.addEventListener('abort', wake);
      waiting.add(wake);
      channel.live.add(subscriber);
      try {
        while (!stopped() && !subscriber.overflowed) {
          const event = subscriber.queue.shift();
          if (!event) {
            await new Promise<void>((resolve) => {
              subscriber.wake = resolve;
            });
          } else if (event.cursor > cursor) {
            cursor = event.cursor;
            yield event;
          }
        }
      } finally {
        channel.live.delete(subscriber);
        waiting.delete(wake);
        signal.removeEventListener('abort', wake);
      }
    }
  }

  return {
    async subscribe(organizationId, after, filter) {
      const { last, expiredThrough } = await logBounds(app, organizationId);
      if (after !== null) checkCursor(after, last, expiredThrough);
      const channel = enter(organizationId, last);
      const stop = new AbortController();
      const events = follow(organizationId, channel, after ?? last, filter, stop.signal);
      return stoppable(events, () => {
        if (stop.signal.aborted) return;
        stop.abort();
        leave(organizationId, channel);
      });
    },
    close() {
      closed = true;
      clearInterval(timer);
      unsubscribe();
      for (const wake of waiting) wake();
    },
  };
}

/**
 * An async generator that waits inside an `await` does not hear `return()` until that await is
 * over; this one is told first.
 */
function stoppable<T>(inner: AsyncGenerator<T>, stop: () => void): AsyncIterableIterator<T> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const result = await inner.next();
      if (result.done) stop();
      return result;
    },
    async return() {
      stop();
      return inner.return(undefined);
    },
    async throw(error) {
      stop();
      return inner.throw(error);
    },
  };
}

function offer(subscriber: LiveSubscriber, event: Event): void {
  if (subscriber.overflowed || !subscriber.matches(event)) return;
  if (subscriber.queue.length >= MAX_QUEUE) subscriber.overflowed = true;
  else subscriber.queue.push(event);
  subscriber.wake();
}

/** `0` is the beginning of what is kept. */
export function checkCursor(after: bigint, last: bigint, expiredThrough: bigint): void {
  if (after > last) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `The cursor ${after} lies ahead of the event log, which ends at ${last}. Take cursors from events or from eventCursor.`,
    );
  }
  if (after !== 0n && after < expiredThrough) {
    throw new RequestError(
      'CURSOR_EXPIRED',
      `Events after cursor ${after} have been dropped. Read the present state and go on from eventCursor, or take what is left with after: "0".`,
      { oldestCursor: String(expiredThrough) },
    );
  }
}
