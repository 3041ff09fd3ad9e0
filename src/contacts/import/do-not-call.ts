/** Imports a do-not-call list from a file. */
import type { App } from '../../app.ts';
import { Checks } from '../../infra/checks.ts';
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { type PhoneNumberRules, readPhoneNumber } from '../../infra/phone-number.ts';
import type { Viewer } from '../../viewer.ts';
import { headerTest, mapColumns } from './column-mapping.ts';
import { CsvReader, cellText } from './csv.ts';
import { type FileFormat, readHeader } from './header.ts';
import { checkFile, MAX_ROW_BYTES, MAX_ROWS } from './service.ts';
import { type FileEncoding, readText } from './text-encoding.ts';

const BATCH = 5_000;
const MAX_PROBLEMS = 1_000;

export interface ImportDoNotCallInput {
  file: UploadedFile;
  reason?: string | null | undefined;
  source?: string | null | undefined;
  defaultCountry?: string | null | undefined;
  encoding?: FileEncoding | null | undefined;
}

export interface RowProblem {
  row: number;
  phoneNumber: string | null;
  reason: string;
}

export interface ImportedDoNotCall {
  addedCount: number;
  /** Rows whose number was already on the list or in an earlier row. */
  presentCount: number;
  failedCount: number;
  /** The first 1,000 rows that failed. */
  problems: RowProblem[];
}

/**
 * Adds all numbers of a file to the do-not-call list. When it returns, none of them is called any more.
 *
 * Order: the whole file is validated before the first number is written, then batches are committed one
 * by one. If a batch fails, earlier batches remain and the same file can be imported again.
 */
export async function importDoNotCall(
  app: App,
  viewer: Viewer,
  input: ImportDoNotCallInput,
): Promise<ImportedDoNotCall> {
  const checks = new Checks();
  const reason = checks.text(input.reason, ['reason'], { max: 500 })?.trim() || null;
  const source = checks.text(input.source, ['source'], { max: 100 })?.trim() || null;
  const country = checks.country(input.defaultCountry, ['defaultCountry']);
  const inspected = await checkFile(checks, input.file, () => inspectFile(checks, input, country));
  checks.throwIfAny();

  const { phoneColumns, headerEnd, format } = inspected!;
  const result: ImportedDoNotCall = {
    addedCount: 0,
    presentCount: 0,
    failedCount: 0,
    problems: [],
  };
  let numbers: string[] = [];
  const write = async (): Promise<void> => {
    const added = await addNumbers(app, viewer.organizationId, numbers, { reason, source });
    result.addedCount += added;
    result.presentCount += numbers.length - added;
    numbers = [];
  };
  let row = 0;
  for await (const { cells, problem, end } of rowsOf(input.file, format)) {
    if (end <= headerEnd) continue;
    row += 1;
    const texts = phoneColumns.map((index) => cellText(cells[index] ?? ''));
    const found = problem ? [] : texts.flatMap((text) => numberIn(text, country) ?? []);
    if (found.length > 0) numbers.push(...found);
    else {
      result.failedCount += 1;
      if (result.problems.length < MAX_PROBLEMS) {
        result.problems.push({
          row,
          phoneNumber: texts.find(Boolean)?.slice(0, 60).toWellFormed() ?? null,
          reason: problem ?? 'It is not a valid phone number.',
        });
      }
    }
    if (numbers.length >= BATCH) await write();
  }
  if (numbers.length > 0) await write();
  return result;
}

/** The phone number in a cell, without its extension. */
function numberIn(cell: string, country: Country): string | undefined {
  const reading = readPhoneNumber(cell, country);
  return 'problem' in reading ? undefined : reading.phoneNumber;
}

type Country = PhoneNumberRules['defaultCountry'];

/** Finds the phone number columns and checks that the file can be read to its end. */
async function inspectFile(
  checks: Checks,
  { file, encoding }: ImportDoNotCallInput,
  country: Country,
): Promise<{
  format: FileFormat;
  /** Indexes of the columns with phone numbers. */
  phoneColumns: number[];
  /** Position right after the header, in bytes; 0 without a header. */
  headerEnd: number;
}> {
  const columnWithNumber = (cells: readonly string[]): number =>
    cells.findIndex((cell) => numberIn(cellText(cell), country));
  const namesColumn = headerTest([]);
  const { format, cells, end } = await readHeader(file, {
    encoding,
    isHeader: (row) => namesColumn(row) || columnWithNumber(row) !== -1,
  });
  // A plain list of numbers has no header.
  const bare = columnWithNumber(cells);
  const columns = bare === -1 ? mapColumns(checks, cells, []) : [];
  let rows = 0;
  for await (const _row of rowsOf(file, format)) rows += 1;
  if (rows > MAX_ROWS + 1) {
    checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${MAX_ROWS.toLocaleString('en')} rows. Split it.`,
      ['file'],
    );
  }
  const named = columns.flatMap(({ field }, index) => (field === 'phoneNumber' ? [index] : []));
  return bare === -1
    ? { format, phoneColumns: named, headerEnd: end }
    : { format, phoneColumns: [bare], headerEnd: 0 };
}

async function* rowsOf(file: UploadedFile, format: FileFormat) {
  const reader = new CsvReader(format, MAX_ROW_BYTES);
  for await (const piece of readText(file.read(), format.encoding)) yield* reader.push(piece);
  yield* reader.finish();
}

/** Returns how many of the numbers were not on the list. */
async function addNumbers(
  app: App,
  organizationId: string,
  numbers: readonly string[],
  { reason, source }: { reason: string | null; source: string | null },
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
