/** Requests with a file, as curl and browsers send them. */
import { type Answer, createClient } from '../support/graphql.ts';
import { until } from '../support/wait.ts';

export interface FileOptions {
  filename?: string;
  /** Where in the input the file belongs. */
  member?: string;
  headers?: Record<string, string>;
}

export const IMPORT = `mutation ($input: ImportContactsInput!) {
  importContacts(input: $input) {
    contactImport { id status filename sizeBytes mapping { column field metadataKey } }
    userErrors { code message path }
  }
}`;

export const PICTURE = `
  id status rowsRead bytesRead sizeBytes importedCount updatedCount skippedCount failedCount failure
  problemsUrl problems(first: 100) { totalCount nodes { row phoneNumber reason } }`;

export interface Picture {
  id: string;
  status: string;
  rowsRead: number;
  bytesRead: number;
  sizeBytes: number;
  importedCount: number;
  updatedCount: number;
  skippedCount: number;
  failedCount: number;
  failure: string | null;
  problemsUrl: string | null;
  problems: {
    totalCount: number;
    nodes: { row: number; phoneNumber: string | null; reason: string }[];
  };
}

export async function sendFile(
  to: { url: string; key: string | null },
  query: string,
  content: string | Uint8Array | Blob,
  input: Record<string, unknown>,
  { filename = 'contacts.csv', member = 'file', headers = {} }: FileOptions = {},
): Promise<Answer> {
  const form = new FormData();
  const variables = { input: { ...input, [member]: null } };
  form.set('operations', JSON.stringify({ query, variables }));
  form.set('map', JSON.stringify({ 0: [`variables.input.${member}`] }));
  const blob = content instanceof Blob ? content : new Blob([content as BlobPart]);
  form.set('0', blob, filename);
  const response = await fetch(`${to.url}/graphql`, {
    method: 'POST',
    headers: { ...(to.key ? { authorization: `Bearer ${to.key}` } : {}), ...headers },
    body: form,
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
): Promise<Picture> {
  const query = `query ($id: ID!) { contactImport(id: $id) { ${PICTURE} } }`;
  return (await createClient(to.url, to.key).send(query, { id })).data.contactImport;
}

/** The import once it has ended. */
export async function importOver(
  to: { url: string; key: string | null },
  id: string,
  timeoutMs = 20_000,
): Promise<Picture> {
  return until(
    'the end of the import',
    async () => {
      const picture = await readImport(to, id);
      return !['PENDING', 'RUNNING'].includes(picture.status) && picture;
    },
    timeoutMs,
  );
}

/** Sends a file that has nothing wrong with it as a whole, and waits until it is imported. */
export async function importFile(
  to: { url: string; key: string | null },
  content: string | Uint8Array | Blob,
  input: Record<string, unknown>,
  timeoutMs?: number,
): Promise<Picture> {
  const answer = await sendFile(to, IMPORT, content, input);
  if (answer.errors || answer.data.importContacts.userErrors.length > 0) {
    throw new Error(`The file was refused: ${JSON.stringify(answer.errors ?? answer.data)}`);
  }
  return importOver(to, answer.data.importContacts.contactImport.id, timeoutMs);
}
