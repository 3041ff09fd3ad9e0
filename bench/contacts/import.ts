/**
 * Time to import 100,000 rows, as a ratio to COPY of the same rows into the same table, in the same
 * run: `npx node bench/contacts/import.ts [rows]`. The import is measured from the first byte of the upload to the
 * status COMPLETED.
 */
import path from 'node:path';
import type { Client } from 'pg';
import { withBenchServer } from '../support/server.ts';

const ROWS = Number(process.argv[2] ?? 100_000);
const CHECK_MS = 50;

const CITIES = ['Berlin', 'Buenos Aires', 'Chennai', 'Denver', 'Lagos', 'Lyon', 'Osaka', 'Perth'];
const NAMES = ['Ada', 'Bilal', 'Chidi', 'Dagny', 'Emiko', 'Farah', 'Goran', 'Hedda', 'Ines', 'Jun'];
const SURNAMES = ['Abebe', 'Brandt', 'Castillo', 'Duarte', 'Eriksen', 'Fofana', 'Greco', 'Haddad'];

function pick(list: readonly string[], row: number, salt: number): string {
  return list[(row * salt + Math.floor(row / list.length)) % list.length] as string;
}

function* csvOf(rows: number): Generator<string> {
  yield 'phone,first_name,last_name,email,company,city,plan\n';
  for (let from = 0; from < rows; from += 10_000) {
    let text = '';
    for (let row = from; row < Math.min(from + 10_000, rows); row += 1) {
      const first = pick(NAMES, row, 7);
      const last = pick(SURNAMES, row, 5);
      const city = pick(CITIES, row, 3);
      const number = `+1415${String(2_000_000 + row).padStart(7, '0')}`;
      text += `${number},${first},${last},${first}.${last}${row}@example.com,${last} & Co,${city},plan ${row % 5}\n`;
    }
    yield text;
  }
}

interface Answer {
  data: Record<string, never> & {
    importContacts: { contactImport: { id: string } | null; userErrors: unknown[] };
    createContactFolder: { contactFolder: { id: string } };
    contactImport: { status: string; rowsRead: number; importedCount: number };
  };
}

interface Target {
  url: string;
  key: string;
}

async function send({ url, key }: Target, query: string, variables: object, file?: Blob) {
  const operations = JSON.stringify({ query, variables });
  const headers: Record<string, string> = { authorization: `Bearer ${key}` };
  let body: FormData | string = operations;
  if (file) {
    body = new FormData();
    body.set('operations', operations);
    body.set('map', '{"0":["variables.input.file"]}');
    body.set('0', file, 'contacts.csv');
  } else headers['content-type'] = 'application/json';
  const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body });
  return ((await response.json()) as Answer).data;
}

async function makeFolder(target: Target, name: string): Promise<string> {
  const { createContactFolder } = await send(
    target,
    'mutation ($input: CreateContactFolderInput!) { createContactFolder(input: $input) { contactFolder { id } } }',
    { input: { name } },
  );
  return createContactFolder.contactFolder.id;
}

async function importRows(target: Target, folderId: string, file: Blob): Promise<number> {
  const began = performance.now();
  const { importContacts } = await send(
    target,
    'mutation ($input: ImportContactsInput!) { importContacts(input: $input) { contactImport { id } userErrors { message } } }',
    { input: { folderId, file: null } },
    file,
  );
  const id = importContacts.contactImport?.id;
  if (!id) throw new Error(JSON.stringify(importContacts.userErrors));
  for (;;) {
    const { contactImport } = await send(
      target,
      'query ($id: ID!) { contactImport(id: $id) { status rowsRead importedCount } }',
      { id },
    );
    if (!['PENDING', 'RUNNING'].includes(contactImport.status)) {
      if (contactImport.importedCount !== ROWS) throw new Error(JSON.stringify(contactImport));
      return performance.now() - began;
    }
    await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
  }
}

/** Copies the contacts to another folder, with new ids, by COPY through a file on the server. */
async function copyRows(client: Client, from: string, to: string): Promise<number> {
  const columns = `organization_id, phone_number, first_name, last_name, email, company_name, industry,
    location, pin_code, keywords, timezone, metadata, call_count, search_text, created_at, updated_at`;
  const { rows } = await client.query('SHOW data_directory');
  const file = path.join(rows[0].data_directory, 'bench-rows');
  await client.query(
    `COPY (SELECT uuidv7(), '${to.slice(4)}'::uuid, ${columns} FROM contacts
      WHERE folder_id = '${from.slice(4)}' ORDER BY id) TO '${file}'`,
  );
  const began = performance.now();
  const { rowCount } = await client.query(
    `COPY contacts (id, folder_id, ${columns}) FROM '${file}'`,
  );
  if (rowCount !== ROWS) throw new Error(`COPY wrote ${rowCount} rows`);
  return performance.now() - began;
}

let peakBytes = 0;
const watching = setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, 100);
await withBenchServer(
  async (server) => {
    const file = new Blob([...csvOf(ROWS)]);
    const idleBytes = process.memoryUsage.rss();
    const imported = await makeFolder(server, 'Imported');
    const importMs = await importRows(server, imported, file);
    const copied = await makeFolder(server, 'Copied');
    const copyMs = await copyRows(server.client, imported, copied);
    const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
    process.stdout.write(
      [
        `rows                ${ROWS.toLocaleString('en')} (${(file.size / 1e6).toFixed(1)} MB)`,
        `import              ${seconds(importMs)}, ${Math.round((ROWS / importMs) * 1000)} rows a second`,
        `COPY                ${seconds(copyMs)}`,
        `ratio               ${(importMs / copyMs).toFixed(2)}`,
        `memory, this process  ${Math.round(idleBytes / 1e6)} MB before, ${Math.round(peakBytes / 1e6)} MB at most (it holds the file that it sends, too)`,
        '',
      ].join('\n'),
    );
  },
  { DEMO_DATA: 'false' },
).finally(() => clearInterval(watching));
