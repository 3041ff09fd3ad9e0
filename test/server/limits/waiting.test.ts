/** Work that waits for other work of its organization, which a lock on a table makes slow. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePublicId } from '../../../src/ids.ts';
import { announceEvents, appendEvents } from '../../../src/live/log.ts';
import { prepareCaller, runMutation } from '../../support/calling.ts';
import { type Answer, createClient } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';

const READ_SECONDS = 2;
const MAX_COSTLY = 4;
/** These cost more than 2,500, and take one statement each while there are no agents and folders. */
const COSTLY = '{ agents(first: 50) { nodes { calls(first: 100) { nodes { id } } } } }';
const COSTLY_CONTACTS =
  '{ contactFolders(first: 50) { nodes { contacts(first: 100) { nodes { id } } } } }';
const COSTLY_INTROSPECTION = `{ ${Array.from({ length: 300 }, (_, n) => `t${n}: __type(name: "Cursor") { fields { name } }`).join(' ')} }`;

let server: TestServer;
/** Reads for longer. */
let patient: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { READ_TIMEOUT_SECONDS: `${READ_SECONDS}` } });
  patient = await startTestServer({ beside: server, settings: { ROLE: 'api' } });
});
afterAll(async () => {
  await patient?.close();
  await server?.close();
});

/** Runs `work` while nobody can read the table. */
async function whileLocked<Result>(table: string, work: () => Promise<Result>): Promise<Result> {
  return server.app.db.$transaction(
    async (tx) => {
      await tx.$executeRawUnsafe(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      return work();
    },
    { timeout: 60_000 },
  );
}

/** The statements of queries that begin together may share a connection, so that only one waits for the lock. */
const untilLocked = (table: string) =>
  until('a read to wait for the lock', async () => {
    const [row] = await server.app.db.$queryRaw<[{ count: bigint }]>`
      SELECT count(*) AS count FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query LIKE ${`%${table}%`}`;
    return row.count > 0n;
  });

const codes = ({ errors }: Answer) => errors?.map(({ extensions }) => extensions.code);

describe('a costly query that waits for others of its organization', () => {
  it('does so for as long as a statement may take', async () => {
    const { client } = await server.newOrganization();
    const send = async () => {
      const started = performance.now();
      const answer = await client.send(COSTLY);
      return { answer, ms: performance.now() - started };
    };
    const sent = await whileLocked('agents', () =>
      Promise.all(Array.from({ length: 3 * MAX_COSTLY }, send)),
    );
    for (const { answer } of sent) expect(codes(answer)).toEqual(['QUERY_TIMEOUT']);
    const waited = sent.filter(({ answer }) => /not begun/.test(answer.errors![0]!.message));
    expect(waited.length).toBeGreaterThanOrEqual(MAX_COSTLY);
    for (const { answer, ms } of waited) {
      expect(answer.status).toBe(504);
      expect(ms).toBeLessThan(2 * READ_SECONDS * 1000);
    }
  });

  it('is not run if its client has gone or its key was revoked', async () => {
    const { key } = await patient.newOrganization();
    const client = createClient(patient.url, key);
    const input = { name: 'to revoke', scopes: ['READ'] };
    const made = await runMutation(client, 'createApiKey', input, 'key apiKey { id }');
    const leaving = new AbortController();
    const statements = await recordStatements(patient.app, async () => {
      const answers = await whileLocked('agents', async () => {
        const running = Array.from({ length: MAX_COSTLY }, () => client.send(COSTLY));
        await untilLocked('agents');
        // All have begun when another one is answered.
        await client.send('{ eventCursor }');
        const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
        const body = JSON.stringify({ query: COSTLY_CONTACTS });
        const { signal } = leaving;
        const gone = fetch(`${patient.url}/graphql`, { method: 'POST', headers, body, signal });
        const aborted = expect(gone).rejects.toThrow(/abort/);
        const revoked = createClient(patient.url, made.key).send(COSTLY_CONTACTS);
        await client.send('{ eventCursor }');
        await runMutation(client, 'revokeApiKey', { id: made.apiKey.id }, 'apiKey { id }');
        leaving.abort();
        await aborted;
        // By the time that this is answered, the server knows.
        await client.send('{ eventCursor }');
        return { running, revoked };
      });
      const { errors } = await answers.revoked;
      expect(errors).toMatchObject([
        {
          message: 'The API key or access token has expired or was revoked.',
          extensions: { code: 'UNAUTHENTICATED' },
        },
      ]);
      await Promise.all(answers.running);
      // Comes after the others.
      expect((await client.send(COSTLY)).errors).toBeUndefined();
    });
    expect(statements.filter((text) => /contact_folders/.test(text))).toEqual([]);
  });

  it('does not hold up introspection', async () => {
    const { key } = await patient.newOrganization();
    const client = createClient(patient.url, key);
    const { answers } = await whileLocked('agents', async () => {
      const answers = Array.from({ length: 2 * MAX_COSTLY }, () => client.send(COSTLY));
      await untilLocked('agents');
      expect((await client.send(COSTLY_INTROSPECTION)).errors).toBeUndefined();
      return { answers };
    });
    for (const { errors } of await Promise.all(answers)) expect(errors).toBeUndefined();
  });
});

describe('subscriptions of a key whose events are slow to read', () => {
  it('delay neither those that read nothing nor those of other keys', async () => {
    const { agentId } = await prepareCaller(server.client);
    const made = { agentId, phoneNumber: '+14155550142' };
    const { call } = await runMutation(server.client, 'createCall', made, 'call { id }');
    const input = { name: 'another key', scopes: ['READ'] };
    const { key } = await runMutation(server.client, 'createApiKey', input, 'key');
    const slow = Array.from({ length: 10 }, (_, n) =>
      listen(server.key, `cursor call { id a${n}: extractedData }`),
    );
    const quick = [listen(server.key, 'cursor type'), listen(key, 'cursor call { id status }')];
    const all = [...slow, ...quick];
    let sequence = 1_000;
    const emit = async () => {
      sequence += 1;
      const data = { status: 'RINGING', endReason: null };
      const event = { type: 'CALL_RINGING' as const, callId: parsePublicId(call.id)!.uuid };
      await patient.app.db.$transaction((tx) =>
        appendEvents(tx, server.organizationId, [{ ...event, sequence, data }]),
      );
      announceEvents(patient.app, server.organizationId);
    };
    await until('every subscription to be live', async () => {
      await emit();
      return all.every(({ received }) => received.length > 0);
    });
    const last = (await patient.client.send('{ eventCursor }')).data.eventCursor;
    await until('the last event', () => all.every(({ received }) => received.at(-1) === last));
    const before = slow.map(({ received }) => received.length);
    const quickBefore = quick.map(({ received }) => received.length);
    await whileLocked('call_analyses', async () => {
      const started = performance.now();
      await emit();
      await untilLocked('call_analyses');
      await until('the event at the quick ones', () =>
        quick.every(({ received }, index) => received.length > quickBefore[index]!),
      );
      // Before the first slow read is stopped.
      expect(performance.now() - started).toBeLessThan(8_000);
      expect(slow.map(({ received }) => received.length)).toEqual(before);
    });
    await until('the event at the slow ones', () =>
      slow.every(({ received }, index) => received.length === before[index]! + 1),
    );
    await Promise.all(all.map(({ close }) => close()));
  });
});

/** The cursors of the events that a subscription with this selection receives. */
function listen(key: string, selection: string) {
  const client = openSocket(patient.url, key);
  const received: string[] = [];
  const query = `subscription { callEvents(types: [RINGING]) { ${selection} } }`;
  const results = client.iterate<{ callEvents: { cursor: string } }>({ query });
  const finished = (async () => {
    for await (const { data } of results) if (data) received.push(data.callEvents.cursor);
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
