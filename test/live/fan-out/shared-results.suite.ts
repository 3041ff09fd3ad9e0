/** Which subscribers share the result of an event, and which do not. */
import { Client } from 'pg';
import { describe, expect, it, vi } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { recordStatements } from '../../support/queries.ts';
import { until } from '../../support/wait.ts';
import {
  callId,
  emit,
  type Listener,
  lastCursors,
  listen,
  server,
  setClockAhead,
} from './server.ts';

/** The count is read in each execution. */
const WITH_COUNT = `subscription {
  callEvents(types: [RINGING]) { cursor call { id events { totalCount } } }
}`;

const WITH_LINK = `subscription {
  callEvents(types: [RINGING]) { cursor }
  callEvents(types: [RINGING]) { call { id ...Playable } }
}
fragment Playable on Call { recording { url expiresAt } }`;

/** The statements that one live event takes, by default those about calls and agents. */
async function statementsOfOneEvent(
  listeners: readonly Listener[],
  pattern = /SELECT .*FROM "public"\."(calls|agents)"/s,
): Promise<string[]> {
  const before = listeners.map(({ received }) => received.length);
  const statements = await recordStatements(server.app, async () => {
    await emit();
    await until('the event at every subscriber', () =>
      listeners.every(({ received }, index) => received.length === before[index]! + 1),
    );
  });
  return statements.filter((statement) => pattern.test(statement));
}

/** Every 15 seconds the API key of subscribers is checked again. */
function passRecheck(): void {
  const now = Date.now;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + 16_000);
}

/** A token of the same key for the call. */
async function tokenFor(expiresInSeconds: number): Promise<string> {
  const input = { callId, expiresInSeconds };
  return (await runMutation(server.client, 'createAccessToken', input, 'accessToken')).accessToken;
}

async function allLive(listeners: readonly Listener[]): Promise<void> {
  await until('every subscriber to be live', async () => {
    await emit();
    return listeners.every(({ received }) => received.length > 0);
  });
  const { eventCursor } = (await server.client.send('{ eventCursor }')).data;
  await until('the last event at each', () =>
    lastCursors(listeners).every((cursor) => cursor === eventCursor),
  );
}

export function sharedResultsSuite(): void {
  describe('callEvents with many subscribers', () => {
    it('executes an event once for equal operations, whatever cursor each continues after', async () => {
      const { data } = await server.client.send('{ eventCursor }');
      const listeners = Array.from({ length: 30 }, (_, index) =>
        listen(server.key, { withAgent: true, after: index % 2 ? data.eventCursor : null }),
      );
      await allLive(listeners);
      const statements = await statementsOfOneEvent(listeners);
      expect(statements.length).toBeLessThanOrEqual(2);
      const last = listeners.map(({ received }) => JSON.stringify(received.at(-1)));
      expect(new Set(last).size).toBe(1);
      expect(listeners[0]?.received.at(-1)?.call.agent?.name).toEqual(expect.any(String));
      await Promise.all(listeners.map((listener) => listener.close()));
    });

    it('executes an event once for tokens that expire at different times', async () => {
      const listeners: Listener[] = [];
      for (const seconds of [300, 400, 500, 600]) {
        listeners.push(listen(await tokenFor(seconds), {}, WITH_COUNT));
      }
      await allLive(listeners);
      expect(await statementsOfOneEvent(listeners, /COUNT\(/)).toHaveLength(1);
      await Promise.all(listeners.map((listener) => listener.close()));
    });

    it('executes separately for subscribers with other variables or permissions', async () => {
      const { data } = await server.client.send('{ eventCursor }');
      const token = await runMutation(
        server.client,
        'createAccessToken',
        { callId, expiresInSeconds: 600 },
        'accessToken',
      );
      const variables = { after: data.eventCursor, withAgent: true };
      const full = listen(server.key, variables);
      const without = listen(server.key, { ...variables, withAgent: false });
      const narrowed = listen(token.accessToken, { ...variables, withAgent: false });
      await emit();
      await emit();
      await until('two events at each', () =>
        [full, without, narrowed].every(({ received }) => received.length === 2),
      );
      expect(full.received.every(({ call }) => call.agent?.name)).toBe(true);
      expect(without.received.every(({ call }) => !('agent' in call))).toBe(true);
      expect(narrowed.received.map(({ cursor }) => cursor)).toEqual(
        full.received.map(({ cursor }) => cursor),
      );
      await Promise.all([full, without, narrowed].map((listener) => listener.close()));
    });

    it.each([
      'callEvents(types: [RINGING]) { call { id agent @include(if: $withAgent) { name } } }',
      '... { callEvents(types: [RINGING]) { call { agent @include(if: $withAgent) { name } } } }',
    ])('executes separately for other variables in a further selection: %s', async (further) => {
      const query = `subscription ($withAgent: Boolean!) {
      callEvents(types: [RINGING]) { cursor call { id } } ${further} }`;
      const [full, without] = [true, false].map((withAgent) =>
        listen(server.key, { withAgent }, query),
      );
      await allLive([full!, without!]);
      expect(full!.received.every(({ call }) => call.agent?.name)).toBe(true);
      expect(without!.received.every(({ call }) => !('agent' in call))).toBe(true);
      await Promise.all([full!.close(), without!.close()]);
    });

    it('executes an event for a few of many different subscriptions at a time', async () => {
      const listeners = Array.from({ length: 20 }, (_, n) =>
        listen(
          server.key,
          {},
          `subscription { callEvents(types: [RINGING]) { cursor call { id transcript(first: ${n + 1}) { nodes { text } } } } }`,
        ),
      );
      await allLive(listeners);
      const before = listeners.map(({ received }) => received.length);
      const statements = await server.app.db.$transaction(
        async (tx) => {
          await tx.$executeRaw`LOCK TABLE call_turns`;
          return recordStatements(server.app, async () => {
            await emit();
            await until('an execution to wait for the lock', async () => {
              const [row] = await server.app.db.$queryRaw<[{ count: bigint }]>`
              SELECT count(*) AS count FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'
                AND query LIKE '%call_turns%'`;
              return row.count > 0n;
            });
            // By the time that another organization is answered, all would have begun.
            const other = await server.newOrganization();
            expect((await other.client.send('{ eventCursor }')).errors).toBeUndefined();
          });
        },
        { timeout: 60_000 },
      );
      const begun = statements.filter((text) => /\bcall_turns\b/.test(text));
      expect(begun.length).toBeGreaterThan(0);
      expect(begun.length).toBeLessThan(12);
      await until('the event at every subscriber', () =>
        listeners.every(({ received }, index) => received.length === before[index]! + 1),
      );
      await Promise.all(listeners.map(({ close }) => close()));
    });

    it('holds events back until the API key can be checked again', async () => {
      const listeners = [1, 2].map(() => listen(server.key, { withAgent: false }));
      await until('every subscriber to be live', async () => {
        await emit();
        return listeners.every(({ received }) => received.length > 0);
      });
      const sql = new Client({ connectionString: server.database.url });
      await sql.connect();
      try {
        // No request is sent while the table is locked, since its key would be looked up.
        const { eventCursor } = (await server.client.send('{ eventCursor }')).data;
        await until('the events so far', () =>
          lastCursors(listeners).every((cursor) => cursor === eventCursor),
        );
        const before = listeners.map(({ received }) => received.length);
        const more = (): number[] =>
          listeners.map(({ received }, index) => received.length - before[index]!);
        await sql.query('BEGIN; LOCK TABLE api_keys');
        passRecheck();
        await emit();
        for (const what of ['the check of the key', 'the check again']) {
          await until(what, async () => {
            const ended = await server.app.db.$executeRaw`
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
              AND wait_event_type = 'Lock' AND query LIKE 'SELECT %"api_keys"%'`;
            return ended > 0;
          });
        }
        expect(more()).toEqual([0, 0]);
        await sql.query('ROLLBACK');
        await until('the event at every subscriber', () => more().every((count) => count === 1));
        expect(server.app.failures.counts().map(({ name }) => name)).toContain('checkApiKey');
      } finally {
        vi.restoreAllMocks();
        await sql.end();
        await Promise.all(listeners.map((listener) => listener.close()));
      }
    });

    it('delivers to a token after another token of the same key has expired', async () => {
      const first = listen(await tokenFor(30), { withAgent: false });
      await allLive([first]);
      const second = listen(await tokenFor(600), { withAgent: false });
      await allLive([second]);
      setClockAhead(60_000);
      try {
        const before = second.received.length;
        await emit();
        await until('the event at the second', () => second.received.length > before);
        const [last] = lastCursors([second]);
        expect(first.received.map(({ cursor }) => cursor)).not.toContain(last);
      } finally {
        setClockAhead(0);
        await Promise.all([first.close().catch(() => undefined), second.close()]);
      }
    });

    it('gives each token links that end with it, whoever subscribed first', async () => {
      const lastLink = ({ received }: Listener) => received.at(-1)!.call.recording!;
      const secondsLeft = (listener: Listener) =>
        (Date.parse(lastLink(listener).expiresAt) - Date.now()) / 1000;
      const short = listen(await tokenFor(30), {}, WITH_LINK);
      await allLive([short]);
      const long = listen(await tokenFor(600), {}, WITH_LINK);
      await allLive([long]);
      expect(secondsLeft(short)).toBeLessThanOrEqual(30);
      expect(secondsLeft(long)).toBeGreaterThan(500);
      setClockAhead(60_000);
      try {
        const before = long.received.length;
        await emit();
        await until('the event at the second', () => long.received.length > before);
        const statuses = [short, long].map(async (listener) => {
          const { status } = await fetch(lastLink(listener).url, { method: 'HEAD' });
          return status;
        });
        expect(await Promise.all(statuses)).toEqual([403, 200]);
      } finally {
        setClockAhead(0);
        await Promise.all([short.close().catch(() => undefined), long.close()]);
      }
    });
  });
}
