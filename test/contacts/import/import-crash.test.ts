import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../../src/simulator/simulator.ts';
import { randomFrom, waitRandomly } from '../../support/random.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { type ServerProcess, startServerProcess } from '../../support/servers/process.ts';
import { until } from '../../support/wait.ts';
import { awaitImport, IMPORT, makeFolder, readImport, sendFile } from './upload.ts';

const ROWS = 50_000;
const KILLS = 3;

let database: TestDatabase;
let simulator: Simulator;
let server: ServerProcess;
let sql: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  simulator = await startSimulator({});
  server = await startServerProcess({ databaseUrl: database.url, simulator });
  sql = new Client({ connectionString: database.url });
  await sql.connect();
});
afterAll(async () => {
  await sql?.end();
  await server?.stop();
  await simulator?.close();
  await database?.drop();
});

it('importContacts imports, reports and counts each row once when the server is killed repeatedly', async () => {
  const random = randomFrom(20261120);
  const to = { url: server.url, key: server.firstKey };
  const folderId = await makeFolder(to);
  const rows = Array.from({ length: ROWS }, (_, row) => {
    // Every tenth row is invalid; every eleventh repeats the number of the row before.
    if (row % 10 === 0) return `nothing,${row}`;
    return `+1415${2_000_000 + (row % 11 === 0 ? row - 1 : row)},${row}`;
  });
  const numbers = rows.map((row) => row.split(',')[0]).filter((number) => number !== 'nothing');
  const answer = await sendFile(to, IMPORT, `phone,row\n${rows.join('\n')}`, { folderId });
  const { id } = answer.data.importContacts.contactImport;
  const stops: number[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = (await readImport(to, id)).rowsRead;
    await until('more rows', async () => {
      const { rowsRead, status } = await readImport(to, id);
      return rowsRead > before || status === 'COMPLETED';
    });
    await waitRandomly(random, 300);
    await server.restart();
    stops.push((await readImport(to, id)).rowsRead);
    // Expire the lease of the killed run.
    await sql.query(
      `UPDATE contact_imports SET lease_until = now(), updated_at = now() - interval '1 minute'`,
    );
  }
  // Kills happened in the middle of the import: how many depends on the machine.
  expect(stops.filter((rowsRead) => rowsRead > 0 && rowsRead < ROWS)).not.toEqual([]);
  const over = await awaitImport(to, id, 120_000);
  const imported = new Set(numbers).size;
  expect(over).toMatchObject({
    status: 'COMPLETED',
    rowsRead: ROWS,
    importedCount: imported,
    skippedCount: numbers.length - imported,
    failedCount: ROWS - numbers.length,
  });
  const { rows: contacts } = await sql.query('SELECT phone_number FROM contacts');
  expect(contacts.map((row) => row.phone_number).sort()).toEqual([...new Set(numbers)].sort());
  const { rows: problems } = await sql.query(
    'SELECT row FROM contact_import_problems ORDER BY row',
  );
  expect(problems.map(({ row }) => row)).toEqual(
    rows.flatMap((row, index) => (row.startsWith('nothing') ? [index + 1] : [])),
  );
}, 300_000);
