/**
 * Delivery of the event log to live subscribers: each receives every event after its cursor exactly
 * once and in order, regardless of what happens to Redis, the database connection or an announcement.
 *
 * Each process has one reader per organization, which passes the same objects to all subscribers. It takes new
 * events from announcements as long as each follows the previous one. Cursors have no gaps, so it notices a missing
 * announcement, and then reads the log instead. A subscriber first reads what it missed at its own pace, and joins
 * the reader once it has caught up. A subscriber that is too slow goes back to reading, which bounds its queue.
 */
import type { App } from '../app.ts';
import type { Event } from '../generated/prisma/client.ts';
import { repeat } from '../infra/jobs/repeat.ts';
import { shareReads } from '../infra/shared-reads.ts';
import { announcedEvents, type Numbering, readAnnouncement } from './announcement.ts';
import { checkCursor } from './cursor.ts';
import {
  type EventFilter,
  eventsTopicOf,
  type LogBounds,
  logBounds,
  numberMissedEvents,
  readEvents,
} from './log.ts';
import { type EventStream, type LiveChannel, LogStream, type StreamSource } from './log-stream.ts';
import { MissedEvents } from './missed-events.ts';

export interface EventFeed {
  /**
   * Every matching event after `after`, then live ones, until the caller stops.
   * Starts at the end of the log if `after` is null, and at the oldest retained event if it is 0.
   *
   * @throws RequestError CURSOR_EXPIRED when events after the cursor have been dropped, and
   *   BAD_USER_INPUT when the cursor is ahead of the log.
   */
  subscribe(
    organizationId: string,
    after: bigint | null,
    filter: EventFilter,
  ): Promise<EventStream>;
  close(): void;
}

interface Channel extends LiveChannel {
  /** Announcements not yet compared with the position, in order of arrival. */
  readonly announced: Numbering[];
  isReading: boolean;
  /** Whether the log has to be read, after the current read if there is one. */
  readAgain: boolean;
  stopListening: () => void;
}

const PAGE = 500;
/** Maximum number of announcements that wait during a read. */
const MAX_ANNOUNCED = 20;

export function createEventFeed(app: App): EventFeed {
  return new LogFeed(app);
}

class LogFeed implements EventFeed, StreamSource {
  readonly app: App;
  readonly paused = new Set<LogStream>();
  readonly missed: MissedEvents;
  readonly #channels = new Map<string, Channel>();
  readonly #stopPolling: () => void;
  /** Shares concurrent reads, since thousands of subscribers may reconnect at once. */
  readonly #bounds: (organizationId: string) => Promise<LogBounds>;
  #closed = false;

  constructor(app: App) {
    this.app = app;
    this.missed = new MissedEvents(app);
    this.#bounds = shareReads((organizationId) => logBounds(app, organizationId));
    this.#stopPolling = repeat(app.config.EVENT_POLL_SECONDS * 1000, () => this.#poll());
  }

  async subscribe(
    organizationId: string,
    after: bigint | null,
    filter: EventFilter,
  ): Promise<EventStream> {
    const checkedAt = performance.now();
    const { last, expiredThrough } = await this.#bounds(organizationId);
    if (after !== null) checkCursor(after, last, expiredThrough);
    const channel = this.#openChannel(organizationId, last);
    // Not at 0: the cursors that have expired would be searched for events.
    const start = after === 0n ? expiredThrough : (after ?? last);
    return new LogStream(this, { channel, filter, after: start, checkedAt });
  }

  close(): void {
    this.#closed = true;
    this.#stopPolling();
    for (const channel of this.#channels.values()) channel.stopListening();
    for (const channel of this.#channels.values()) {
      for (const stream of channel.live) stream.wake();
    }
    for (const stream of this.paused) stream.wake();
  }

  isClosed(): boolean {
    return this.#closed;
  }

  bounds(organizationId: string): Promise<LogBounds> {
    return this.#bounds(organizationId);
  }

  /** Checks all organizations with subscribers, in case a wake-up was lost. */
  async #poll(): Promise<void> {
    if (this.#channels.size === 0) return;
    try {
      const organizationIds = [...this.#channels.keys()];
      await numberMissedEvents(this.app, organizationIds);
      const counters = await this.app.db.eventCounter.findMany({
        where: { organizationId: { in: organizationIds } },
      });
      for (const { organizationId, lastCursor } of counters) {
        const channel = this.#channels.get(organizationId);
        if (channel && lastCursor > channel.position) this.#announce(channel, null);
      }
    } catch (error) {
      this.app.failures.record('pollEventLog', error);
    }
  }

  /** Queues an announcement of new events. Null if they have to be read from the log. */
  #announce(channel: Channel, numbering: Numbering | null): void {
    if (!numbering || channel.announced.length >= MAX_ANNOUNCED) {
      channel.announced.length = 0;
      channel.readAgain = true;
    } else channel.announced.push(numbering);
    void this.#advance(channel);
  }

  /** Delivers announced events, or reads new ones from the log. Runs once at a time per organization. */
  async #advance(channel: Channel): Promise<void> {
    if (channel.isReading) return;
    channel.isReading = true;
    try {
      while (this.#hasToRead(channel) && !this.#closed) {
        channel.readAgain = false;
        const events = await readEvents(this.app, channel.organizationId, {
          after: channel.position,
          limit: PAGE,
        });
        this.#deliver(channel, events);
        if (events.length === PAGE) channel.readAgain = true;
      }
    } catch (error) {
      this.app.failures.record('readEventLog', error, {
        message: 'Could not read the event log; will retry',
      });
    } finally {
      channel.isReading = false;
    }
  }

  /**
   * Delivers announced events as long as they follow the position.
   *
   * @returns whether events have to be read from the log.
   */
  #hasToRead(channel: Channel): boolean {
    const { announced } = channel;
    announced.sort((a, b) => (a.through < b.through ? -1 : 1));
    for (let next = announced.shift(); next; next = announced.shift()) {
      if (next.through <= channel.position) continue;
      const follows = next.after <= channel.position;
      const events = follows ? announcedEvents(channel.organizationId, next) : null;
      if (!events) {
        // A read that starts now returns all events announced so far.
        announced.length = 0;
        return true;
      }
      this.#deliver(
        channel,
        events.filter(({ cursor }) => cursor > channel.position),
      );
    }
    return channel.readAgain;
  }

  #deliver(channel: Channel, events: readonly Event[]): void {
    for (const event of events) {
      channel.position = event.cursor;
      if (event.type === 'CALL_DELETED') this.missed.forget(channel.organizationId);
      for (const subscriber of channel.live) {
        if (subscriber.matches(event)) subscriber.take(event);
      }
    }
  }

  /** @param position end of the log, just read by the caller; a new channel starts there. */
  #openChannel(organizationId: string, position: bigint): Channel {
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
      announced: [],
      isReading: false,
      readAgain: false,
      stopListening: () => undefined,
    };
    this.#channels.set(organizationId, channel);
    channel.stopListening = this.app.bus.subscribe(
      eventsTopicOf(organizationId),
      (message) => this.#announce(channel, readAnnouncement(message)),
      () => this.#announce(channel, null),
    );
    // An announcement may have been sent before the channel existed.
    this.#announce(channel, null);
    return channel;
  }

  leave(channel: LiveChannel): void {
    channel.subscribers -= 1;
    if (channel.subscribers > 0) return;
    this.#channels.get(channel.organizationId)?.stopListening();
    this.#channels.delete(channel.organizationId);
    this.missed.forget(channel.organizationId);
  }
}
