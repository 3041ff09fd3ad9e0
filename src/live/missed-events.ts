/**
 * Events that subscribers missed, read once for all that come back at about the same time: after a restart, or when
 * they could not keep up. All of them get the same objects, so each event is also executed once for them.
 */
import { LRUCache } from 'lru-cache';
import { type App, forReading } from '../app.ts';
import type { Event } from '../generated/prisma/client.ts';
import { type EventFilter, readEvents } from './log.ts';

/** Events of a page, which has one for each cursor. */
const PAGE = 100n;
/** A subscriber that has missed more reads by itself, and only what it asks for, which may be little. */
const NEAR = 2_000n;
/** How long a page is used. What is read along with its events, such as a call, is as old. */
const KEPT_MS = 2_000;
const MAX_PAGES = 200;

interface Page {
  readonly events: Event[];
  /** Cursor up to which it has been read. */
  through: bigint;
  reading: Promise<void> | null;
}

interface Missed {
  organizationId: string;
  filter: EventFilter;
  /** Events after this cursor are read. */
  after: bigint;
  /** Cursor of the newest event that is wanted, which is visible. */
  through: bigint;
}

export interface MissedPage {
  /** Oldest first, at most 100. */
  events: Event[];
  /** There are no other ones up to this cursor. */
  through: bigint;
}

export class MissedEvents {
  readonly #app: App;
  readonly #pages = new LRUCache<string, Page>({
    max: MAX_PAGES,
    ttl: KEPT_MS,
    ttlAutopurge: true,
  });

  constructor(app: App) {
    this.#app = forReading(app);
  }

  /** The next events that a subscriber missed. */
  read(missed: Missed): Promise<MissedPage> {
    return missed.through - missed.after > NEAR
      ? this.#readAlone(missed)
      : this.#readShared(missed);
  }

  /** What was read until now is not used any more: a call has been deleted. */
  forget(organizationId: string): void {
    for (const key of this.#pages.keys())
      if (key.startsWith(organizationId)) this.#pages.delete(key);
  }

  async #readAlone({ organizationId, filter, after, through }: Missed): Promise<MissedPage> {
    const limit = Number(PAGE);
    const where = { AND: [filter.where, { cursor: { lte: through } }] };
    const events = await readEvents(this.#app, organizationId, { after, limit, where });
    const last = events.length < limit ? undefined : events.at(-1);
    return { events: [...events], through: last?.cursor ?? through };
  }

  async #readShared(missed: Missed): Promise<MissedPage> {
    const { organizationId, filter, after } = missed;
    const start = after - (after % PAGE);
    const end = missed.through < start + PAGE ? missed.through : start + PAGE;
    const page = this.#page(organizationId, start);
    while (page.through < end) {
      page.reading ??= this.#extend(page, organizationId, end).finally(() => {
        page.reading = null;
      });
      await page.reading;
    }
    const isMissed = ({ cursor }: Event) => cursor > after && cursor <= end;
    return {
      events: page.events.filter((event) => isMissed(event) && filter.matches(event)),
      through: end,
    };
  }

  #page(organizationId: string, start: bigint): Page {
    const key = `${organizationId} ${start}`;
    let page = this.#pages.get(key);
    if (!page) {
      page = { events: [], through: start, reading: null };
      this.#pages.set(key, page);
    }
    return page;
  }

  async #extend(page: Page, organizationId: string, end: bigint): Promise<void> {
    // Always the same limit, which is a part of the prepared statement.
    const limit = Number(PAGE);
    const events = await readEvents(this.#app, organizationId, { after: page.through, limit });
    page.events.push(...events.filter(({ cursor }) => cursor <= end));
    page.through = end;
  }
}
