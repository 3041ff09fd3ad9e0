import { afterEach, describe, expect, it } from 'vitest';
import type { Event } from '../../src/generated/prisma/client.ts';
import type { Bus, Json } from '../../src/infra/bus.ts';
import { newId } from '../../src/infra/ids.ts';
import { batchOf } from '../../src/live/event-rows.ts';
import { createEventFeed, type EventFeed } from '../../src/live/feed.ts';
import { announceEvents, appendEvents, currentCursor, type NewEvent } from '../../src/live/log.ts';
import { randomFrom } from '../support/random.ts';
import { until } from '../support/wait.ts';
import { server, useLiveServer } from './support.ts';

useLiveServer();

const feeds: EventFeed[] = [];
afterEach(() => {
  for (const feed of feeds.splice(0)) feed.close();
});

const EVENT: NewEvent = { type: 'AGENT_UPDATED', data: {} };

interface Follower {
  organizationId: string;
  /** Everything delivered so far. */
  events: Event[];
  /** How often the feed has read the log since it began to wait for announcements. */
  reads: () => number;
  /** Announcements that arrived, not yet handed on to the feed. */
  arrived: Json[];
  hand(message: Json | undefined): void;
  cursors(): number[];
}

/**
 * A subscriber from the beginning of an organization, on a feed of its own that gets its announcements
 * from the test, and does not poll.
 */
async function follow({ pollSeconds = 3_600 } = {}): Promise<Follower> {
  const { id: organizationId } = await server.newOrganization();
  const { app } = server;
  let reads = 0;
  let isJoined = false;
  const arrived: Json[] = [];
  let listen: (message: Json) => void = () => undefined;
  const bus: Bus = {
    ...app.bus,
    subscribe(topic, listener, onJoined) {
      listen = listener;
      return app.bus.subscribe(topic, (message) => void arrived.push(message), onJoined);
    },
  };
  const rows: typeof app.rows = {
    ...app.rows,
    async $queryRaw(query, ...values) {
      const text = 'text' in query ? query.text : query.join('');
      if (text.includes('json_agg(e ORDER')) reads += 1;
      return app.rows.$queryRaw(query, ...values);
    },
  };
  const config = { ...app.config, EVENT_POLL_SECONDS: pollSeconds };
  const feed = createEventFeed({ ...app, bus, rows, config });
  feeds.push(feed);
  const all = { where: {}, matches: () => true, isRare: false };
  const stream = await feed.subscribe(organizationId, 0n, all);
  const events: Event[] = [];
  void (async () => {
    for await (const event of stream) {
      isJoined = true;
      events.push(event);
    }
  })();
  const follower: Follower = {
    organizationId,
    events,
    reads: () => reads,
    arrived,
    hand: (message) => listen(message ?? null),
    cursors: () => events.map(({ cursor }) => Number(cursor)),
  };
  await until('the subscriber to be live', async () => {
    follower.hand(await announce(follower, [EVENT]));
    return isJoined;
  });
  await expectAll(follower);
  reads = 0;
  return follower;
}

/** Appends events in one transaction, and returns their announcement. */
async function announce(
  { organizationId, arrived }: Follower,
  events: readonly NewEvent[],
): Promise<Json | undefined> {
  const { app } = server;
  await app.db.$transaction((tx) => appendEvents(tx, organizationId, events));
  announceEvents(app, organizationId);
  await until('the announcement', () => arrived.length > 0);
  expect(arrived).toHaveLength(1);
  return arrived.shift();
}

/** Waits for the newest event, and checks that none was left out, repeated or misplaced. */
async function expectAll(follower: Follower): Promise<void> {
  const { organizationId } = follower;
  await currentCursor(server.app, organizationId);
  const stored = await server.app.db.event.findMany({
    where: { organizationId },
    orderBy: { cursor: 'asc' },
  });
  await until('the newest event', () => follower.events.at(-1)?.cursor === stored.at(-1)?.cursor);
  expect(follower.events).toEqual(stored);
  expect(follower.cursors()).toEqual(stored.map((_, index) => index + 1));
}

describe('announced events', () => {
  it('are delivered as the log has them, without reading it', async () => {
    const follower = await follow();
    const at = new Date('2026-03-04T05:06:07.089Z');
    const data = { text: 'ä "\\ \u2028', list: [1, 1.5, null, { deep: true }], large: 2 ** 53 };
    const [callId, agentId, campaignId] = [newId(), newId(), newId()];
    const whole = {
      type: 'CALL_CREATED',
      callId,
      sequence: 1,
      agentId,
      campaignId,
      data,
      at,
    } as const;
    follower.hand(await announce(follower, [whole, EVENT]));
    follower.hand(await announce(follower, [EVENT]));
    await expectAll(follower);
    expect(follower.events.at(-3)).toMatchObject({ callId, agentId, campaignId, data });
    expect(follower.events.at(-3)?.createdAt).toEqual(at);
    expect(follower.reads()).toBe(0);
    const [first, second, third] = follower.events.slice(-3) as [Event, Event, Event];
    expect(batchOf(first)).toEqual([first, second]);
    expect(batchOf(third)).toEqual([third]);
  });

  it('are read from the log when an announcement was lost', async () => {
    const follower = await follow();
    await announce(follower, [EVENT]);
    follower.hand(await announce(follower, [EVENT]));
    await expectAll(follower);
    expect(follower.reads()).toBe(1);
  });

  it('are delivered once when an announcement comes twice', async () => {
    const follower = await follow();
    const first = await announce(follower, [EVENT, EVENT]);
    const second = await announce(follower, [EVENT]);
    // Two processes announce an event, and the second finds nothing to number.
    const third = await announce(follower, []);
    for (const message of [first, first, second, third, first, second]) follower.hand(message);
    await expectAll(follower);
    expect(follower.reads()).toBe(0);
  });

  it('are delivered in order when announcements overtake each other', async () => {
    const follower = await follow();
    const [first, second, third] = [
      await announce(follower, [EVENT]),
      await announce(follower, [EVENT, EVENT]),
      await announce(follower, [EVENT]),
    ];
    for (const message of [third, first, second]) follower.hand(message);
    await expectAll(follower);
    follower.hand(await announce(follower, [EVENT]));
    await expectAll(follower);
  });

  it.each([
    ['many', Array.from({ length: 101 }, () => EVENT)],
    ['large', [{ ...EVENT, data: { text: 'x'.repeat(70_000) } }]],
  ])('that are too %s for a message are read from the log', async (_what, events) => {
    const follower = await follow();
    const message = await announce(follower, events);
    expect(JSON.stringify(message).length).toBeLessThan(200);
    follower.hand(message);
    await expectAll(follower);
    follower.hand(await announce(follower, [EVENT]));
    await expectAll(follower);
    expect(follower.reads()).toBe(1);
  });

  it('are read from the log when another version announces them', async () => {
    const follower = await follow();
    const changes: ((message: Record<string, Json>) => Json)[] = [
      () => null,
      () => ({ from: 1, to: 2 }),
      ({ after = null, through = null }) => ({ after, through }),
      (message) => ({ ...message, events: [] }),
      (message) => ({ ...message, events: '{' }),
      (message) => ({
        ...message,
        events: String(message.events).replace('"agent_id"', '"agent"'),
      }),
      (message) => ({ ...message, events: '[]' }),
    ];
    for (const [index, change] of changes.entries()) {
      follower.hand(change((await announce(follower, [EVENT])) as Record<string, Json>));
      await expectAll(follower);
      expect(follower.reads()).toBe(index + 1);
    }
  });

  it('of another organization are never delivered', async () => {
    const [follower, other] = [await follow(), await follow()];
    while (other.events.length < follower.events.length + 1) {
      other.hand(await announce(other, [EVENT]));
      await expectAll(other);
    }
    while (follower.events.length < other.events.length) {
      follower.hand(await announce(follower, [EVENT]));
      await expectAll(follower);
    }
    const foreign = await announce(other, [EVENT]);
    await announce(follower, [EVENT]);
    follower.hand(foreign);
    await expectAll(follower);
  });

  it('arrive while a newer version adds a column', async () => {
    const follower = await follow();
    const { db } = server.app;
    try {
      for (const change of ['SELECT 1', 'ALTER TABLE events ADD COLUMN added_later text']) {
        await db.$executeRawUnsafe(change);
        for (let turn = 0; turn < 6; turn += 1) {
          const message = await announce(follower, [EVENT]);
          if (turn % 2) follower.hand(message);
        }
        await expectAll(follower);
      }
    } finally {
      await db.$executeRawUnsafe('ALTER TABLE events DROP COLUMN IF EXISTS added_later');
    }
  });

  it('reach each subscriber once and in order whatever happens to announcements', async () => {
    const follower = await follow({ pollSeconds: 0.1 });
    const { organizationId, arrived } = follower;
    const { app } = server;
    const random = randomFrom(20261129);
    const write = async (): Promise<void> => {
      for (let written = 0; written < 60; written += 1) {
        const count = 1 + Math.floor(random() * 3);
        await app.db.$transaction((tx) =>
          appendEvents(
            tx,
            organizationId,
            Array.from({ length: count }, () => EVENT),
          ),
        );
        // Of two processes.
        announceEvents(random() < 0.5 ? app : { ...app }, organizationId);
        await new Promise((resolve) => setImmediate(resolve));
        while (arrived.length > 0 && random() < 0.8) {
          const [message] = arrived.splice(Math.floor(random() * arrived.length), 1);
          if (random() < 0.7) follower.hand(message);
          if (random() < 0.2) follower.hand(message);
        }
      }
    };
    await Promise.all([write(), write(), write()]);
    await expectAll(follower);
    expect(follower.events.length).toBeGreaterThan(180);
  });
});
