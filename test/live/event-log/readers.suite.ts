/** Reading the log: lists of events, the feed of a process, and consumers. */
import { describe, expect, it } from 'vitest';
import { parsePublicId } from '../../../src/ids.ts';
import { newClient } from '../../../src/infra/database/connections.ts';
import { startPeriodicTasks } from '../../../src/infra/jobs/periodic-tasks.ts';
import { type EventConsumer, startConsumers } from '../../../src/live/consumers.ts';
import { createEventFeed } from '../../../src/live/feed.ts';
import { appendEvents, eraseEventData } from '../../../src/live/log.ts';
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

export function readersSuite(): void {
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
      const [numbering, watching] = [
        newClient(server.database.url),
        newClient(server.database.url),
      ];
      await Promise.all([numbering.connect(), watching.connect()]);
      try {
        await numbering.query('BEGIN');
        await numbering.query(
          'SELECT 1 FROM event_counters WHERE organization_id = $1 FOR UPDATE',
          [organizationId],
        );
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
        const event = await server.app.db.event.findFirstOrThrow({
          where: { callId, sequence: 99 },
        });
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

    const upTo = (count: number): number[] =>
      Array.from({ length: count }, (_, index) => index + 1);

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
      await until(
        'all events',
        async () => (await noted('failing', organizationId)).length >= last,
      );
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
}
