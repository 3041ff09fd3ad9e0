/**
 * Events that subscribers missed, read once for all that come back at about the same time: after a restart, or when
 * they could not keep up. All of them get the same objects, so each event is also executed once for them.
 */
import { LRUCache } from 'lru-cache';
import { type App, forReading } from '../app.ts';
import type { Event } from '../generated/prisma/client.ts';
import { type EventFilter, readEvents } from './log.ts';

/** Events of a page, which has one for each cursor. */
const PAGE = 500n;
/** A subscriber that has missed more, and wants few of them, reads only those, by itself. */
const NEAR = 2_000n;
/** Cursors among which one statement looks for rare events, so that it always ends in time. */
const RANGE = 50_000n;
/** How long a page is handed out. What was read along with its events, such as a call, may be that much older. */
const KEPT_MS = 2_000;
const MAX_PAGES = 40;

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
  /** Oldest first, at most 500. */
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
    const isFar = missed.through - missed.after > NEAR;
    return isFar && missed.filter.isRare ? this.#readAlone(missed) : this.#readShared(missed);
  }

  /** Nobody else gets what was read until now: a call has been deleted, or nobody would hear of it. */
  forget(organizationId: string): void {
    for (const key of this.#pages.keys())
      if (key.startsWith(organizationId)) this.#pages.delete(key);
  }

  async #readAlone({ organizationId, filter, after, through }: Missed): Promise<MissedPage> {
    const limit = Number(PAGE);
    const end = earlier(through, after + RANGE);
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
    // Always the same limit, which is a part of the prepared statement.
    const limit = Number(PAGE);
    const events = await readEvents(this.#app, organizationId, { after: page.through, limit });
    page.events.push(...events.filter(({ cursor }) => cursor <= end));
    page.through = end;
  }
}

function earlier(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
