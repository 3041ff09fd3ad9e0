/** Subscribers that have missed events, or get more than can wait. */
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import type { Event } from '../../../src/generated/prisma/client.ts';
import { newId } from '../../../src/infra/ids.ts';
import { MissedEvents } from '../../../src/live/missed-events.ts';
import {
  type GroupMember,
  type GroupOptions,
  joinSubscriberGroup,
} from '../../../src/server/subscriptions/live-delivery.ts';
import { recordStatements } from '../../support/queries.ts';
import { until } from '../../support/wait.ts';
import { emit, type Listener, lastCursors, listen, server } from './server.ts';

export function missedEventsSuite(): void {
  describe('callEvents with many subscribers', () => {
    it('reads what subscribers have missed once for all who come back together', async () => {
      const missed = 2_600;
      const { data } = await server.client.send('{ eventCursor }');
      await emit(missed);
      const listeners: Listener[] = [];
      const statements = await recordStatements(server.app, async () => {
        for (let index = 0; index < 40; index += 1) {
          // Each has seen a little more than the one before.
          const after = String(BigInt(data.eventCursor) + BigInt(index % 4));
          listeners.push(listen(server.key, { withAgent: true, after }));
        }
        await until('all events at every subscriber', () =>
          listeners.every(({ received }, index) => received.length === missed - (index % 4)),
        );
      });
      const [first] = listeners.map(({ received }) => received);
      for (const [index, { received }] of listeners.entries()) {
        expect(received).toEqual(first?.slice(index % 4));
      }
      const reads = statements.filter((text) => /FROM "?(public"\.")?(events|calls)\b/.test(text));
      // A page may be read again by those who come back after it has been forgotten.
      expect(reads.length).toBeLessThan(100);
      await Promise.all(listeners.map((listener) => listener.close()));
    });

    it('looks for rare events in a limited range of the log at a time', async () => {
      const filter = { where: { callId: newId() }, matches: () => false, isRare: true };
      const missed = new MissedEvents(server.app);
      let after = 0n;
      for (const through of [50_000n, 100_000n, 120_000n]) {
        const { organizationId } = server;
        const page = await missed.read({ organizationId, filter, after, through: 120_000n });
        expect(page).toEqual({ events: [], through });
        after = page.through;
      }
    });

    it('delivers everything once when more events come than may wait', async () => {
      const listeners = [1, 2, 3].map(() => listen(server.key, { withAgent: true }));
      await until('every subscriber to be live', async () => {
        await emit();
        return listeners.every(({ received }) => received.length > 0);
      });
      const sql = new Client({ connectionString: server.database.url });
      await sql.connect();
      try {
        await sql.query('BEGIN; LOCK TABLE agents');
        for (let batch = 0; batch < 21; batch += 1) await emit(500);
        const { eventCursor } = (await server.client.send('{ eventCursor }')).data;
        await sql.query('ROLLBACK');
        await until('the last event', () =>
          lastCursors(listeners).every((cursor) => cursor === eventCursor),
        );
        for (const { received } of listeners) {
          const cursors = received.map(({ cursor }) => Number(cursor));
          expect(cursors).toEqual(cursors.map((_, index) => cursors[0]! + index));
        }
      } finally {
        await sql.end();
        await Promise.all(listeners.map((listener) => listener.close()));
      }
    });

    it('lets no more than ten thousand events wait, and leaves them to the log', async () => {
      const behind: bigint[] = [];
      const received: bigint[] = [];
      let isBehind = false;
      const member: GroupMember = {
        onCredentialEnded: () => undefined,
        receive({ messages }) {
          if (!isBehind) received.push(...messages.map(({ cursor }) => cursor));
        },
        fallBehind(cursor) {
          if (!isBehind) behind.push(cursor);
          isBehind = true;
        },
      };
      const release = Promise.withResolvers<void>();
      const executed: bigint[] = [];
      const group = joinSubscriberGroup(server.app, 'another group of this test', () => ({
        isAllowed: () => true,
        execute: (events) =>
          events.map(async ({ cursor }) => {
            executed.push(cursor);
            if (cursor > 2n) await release.promise;
            return { data: {} };
          }),
      }));
      group.offer({ cursor: 1n } as Event, member);
      group.offer({ cursor: 2n } as Event, member);
      await until('the first events', () => received.length === 2);
      for (let cursor = 3n; cursor <= 30_000n && !isBehind; cursor += 1n) {
        group.offer({ cursor } as Event, member);
        await Promise.resolve();
      }
      release.resolve();
      // From the first one on that it did not get, whether its execution had begun or not.
      expect(behind).toEqual([3n]);
      await until('the end of the executions', () => executed.includes(3n));
      expect(executed.length).toBeLessThan(60);
      expect(received).toEqual([1n, 2n]);
      group.leave();
    });

    it('goes on after an event that could not be delivered, and leaves it to the log', async () => {
      const behind: string[] = [];
      const received: string[] = [];
      const member = (name: string): GroupMember => ({
        onCredentialEnded: () => undefined,
        receive({ messages }) {
          const cursors = messages.map(({ cursor }) => cursor);
          if (name === 'broken' && cursors.includes(2n)) throw new Error('a broken transport');
          received.push(...cursors.map((cursor) => `${name} ${cursor}`));
        },
        fallBehind: (cursor) => void behind.push(`${name} ${cursor}`),
      });
      const options: GroupOptions = {
        isAllowed: async () => true,
        execute: (events) =>
          events.map(async ({ cursor }) => {
            if (cursor === 1n) throw new Error('a broken event');
            return { data: { cursor: String(cursor) } };
          }),
      };
      const group = joinSubscriberGroup(server.app, 'a group of this test', () => options);
      const members = ['sound', 'broken'].map(member);
      for (const page of [[1n, 2n], [3n]]) {
        for (const cursor of page) {
          const event = { cursor } as Event;
          for (const each of members) group.offer(event, each);
        }
        await until('the page', () => received.includes(`sound ${page.at(-1)}`));
      }
      expect(behind).toEqual(['sound 1', 'broken 1', 'broken 2']);
      expect(received).toEqual(['sound 2', 'sound 3', 'broken 3']);
      const failed = server.app.failures.counts().filter(({ name }) => name === 'liveDelivery');
      expect(failed.map(({ count }) => count)).toEqual([1, 1]);
      group.leave();
    });
  });
}
