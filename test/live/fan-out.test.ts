import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Event } from '../../src/generated/prisma/client.ts';
import { parsePublicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import { MissedEvents } from '../../src/live/missed-events.ts';
import {
  type GroupMember,
  type GroupOptions,
  joinSubscriberGroup,
} from '../../src/server/subscriptions/live-delivery.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { recordStatements } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { openSocket } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

const QUERY = `subscription ($after: Cursor, $withAgent: Boolean!) {
  callEvents(types: [RINGING], after: $after) {
    cursor call { id agent @include(if: $withAgent) { name } }
  }
}`;

/** The count is read in each execution. */
const WITH_COUNT = `subscription {
  callEvents(types: [RINGING]) { cursor call { id events { totalCount } } }
}`;

const WITH_LINK = `subscription {
  callEvents(types: [RINGING]) { cursor }
  callEvents(types: [RINGING]) { call { id ...Playable } }
}
fragment Playable on Call { recording { url expiresAt } }`;

interface Received {
  cursor: string;
  call: {
    id: string;
    agent?: { name: string };
    recording?: { url: string; expiresAt: string };
  };
}

let server: TestServer;
let caller: Caller;
let callId: string;
let sequence = 1_000;
let aheadMs = 0;

beforeAll(async () => {
  server = await startTestServer({ now: () => new Date(Date.now() + aheadMs) });
  caller = await prepareCaller(server.client);
  const recorded = {
    agentId: caller.agentId,
    phoneNumber: '+14155550142',
    settings: { recordingEnabled: true },
  };
  callId = (await runMutation(server.client, 'createCall', recorded, 'call { id }')).call.id;
  await until('the recording of the call', async () => {
    const { data } = await server.client.send(`{ call(id: "${callId}") { recording { url } } }`);
    return data.call.recording.url !== null;
  });
});
afterAll(() => server?.close());

/** Puts more events of the call into the log, together. */
async function emit(count = 1): Promise<void> {
  const events = Array.from({ length: count }, () => {
    sequence += 1;
    return {
      type: 'CALL_RINGING' as const,
      callId: parsePublicId(callId)!.uuid,
      sequence,
      data: { status: 'RINGING', endReason: null },
    };
  });
  await server.app.db.$transaction((tx) => appendEvents(tx, server.organizationId, events));
  announceEvents(server.app, server.organizationId);
}

/** A subscriber on a socket of its own, and what it has received. */
function listen(key: string, variables: Record<string, unknown>, query = QUERY) {
  const client = openSocket(server.url, key);
  const received: Received[] = [];
  const results = client.iterate<{ callEvents: Received }>({ query, variables });
  const finished = (async () => {
    for await (const { data } of results) if (data) received.push(data.callEvents);
  })();
  // Thrown by `close`.
  finished.catch(() => undefined);
  return {
    received,
    async close() {
      await results.return?.();
      await client.dispose();
      await finished;
    },
  };
}

type Listener = ReturnType<typeof listen>;

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
      takeTurn: (work) => work(),
      beginExecution:
        () =>
        async ({ cursor }) => {
          executed.push(cursor);
          if (cursor > 2n) await release.promise;
          return { data: {} };
        },
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
      takeTurn: (work) => work(),
      beginExecution:
        () =>
        async ({ cursor }) => {
          if (cursor === 1n) throw new Error('a broken event');
          return { data: { cursor: String(cursor) } };
        },
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

  it('delivers to a token after another token of the same key has expired', async () => {
    const first = listen(await tokenFor(30), { withAgent: false });
    await allLive([first]);
    const second = listen(await tokenFor(600), { withAgent: false });
    await allLive([second]);
    aheadMs = 60_000;
    try {
      const before = second.received.length;
      await emit();
      await until('the event at the second', () => second.received.length > before);
      const [last] = lastCursors([second]);
      expect(first.received.map(({ cursor }) => cursor)).not.toContain(last);
    } finally {
      aheadMs = 0;
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
    aheadMs = 60_000;
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
      aheadMs = 0;
      await Promise.all([short.close().catch(() => undefined), long.close()]);
    }
  });
});

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

function lastCursors(listeners: readonly Listener[]): (string | undefined)[] {
  return listeners.map(({ received }) => received.at(-1)?.cursor);
}
