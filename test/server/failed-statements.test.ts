/** Root fields that are read together, of which the statement of one fails. */
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeFolder } from '../contacts/import/upload.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let sql: Client;
let folderId: string;
beforeAll(async () => {
  server = await startTestServer();
  folderId = await makeFolder(server);
  sql = new Client({ connectionString: server.database.url });
  await sql.connect();
});
afterAll(async () => {
  await sql?.end();
  await server?.close();
});

/** Sends the operation, and stops the statement that reads the folder. */
async function stopFolder() {
  await sql.query('BEGIN; LOCK TABLE contact_folders');
  try {
    const answer = server.client.send(`{
      before: organization { id }
      folder: contactFolder(id: "${folderId}") { id }
      after: viewer { organization { id } }
    }`);
    await until('the statement to wait for the lock, and its end', async () => {
      const { rowCount } = await sql.query(
        `SELECT pg_cancel_backend(pid) FROM pg_locks
         WHERE relation = 'contact_folders'::regclass AND NOT granted`,
      );
      return rowCount;
    });
    return await answer;
  } finally {
    await sql.query('ROLLBACK');
  }
}

it('a statement that is stopped fails alone', async () => {
  const organization = { id: `org_${server.organizationId}` };
  const { data, errors } = await stopFolder();
  expect(data).toEqual({ before: organization, folder: null, after: { organization } });
  expect(errors).toEqual([
    expect.objectContaining({
      path: ['folder'],
      extensions: expect.objectContaining({ code: 'QUERY_TIMEOUT' }),
    }),
  ]);
});
