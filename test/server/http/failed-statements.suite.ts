/** Root fields that are read together when the statement of one of them fails. */
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { makeFolder } from '../../contacts/import/upload.ts';
import type { TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';

/** Sends the operation, and stops the statement that reads the folder. */
async function stopFolder({ client, database }: TestServer, folderId: string) {
  const sql = new Client({ connectionString: database.url });
  await sql.connect();
  await sql.query('BEGIN; LOCK TABLE contact_folders');
  try {
    const answer = client.send(`{
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
    await sql.end();
  }
}

export function failedStatementsSuite(server: () => TestServer): void {
  describe('root fields that are read together', () => {
    it('fail alone when their statement is stopped', async () => {
      const folderId = await makeFolder(server());
      const organization = { id: `org_${server().organizationId}` };
      const { data, errors } = await stopFolder(server(), folderId);
      expect(data).toEqual({ before: organization, folder: null, after: { organization } });
      expect(errors).toEqual([
        expect.objectContaining({
          path: ['folder'],
          extensions: expect.objectContaining({ code: 'QUERY_TIMEOUT' }),
        }),
      ]);
    });
  });
}
