/** Imports of contacts as they are asked for, watched and stopped. `import-run.ts` does the work. */
import type { App, Tx } from '../app.ts';
import { type ProblemPath, userError } from '../errors.ts';
import type { ContactImport } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import type { UploadedFile } from '../infra/uploaded-file.ts';
import { watchPictures } from '../live/pictures.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { CsvReader, guessFormat } from './csv.ts';
import { type ColumnMappingInput, type ImportMapping, mapColumns } from './import-mapping.ts';
import { readText, UnreadableTextError } from './import-text.ts';
import { importContactsJob } from './jobs.ts';
import { countryNamed } from './record.ts';

export const MAX_FILE_BYTES = 200 * 1024 * 1024;
export const MAX_ROWS = 1_000_000;
/** What one row may have; a longer one is bad, and does not cost memory. */
export const MAX_ROW_BYTES = 256 * 1024;
/** Every piece of a kept file but the last has exactly this size, so a place in it can be found. */
export const CHUNK_BYTES = 1024 * 1024;
/** A header of text for a person is not longer. */
const MAX_HEADER_BYTES = 64 * 1024;
const MAX_COLUMNS = 200;

/** The topic on which processes hear that an import has come on. */
export const CONTACT_IMPORTS_TOPIC = 'contactImports';

export interface ImportContactsInput {
  folderId: string;
  file: UploadedFile;
  mapping?: readonly ColumnMappingInput[] | null | undefined;
  defaultCountry?: string | null | undefined;
  updateExisting?: boolean | null | undefined;
}

/**
 * Keeps the file and has its rows imported by a job.
 *
 * Order: header and arguments are checked, then the import, the file and the job are written in one
 * transaction, in which the rest of the file is held to be text. If that fails, nothing is kept.
 */
export async function importContacts(
  app: App,
  viewer: Viewer,
  input: ImportContactsInput,
): Promise<ContactImport> {
  const id = newObjectId(viewer);
  if (viewer.idempotency) {
    const earlier = await app.db.contactImport.findFirst({ where: { ...ownedBy(viewer), id } });
    if (earlier) return earlier;
  }
  const checks = new Checks();
  const folderId = checks.id('fld', 'ContactFolder', input.folderId, ['folderId']);
  const country = checkCountry(checks, input.defaultCountry);
  if (folderId) {
    const found = await app.db.contactFolder.count({ where: { ...ownedBy(viewer), id: folderId } });
    if (found === 0) checks.add('NOT_FOUND', 'There is no such folder.', ['folderId']);
  }
  const header = await checkFile(checks, input.file, async () => {
    const read = await readHeader(input.file);
    const columns = mapColumns(checks, read.cells, input.mapping ?? []);
    return { ...read, mapping: { ...read.format, columns } satisfies ImportMapping };
  });
  checks.throwIfAny();

  try {
    return await app.db.$transaction(
      async (tx) => {
        const row = await tx.contactImport.create({
          data: {
            id,
            ...ownedBy(viewer),
            folderId: folderId!,
            filename: input.file.filename.slice(0, 255) || 'contacts.csv',
            status: 'PENDING',
            mapping: header!.mapping as object,
            defaultCountry: country ?? null,
            updateExisting: input.updateExisting ?? false,
            sizeBytes: 0n,
            bytesRead: BigInt(header!.end),
          },
        });
        const sizeBytes = await keepFile(tx, id, input.file);
        await app.jobs.enqueue(tx, importContactsJob, { id }, { singletonKey: id });
        return tx.contactImport.update({ where: { id: row.id }, data: { sizeBytes } });
      },
      { timeout: 300_000 },
    );
  } catch (error) {
    throw readable(error);
  }
}

/** Writes the text of the file in pieces, one after the other. @returns its size. */
async function keepFile(tx: Tx, importId: string, file: UploadedFile): Promise<bigint> {
  let position = 0;
  let size = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  const store = async (content: Buffer): Promise<void> => {
    // Not `create`, which would send the piece back.
    await tx.contactImportChunk.createMany({
      data: [{ importId, position, content: new Uint8Array(content) }],
    });
    position += 1;
    size += content.length;
  };
  for await (const piece of readText(file.read())) {
    waiting.push(piece);
    waitingBytes += piece.length;
    if (waitingBytes < CHUNK_BYTES) continue;
    const all = Buffer.concat(waiting);
    let from = 0;
    for (; all.length - from >= CHUNK_BYTES; from += CHUNK_BYTES) {
      await store(all.subarray(from, from + CHUNK_BYTES));
    }
    waiting = [all.subarray(from)];
    waitingBytes = all.length - from;
  }
  if (waitingBytes > 0) await store(Buffer.concat(waiting));
  return BigInt(size);
}

export interface FileHeader {
  format: { delimiter: string; newline: '\n' | '\r' };
  cells: string[];
  /** Bytes of the text up to the first row after it. */
  end: number;
}

/** The first row of a file. @throws UnreadableTextError when there is none. */
export async function readHeader(file: UploadedFile): Promise<FileHeader> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of readText(file.read())) {
    pieces.push(piece);
    size += piece.length;
    if (size >= MAX_HEADER_BYTES) break;
  }
  const text = Buffer.concat(pieces);
  const format = guessFormat(text.toString('utf8', 0, MAX_HEADER_BYTES));
  const reader = new CsvReader(format, MAX_HEADER_BYTES);
  for (const rows of [reader.push(text), reader.finish()]) {
    for (const { cells, problem, end } of rows) {
      if (problem || end > MAX_HEADER_BYTES) {
        throw new UnreadableTextError(
          `The first row is not a header: ${problem ?? 'it is longer than 64 KB.'} A CSV begins with a row of column names.`,
        );
      }
      if (cells.length > MAX_COLUMNS) {
        throw new UnreadableTextError(
          `The first row has ${cells.length} columns, at most ${MAX_COLUMNS} are read.`,
        );
      }
      return { format, cells, end };
    }
  }
  throw new UnreadableTextError('The file is empty. A CSV begins with a row of column names.');
}

/** Runs `read`, and puts what is wrong with the file among the other problems. */
export async function checkFile<T>(
  checks: Checks,
  file: UploadedFile,
  read: () => Promise<T>,
  { path = ['file'], maxBytes = MAX_FILE_BYTES }: { path?: ProblemPath; maxBytes?: number } = {},
): Promise<T | undefined> {
  if (file.sizeBytes > maxBytes) {
    const size = Math.ceil(file.sizeBytes / 1024 / 1024);
    return checks.add(
      'LIMIT_EXCEEDED',
      `The file has ${size} MB; at most ${maxBytes / 1024 / 1024} MB are taken. Divide it.`,
      path,
    );
  }
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof UnreadableTextError)) throw error;
    return checks.add('INVALID_INPUT', error.message, path);
  }
}

export function checkCountry(checks: Checks, country: string | null | undefined) {
  if (!country) return undefined;
  return (
    countryNamed(country) ??
    checks.add(
      'INVALID_INPUT',
      '`defaultCountry` must be an ISO 3166-1 alpha-2 country code, such as "US" or "DE".',
      ['defaultCountry'],
    )
  );
}

function readable(error: unknown): unknown {
  return error instanceof UnreadableTextError
    ? userError('INVALID_INPUT', error.message, ['file'])
    : error;
}

/** Stops an import after the rows that are being written; what is imported by then stays. */
export async function cancelContactImport(
  app: App,
  viewer: Viewer,
  input: { id: string },
): Promise<ContactImport> {
  const checks = new Checks();
  const id = checks.id('imp', 'ContactImport', input.id, ['id']);
  checks.throwIfAny();
  const row = await app.db.$transaction(async (tx) => {
    const { count } = await tx.contactImport.updateMany({
      where: { ...ownedBy(viewer), id: id!, status: { in: ['PENDING', 'RUNNING'] } },
      data: { status: 'CANCELLED', finishedAt: app.now(), leaseId: null, leaseUntil: null },
    });
    if (count > 0) await tx.contactImportChunk.deleteMany({ where: { importId: id! } });
    return tx.contactImport.findFirst({ where: { ...ownedBy(viewer), id: id! } });
  });
  if (!row) throw userError('NOT_FOUND', 'There is no such import.', ['id']);
  if (row.status !== 'CANCELLED') {
    throw userError(
      'INVALID_STATE',
      `The import is ${row.status === 'COMPLETED' ? 'completed' : 'failed'} already; there is nothing left to stop.`,
      ['id'],
    );
  }
  announceContactImport(app, row.id);
  return row;
}

/** After a commit that changed it. */
export function announceContactImport(app: App, id: string): void {
  app.bus.publish(CONTACT_IMPORTS_TOPIC, id);
}

/** The import as it is now and whenever it has come on, to its end. Null when there is none. */
export async function watchContactImport(
  app: App,
  viewer: Viewer,
  id: string,
): Promise<AsyncIterableIterator<ContactImport> | null> {
  const where = { ...ownedBy(viewer), id };
  if ((await app.db.contactImport.count({ where })) === 0) return null;
  return watchPictures(app, {
    topic: CONTACT_IMPORTS_TOPIC,
    concerns: (message) => message === id,
    read: () => app.db.contactImport.findFirst({ where }),
    isLast: ({ status }) => status !== 'PENDING' && status !== 'RUNNING',
    version: ({ status, rowsRead, bytesRead }) => `${status} ${rowsRead} ${bytesRead}`,
  });
}
