/** Imports whose runs fail, or that no worker runs for a while. */
import { afterEach, expect, it } from 'vitest';
import { sweepContactImports } from '../../../src/contacts/import/run.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { awaitImport, HEADER, IMPORT, lines, makeFolder, readImport, sendFile } from './upload.ts';

let server: TestServer;
afterEach(() => server?.close());

async function upload(): Promise<string> {
  const folderId = await makeFolder(server);
  const answer = await sendFile(server, IMPORT, HEADER + lines(3), { folderId });
  return answer.data.importContacts.contactImport.id;
}

it('importContacts backs off while its batch fails, and fails after a day of runs', async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
  const { db } = server.app;
  await db.$executeRaw`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'No contact is written'; END $$`;
  await db.$executeRaw`
    CREATE TRIGGER refuse BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION refuse()`;
  const id = await upload();
  const row = () => db.contactImport.findFirstOrThrow();
  await until('a run to fail', async () => (await row()).stalledRuns > 0);
  const delays: number[] = [];
  const over = await until('the import to fail', async () => {
    const { stalledRuns, nextRunAt, leaseUntil, status } = await row();
    if (status === 'FAILED') return readImport(server, id);
    if (leaseUntil || !nextRunAt) return null;
    // Already told to run again.
    if (nextRunAt.getTime() < Date.now()) return null;
    delays[stalledRuns] = nextRunAt.getTime() - Date.now();
    // Earlier than now: the sweep compares it with the clock of this process, in milliseconds.
    await db.$executeRaw`
      UPDATE contact_imports SET next_run_at = now() - interval '1 second',
        updated_at = now() - interval '1 minute'`;
    await sweepContactImports(server.app);
    return null;
  });
  expect(over).toMatchObject({ importedCount: 0, failure: expect.stringContaining('internal') });
  expect(delays[1]).toBeLessThan(2_001);
  expect(delays[4]).toBeGreaterThan(10_000);
  expect(delays.slice(12).every((delay) => delay > 3_000_000)).toBe(true);
  expect(delays.slice(1).reduce((sum, delay) => sum + delay, 0)).toBeGreaterThan(20 * 3_600_000);
});

it('importContacts runs an import that waited for a worker for more than a day', async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
  const id = await upload();
  await server.app.db.$executeRaw`
    UPDATE contact_imports SET created_at = now() - interval '25 hours',
      updated_at = now() - interval '25 hours'`;
  await sweepContactImports(server.app);
  expect(await readImport(server, id)).toMatchObject({ status: 'PENDING', failure: null });
  const worker = await startTestServer({ beside: server });
  expect(await awaitImport(server, id)).toMatchObject({ status: 'COMPLETED', importedCount: 3 });
  await worker.close();
});
