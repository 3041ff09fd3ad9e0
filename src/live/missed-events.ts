/**
 * Events that subscribers missed, read once for all that return at about the same time: after a restart, or because
 * they could not keep up. All of them get the same objects, so each event is also executed only once for them.
 */
import { LRUCache } from 'lru-cache';
import { type App, forReading } from '../app.ts';
import type { Event } from '../generated/prisma/client.ts';
import { type EventFilter, readEvents } from './log.ts';

/** Number of events in a page, one for each cursor. */
const PAGE = 500n;
/** A subscriber that missed more events than this, and wants only few of them, reads those on its own. */
const SHARED_READ_LIMIT = 2_000n;
/** Number of cursors that one statement searches for rare events, so that it always ends in time. */
const SEARCH_RANGE = 50_000n;
/** Lifetime of a page. Objects that were read along with its events, such as a call, may be outdated by that much. */
const PAGE_TTL_MS = 2_000;
const MAX_PAGES = 40;

interface Page {
  readonly events: Event[];
  /** Cursor up to which the page has been read. */
  through: bigint;
  reading: Promise<void> | null;
}

interface Missed {
  organizationId: string;
  filter: EventFilter;
  /** Cursor after which to read. */
  after: bigint;
  /** Cursor of the newest event to read, which is already visible. */
  through: bigint;
}

export interface MissedPage {
  /** Oldest first, at most 500. */
  events: Event[];
  /** Cursor up to which there are no other matching events. */
  through: bigint;
}

export class MissedEvents {
  readonly #app: App;
  readonly #pages = new LRUCache<string, Page>({
    max: MAX_PAGES,
    ttl: PAGE_TTL_MS,
    ttlAutopurge: true,
  });

  constructor(app: App) {
    this.#app = forReading(app);
  }

  /** The next events that a subscriber missed. */
  read(missed: Missed): Promise<MissedPage> {
    const isFar = missed.through - missed.after > SHARED_READ_LIMIT;
    return isFar && missed.filter.isRare ? this.#readAlone(missed) : this.#readShared(missed);
  }

  /** Discards the pages of an organization: a call was deleted, or no subscriber is left to learn of a deletion. */
  forget(organizationId: string): void {
    for (const key of this.#pages.keys())
      if (key.startsWith(organizationId)) this.#pages.delete(key);
  }

  async #readAlone({ organizationId, filter, after, through }: Missed): Promise<MissedPage> {
    const limit = Number(PAGE);
    const end = earlier(through, after + SEARCH_RANGE);
    const where = { AND: [filter.where, { cursor: { lte: end } }] };
    const events = await readEvents(this.#app, organizationId, { after, limit, where });
    const last = events.length < limit ? undefined : events.at(-1);
    return { events: [...events], through: last?.cursor ?? end };
  }

  async #readShared(missed: Missed): Promise<MissedPage> {
    const { organizationId, filter, after } = missed;
    const start = after - (after % PAGE);
    const end = earlier(missed.through, start + PAGE);
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
    // Always the same limit, because it is part of the prepared statement.
    const limit = Number(PAGE);
    const events = await readEvents(this.#app, organizationId, { after: page.through, limit });
    page.events.push(...events.filter(({ cursor }) => cursor <= end));
    page.through = end;
  }
}

function earlier(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
