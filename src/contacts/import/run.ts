/**
 * Imports the rows of a stored file in batches. The contacts, problems and counters of a batch and the position right
 * after it are written in one transaction. After a crash, the next run continues after the last committed batch, so
 * that every row is imported, reported and counted exactly once.
 *
 * A run holds the lease of its import. It stops after a few seconds and enqueues the next run, so that
 * imports share the workers and a process can stop at any time.
 */
import type { App, Tx } from '../../app.ts';
import { type ContactImport, Prisma } from '../../generated/prisma/client.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { newId } from '../../infra/ids.ts';
import { type Lease, LeaseLostError, newLease } from '../../infra/jobs/lease.ts';
import { type PhoneNumberRules, parseCountry, subscriberOf } from '../../infra/phone-number.ts';
import { phoneNumberRules } from '../../organizations/service.ts';
import { addOptOuts, type OptOut } from '../do-not-call.ts';
import { type ContactColumns, mergeContact, TOO_MANY_KEYS } from '../fields.ts';
import { LOCK_WAIT_OF_JOBS, lockFolders } from '../folders.ts';
import { importContactsJob } from '../jobs.ts';
import {
  type ContactRow,
  columnsOf,
  type FolderTarget,
  insertContacts,
  lockByNumber,
  overwriteContacts,
} from '../rows.ts';
import type { ImportMapping } from './column-mapping.ts';
import { CsvReader, type CsvRow } from './csv.ts';
import { isFullBatch, readRows } from './csv-rows.ts';
import { contactRowReader, optOutsOf, warningOf } from './row-reader.ts';
import { announceContactImport, CHUNK_BYTES, MAX_ROW_BYTES, MAX_ROWS } from './service.ts';

const BATCH_ROWS = 2_000;
const MAX_RUN_MS = 5_000;
const LEASE_SECONDS = 30;
/**
 * Delays between runs without progress, doubling each time. With these, an import whose batch always fails is given up
 * after a day of runs. Time in which nobody ran it does not count.
 */
const RETRY_SECONDS = { first: 2, max: 3_600 };
const MAX_STALLED_RUNS = 32;
const MAX_REASON = 1_000;
const MAX_SHOWN_NUMBER = 60;

const LEASE_COLUMNS = { table: 'contact_imports', id: 'lease_id', until: 'lease_until' };

/**
 * Handles `importContacts` jobs. Does nothing if the import has ended, another run holds its lease, or the last
 * run made no progress a short time ago.
 *
 * The next run is delayed in advance, until a batch is committed, because a run may also end with its process.
 */
export async function runContactImport(app: App, { id }: { id: string }): Promise<void> {
  const lease = newLease({
    columns: LEASE_COLUMNS,
    row: Prisma.sql`id = ${id}::uuid`,
    seconds: LEASE_SECONDS,
  });
  const claimed = await lease.claim(app.db, {
    when: Prisma.sql`status IN ('PENDING', 'RUNNING')
      AND stalled_runs < ${MAX_STALLED_RUNS}
      AND (next_run_at IS NULL OR next_run_at <= now())`,
    set: Prisma.sql`status = 'RUNNING',
      started_at = coalesce(started_at, ${app.now()}::timestamptz), updated_at = now(),
      stalled_runs = stalled_runs + 1,
      next_run_at = now() + make_interval(secs => least(
        ${RETRY_SECONDS.first}::float8 * 2 ^ stalled_runs, ${RETRY_SECONDS.max}::float8))`,
  });
  if (!claimed) return;
  const row = await app.db.contactImport.findUniqueOrThrow({ where: { id } });
  try {
    await importBatches(app, row, lease);
  } catch (error) {
    if (error instanceof LeaseLostError) return;
    await lease.release(app.db).catch(app.failures.recorder('releaseImportLease'));
    throw error;
  }
}

/** SQL condition: whether an import is waiting or running. */
export function hasOpenImports(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM contact_imports WHERE status IN ('PENDING', 'RUNNING'))`;
}

/**
 * Fallback for lost jobs: resumes imports whose run failed or died, and fails those whose runs have made no progress
 * for a day.
 */
export async function sweepContactImports(app: App): Promise<void> {
  const now = new Date();
  const waiting = await app.db.contactImport.findMany({
    where: {
      status: { in: ['PENDING', 'RUNNING'] },
      updatedAt: { lt: new Date(now.getTime() - 5_000) },
      AND: [
        { OR: [{ leaseUntil: null }, { leaseUntil: { lt: now } }] },
        { OR: [{ nextRunAt: null }, { nextRunAt: { lt: now } }] },
      ],
    },
    orderBy: { createdAt: 'asc' },
    select: { id: true, organizationId: true, stalledRuns: true },
    take: 100,
  });
  for (const { id, organizationId, stalledRuns } of waiting) {
    if (stalledRuns >= MAX_STALLED_RUNS) await failStalledImport(app, id);
    else
      await app.jobs.enqueue(
        app.db,
        importContactsJob,
        { id },
        { group: organizationId, singletonKey: id },
      );
  }
}

async function failStalledImport(app: App, id: string): Promise<void> {
  await app.db.$transaction([
    app.db.contactImport.updateMany({
      where: { id, status: { in: ['PENDING', 'RUNNING'] } },
      data: {
        status: 'FAILED',
        finishedAt: app.now(),
        failure:
          'The import failed because of an internal error. Rows up to `rowsRead` are imported.',
      },
    }),
    app.db.contactImportChunk.deleteMany({ where: { importId: id } }),
  ]);
  announceContactImport(app, id);
}

interface RowReport {
  row: number;
  phone_number: string | null;
  reason: string;
}

interface BatchContact {
  /** Number of the last row with this subscriber. */
  row: number;
  contact: ContactColumns;
}

interface Batch {
  /** By subscriber, in file order. */
  contacts: Map<string, BatchContact>;
  /** Number of rows whose subscriber occurs in an earlier row of the batch. */
  repeats: number;
  /** Numbers of the rows that opt out of calls. */
  optOuts: OptOut[];
  optOutRows: number;
  /** Rows that were not imported. */
  problems: RowReport[];
  /** Rows in which cells were ignored, by their numbers. */
  warnings: Map<number, RowReport>;
  rows: number;
  /** Position in the file of the first row, in bytes. */
  start: number;
  /** Position in the file right after the last row, in bytes. */
  end: number;
}

function newBatch(start: number): Batch {
  return {
    contacts: new Map(),
    repeats: 0,
    optOuts: [],
    optOutRows: 0,
    problems: [],
    warnings: new Map(),
    rows: 0,
    start,
    end: start,
  };
}

/** Imports batch by batch. The next batch is read while the previous one is being written. */
async function importBatches(app: App, row: ContactImport, lease: Lease): Promise<void> {
  const mapping = row.mapping as unknown as ImportMapping;
  const reader = new CsvReader(mapping, MAX_ROW_BYTES, Number(row.bytesRead));
  const read = contactReader(row, mapping, await phoneNumberRules(app, row));
  const began = Date.now();
  let rowNumber = row.rowsRead;
  let batch = newBatch(Number(row.bytesRead));
  let writing: Promise<void> = Promise.resolve();
  const write = async (outcome: Outcome): Promise<void> => {
    await writing;
    const full = batch;
    batch = newBatch(full.end);
    writing = commitBatch(app, { row, lease }, full, outcome);
    // A failure is thrown by the `await` before the next write.
    writing.catch(() => undefined);
    if (outcome !== 'CONTINUE') await writing;
  };

  for await (const csvRow of readRows(reader, storedFile(app, row))) {
    if (rowNumber === MAX_ROWS) {
      return write({
        status: 'FAILED',
        failure: `The file has more than ${formatNumber(MAX_ROWS)} rows. Rows up to this limit are imported; import the others from another file.`,
      });
    }
    rowNumber += 1;
    read(batch, csvRow, rowNumber);
    if (Date.now() - began > MAX_RUN_MS || app.closing.aborted) return write('RESUME_LATER');
    const { rows, start, end } = batch;
    if (isFullBatch({ rows, bytes: end - start }, BATCH_ROWS)) await write('CONTINUE');
  }
  batch.end = Number(row.sizeBytes);
  await write({ status: 'COMPLETED', failure: null });
}

/** Yields the text of the file from the position of the import in pieces. */
async function* storedFile(app: App, row: ContactImport): AsyncGenerator<Buffer> {
  const start = Number(row.bytesRead);
  let skip = start % CHUNK_BYTES;
  for (let position = Math.floor(start / CHUNK_BYTES); ; position += 1) {
    if (position * CHUNK_BYTES >= Number(row.sizeBytes)) break;
    const chunk = await app.db.contactImportChunk.findUnique({
      where: { importId_position: { importId: row.id, position } },
    });
    // Deleted with a canceled import or its folder.
    if (!chunk) throw new LeaseLostError();
    yield Buffer.from(
      chunk.content.buffer,
      chunk.content.byteOffset + skip,
      chunk.content.length - skip,
    );
    skip = 0;
  }
}

function contactReader(
  row: ContactImport,
  mapping: ImportMapping,
  rules: PhoneNumberRules,
): (batch: Batch, csvRow: CsvRow, rowNumber: number) => void {
  const country = row.defaultCountry ? parseCountry(row.defaultCountry) : undefined;
  const readRow = contactRowReader(mapping.columns, { ...rules, defaultCountry: country });
  return (batch, { cells, problem, end }, rowNumber) => {
    batch.rows += 1;
    batch.end = end;
    const fail = (reason: string, phoneNumber: string | null): void => {
      batch.problems.push(reportOf(rowNumber, phoneNumber, reason));
    };
    if (problem) return fail(problem, null);
    const read = readRow(cells);
    if (read.optOut !== null) {
      batch.optOutRows += 1;
      batch.optOuts.push(...optOutsOf(read.optOut));
    }
    if ('reason' in read) return fail(read.reason, read.phoneNumber);
    const { contact, warning } = read;
    if (warning !== null) addWarning(batch, rowNumber, contact, warning);
    const subscriber = subscriberOf(contact.phoneNumber);
    const earlier = batch.contacts.get(subscriber);
    if (earlier) batch.repeats += 1;
    if (earlier && !row.updateExisting) return;
    const next = { row: rowNumber, contact };
    if (earlier) next.contact = mergeRow(batch, earlier.contact, next);
    batch.contacts.set(subscriber, next);
  };
}

function reportOf(row: number, phoneNumber: string | null, reason: string): RowReport {
  return {
    row,
    phone_number: phoneNumber && truncateText(phoneNumber, MAX_SHOWN_NUMBER),
    reason: truncateText(reason, MAX_REASON),
  };
}

function addWarning(
  { warnings }: Batch,
  row: number,
  { phoneNumber }: ContactColumns,
  warning: string,
): void {
  const earlier = warnings.get(row);
  const reason = earlier ? `${earlier.reason} ${warning}` : warning;
  warnings.set(row, reportOf(row, phoneNumber, reason));
}

/** Merges a row into an earlier row or a stored contact. Metadata that does not fit is reported as a warning. */
function mergeRow(batch: Batch, existing: ContactColumns, added: BatchContact): ContactColumns {
  const { contact, excessKeys } = mergeContact(existing, added.contact);
  const warning = warningOf(excessKeys.map((column) => ({ column, reason: TOO_MANY_KEYS })));
  if (warning !== null) addWarning(batch, added.row, contact, warning);
  return contact;
}

/** What follows a batch: the next batch of this run, the next run, or the end of the import. */
type Outcome = 'CONTINUE' | 'RESUME_LATER' | Finish;

interface Finish {
  status: 'COMPLETED' | 'FAILED';
  failure: string | null;
}

/** @throws LeaseLostError if the import was canceled or deleted, or another run holds its lease. */
async function commitBatch(
  app: App,
  { row, lease }: { row: ContactImport; lease: Lease },
  batch: Batch,
  outcome: Outcome,
): Promise<void> {
  const finish = typeof outcome === 'object' ? outcome : null;
  // Outside the transaction: opt-outs are kept even if the contacts cannot be written or the import was canceled.
  await addOptOuts(app.db, { ...row, now: app.now() }, batch.optOuts);
  await app.db.$transaction(async (tx) => {
    // The folder is locked first, like in every writer that adds contacts.
    await lockFolders(tx, row, [row.folderId], LOCK_WAIT_OF_JOBS);
    const [held] = await tx.$queryRaw<unknown[]>`
      SELECT 1 FROM contact_imports
      WHERE id = ${row.id}::uuid AND ${lease.held} AND status = 'RUNNING'
      FOR UPDATE`;
    if (!held) throw new LeaseLostError();
    const counts = await writeRows(tx, row, app.now(), batch);
    await writeReports(tx, 'contact_import_problems', row.id, batch.problems);
    await writeReports(tx, 'contact_import_warnings', row.id, [...batch.warnings.values()]);
    await tx.contactImport.update({
      where: { id: row.id },
      data: {
        rowsRead: { increment: batch.rows },
        bytesRead: BigInt(batch.end),
        importedCount: { increment: counts.imported },
        updatedCount: { increment: counts.updated },
        skippedCount: { increment: counts.skipped },
        failedCount: { increment: batch.problems.length },
        warningCount: { increment: batch.warnings.size },
        doNotCallCount: { increment: batch.optOutRows },
        stalledRuns: 0,
        nextRunAt: null,
        ...(finish ? { ...finish, finishedAt: app.now() } : {}),
      },
      select: { id: true },
    });
    await (outcome === 'CONTINUE' ? lease.renew(tx) : lease.release(tx));
    if (finish) await tx.contactImportChunk.deleteMany({ where: { importId: row.id } });
    if (outcome === 'RESUME_LATER') {
      await app.jobs.enqueue(
        tx,
        importContactsJob,
        { id: row.id },
        {
          group: row.organizationId,
          singletonKey: row.id,
        },
      );
    }
  });
  announceContactImport(app, row.id);
}

/** Requires the folder to be locked, so that existing contacts stay until the batch is written. */
async function writeRows(
  tx: Tx,
  { organizationId, folderId, updateExisting }: ContactImport,
  now: Date,
  batch: Batch,
): Promise<{ imported: number; updated: number; skipped: number }> {
  const target: FolderTarget = { organizationId, folderId, now };
  const rows: ContactRow[] = [...batch.contacts.values()].map(({ contact }) => ({
    ...contact,
    id: newId(),
  }));
  const inserted = await insertContacts(tx, target, rows);
  const present = rows.filter(({ id }) => !inserted.has(id));
  const known = present.length + batch.repeats;
  if (!updateExisting) return { imported: inserted.size, updated: 0, skipped: known };
  const existing = await lockByNumber(
    tx,
    target,
    present.map(({ phoneNumber }) => phoneNumber),
  );
  const merged = existing.map((stored) => {
    const columns = columnsOf(stored);
    const added = batch.contacts.get(subscriberOf(columns.phoneNumber))!;
    return { ...mergeRow(batch, columns, added), id: columns.id };
  });
  await overwriteContacts(tx, organizationId, now, merged);
  return { imported: inserted.size, updated: known, skipped: 0 };
}

async function writeReports(
  tx: Tx,
  table: 'contact_import_problems' | 'contact_import_warnings',
  importId: string,
  reports: readonly RowReport[],
): Promise<void> {
  if (reports.length === 0) return;
  await tx.$executeRaw(Prisma.sql`
    INSERT INTO ${Prisma.raw(table)} (import_id, row, phone_number, reason)
    SELECT ${importId}::uuid, r.row, r.phone_number, r.reason
    FROM jsonb_to_recordset(${JSON.stringify(reports)}::jsonb)
      AS r(row int, phone_number text, reason text)`);
}
