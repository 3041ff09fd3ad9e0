/**
 * The events of one subscriber: first those that it missed, which it reads from the log at its own pace, then
 * live ones. Without a sink, live events wait in a queue, and a subscriber whose queue is full goes back
 * to reading. Thousands of streams wait for events at the same time, so each holds as little as possible.
 */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event } from '../generated/prisma/client.ts';
import { checkCursor } from './cursor.ts';
import type { EventFilter, LogBounds } from './log.ts';
import type { MissedEvents } from './missed-events.ts';
import { EXPIRY_GRACE_MS } from './partitions.ts';

/** Receives live events as they arrive, without waiting for the consumer of the stream. */
export interface LiveSink {
  take(event: Event): void;
  /** Called once, after the last event. */
  end(): void;
}

/** The events of one subscriber. Call `next` only after the previous call has resolved. */
export interface EventStream extends AsyncIterableIterator<Event> {
  /**
   * Passes live events to a sink, which is opened each time the subscriber becomes live. The stream itself
   * then yields only missed events, and otherwise waits. All yielded events have been consumed when a
   * sink is opened, since that happens when the consumer requests the next event. Call this before the
   * first `next`.
   */
  deliverTo(consumer: LiveConsumer): void;
  /**
   * Takes missed events that have been read and would be yielded next, up to the first one that `isWanted` does not
   * accept. They count as yielded.
   */
  takeMissed(isWanted: (event: Event) => boolean): Event[];
  /** Puts back the last events that were taken. */
  putBack(events: readonly Event[]): void;
  /**
   * To be called for an open sink that cannot take an event. Ends the sink; the stream then yields that event
   * and the following ones until it has caught up.
   */
  fallBehind(cursor: bigint): void;
  /** Calls the listener once, when the stream ends for any reason. */
  onEnd(listener: () => void): void;
}

export interface LiveConsumer {
  openSink(): LiveSink;
}

/** The live events of an organization: the part that its streams use. */
export interface LiveChannel {
  readonly organizationId: string;
  /** Cursor of the last event delivered to the live subscribers. */
  position: bigint;
  readonly live: Set<LiveSubscriber>;
  /** Streams that have not ended. */
  subscribers: number;
}

export interface LiveSubscriber {
  matches(event: Event): boolean;
  take(event: Event): void;
  wake(): void;
}

/** State shared by all streams of a feed. */
export interface StreamSource {
  readonly app: App;
  isClosed(): boolean;
  readonly missed: MissedEvents;
  /** Bounds of the log, read after the call. */
  bounds(organizationId: string): Promise<LogBounds>;
  /** Called once for each stream, when it ends. */
  leave(channel: LiveChannel): void;
  /** Streams that are waiting to read the log again. */
  readonly paused: Set<LogStream>;
}

interface StreamOptions {
  channel: LiveChannel;
  filter: EventFilter;
  /** The stream starts after this cursor. */
  after: bigint;
  /** Time at which no event after the cursor had been dropped, in milliseconds of `performance.now()`. */
  checkedAt: number;
}

const MAX_QUEUE = 1_000;
const RETRY_MS = 500;
/**
 * Interval between expiry checks. Events are dropped EXPIRY_GRACE_MS after a check could have detected it; half of
 * that leaves a margin for the read.
 */
const CHECK_MS = EXPIRY_GRACE_MS / 2;

const DONE = { done: true, value: undefined } as const;
const NO_EVENTS: Event[] = [];

export class LogStream implements EventStream, LiveSubscriber {
  readonly #source: StreamSource;
  readonly #channel: LiveChannel;
  readonly #filter: EventFilter;
  #consumer: LiveConsumer | null = null;
  #sink: LiveSink | null = null;
  /** Cursor of the last yielded event, or the position to which the log has been read if no later event was found. */
  #cursor: bigint;
  /** Cursor to which the log has been read. */
  #readThrough: bigint;
  #checkedAt: number;
  /** Events to yield: read from the log, or queued while the subscriber is live. */
  #events = NO_EVENTS;
  #hasEnded = false;
  #wake: (() => void) | null = null;
  #onEnd: (() => void) | null = null;

  constructor(source: StreamSource, { channel, filter, after, checkedAt }: StreamOptions) {
    this.#source = source;
    this.#channel = channel;
    this.#filter = filter;
    this.#cursor = after;
    this.#readThrough = after;
    this.#checkedAt = checkedAt;
  }

  deliverTo(consumer: LiveConsumer): void {
    this.#consumer = consumer;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws RequestError CURSOR_EXPIRED if the subscriber is so slow that events it has not read were dropped. */
  async next(): Promise<IteratorResult<Event, undefined>> {
    try {
      while (!this.#hasEnded && !this.#source.isClosed()) {
        const value = this.#events.shift();
        if (value) {
          this.#cursor = value.cursor;
          return { done: false, value };
        }
        if (this.#isLive()) await this.#waitForLive();
        else await this.#catchUp();
      }
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#end();
    return DONE;
  }

  takeMissed(isWanted: (event: Event) => boolean): Event[] {
    if (this.#hasEnded || this.#isLive()) return [];
    const other = this.#events.findIndex((event) => !isWanted(event));
    const taken = this.#events.splice(0, other === -1 ? this.#events.length : other);
    this.#cursor = taken.at(-1)?.cursor ?? this.#cursor;
    return taken;
  }

  putBack(events: readonly Event[]): void {
    const [first] = events;
    if (!first || this.#hasEnded) return;
    this.#events = [...events, ...this.#events];
    this.#cursor = first.cursor - 1n;
  }

  async return(): Promise<typeof DONE> {
    this.#end();
    return DONE;
  }

  async throw(error: unknown): Promise<never> {
    this.#end();
    throw error;
  }

  fallBehind(cursor: bigint): void {
    if (!this.#leaveLive()) return;
    this.#cursor = cursor - 1n;
    this.wake();
  }

  onEnd(listener: () => void): void {
    this.#onEnd = listener;
  }

  /** Makes a waiting stream check again whether it has something to yield, or has ended. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  matches(event: Event): boolean {
    return this.#filter.matches(event);
  }

  take(event: Event): void {
    // The channel may still be behind a subscriber that has just started.
    if (event.cursor <= this.#cursor) return;
    if (this.#sink) {
      this.#sink.take(event);
      return;
    }
    if (this.#events.length < MAX_QUEUE) this.#events.push(event);
    // It then reads the queued events from the log again.
    else this.#leaveLive();
    this.wake();
  }

  #isLive(): boolean {
    return this.#channel.live.has(this);
  }

  /** Reads the next missed events, or becomes live if there are none. */
  async #catchUp(): Promise<void> {
    if (this.#readThrough > this.#cursor) this.#cursor = this.#readThrough;
    if (this.#cursor < this.#channel.position) {
      await this.#readMissed();
      return;
    }
    // No await between this comparison and joining the channel, so no event is delivered in between.
    this.#sink = this.#consumer?.openSink() ?? null;
    if (!this.#sink) this.#events = [];
    this.#channel.live.add(this);
  }

  async #readMissed(): Promise<void> {
    const { app, missed } = this.#source;
    const { organizationId, position } = this.#channel;
    try {
      const { events, through } = await missed.read({
        organizationId,
        filter: this.#filter,
        after: this.#cursor,
        through: position,
      });
      await this.#checkNotExpired();
      this.#events = events.length > 0 ? events : NO_EVENTS;
      this.#readThrough = through;
    } catch (error) {
      if (error instanceof RequestError) throw error;
      app.failures.record('readEventLog', error, {
        message: 'Could not read the event log for a subscriber; will retry',
      });
      await this.#pause(RETRY_MS);
    }
  }

  /** @throws RequestError CURSOR_EXPIRED if events after the cursor may have been dropped before the read. */
  async #checkNotExpired(): Promise<void> {
    const now = performance.now();
    if (now - this.#checkedAt < CHECK_MS) return;
    const { last, expiredThrough } = await this.#source.bounds(this.#channel.organizationId);
    checkCursor(this.#cursor, last, expiredThrough);
    this.#checkedAt = now;
  }

  #waitForLive(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Waits; ends early when the stream is woken. */
  #pause(ms: number): Promise<void> {
    const { paused } = this.#source;
    paused.add(this);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.wake(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        paused.delete(this);
        resolve();
      };
    });
  }

  /** Takes effect at once: the sink receives nothing after this. False if the stream was not live. */
  #leaveLive(): boolean {
    if (!this.#channel.live.delete(this)) return false;
    this.#events = NO_EVENTS;
    this.#sink?.end();
    this.#sink = null;
    return true;
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#leaveLive();
    this.#events = NO_EVENTS;
    this.#source.leave(this.#channel);
    this.#onEnd?.();
    this.wake();
  }
}
