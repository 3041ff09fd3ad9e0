/**
 * The events of one subscriber: first those that it missed, which it reads from the log at its own pace, then
 * live ones. Without a sink, live events wait in a queue, and a subscriber whose queue is full goes back
 * to reading. Thousands of streams wait for events at the same time, so each holds no more than it needs.
 */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event } from '../generated/prisma/client.ts';
import { checkCursor } from './cursor.ts';
import type { EventFilter, LogBounds } from './log.ts';
import type { MissedEvents } from './missed-events.ts';
import { EXPIRY_GRACE_MS } from './partitions.ts';

/** Takes live events as they are read, without waiting for the consumer of the stream. */
export interface LiveSink {
  take(event: Event): void;
  /** Called once, when nothing more is handed on. */
  end(): void;
}

/** The events of one subscriber. Ask for the next one only after the one before has come. */
export interface EventStream extends AsyncIterableIterator<Event> {
  /**
   * Hands live events to a sink, opened for each time in which the subscriber is live; the stream itself
   * then yields only the missed ones, and waits. All events that were yielded have been consumed before a
   * sink is opened, since that happens when the consumer asks for the next event. Call it before the
   * first `next`.
   */
  deliverTo(consumer: LiveConsumer): void;
  /**
   * Takes missed events that have been read and would be yielded next: those that `isWanted` accepts, until the
   * first other one. They count as yielded.
   */
  takeMissed(isWanted: (event: Event) => boolean): Event[];
  /** Puts back the last events that were taken. */
  putBack(events: readonly Event[]): void;
  /**
   * For a sink that is open and cannot take an event: the sink is ended, and the stream yields that event
   * and the following ones until it has caught up.
   */
  fallBehind(cursor: bigint): void;
}

export interface LiveConsumer {
  openSink(): LiveSink;
}

/** The live events of an organization, as far as its streams need to know. */
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

/** What all streams of a feed have in common. */
export interface StreamSource {
  readonly app: App;
  isClosed(): boolean;
  readonly missed: MissedEvents;
  /** Bounds of the log, read after the call. */
  bounds(organizationId: string): Promise<LogBounds>;
  /** Called once for each stream, when it ends. */
  leave(channel: LiveChannel): void;
  /** Streams that wait before they read the log again. */
  readonly paused: Set<LogStream>;
}

interface StreamOptions {
  channel: LiveChannel;
  filter: EventFilter;
  /** The stream begins after this cursor. */
  after: bigint;
  /** When no event after the cursor had been dropped, as milliseconds of `performance.now()`. */
  checkedAt: number;
}

const MAX_QUEUE = 1_000;
const RETRY_MS = 500;
/** Events are dropped only this time after a check could have found out, with a margin for the reading. */
const CHECK_MS = EXPIRY_GRACE_MS / 2;

const DONE = { done: true, value: undefined } as const;
const NO_EVENTS: Event[] = [];

export class LogStream implements EventStream, LiveSubscriber {
  readonly #source: StreamSource;
  readonly #channel: LiveChannel;
  readonly #filter: EventFilter;
  #consumer: LiveConsumer | null = null;
  #sink: LiveSink | null = null;
  /** Of the last event that was yielded, or where the log has been read to without a later one. */
  #cursor: bigint;
  /** Where the log has been read to. */
  #readThrough: bigint;
  #checkedAt: number;
  /** To be yielded: read from the log, or queued while the subscriber is live. */
  #events = NO_EVENTS;
  #hasEnded = false;
  #wake: (() => void) | null = null;

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

  /** @throws RequestError CURSOR_EXPIRED if the subscriber is so slow that missing events were dropped. */
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

  /** A stream that waits looks again whether it has anything to yield, or has ended. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  matches(event: Event): boolean {
    return this.#filter.matches(event);
  }

  take(event: Event): void {
    // The channel may still be behind a subscriber that has just begun.
    if (event.cursor <= this.#cursor) return;
    if (this.#sink) {
      this.#sink.take(event);
      return;
    }
    if (this.#events.length < MAX_QUEUE) this.#events.push(event);
    // It reads them again from the log.
    else this.#leaveLive();
    this.wake();
  }

  #isLive(): boolean {
    return this.#channel.live.has(this);
  }

  /** Reads the next events that were missed, or becomes live when there are none. */
  async #catchUp(): Promise<void> {
    if (this.#readThrough > this.#cursor) this.#cursor = this.#readThrough;
    if (this.#cursor < this.#channel.position) {
      await this.#readMissed();
      return;
    }
    // No await between this comparison and joining the channel: nothing is handed on in between.
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
        message: 'A subscriber could not read the event log and will read it again',
      });
      await this.#pause(RETRY_MS);
    }
  }

  /** @throws RequestError CURSOR_EXPIRED if events after the cursor may have been dropped before a read. */
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

  /** Ends early when the stream is woken. */
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

  /** At once: nothing reaches the sink after this. False when the stream was not live. */
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
    this.wake();
  }
}
