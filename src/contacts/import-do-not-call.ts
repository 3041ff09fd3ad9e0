/** Whole lists of numbers that must not be called, from a file. */
import type { App } from '../app.ts';
import { Checks } from '../infra/checks.ts';
import type { UploadedFile } from '../infra/uploaded-file.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { CsvReader, withoutFormulaGuard } from './csv.ts';
import { checkCountry, checkFile, MAX_ROW_BYTES, MAX_ROWS, readHeader } from './import.ts';
import { mapColumns } from './import-mapping.ts';
import { readText } from './import-text.ts';
import { toE164 } from './record.ts';

const BATCH = 5_000;
const MAX_PROBLEMS = 1_000;

export interface ImportDoNotCallInput {
  file: UploadedFile;
  reason?: string | null | undefined;
  source?: string | null | undefined;
  defaultCountry?: string | null | undefined;
}

export interface RowProblem {
  row: number;
  phoneNumber: string | null;
  reason: string;
}

export interface ImportedDoNotCall {
  addedCount: number;
  /** On the list already, or more than once in the file. */
  presentCount: number;
  failedCount: number;
  /** The first of those that failed. */
  problems: RowProblem[];
}

/**
 * Puts all numbers of a file on the list and comes back when they are on it: from then on none of
 * them is called.
 *
 * Order: the whole file is looked at before the first number is written, then batch after batch is
 * committed. If one fails, what is on the list stays there, and the same file can be sent again.
 */
export async function importDoNotCall(
  app: App,
  viewer: Viewer,
  input: ImportDoNotCallInput,
): Promise<ImportedDoNotCall> {
  const checks = new Checks();
  const reason = checks.text(input.reason, ['reason'], { max: 500 })?.trim() || null;
  const source = checks.text(input.source, ['source'], { max: 100 })?.trim() || null;
  const country = checkCountry(checks, input.defaultCountry);
  const plan = await checkFile(checks, input.file, () => look(checks, input.file, country));
  checks.throwIfAny();

  const { column, begin, format } = plan!;
  const result: ImportedDoNotCall = {
    addedCount: 0,
    presentCount: 0,
    failedCount: 0,
    problems: [],
  };
  let numbers: string[] = [];
  const write = async (): Promise<void> => {
    const added = await addNumbers(app, viewer.organizationId, numbers, reason, source);
    result.addedCount += added;
    result.presentCount += numbers.length - added;
    numbers = [];
  };
  let row = 0;
  for await (const { cells, problem, end } of rowsOf(input.file, format)) {
    if (end <= begin) continue;
    row += 1;
    const cell = withoutFormulaGuard((cells[column] ?? '').trim());
    const number = problem ? undefined : toE164(cell, country);
    if (number) numbers.push(number);
    else {
      result.failedCount += 1;
      if (result.problems.length < MAX_PROBLEMS) {
        result.problems.push({
          row,
          phoneNumber: cell.slice(0, 60).toWellFormed() || null,
          reason: problem ?? 'It is not a phone number that can be dialled.',
        });
      }
    }
    if (numbers.length === BATCH) await write();
  }
  if (numbers.length > 0) await write();
  return result;
}

/** Where the numbers are, and that the file can be read to its end. */
async function look(
  checks: Checks,
  file: UploadedFile,
  country: ReturnType<typeof checkCountry>,
): Promise<{
  format: Awaited<ReturnType<typeof readHeader>>['format'];
  column: number;
  /** The rows that end here or before are the header. */
  begin: number;
}> {
  const { format, cells, end } = await readHeader(file);
  // A bare list of numbers has no header.
  const bare = cells.findIndex((cell) => toE164(withoutFormulaGuard(cell.trim()), country));
  const columns = bare === -1 ? mapColumns(checks, cells, []) : [];
  let rows = 0;
  for await (const _row of rowsOf(file, format)) rows += 1;
  if (rows > MAX_ROWS + 1) {
    checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${MAX_ROWS.toLocaleString('en')} rows. Divide it.`,
      ['file'],
    );
  }
  const named = columns.findIndex(({ field }) => field === 'phoneNumber');
  return { format, column: bare === -1 ? named : bare, begin: bare === -1 ? end : 0 };
}

async function* rowsOf(file: UploadedFile, format: ConstructorParameters<typeof CsvReader>[0]) {
  const reader = new CsvReader(format, MAX_ROW_BYTES);
  for await (const piece of readText(file.read())) yield* reader.push(piece);
  yield* reader.finish();
}

/** @returns how many of them were not on the list. */
async function addNumbers(
  app: App,
  organizationId: string,
  numbers: readonly string[],
  reason: string | null,
  source: string | null,
): Promise<number> {
  const added = await app.db.$queryRaw<{ added: boolean }[]>`
    INSERT INTO do_not_call_entries AS e (organization_id, phone_number, reason, source, created_at)
    SELECT DISTINCT ON (n.number) ${organizationId}::uuid, n.number, ${reason}, ${source},
      ${app.now()}::timestamptz
    FROM unnest(${numbers}::text[]) AS n(number)
    ORDER BY n.number
    ON CONFLICT (organization_id, phone_number) DO UPDATE SET
      reason = coalesce(EXCLUDED.reason, e.reason), source = coalesce(EXCLUDED.source, e.source)
    RETURNING e.xmax = 0 AS added`;
  return added.filter((row) => row.added).length;
}
