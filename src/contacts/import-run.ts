/**
 * Reads the file of an import, batch by batch. What a batch does to contacts, the problems in it,
 * the counters and the place in the file up to which it reaches are one transaction: whatever dies
 * in between, the next run goes on right after the last batch that was committed, so no row is
 * imported, reported or counted twice, and none is left out.
 *
 * One run at a time holds the lease of an import. It gives way after a few seconds, with a job for
 * the next, so that imports take turns and a process can stop at any time.
 */
import type { App, Tx } from '../app.ts';
import { type ContactImport, Prisma } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import { CsvReader, type CsvRow } from './csv.ts';
import { lockFolders } from './folders.ts';
import { announceContactImport, CHUNK_BYTES, MAX_ROW_BYTES, MAX_ROWS } from './import.ts';
import { type ImportMapping, rowReader } from './import-mapping.ts';
import { importContactsJob } from './jobs.ts';
import { type ContactColumns, countryNamed, mergeContact, readContactRow } from './record.ts';
import {
  type ContactRow,
  columnsOf,
  insertContacts,
  lockByNumber,
  overwriteContacts,
  type Place,
} from './rows.ts';

export const BATCH_ROWS = 2_000;
const TURN_MS = 5_000;
const LEASE_SECONDS = 30;
/** Whatever keeps an import from going on for so long will not go away by itself. */
const GIVE_UP_HOURS = 24;
const MAX_REASON = 1_000;
const MAX_SHOWN_NUMBER = 60;

class LeaseLostError extends Error {
  override name = 'LeaseLostError';
}

/** The job. Does nothing when the import is over or somebody else is at it. */
export async function runContactImport(app: App, { id }: { id: string }): Promise<void> {
  const leaseId = newId();
  const [claimed] = await app.db.contactImport.updateManyAndReturn({
    where: {
      id,
      status: { in: ['PENDING', 'RUNNING'] },
      OR: [{ leaseUntil: null }, { leaseUntil: { lt: new Date() } }],
    },
    data: { status: 'RUNNING', leaseId, leaseUntil: leaseEnd() },
  });
  if (!claimed) return;
  if (!claimed.startedAt) {
    await app.db.contactImport.updateMany({
      where: { id, startedAt: null },
      data: { startedAt: app.now() },
    });
  }
  try {
    await takeTurn(app, claimed, leaseId);
  } catch (error) {
    if (error instanceof LeaseLostError) return;
    await app.db.contactImport
      .updateMany({ where: { id, leaseId }, data: { leaseId: null, leaseUntil: null } })
      .catch(() => undefined);
    throw error;
  }
}

/**
 * The net below the job: takes up imports whose run has died, and gives up those that have not come
 * on for a day.
 */
export async function sweepContactImports(app: App): Promise<void> {
  const waiting = await app.db.contactImport.findMany({
    where: {
      status: { in: ['PENDING', 'RUNNING'] },
      updatedAt: { lt: new Date(Date.now() - 5_000) },
      OR: [{ leaseUntil: null }, { leaseUntil: { lt: new Date() } }],
    },
    orderBy: { createdAt: 'asc' },
    select: { id: true, updatedAt: true },
    take: 100,
  });
  const giveUp = new Date(Date.now() - GIVE_UP_HOURS * 3_600_000);
  for (const { id, updatedAt } of waiting) {
    if (updatedAt < giveUp) await giveUpImport(app, id);
    else await app.jobs.enqueue(app.db, importContactsJob, { id }, { singletonKey: id });
  }
}

async function giveUpImport(app: App, id: string): Promise<void> {
  await app.db.$transaction([
    app.db.contactImport.updateMany({
      where: { id, status: { in: ['PENDING', 'RUNNING'] } },
      data: {
        status: 'FAILED',
        finishedAt: app.now(),
        failure: 'Something went wrong on our side. The rows read so far are imported.',
      },
    }),
    app.db.contactImportChunk.deleteMany({ where: { importId: id } }),
  ]);
  announceContactImport(app, id);
}

interface Batch {
  /** By number, in the order of the file. */
  contacts: Map<string, ContactColumns>;
  /** Rows whose number an earlier row of the batch has. */
  repeats: number;
  problems: { row: number; phone_number: string | null; reason: string }[];
  rows: number;
  /** The place in the file right after its last row. */
  end: number;
}

function newBatch(end: number): Batch {
  return { contacts: new Map(), repeats: 0, problems: [], rows: 0, end };
}

/** While one batch is written the next is read. */
async function takeTurn(app: App, row: ContactImport, leaseId: string): Promise<void> {
  const mapping = row.mapping as unknown as ImportMapping;
  const reader = new CsvReader(mapping, MAX_ROW_BYTES, Number(row.bytesRead));
  const read = contactReader(row, mapping);
  const began = Date.now();
  let rowNumber = row.rowsRead;
  let batch = newBatch(Number(row.bytesRead));
  let writing: Promise<void> = Promise.resolve();
  const write = async (then: 'GO_ON' | 'GIVE_WAY' | Finish): Promise<void> => {
    await writing;
    const full = batch;
    batch = newBatch(full.end);
    writing = commit(app, row, leaseId, full, then);
    // Looked at before the next batch is written.
    writing.catch(() => undefined);
    if (then !== 'GO_ON') await writing;
  };

  for await (const piece of keptFile(app, row)) {
    for (const csvRow of piece === null ? reader.finish() : reader.push(piece)) {
      if (rowNumber === MAX_ROWS) {
        return write({
          status: 'FAILED',
          failure: `The file has more than ${MAX_ROWS.toLocaleString('en')} rows. Those up to row ${MAX_ROWS.toLocaleString('en')} are imported; send the others in another file.`,
        });
      }
      rowNumber += 1;
      read(batch, csvRow, rowNumber);
      if (batch.rows < BATCH_ROWS) continue;
      if (Date.now() - began > TURN_MS || app.closing.aborted) return write('GIVE_WAY');
      await write('GO_ON');
    }
  }
  batch.end = Number(row.sizeBytes);
  await write({ status: 'COMPLETED', failure: null });
}

/** The text of the file from where the import stands, piece by piece, and null at its end. */
async function* keptFile(app: App, row: ContactImport): AsyncGenerator<Buffer | null> {
  const start = Number(row.bytesRead);
  let skip = start % CHUNK_BYTES;
  for (let position = Math.floor(start / CHUNK_BYTES); ; position += 1) {
    if (position * CHUNK_BYTES >= Number(row.sizeBytes)) break;
    const chunk = await app.db.contactImportChunk.findUnique({
      where: { importId_position: { importId: row.id, position } },
    });
    // Gone with a cancelled import or its folder.
    if (!chunk) throw new LeaseLostError();
    yield Buffer.from(
      chunk.content.buffer,
      chunk.content.byteOffset + skip,
      chunk.content.length - skip,
    );
    skip = 0;
  }
  yield null;
}

function contactReader(
  row: ContactImport,
  mapping: ImportMapping,
): (batch: Batch, csvRow: CsvRow, rowNumber: number) => void {
  const toInput = rowReader(mapping.columns);
  const country = row.defaultCountry ? countryNamed(row.defaultCountry) : undefined;
  return (batch, { cells, problem, end }, rowNumber) => {
    batch.rows += 1;
    batch.end = end;
    const refuse = (reason: string, phoneNumber: string | null): void => {
      batch.problems.push({
        row: rowNumber,
        phone_number: phoneNumber?.slice(0, MAX_SHOWN_NUMBER).toWellFormed() ?? null,
        reason: reason.slice(0, MAX_REASON).toWellFormed(),
      });
    };
    if (problem) return refuse(problem, null);
    const said = toInput(cells);
    if ('problem' in said) return refuse(said.problem, null);
    const result = readContactRow(said.input, country);
    if ('reason' in result) return refuse(result.reason, said.input.phoneNumber ?? null);
    const { contact } = result;
    const earlier = batch.contacts.get(contact.phoneNumber);
    if (earlier) batch.repeats += 1;
    if (!earlier) batch.contacts.set(contact.phoneNumber, contact);
    else if (row.updateExisting) {
      batch.contacts.set(contact.phoneNumber, mergeContact(earlier, contact));
    }
  };
}

interface Finish {
  status: 'COMPLETED' | 'FAILED';
  failure: string | null;
}

/** @throws LeaseLostError when the import was stopped, is gone, or another run has taken it over. */
async function commit(
  app: App,
  row: ContactImport,
  leaseId: string,
  batch: Batch,
  then: 'GO_ON' | 'GIVE_WAY' | Finish,
): Promise<void> {
  const finish = typeof then === 'object' ? then : null;
  await app.db.$transaction(async (tx) => {
    // The folder first, as everybody does who adds to it.
    await lockFolders(tx, row, [row.folderId]);
    const [held] = await tx.$queryRaw<{ id: string }[]>`
      SELECT id FROM contact_imports
      WHERE id = ${row.id}::uuid AND lease_id = ${leaseId}::uuid AND status = 'RUNNING'
      FOR UPDATE`;
    if (!held) throw new LeaseLostError();
    const counts = await writeContacts(tx, row, app.now(), batch);
    await writeProblems(tx, row.id, batch.problems);
    await tx.contactImport.update({
      where: { id: row.id },
      data: {
        rowsRead: { increment: batch.rows },
        bytesRead: BigInt(batch.end),
        importedCount: { increment: counts.imported },
        updatedCount: { increment: counts.updated },
        skippedCount: { increment: counts.skipped },
        failedCount: { increment: batch.problems.length },
        ...(then === 'GO_ON' ? { leaseUntil: leaseEnd() } : { leaseId: null, leaseUntil: null }),
        ...(finish ? { ...finish, finishedAt: app.now() } : {}),
      },
      select: { id: true },
    });
    if (finish) await tx.contactImportChunk.deleteMany({ where: { importId: row.id } });
    if (then === 'GIVE_WAY') {
      await app.jobs.enqueue(tx, importContactsJob, { id: row.id }, { singletonKey: row.id });
    }
  });
  announceContactImport(app, row.id);
}

/** The folder is locked, so a number that is there stays there until all is written. */
async function writeContacts(
  tx: Tx,
  { organizationId, folderId, updateExisting }: ContactImport,
  now: Date,
  { contacts, repeats }: Batch,
): Promise<{ imported: number; updated: number; skipped: number }> {
  const place: Place = { organizationId, folderId, now };
  const rows: ContactRow[] = [...contacts.values()].map((contact) => ({ ...contact, id: newId() }));
  const inserted = await insertContacts(tx, place, rows);
  const present = rows.filter(({ id }) => !inserted.has(id));
  const known = present.length + repeats;
  if (!updateExisting) return { imported: inserted.size, updated: 0, skipped: known };
  const existing = await lockByNumber(
    tx,
    place,
    present.map(({ phoneNumber }) => phoneNumber),
  );
  const said = new Map(present.map((contact) => [contact.phoneNumber, contact]));
  await overwriteContacts(
    tx,
    organizationId,
    now,
    existing.map((contact) => {
      const columns = columnsOf(contact);
      return { ...mergeContact(columns, said.get(contact.phoneNumber)!), id: contact.id };
    }),
  );
  return { imported: inserted.size, updated: known, skipped: 0 };
}

async function writeProblems(tx: Tx, importId: string, problems: Batch['problems']): Promise<void> {
  if (problems.length === 0) return;
  await tx.$executeRaw(Prisma.sql`
    INSERT INTO contact_import_problems (import_id, row, phone_number, reason)
    SELECT ${importId}::uuid, r.row, r.phone_number, r.reason
    FROM jsonb_to_recordset(${JSON.stringify(problems)}::jsonb)
      AS r(row int, phone_number text, reason text)`);
}

function leaseEnd(): Date {
  return new Date(Date.now() + LEASE_SECONDS * 1000);
}
