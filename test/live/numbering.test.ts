import type { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { parsePublicId } from '../../src/ids.ts';
import { newClient } from '../../src/infra/database/connections.ts';
import {
  announceEvents,
  announcing,
  appendEvents,
  appendStatement,
  currentCursor,
  numberMissedEvents,
} from '../../src/live/log.ts';
import { prepareCaller } from '../support/calling.ts';
import { subscribe } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';
import { eventCursor, server, useLiveServer, WHOLE_LIFE, wholeCall } from './support.ts';

useLiveServer();

describe('appendEvents', () => {
  it('does not block writers while another transaction is open, and skips no cursor', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const ours = await prepareCaller(client);
    const start = await eventCursor(client);
    const stream = subscribe('socket', { url: server.url, key }, { after: start });
    const agentId = parsePublicId(ours.agentId)!.uuid;
    const event = { type: 'AGENT_UPDATED' as const, agentId, data: {} };
    await server.app.db.$transaction(async (tx) => {
      await appendEvents(tx, organizationId, [event]);
      // Begun later, and over while the first transaction still holds its event.
      await wholeCall(client, ours);
      await stream.atLeast(WHOLE_LIFE.length);
    });
    announceEvents(server.app, organizationId);
    const end = BigInt(await eventCursor(client));
    const [first] = await server.app.db.event.findMany({
      where: { organizationId, type: 'AGENT_UPDATED', cursor: { gt: BigInt(start) } },
    });
    expect(first?.cursor).toBe(end);
    const cursors = await server.app.db.event.findMany({
      where: { organizationId, cursor: { gt: BigInt(start) } },
      orderBy: { cursor: 'asc' },
      select: { cursor: true },
    });
    expect(cursors.map(({ cursor }) => cursor)).toEqual(
      cursors.map((_, index) => BigInt(start) + 1n + BigInt(index)),
    );
    await stream.close();
  });
});

describe('announcing', () => {
  it('numbers the events of every organization once they are committed', async () => {
    const organizations = await Promise.all([0, 1, 2].map(() => server.newOrganization()));
    const ids = organizations.map(({ id }) => id);
    const events = new Map(ids.map((id) => [id, [{ type: 'AGENT_UPDATED' as const, data: {} }]]));
    await announcing(server.app, new Set(ids)).$queryRaw(appendStatement(events));
    await until('the cursors', async () => {
      const numbered = await server.app.db.event.count({
        where: { organizationId: { in: ids }, type: 'AGENT_UPDATED', cursor: { gt: 0 } },
      });
      return numbered === ids.length;
    });
  });
});

describe('currentCursor', () => {
  /** Appends an event in the open transaction of a client. */
  const APPEND = `INSERT INTO events (organization_id, type, data)
    VALUES ($1, 'AGENT_UPDATED', jsonb_build_object('n', $2::int))`;

  async function numbersOf(organizationId: string, after: bigint): Promise<unknown[]> {
    const events = await server.app.db.event.findMany({
      where: { organizationId, cursor: { gt: after } },
      orderBy: { cursor: 'asc' },
    });
    expect(events.map(({ cursor }) => cursor)).toEqual(
      events.map((_, index) => after + BigInt(index) + 1n),
    );
    return events.map(({ data }) => (data as { n: number }).n);
  }

  it('numbers each event once when transactions end in another order than they began', async () => {
    const { id: organizationId } = await server.newOrganization();
    const start = await currentCursor(server.app, organizationId);
    const clients = await Promise.all(
      [0, 1, 2, 3].map(async () => {
        const client = newClient(server.database.url);
        await client.connect();
        await client.query('BEGIN');
        return client;
      }),
    );
    const [first, second, third, fourth] = clients as [Client, Client, Client, Client];
    try {
      await first.query(APPEND, [organizationId, 1]);
      await first.query('SAVEPOINT inner_one');
      await first.query(APPEND, [organizationId, 2]);
      await first.query('RELEASE inner_one');
      await second.query(APPEND, [organizationId, 3]);
      await third.query(APPEND, [organizationId, 4]);
      await third.query('COMMIT');
      expect(await currentCursor(server.app, organizationId)).toBe(start + 1n);
      await first.query('COMMIT');
      await fourth.query(APPEND, [organizationId, 5]);
      expect(await currentCursor(server.app, organizationId)).toBe(start + 3n);
      expect(await currentCursor(server.app, organizationId)).toBe(start + 3n);
      await second.query('ROLLBACK');
      await fourth.query('COMMIT');
      await first.query(APPEND, [organizationId, 6]);
      expect(await currentCursor(server.app, organizationId)).toBe(start + 5n);
      expect(await numbersOf(organizationId, start)).toEqual([4, 1, 2, 5, 6]);
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
  });

  /** Appends an event as if the counter had been written before the database was restored elsewhere. */
  async function appendAfterRestore(numberedIn: string): Promise<{ id: string; last: bigint }> {
    const { id } = await server.newOrganization();
    await server.app.db.$transaction((tx) =>
      appendEvents(tx, id, [{ type: 'AGENT_UPDATED', data: { n: 1 } }]),
    );
    const last = await currentCursor(server.app, id);
    await server.app.db.$transaction(async (tx) => {
      await appendEvents(tx, id, [{ type: 'AGENT_UPDATED', data: { n: 2 } }]);
      await tx.$executeRawUnsafe(
        `UPDATE event_counters SET numbered_in = (${numberedIn})::pg_snapshot
         WHERE organization_id = $1::uuid`,
        id,
      );
    });
    return { id, last };
  }

  it('numbers events after transactions are counted anew', async () => {
    const { id, last } = await appendAfterRestore(`'900000000000:900000000000:'`);
    expect(await currentCursor(server.app, id)).toBe(last + 1n);
    expect(await numbersOf(id, last)).toEqual([2]);
  });

  it('leaves an event that a numbering should have seen to the next poll', async () => {
    const next = '(pg_current_xact_id()::text::bigint + 1)';
    const { id, last } = await appendAfterRestore(`${next} || ':' || ${next} || ':'`);
    await numberMissedEvents(server.app, [id]);
    await until('the cursor', async () => (await currentCursor(server.app, id)) === last + 1n);
    expect(await numbersOf(id, last)).toEqual([2]);
  });
});
