/** Connections that the server closes while a pool passes them from one query to the next. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { newQueryPool } from '../../../src/infra/database/connections.ts';
import { createPipeline } from '../../../src/infra/database/pipeline.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

/** What PostgreSQL sends before it ends a connection, as for `pg_terminate_backend`. */
function terminated(): Buffer {
  const fields = Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0');
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(4 + fields.length, 1);
  return Buffer.concat([head, fields]);
}

/** Lets the end of the connection arrive with the answer that contains `mark`, in one read. */
async function startTerminator(to: URL, mark: string): Promise<{ url: string; close(): void }> {
  const sockets = new Set<Socket>();
  const relay = createServer((incoming) => {
    const outgoing = connect(Number(to.port), to.hostname);
    for (const socket of [incoming, outgoing]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    incoming.pipe(outgoing);
    outgoing.on('close', () => incoming.destroy());
    outgoing.on('data', (answer: Buffer) => {
      if (answer.includes(mark)) incoming.end(Buffer.concat([answer, terminated()]));
      else incoming.write(answer);
    });
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const url = new URL(to);
  // Not the Unix socket.
  url.searchParams.delete('host');
  url.hostname = '127.0.0.1';
  url.port = String((relay.address() as { port: number }).port);
  return {
    url: url.href,
    close() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

it('a connection that ends while it passes on fails the next query, not the process', async () => {
  const terminator = await startTerminator(new URL(database.url), 'last answer');
  const pool = newQueryPool(terminator.url, { max: 1 });
  try {
    const send = createPipeline<{ n: number }>(pool);
    const read = (text: string) => send([{ name: '', text, values: [] }])[0];
    expect(await read('SELECT 1 AS n')).toEqual([{ n: 1 }]);
    const last = pool.query("SELECT 'last answer'");
    const next = read('SELECT 2 AS n');
    expect((await last).rowCount).toBe(1);
    await expect(next).rejects.toThrow();
    expect(await read('SELECT 3 AS n')).toEqual([{ n: 3 }]);
  } finally {
    await pool.end();
    terminator.close();
  }
});
