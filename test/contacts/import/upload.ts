/** Uploads files with multipart requests, and follows contact imports. */
import { expect } from 'vitest';
import { type Answer, createClient } from '../../support/graphql.ts';
import type { TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';

type Content = string | Uint8Array | Blob;

export interface FileToSend {
  content: Content;
  filename?: string;
  /** Name of the input field that takes the file. Default: `file`. */
  field?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Variables of the operation besides `input`. */
  variables?: Record<string, unknown>;
}

export const IMPORT = `mutation ($input: ImportContactsInput!) {
  importContacts(input: $input) {
    contactImport { id status filename sizeBytes mapping { column field metadataKey } }
    userErrors { code message path }
  }
}`;

export const IMPORT_FIELDS = `
  id status rowsRead bytesRead sizeBytes importedCount updatedCount skippedCount failedCount
  warningCount failure problemsUrl warningsUrl
  problems(first: 100) { totalCount nodes { row phoneNumber reason } }
  warnings(first: 100) { totalCount nodes { row phoneNumber reason } }`;

interface ImportReports {
  totalCount: number;
  nodes: { row: number; phoneNumber: string | null; reason: string }[];
}

export interface ImportSnapshot {
  id: string;
  status: string;
  rowsRead: number;
  bytesRead: number;
  sizeBytes: number;
  importedCount: number;
  updatedCount: number;
  skippedCount: number;
  failedCount: number;
  warningCount: number;
  failure: string | null;
  problemsUrl: string | null;
  warningsUrl: string | null;
  problems: ImportReports;
  warnings: ImportReports;
}

/** Sends a mutation with a file as a multipart request. */
export async function sendFile(
  to: { url: string; key: string | null },
  query: string,
  file: Content | FileToSend,
  input: Record<string, unknown>,
): Promise<Answer> {
  const isContent = typeof file === 'string' || file instanceof Uint8Array || file instanceof Blob;
  const options: FileToSend = isContent ? { content: file } : file;
  const { content, filename = 'contacts.csv', field = 'file', headers = {} } = options;
  const form = new FormData();
  const variables = { ...options.variables, input: { ...input, [field]: null } };
  form.set('operations', JSON.stringify({ query, variables }));
  form.set('map', JSON.stringify({ 0: [`variables.input.${field}`] }));
  const blob = content instanceof Blob ? content : new Blob([content as BlobPart]);
  form.set('0', blob, filename);
  const response = await fetch(`${to.url}/graphql`, {
    method: 'POST',
    headers: { ...(to.key ? { authorization: `Bearer ${to.key}` } : {}), ...headers },
    body: form,
    signal: options.signal ?? null,
  });
  const body = (await response.json()) as Answer;
  return { ...body, status: response.status, headers: response.headers };
}

export async function makeFolder(
  to: { url: string; key: string | null },
  name = 'Leads',
): Promise<string> {
  const { data } = await createClient(to.url, to.key).send(
    'mutation ($input: CreateContactFolderInput!) { createContactFolder(input: $input) { contactFolder { id } } }',
    { input: { name } },
  );
  return data.createContactFolder.contactFolder.id;
}

export async function readImport(
  to: { url: string; key: string | null },
  id: string,
): Promise<ImportSnapshot> {
  const query = `query ($id: ID!) { contactImport(id: $id) { ${IMPORT_FIELDS} } }`;
  return (await createClient(to.url, to.key).send(query, { id })).data.contactImport;
}

/** Waits until an import has ended. */
export async function awaitImport(
  to: { url: string; key: string | null },
  id: string,
  timeoutMs = 60_000,
): Promise<ImportSnapshot> {
  return until(
    'the end of the import',
    async () => {
      const snapshot = await readImport(to, id);
      return !['PENDING', 'RUNNING'].includes(snapshot.status) && snapshot;
    },
    timeoutMs,
  );
}

/** Uploads a file that is accepted, and waits until it is imported. */
export async function importFile(
  to: { url: string; key: string | null },
  content: string | Uint8Array | Blob,
  input: Record<string, unknown>,
  timeoutMs?: number,
): Promise<ImportSnapshot> {
  const answer = await sendFile(to, IMPORT, content, input);
  if (answer.errors || answer.data.importContacts.userErrors.length > 0) {
    throw new Error(`The file was rejected: ${JSON.stringify(answer.errors ?? answer.data)}`);
  }
  return awaitImport(to, answer.data.importContacts.contactImport.id, timeoutMs);
}

export const HEADER = 'phone,first_name,last_name\n';

/** CSV rows with consecutive phone numbers. */
export function lines(count: number, from = 0): string {
  let text = '';
  for (let row = from; row < from + count; row += 1) {
    text += `+1415${String(2_000_000 + row)},First ${row},Last ${row}\n`;
  }
  return text;
}

export const uuid = (id: string): string => id.slice(4);

/** The contacts of a folder in the order of their creation. */
export async function contactsOf(server: TestServer, folderId: string) {
  const contacts = await server.app.db.contact.findMany({
    where: { folderId: uuid(folderId) },
    orderBy: { id: 'asc' },
  });
  return contacts.map(({ phoneNumber, firstName, lastName, email, companyName, metadata }) => ({
    phoneNumber,
    firstName,
    lastName,
    email,
    companyName,
    metadata,
  }));
}

/** Number of contacts in a folder, as counted and as stored. */
export async function contactCount(server: TestServer, folderId: string): Promise<number> {
  const folder = await server.app.db.contactFolder.findUniqueOrThrow({
    where: { id: uuid(folderId) },
  });
  expect(await server.app.db.contact.count({ where: { folderId: folder.id } })).toBe(
    folder.contactCount,
  );
  return folder.contactCount;
}
