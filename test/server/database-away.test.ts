/** A PostgreSQL server that stops while this server runs, or that is not running when it starts. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrismaClient } from '../../src/generated/prisma/client.ts';
import { connectWhenReachable, newAdapter } from '../../src/infra/database/connections.ts';
import { isDatabaseUnavailable } from '../../src/infra/database/database-errors.ts';
import {
  type EmbeddedDatabase,
  startEmbeddedPostgres,
} from '../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { type Caller, prepareCaller } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { freePort } from '../support/servers/redis.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { followCalls, openSocket, orderProblems, subscribe } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';

const UNKNOWN_KEY = `truedy_${'0'.repeat(32)}`;
let directory: string;
let port: number;
let postgres: EmbeddedDatabase;
let server: TestServer;
let caller: Caller;

async function startPostgres(): Promise<void> {
  const log = createLogger({ level: 'silent' });
  postgres = await startEmbeddedPostgres({ directory, log, port, durable: false });
}

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-away-'));
  port = await freePort();
  await startPostgres();
  server = await startServer();
  caller = await prepareCaller(server.client);
});
afterAll(async () => {
  await server?.close();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
});

function startServer(beside?: TestServer): Promise<TestServer> {
  const database = { url: postgres.url, drop: async () => undefined };
  // Errors of the jobs are logged as they should be.
  return startTestServer({
    database,
    settings: { LOG_LEVEL: 'silent' },
    ...(beside ? { beside } : {}),
  });
}

/** How a query and a start fail at a server that accepts connections and never answers. */
async function failuresOfSilentServer(): Promise<unknown[]> {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const url = `postgres://somebody@127.0.0.1:${(silent.address() as AddressInfo).port}/some`;
  const db = new PrismaClient({ adapter: newAdapter(url, { connectTimeoutMs: 500 }) });
  const log = createLogger({ level: 'silent' });
  const failures = await Promise.allSettled([
    db.$queryRaw`SELECT 1`,
    connectWhenReachable({ databaseUrl: url, waitSeconds: 0, log }),
  ]);
  await db.$disconnect();
  for (const socket of sockets) socket.destroy();
  silent.close();
  return failures.map((result) => (result.status === 'rejected' ? result.reason : null));
}

describe('while the database is away', () => {
  it('requests are answered with UNAVAILABLE and when to try again, and a start waits', async () => {
    const followers = [followCalls('socket', server), followCalls('sse', server)];
    await caller.call();
    const ended = (count: number) => () =>
      followers.every(
        ({ events }) => events.filter(({ type }) => type === 'COMPLETED').length === count,
      );
    await until('the end of the first call for each follower', ended(1));

    await postgres.stop();
    const starting = startServer(server);
    const silence = failuresOfSilentServer();

    const unavailable = {
      status: 503,
      errors: [{ extensions: { code: 'UNAVAILABLE', retryAfterSeconds: 5 } }],
    };
    const strangers = createClient(server.url, UNKNOWN_KEY);
    const requests = {
      query: server.client.send('{ agents { nodes { id } pageInfo { hasNextPage } } }'),
      mutation: server.client.send(
        'mutation { deleteAgent(input: { id: "agt_01a22379-f30e-7146-a607-2240e3ff348a" }) { userErrors { code } } }',
      ),
      idempotent: server.client.send(
        'mutation { createContactFolder(input: { name: "A" }) { userErrors { code } } }',
        {},
        { headers: { 'x-idempotency-key': 'away' } },
      ),
      key: strangers.send('{ agents { nodes { id } } }'),
    };
    for (const [name, answer] of Object.entries(requests)) {
      const { status, errors, headers } = await answer;
      expect({ name, status, errors }).toMatchObject({ name, ...unavailable });
      expect(headers.get('retry-after')).toBe('5');
    }
    const subscription = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${server.key}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query: 'subscription { callEvents { cursor } }' }),
    });
    expect(subscription.status).toBe(503);
    expect(await subscription.text()).toContain('"UNAVAILABLE"');
    for (const key of [server.key, UNKNOWN_KEY]) {
      const refused = subscribe('socket', { url: server.url, key });
      await refused.finished;
      expect(refused.errors).toMatchObject([{ extensions: { closeCode: 1013 } }]);
    }
    expect((await fetch(`${server.url}/health`)).status).toBe(503);

    for (const failure of await silence) expect(isDatabaseUnavailable(failure)).toBe(true);

    await startPostgres();
    const second = await starting;
    await caller.call();
    await until('the end of the second call for each follower', ended(2));
    for (const follower of followers) {
      await follower.stop();
      expect(orderProblems(follower.events)).toEqual([]);
    }
    await second.close();
  });

  it('an event waits until the objects in it can be read', async () => {
    const [sql, watching] = [1, 2].map(() => new Client({ connectionString: postgres.url })) as [
      Client,
      Client,
    ];
    await Promise.all([sql.connect(), watching.connect()]);
    await sql.query('BEGIN; LOCK TABLE agents');
    const client = openSocket(server.url, server.key);
    const events = client.iterate({
      query: 'subscription { callEvents(after: "0") { cursor call { agent { name } } } }',
    });
    const first = events.next();
    // Outside of the transaction, which would see the same sessions each time.
    const terminateBlocked = async () => {
      const { rowCount } = await watching.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND query LIKE '%agents%'`,
      );
      return rowCount;
    };
    await until('a query of agents to terminate', terminateBlocked);
    await until('the query again', terminateBlocked);
    await sql.query('ROLLBACK');
    const { value } = await first;
    expect(value).toEqual({
      data: { callEvents: { cursor: expect.any(String), call: { agent: { name: 'Ada' } } } },
    });
    await client.dispose();
    await Promise.all([sql.end(), watching.end()]);
  });

  it('a process that is frozen in a transaction loses its locks', async () => {
    const limit = await server.app.db.$queryRaw`SHOW idle_in_transaction_session_timeout`;
    expect(limit).toEqual([{ idle_in_transaction_session_timeout: '30s' }]);
  });

  it('a server that is frozen counts as away, and one with a long statement does not', async () => {
    const long = server.app.db.$queryRaw`SELECT pg_sleep(7)::text AS slept`;
    expect(await long).toEqual([{ slept: '' }]);

    const frozen = await postgresProcesses();
    for (const pid of frozen) signal(pid, 'SIGSTOP');
    try {
      const answer = await server.client.send('{ agents { nodes { id } } }');
      expect(answer).toMatchObject({
        status: 503,
        errors: [{ extensions: { code: 'UNAVAILABLE' } }],
      });
      const flood = Array.from({ length: 50 }, () => fetch(`${server.url}/health`));
      for (const { status } of await Promise.all(flood)) expect(status).toBe(503);
    } finally {
      for (const pid of frozen) signal(pid, 'SIGCONT');
    }
    await until('the server to answer', async () => {
      const { status } = await server.client.send('{ agents { nodes { id } } }');
      return status === 200 && (await fetch(`${server.url}/health`)).status === 200;
    });
  });
});

/** The server that accepts connections, and those that serve the open ones. */
async function postgresProcesses(): Promise<number[]> {
  const file = await readFile(path.join(directory, 'data/postmaster.pid'), 'utf8');
  const rows = await server.app.db.$queryRaw<{ pid: number }[]>`SELECT pid FROM pg_stat_activity`;
  return [Number(file.split('\n')[0]), ...rows.map(({ pid }) => pid)];
}

/** To a process that may have ended. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has.
  }
}
