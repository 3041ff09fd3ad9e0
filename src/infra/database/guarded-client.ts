/** A connection to PostgreSQL that does not wait forever for a server that stopped answering. */
import type { Socket } from 'node:net';
import { Client, type ClientConfig, DatabaseError } from 'pg';

/** How long a query may go unanswered before the server is probed, and between probes. */
const SILENCE_MS = 5_000;
/** How long the server may take to answer a probe. */
const PROBE_MS = 5_000;
/** Idle connections that a firewall has dropped are noticed this long after their last use. */
const KEEP_ALIVE_MS = 10_000;

/** What `@types/pg` omits. */
interface Internals {
  readonly connection: { readonly stream: Socket };
  /** False while a query is running. */
  readonly readyForQuery: boolean;
}

export interface GuardOptions {
  /** Makes another connection to the same server. */
  newClient: (config: ClientConfig) => Client;
  connectTimeoutMs: number;
}

/**
 * A client for pools. While a query is unanswered for five seconds, it is checked whether the server still
 * answers new connections. If it does, the query may take as long as it needs, as exports and imports do; if
 * not, the connection is closed, and the query fails as if the connection had been lost.
 */
export function guardedClient({ newClient, connectTimeoutMs }: GuardOptions): typeof Client {
  const answers = shared(() => isAnswering(newClient));
  return class GuardedClient extends Client {
    constructor(config?: ClientConfig) {
      super({
        ...config,
        connectionTimeoutMillis: connectTimeoutMs,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      });
      // A pool hands a connection on before whoever gets it listens. The query that is sent over a lost one fails.
      this.on('error', () => undefined);
      runOneAtATime(this);
      this.once('connect', () => watch(this, answers));
    }
  };
}

/**
 * Sends a query once the previous one is answered. Prisma reads the relations of a row at once, also in a
 * transaction, and `pg` deprecates its own queue.
 */
function runOneAtATime(client: Client): void {
  const send = client.query.bind(client) as (...args: unknown[]) => unknown;
  let previous: Promise<unknown> = Promise.resolve();
  const queue = (...args: unknown[]): unknown => {
    // A pool, which gives a client to one query at a time.
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

/** Whether the server answers a new connection, if only to refuse it. */
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

/** One run at a time. Callers that come meanwhile share its result. */
function shared<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  return () => {
    running ??= run().finally(() => {
      running = null;
    });
    return running;
  };
}
