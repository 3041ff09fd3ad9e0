/** A connection to PostgreSQL that does not wait forever for a server that stopped answering. */
import type { Socket } from 'node:net';
import { Client, type ClientConfig, DatabaseError } from 'pg';

/** Time that a query may go unanswered before the server is probed, and between probes. */
const SILENCE_MS = 5_000;
/** Time that the server may take to answer a probe. */
const PROBE_MS = 5_000;
/** Time after its last use at which an idle connection dropped by a firewall is detected. */
const KEEP_ALIVE_MS = 10_000;

/** Members that `@types/pg` omits. */
interface Internals {
  readonly connection: { readonly stream: Socket };
  /** False while a query is running. */
  readonly readyForQuery: boolean;
}

export interface GuardOptions {
  /** Creates another connection to the same server. */
  newClient: (config: ClientConfig) => Client;
  connectTimeoutMs: number;
}

/**
 * A client for pools. When a query has been unanswered for five seconds, it checks whether the server still
 * answers new connections. If so, the query may take as long as it needs, like those of exports and imports. If
 * not, the connection is closed, and the query fails as if the connection had been lost.
 */
export function guardedClient({ newClient, connectTimeoutMs }: GuardOptions): typeof Client {
  const answers = shareRunning(() => isAnswering(newClient));
  return class GuardedClient extends Client {
    constructor(config?: ClientConfig) {
      super({
        ...config,
        connectionTimeoutMillis: connectTimeoutMs,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      });
      // A pool passes on a connection before its new user listens for errors. A query on a lost connection fails.
      this.on('error', () => undefined);
      runOneAtATime(this);
      this.once('connect', () => watch(this, answers));
    }
  };
}

/**
 * Sends a query once the previous one is answered. Prisma reads the relations of a row concurrently, even in a
 * transaction, and `pg` deprecates its own queue.
 */
function runOneAtATime(client: Client): void {
  const send = client.query.bind(client) as (...args: unknown[]) => unknown;
  let previous: Promise<unknown> = Promise.resolve();
  const queue = (...args: unknown[]): unknown => {
    // Called by a pool, which gives a client to one query at a time.
    if (typeof args.at(-1) === 'function') return send(...args);
    const result = previous.then(() => send(...args));
    previous = result.catch(() => undefined);
    return result;
  };
  client.query = queue as Client['query'];
}

function watch(client: Client, answers: () => Promise<boolean>): void {
  const internals = client as unknown as Internals;
  const { stream } = internals.connection;
  stream.setTimeout(SILENCE_MS);
  stream.on('timeout', () => {
    if (internals.readyForQuery) return;
    const { bytesRead } = stream;
    void answers().then((isAnswering) => {
      if (isAnswering || stream.bytesRead > bytesRead) stream.setTimeout(SILENCE_MS);
      else stream.destroy(new Error('Connection terminated: the database does not answer'));
    });
  });
}

/** Whether the server answers a new connection, even if only to refuse it. */
async function isAnswering(newClient: GuardOptions['newClient']): Promise<boolean> {
  const client = newClient({ connectionTimeoutMillis: PROBE_MS, query_timeout: PROBE_MS });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch (error) {
    return error instanceof DatabaseError;
  } finally {
    void client.end().catch(() => {});
  }
}

/** Runs once at a time. Callers that arrive during a run share its result. */
function shareRunning<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  return () => {
    running ??= run().finally(() => {
      running = null;
    });
    return running;
  };
}
