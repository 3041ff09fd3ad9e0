import { describe, expect, it, vi } from 'vitest';
import WebSocket from 'ws';
import { parsePublicId } from '../../src/ids.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import { startPeriodicTasks } from '../../src/infra/jobs/periodic-tasks.ts';
import { type EventConsumer, startConsumers } from '../../src/live/consumers.ts';
import { createEventFeed } from '../../src/live/feed.ts';
import { appendEvents, currentCursor, eraseEventData } from '../../src/live/log.ts';
import { dropExpiredEvents, utcDay } from '../../src/live/partitions.ts';
import { prepareCaller } from '../support/calling.ts';
import { subscribe } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';
import {
  eventCursor,
  eventsOf,
  flood,
  me,
  server,
  useLiveServer,
  WHOLE_LIFE,
  wholeCall,
} from './support.ts';

useLiveServer();

const DAY_MS = 86_400_000;
const ALL_EVENTS = { where: {}, matches: () => true, isRare: false };

/** Makes it look as if the first events of an organization had got their cursors so many days ago. */
async function age(organizationId: string, through: string, days: number): Promise<void> {
  const day = utcDay(new Date(Date.now() - days * DAY_MS));
  await server.app.db.$queryRaw`SELECT 1 FROM ensure_event_partition(${day}::date, 1)`;
  await server.app.db.event.updateMany({
    where: { organizationId, cursor: { lte: BigInt(through) } },
    data: { loggedOn: new Date(day) },
  });
}

async function partitions(): Promise<string[]> {
  const rows = await server.app.db.$queryRaw<{ day: Date }[]>`
    SELECT starts_on AS day FROM event_partitions ORDER BY 1`;
  return rows.map(({ day }) => utcDay(day));
}

describe('dropExpiredEvents', () => {
  it('makes older cursors expire, while 0 starts at the oldest kept event', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const to = { url: server.url, key };
    const old = await wholeCall(client, ours);
    const boundary = await eventCursor(client);
    const kept = await wholeCall(client, ours);
    const [first] = await eventsOf(client, old);
    await age(organizationId, boundary, 31);
    const open = subscribe('socket', to, { after: boundary });
    await open.atLeast(WHOLE_LIFE.length);

    // As several processes do.
    await Promise.all([1, 2, 3].map(() => dropExpiredEvents(server.app)));

    const refused = subscribe('socket', to, { after: first!.cursor });
    await refused.finished;
    expect(refused.events).toEqual([]);
    expect(refused.errors[0]?.extensions).toMatchObject({
      code: 'CURSOR_EXPIRED',
      oldestCursor: boundary,
    });
    for (const after of ['0', boundary]) {
      const stream = subscribe('socket', to, { after });
      const events = await stream.atLeast(WHOLE_LIFE.length);
      expect(new Set(events.map(({ callId }) => callId))).toEqual(new Set([kept]));
      await stream.close();
    }
    expect(await partitions()).not.toContain(utcDay(new Date(Date.now() - 31 * DAY_MS)));
    // Who was there already does not notice.
    const next = await wholeCall(client, ours);
    await open.atLeast(2 * WHOLE_LIFE.length);
    expect(open.events.at(-1)?.callId).toBe(next);
    await open.close();
  });

  it('keeps events until the whole day is past the retention time, whatever their own time is', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const id = await wholeCall(client, ours);
    const events = await eventsOf(client, id);
    await age(organizationId, events[1]!.cursor, 30);
    // An event of an old call that arrived late: its time is that of Ultravox.
    await server.app.db.event.updateMany({
      where: { organizationId, cursor: BigInt(events[3]!.cursor) },
      data: { createdAt: new Date(Date.now() - 40 * DAY_MS) },
    });
    await dropExpiredEvents(server.app);
    const stream = subscribe('sse', { url: server.url, key }, { after: '0' });
    const left = await stream.atLeast(events.length);
    expect(left.map(({ cursor }) => cursor)).toEqual(events.map(({ cursor }) => cursor));
    await stream.close();
  });

  it('tells a subscriber that is still reading that its cursor has expired, and lets it start again at 0', async () => {
    const { client, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    await flood(await wholeCall(client, ours), 1_000);
    const boundary = await eventCursor(client);
    await age(organizationId, boundary, 31);
    const feed = createEventFeed(server.app);
    const events = await feed.subscribe(organizationId, 0n, ALL_EVENTS);
    const read = [(await events.next()).value.cursor];
    await dropExpiredEvents(server.app);
    const rest = (async () => {
      for await (const { cursor } of events) read.push(cursor);
    })();
    await expect(rest).rejects.toMatchObject({
      code: 'CURSOR_EXPIRED',
      extensions: { oldestCursor: boundary },
    });
    // Nothing is skipped before that.
    expect(read).toEqual(read.map((_, index) => BigInt(index + 1)));
    await ours.call();
    const again = await feed.subscribe(organizationId, 0n, ALL_EVENTS);
    // As if every read took seconds, so that the cursor is checked after each.
    let now = performance.now();
    const slow = vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 2_000;
      return now;
    });
    const first = await again.next().finally(() => slow.mockRestore());
    expect(first.value.cursor).toBe(BigInt(boundary) + 1n);
    feed.close();
  });

  it('finishes what another process did not: a partition that is half detached', async () => {
    await age(server.organizationId, '0', 35);
    const name = `events_${utcDay(new Date(Date.now() - 35 * DAY_MS)).replaceAll('-', '')}`;
    const [reader, dropper] = [newClient(server.database.url), newClient(server.database.url)];
    await Promise.all([reader.connect(), dropper.connect()]);
    try {
      const { rows } = await reader.query(
        `SELECT name FROM event_partitions WHERE name LIKE '${name}%'`,
      );
      await reader.query('BEGIN; SELECT 1 FROM events LIMIT 1');
      const { rows: own } = await dropper.query('SELECT pg_backend_pid() AS pid');
      const detached = dropper
        .query(`ALTER TABLE events DETACH PARTITION ${rows[0].name} CONCURRENTLY`)
        .catch((error: Error) => error.message);
      const state = `SELECT 1 FROM event_partitions WHERE name = '${rows[0].name}' AND detaching`;
      await until('the first half', async () => (await reader.query(state)).rowCount === 1);
      await reader.query(`SELECT pg_cancel_backend(${own[0].pid})`);
      expect(await detached).toContain('canceling statement');
      await reader.query('COMMIT');
      await dropExpiredEvents(server.app);
      expect((await reader.query(state.replace('AND detaching', ''))).rowCount).toBe(0);
    } finally {
      await Promise.all([reader.end(), dropper.end()]);
    }
  });

  it('follows a clock that is moved ahead and back', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const agentId = parsePublicId((await prepareCaller(client)).agentId)!.uuid;
    const later = { ...server.app, now: () => new Date(Date.now() + 400 * DAY_MS) };
    const append = () =>
      server.app.db.$transaction((tx) =>
        appendEvents(tx, organizationId, [{ type: 'AGENT_UPDATED', agentId, data: {} }]),
      );
    const start = await eventCursor(client);
    const counter = { where: { organizationId } };
    // Nobody else assigns cursors meanwhile.
    const other = newClient(server.database.url);
    await other.connect();
    await other.query('BEGIN');
    await other.query('SELECT 1 FROM event_counters WHERE organization_id = $1 FOR UPDATE', [
      organizationId,
    ]);
    await append();
    await other.query('SELECT assign_event_cursors($1, $2::date, 3)', [
      organizationId,
      utcDay(later.now()),
    ]);
    await other.query('COMMIT');
    await other.end();
    await append();
    const end = await currentCursor(server.app, organizationId);
    expect(end).toBe(BigInt(start) + 2n);
    const { loggedOn } = await server.app.db.eventCounter.findUniqueOrThrow(counter);
    expect(utcDay(loggedOn!)).toBe(utcDay(later.now()));

    // Everything but the last two events expires, also of organizations that go on with today's date.
    await dropExpiredEvents(later);
    const { expiredThrough } = await server.app.db.eventCounter.findUniqueOrThrow(counter);
    expect(String(expiredThrough)).toBe(start);
    const to = { url: server.url, key: server.key };
    const before = await eventCursor();
    const stream = subscribe('socket', to, { after: before });
    const id = await wholeCall();
    const events = await stream.atLeast(WHOLE_LIFE.length);
    expect(events.map(({ cursor }) => BigInt(cursor))).toEqual(
      events.map((_, index) => BigInt(before) + 1n + BigInt(index)),
    );
    expect((await eventsOf(server.client, id)).length).toBe(WHOLE_LIFE.length);
    await stream.close();
    expect(key).not.toBe(server.key);
  });
});

describe('Call.events', () => {
  it('can be read while a newer version adds a column', async () => {
    const id = await wholeCall();
    const { db } = server.app;
    try {
      for (const change of ['SELECT 1', 'ALTER TABLE events ADD COLUMN added_later text']) {
        await db.$executeRawUnsafe(change);
        for (let read = 0; read < 3; read += 1) {
          expect(await eventsOf(server.client, id)).toHaveLength(WHOLE_LIFE.length);
        }
      }
    } finally {
      await db.$executeRawUnsafe('ALTER TABLE events DROP COLUMN IF EXISTS added_later');
    }
  });

  it('has no events of a type that only a newer version knows, nor has the subscription', async () => {
    const { db } = server.app;
    const to = { url: server.url, key: server.key };
    const before = await eventCursor();
    const live = subscribe('socket', to, { after: before });
    const first = await wholeCall();
    await live.atLeast(WHOLE_LIFE.length);
    await db.$executeRawUnsafe(`ALTER TYPE "EventType" ADD VALUE 'CALL_OF_A_NEWER_VERSION'`);
    await db.$executeRaw`
      INSERT INTO events (organization_id, type, call_id, sequence, data)
      SELECT organization_id, 'CALL_OF_A_NEWER_VERSION', id, 99, '{}' FROM calls
      WHERE id = ${parsePublicId(first)!.uuid}::uuid`;
    const second = await wholeCall();
    const later = subscribe('sse', to, { after: before });
    for (const { events, atLeast } of [live, later]) {
      await atLeast(2 * WHOLE_LIFE.length);
      expect(events.at(-1)).toMatchObject({ callId: second, type: 'BILLED' });
    }
    const query = '($id: ID!) { call(id: $id) { events { totalCount nodes { type } } } }';
    const { data } = await server.client.send(`query ${query}`, { id: first });
    expect(data.call.events.totalCount).toBe(data.call.events.nodes.length);
    expect([...live.errors, ...later.errors]).toEqual([]);
    await Promise.all([live.close(), later.close()]);
  });
});

describe('eraseEventData', () => {
  it('erases an event that gets its cursor at the same moment', async () => {
    const { client, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const callId = parsePublicId(await wholeCall(client, ours))!.uuid;
    const [numbering, watching] = [newClient(server.database.url), newClient(server.database.url)];
    await Promise.all([numbering.connect(), watching.connect()]);
    try {
      await numbering.query('BEGIN');
      await numbering.query('SELECT 1 FROM event_counters WHERE organization_id = $1 FOR UPDATE', [
        organizationId,
      ]);
      const data = { position: 1, turn: { text: 'secret' } };
      await server.app.db.$transaction((tx) =>
        appendEvents(tx, organizationId, [
          { type: 'CALL_TRANSCRIPT_TURN', callId, sequence: 99, data },
        ]),
      );
      await numbering.query('SELECT assign_event_cursors($1)', [organizationId]);
      const erased = server.app.db.$transaction((tx) =>
        eraseEventData(tx, [callId], 'CALL_TRANSCRIPT_TURN', ['turn']),
      );
      const { rows } = await numbering.query('SELECT pg_backend_pid() AS pid');
      await until('the statement that waits for the cursor', async () => {
        const waiting = await watching.query(
          `SELECT 1 FROM pg_stat_activity
           WHERE query LIKE '%erase_event_data%' AND $1 = ANY(pg_blocking_pids(pid))`,
          [rows[0].pid],
        );
        return waiting.rowCount === 1;
      });
      await numbering.query('COMMIT');
      await erased;
      const event = await server.app.db.event.findFirstOrThrow({ where: { callId, sequence: 99 } });
      expect(event.data).toEqual({ position: 1 });
      expect(event.cursor).toBeGreaterThan(0n);
    } finally {
      await Promise.all([numbering.end(), watching.end()]);
    }
  });
});

describe('createEventFeed', () => {
  /** A feed of one's own that counts how often it looks at the log. */
  function countingFeed() {
    const count = { looks: 0 };
    const db = new Proxy(server.app.db, {
      get(target, name) {
        if (name === 'eventCounter') count.looks += 1;
        return Reflect.get(target, name);
      },
    });
    const config = { ...server.app.config, EVENT_POLL_SECONDS: 0.02 };
    return { count, feed: createEventFeed({ ...server.app, db, config }) };
  }

  it('releases a waiting subscriber, and stops polling without subscribers', async () => {
    const idle = countingFeed();
    const busy = countingFeed();
    const { organizationId } = server;
    const events = await idle.feed.subscribe(organizationId, null, ALL_EVENTS);
    const waiting = events.next();
    await until('a look at the log', () => idle.count.looks > 3);
    await events.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });

    const looks = idle.count.looks;
    const clock = await busy.feed.subscribe(organizationId, null, ALL_EVENTS);
    const ticking = clock.next();
    await until('ten looks of another', () => busy.count.looks > 10);
    expect(idle.count.looks - looks).toBeLessThanOrEqual(1);

    busy.feed.close();
    idle.feed.close();
    expect(await ticking).toEqual({ done: true, value: undefined });
  });
});

describe('startConsumers', () => {
  const run = (consumers: readonly EventConsumer[]): void =>
    startPeriodicTasks(server.app, startConsumers(server.app, consumers));

  /** Notes each event in the database, where a second time would be a conflict. */
  function noting(name: string, fail: (cursor: bigint) => boolean = () => false): EventConsumer {
    return {
      name,
      async handle(_app, tx, organizationId, events) {
        for (const { cursor } of events) {
          const key = `${name}/${organizationId}/${String(cursor).padStart(9, '0')}`;
          await tx.setting.create({ data: { name: key, value: String(cursor) } });
          if (fail(cursor)) throw new Error('The consumer fails here');
        }
        return { through: events.at(-1)!.cursor, announce: false };
      },
    };
  }

  async function noted(name: string, organizationId: string): Promise<number[]> {
    const rows = await server.app.db.setting.findMany({
      where: { name: { startsWith: `${name}/${organizationId}/` } },
      orderBy: { updatedAt: 'asc' },
    });
    return rows.map(({ value }) => Number(value)).sort((a, b) => a - b);
  }

  const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

  it('hands a new consumer every event once, in several processes and after a failure', async () => {
    const { client, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const id = await wholeCall(client, ours);
    await flood(id, 500);
    const failing = { left: 2, at: BigInt(await eventCursor(client)) - 20n };
    const seen: bigint[] = [];
    const consumer = noting('failing', (cursor) => {
      seen.push(cursor);
      if (cursor !== failing.at || failing.left === 0) return false;
      failing.left -= 1;
      return true;
    });
    // As two processes do.
    for (const _process of [1, 2]) run([consumer]);
    await wholeCall(client, ours);
    const last = Number(await eventCursor(client));
    await until('all events', async () => (await noted('failing', organizationId)).length >= last);
    expect(await noted('failing', organizationId)).toEqual(upTo(last));
    expect(failing.left).toBe(0);
    // It failed on the way, so what was rolled back came again.
    expect(seen.filter((cursor) => cursor === failing.at).length).toBeGreaterThanOrEqual(3);
  });

  it('goes on with other organizations and other consumers while one fails', async () => {
    const [first, second] = [await server.newOrganization(), await server.newOrganization()];
    for (const { client } of [first, second]) await prepareCaller(client);
    const stuck = noting('stuck', () => true);
    const picky: EventConsumer = {
      ...noting('picky'),
      async handle(app, tx, organizationId, events) {
        if (organizationId === first.id) throw new Error('Not these');
        return noting('picky').handle(app, tx, organizationId, events);
      },
    };
    run([stuck, picky]);
    const last = Number(await eventCursor(second.client));
    await until('the others', async () => (await noted('picky', second.id)).length >= last);
    expect(await noted('picky', first.id)).toEqual([]);
    expect(await noted('stuck', second.id)).toEqual([]);
    expect(server.app.failures.counts().map(({ name }) => name)).toContain('consumer stuck');
  });
});

describe('callEvents without a wake-up', () => {
  it('delivers events at the next poll, and repeats none', async () => {
    // An organization of its own, in which nothing else wakes the readers.
    const { client, key } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const to = { url: server.url, key };
    const start = await eventCursor(client);
    const behind = subscribe('socket', to, { after: start });
    const id = await wholeCall(client, ours);
    await behind.atLeast(WHOLE_LIFE.length);
    await flood(id, 500, { announced: false });
    // Read from the log itself: no wake-up has reached the subscribers of this process.
    const end = await eventCursor(client);
    const ahead = subscribe('socket', to, { after: end });
    await until('the next look', () =>
      behind.events.some(({ cursor }) => BigInt(cursor) >= BigInt(end)),
    );
    await ours.call();
    const [first] = await ahead.atLeast(1);
    expect(BigInt(first!.cursor)).toBe(BigInt(end) + 1n);
    expect(behind.events.map(({ cursor }) => BigInt(cursor))).toEqual(
      behind.events.map((_, index) => BigInt(start) + 1n + BigInt(index)),
    );
    await Promise.all([behind.close(), ahead.close()]);
  });
});

describe('callEvents to a slow subscriber', { timeout: 240_000 }, () => {
  const FLOOD = 2_000;
  // Large enough that the buffers of the socket hold only a part of the flood.
  const fields = Array.from({ length: 150 }, (_, index) => `field${index}: callId`).join(' ');
  const query = `subscription ($after: Cursor) { callEvents(after: $after) { cursor ${fields} } }`;

  it('delivers everything over a socket in the end, without delaying others', async () => {
    const id = await wholeCall();
    const after = await eventCursor();
    const socket = new WebSocket(
      `${server.url.replace('http', 'ws')}/graphql`,
      'graphql-transport-ws',
    );
    const cursors: bigint[] = [];
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.type === 'connection_ack') {
        const payload = { query, variables: { after } };
        socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
      }
      if (message.type === 'next') cursors.push(BigInt(message.payload.data.callEvents.cursor));
    });
    await until('the socket', () => socket.readyState === WebSocket.OPEN);
    const payload = { Authorization: `Bearer ${server.key}` };
    socket.send(JSON.stringify({ type: 'connection_init', payload }));
    await flood(id, 500);
    await until('the first events', () => cursors.length > 0);
    socket.pause();
    const quick = subscribe('socket', me, { after });
    await flood(id, FLOOD);
    await quick.atLeast(FLOOD + 500);
    expect(cursors.length).toBeLessThan(FLOOD);
    socket.resume();
    const first = BigInt(after) + 1n;
    await until('the rest', () => cursors.length >= FLOOD + 500, 120_000);
    expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
    expect(cursors).toHaveLength(FLOOD + 500);
    await quick.close();
    socket.close();
  });

  it('delivers everything over server-sent events in the end', async () => {
    const id = await wholeCall();
    const after = await eventCursor();
    const stop = new AbortController();
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      signal: stop.signal,
      headers: {
        authorization: `Bearer ${server.key}`,
        accept: 'text/event-stream',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query, variables: { after } }),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    // Nothing is read of the body until the flood is over.
    await flood(id, FLOOD);
    const cursors: bigint[] = [];
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const data = /^event: next\ndata: (.*)$/m.exec(block)?.[1];
        if (data) cursors.push(BigInt(JSON.parse(data).data.callEvents.cursor));
      }
      if (cursors.length >= FLOOD) break;
    }
    stop.abort();
    const first = BigInt(after) + 1n;
    expect(cursors).toEqual(cursors.map((_, index) => first + BigInt(index)));
    expect(cursors).toHaveLength(FLOOD);
  });
});
