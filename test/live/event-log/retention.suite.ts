/** Events are dropped with their partition after the retention time. */
import { describe, expect, it, vi } from 'vitest';
import { parsePublicId } from '../../../src/ids.ts';
import { newClient } from '../../../src/infra/database/connections.ts';
import { createEventFeed } from '../../../src/live/feed.ts';
import { appendEvents, currentCursor } from '../../../src/live/log.ts';
import { dropExpiredEvents, utcDay } from '../../../src/live/partitions.ts';
import { prepareCaller } from '../../support/calling.ts';
import { subscribe } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import {
  ALL_EVENTS,
  eventCursor,
  eventsOf,
  flood,
  server,
  WHOLE_LIFE,
  wholeCall,
} from '../support.ts';

const DAY_MS = 86_400_000;

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

export function retentionSuite(): void {
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
}
