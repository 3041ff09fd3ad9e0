/** Starts, watches and cancels contact imports. `run.ts` imports the rows. */
import type { App, Tx } from '../../app.ts';
import { type ProblemPath, userError } from '../../errors.ts';
import type { ContactImport } from '../../generated/prisma/client.ts';
import { Checks } from '../../infra/checks.ts';
import { toStorableText, truncateText } from '../../infra/database/storable-text.ts';
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { watchSnapshots } from '../../live/snapshots.ts';
import { newObjectId, ownedBy, type Viewer } from '../../viewer.ts';
import { inBulkTransaction } from '../bulk-transaction.ts';
import { checkFolder } from '../folders.ts';
import { importContactsJob } from '../jobs.ts';
import {
  type ColumnMappingInput,
  headerTest,
  type ImportMapping,
  mapColumns,
} from './column-mapping.ts';
import { readHeader } from './header.ts';
import { type FileEncoding, readText, UnreadableTextError } from './text-encoding.ts';

export const MAX_IMPORT_BYTES = 200 * 1024 * 1024;
export const MAX_ROWS = 1_000_000;
/** Maximum size of a row. A longer row is reported as a problem. */
export const MAX_ROW_BYTES = 256 * 1024;
/** Exact size of every stored piece of a file except the last, so that a position can be located. */
export const CHUNK_BYTES = 1024 * 1024;
/** Maximum number of columns that a caller maps. */
export const MAX_MAPPINGS = 200;

/** Bus topic that announces progress of an import to all processes. */
function contactImportTopic(id: string): string {
  return `contactImports:${id}`;
}

export interface ImportContactsInput {
  folderId: string;
  file: UploadedFile;
  mapping?: readonly ColumnMappingInput[] | null | undefined;
  defaultCountry?: string | null | undefined;
  encoding?: FileEncoding | null | undefined;
  onDuplicate?: ImportDuplicateRule | null | undefined;
  /** Deprecated form of `onDuplicate`. */
  updateExisting?: boolean | null | undefined;
}

export type ImportDuplicateRule = 'SKIP' | 'UPDATE';

export function duplicateRuleOf({
  updateExisting,
}: Pick<ContactImport, 'updateExisting'>): ImportDuplicateRule {
  return updateExisting ? 'UPDATE' : 'SKIP';
}

/**
 * Stores the file and enqueues a job that imports its rows.
 *
 * Order: header and arguments are validated first. Then the import, the file and the job are written in one
 * transaction, which also checks that the rest of the file is text. If that fails, nothing is stored.
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
  const folderId = await checkFolder(app, viewer, checks, input);
  const country = checks.country(input.defaultCountry, ['defaultCountry']);
  const onDuplicate = readDuplicateRule(checks, input);
  const header = await checkFile(checks, input.file, async () => {
    const given = input.mapping ?? [];
    const options = { encoding: input.encoding, isHeader: headerTest(given) };
    const read = await readHeader(input.file, options);
    const columns = mapColumns(checks, read.cells, given);
    return { ...read, mapping: { ...read.format, columns } satisfies ImportMapping };
  });
  checks.throwIfAny();

  try {
    return await inBulkTransaction(app, viewer, async (tx) => {
      const row = await tx.contactImport.create({
        data: {
          id,
          ...ownedBy(viewer),
          folderId: folderId!,
          filename: truncateText(toStorableText(input.file.filename), 255) || 'contacts.csv',
          status: 'PENDING',
          mapping: header!.mapping as object,
          defaultCountry: country ?? null,
          updateExisting: onDuplicate === 'UPDATE',
          sizeBytes: 0n,
          bytesRead: BigInt(header!.end),
        },
      });
      const sizeBytes = await storeFile(tx, id, input.file, header!.format.encoding);
      await app.jobs.enqueue(
        tx,
        importContactsJob,
        { id },
        { group: viewer.organizationId, singletonKey: id },
      );
      return tx.contactImport.update({ where: { id: row.id }, data: { sizeBytes } });
    });
  } catch (error) {
    throw asUserError(error);
  }
}

function readDuplicateRule(
  checks: Checks,
  { onDuplicate, updateExisting }: ImportContactsInput,
): ImportDuplicateRule {
  const old = typeof updateExisting === 'boolean' ? duplicateRuleOf({ updateExisting }) : null;
  const { value } = checks.renamed([], ['onDuplicate', onDuplicate], ['updateExisting', old]);
  return value ?? 'SKIP';
}

/** Stores the text of the file in pieces and returns its size in bytes. */
async function storeFile(
  tx: Tx,
  importId: string,
  file: UploadedFile,
  encoding: FileEncoding,
): Promise<bigint> {
  let position = 0;
  let size = 0;
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  const store = async (content: Buffer): Promise<void> => {
    // Not `create`, which would return the content.
    await tx.contactImportChunk.createMany({
      data: [{ importId, position, content: new Uint8Array(content) }],
    });
    position += 1;
    size += content.length;
  };
  for await (const piece of readText(file.read(), encoding)) {
    pending.push(piece);
    pendingBytes += piece.length;
    if (pendingBytes < CHUNK_BYTES) continue;
    const all = Buffer.concat(pending);
    let from = 0;
    for (; all.length - from >= CHUNK_BYTES; from += CHUNK_BYTES) {
      await store(all.subarray(from, from + CHUNK_BYTES));
    }
    pending = [all.subarray(from)];
    pendingBytes = all.length - from;
  }
  if (pendingBytes > 0) await store(Buffer.concat(pending));
  return BigInt(size);
}

/** Runs `read`. If the file is too large or unreadable, adds a problem and returns undefined. */
export async function checkFile<T>(
  checks: Checks,
  file: UploadedFile,
  read: () => Promise<T>,
  { path = ['file'], maxBytes = MAX_IMPORT_BYTES }: { path?: ProblemPath; maxBytes?: number } = {},
): Promise<T | undefined> {
  if (file.sizeBytes > maxBytes) {
    const size = Math.ceil(file.sizeBytes / 1024 / 1024);
    return checks.add(
      'LIMIT_EXCEEDED',
      `The file has ${size} MB; the maximum is ${maxBytes / 1024 / 1024} MB. Split it.`,
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

function asUserError(error: unknown): unknown {
  return error instanceof UnreadableTextError
    ? userError('INVALID_INPUT', error.message, ['file'])
    : error;
}

/** Cancels an import. Contacts imported until then remain. */
export async function cancelContactImport(
  app: App,
  viewer: Viewer,
  input: { id: string },
): Promise<ContactImport> {
  const checks = new Checks();
  const id = checks.id('ContactImport', input.id, ['id']);
  checks.throwIfAny();
  const row = await app.db.$transaction(async (tx) => {
    const { count } = await tx.contactImport.updateMany({
      where: { ...ownedBy(viewer), id: id!, status: { in: ['PENDING', 'RUNNING'] } },
      data: { status: 'CANCELLED', finishedAt: app.now(), leaseId: null, leaseUntil: null },
    });
    if (count > 0) await tx.contactImportChunk.deleteMany({ where: { importId: id! } });
    return tx.contactImport.findFirst({ where: { ...ownedBy(viewer), id: id! } });
  });
  if (!row) throw userError('NOT_FOUND', 'Contact import not found.', ['id']);
  if (row.status !== 'CANCELLED') {
    throw userError(
      'INVALID_STATE',
      `The import has already ${row.status === 'COMPLETED' ? 'completed' : 'failed'} and cannot be canceled.`,
      ['id'],
    );
  }
  announceContactImport(app, row.id);
  return row;
}

/** Announces that an import has changed. Call it after the commit. */
export function announceContactImport(app: App, id: string): void {
  app.bus.publish(contactImportTopic(id), null);
}

/** Yields snapshots of an import until it ends. Null if the viewer has no such import. */
export async function watchContactImport(
  app: App,
  viewer: Viewer,
  id: string,
): Promise<AsyncIterableIterator<ContactImport> | null> {
  const where = { ...ownedBy(viewer), id };
  if ((await app.db.contactImport.count({ where })) === 0) return null;
  return watchSnapshots(app, {
    topic: contactImportTopic(id),
    read: () => app.db.contactImport.findFirst({ where }),
    isLast: ({ status }) => status !== 'PENDING' && status !== 'RUNNING',
    version: ({ status, rowsRead, bytesRead }) => `${status} ${rowsRead} ${bytesRead}`,
  });
}
