/** Imports a do-not-call list from a file. */
import type { App } from '../../app.ts';
import { Checks } from '../../infra/checks.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import type { PhoneNumberRules } from '../../infra/phone-number.ts';
import { ownedBy, type Viewer } from '../../viewer.ts';
import { MAX_REASON, MAX_SOURCE, upsertEntries } from '../do-not-call.ts';
import { headerTest, mapColumns } from './column-mapping.ts';
import { CsvReader, type CsvRow, cellText } from './csv.ts';
import { readRows } from './csv-rows.ts';
import { isEmptyCell } from './empty-cells.ts';
import { type FileFormat, readHeader } from './header.ts';
import { guessField } from './header-names.ts';
import { readPhoneCell } from './phone-cells.ts';
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

export interface NumberProblem {
  row: number;
  phoneNumber: string | null;
  reason: string;
}

export interface ImportedDoNotCall {
  addedCount: number;
  /** Number of phone numbers that were already on the list or in an earlier row. */
  presentCount: number;
  /** Number of rows without a phone number, or with one that cannot be read; their other numbers are added. */
  failedCount: number;
  /** The first 1,000 numbers that cannot be read. */
  problems: NumberProblem[];
}

/**
 * Adds all numbers of a file to the do-not-call list. Once it returns, none of them is called any more. Anything that
 * looks like a number but cannot be read is reported.
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
  const reason = checks.text(input.reason, ['reason'], { max: MAX_REASON })?.trim() || null;
  const source = checks.text(input.source, ['source'], { max: MAX_SOURCE })?.trim() || null;
  const country = checks.country(input.defaultCountry, ['defaultCountry']);
  const inspected = await checkFile(checks, input.file, () => inspectFile(checks, input, country));
  checks.throwIfAny();

  const { columns, headerEnd, format } = inspected!;
  const result: ImportedDoNotCall = {
    addedCount: 0,
    presentCount: 0,
    failedCount: 0,
    problems: [],
  };
  let numbers: string[] = [];
  const write = async (): Promise<void> => {
    const entries = numbers.map((number) => ({ phone_number: number, reason, source }));
    const added = await upsertEntries(app.db, { ...ownedBy(viewer), now: app.now() }, entries);
    result.addedCount += added;
    result.presentCount += numbers.length - added;
    numbers = [];
  };
  let row = 0;
  for await (const { cells, problem, end } of rowsOf(input.file, format)) {
    if (end <= headerEnd) continue;
    row += 1;
    const read = problem
      ? { numbers: [], unread: [{ text: null, reason: problem }] }
      : readRow(cells, columns, country);
    numbers.push(...read.numbers);
    if (read.unread.length > 0) result.failedCount += 1;
    for (const { text, reason: why } of read.unread) {
      if (result.problems.length === MAX_PROBLEMS) break;
      const phoneNumber = text && truncateText(text, 60);
      result.problems.push({ row, phoneNumber, reason: why });
    }
    if (numbers.length >= BATCH) await write();
  }
  if (numbers.length > 0) await write();
  return result;
}

type Country = PhoneNumberRules['defaultCountry'];

/** Indexes of the columns with phone numbers. */
interface PhoneColumns {
  /** Columns named as such in the header: each filled cell is a phone number. */
  named: readonly number[];
  /** Other columns with a phone number in some row; other rows may contain something else. */
  found: readonly number[];
}

interface UnreadNumber {
  text: string | null;
  reason: string;
}

function readRow(
  cells: readonly string[],
  { named, found }: PhoneColumns,
  country: Country,
): { numbers: string[]; unread: UnreadNumber[] } {
  const filled = (indexes: readonly number[]): string[] =>
    indexes
      .map((index) => cellText(cells[index] ?? ''))
      .filter((text) => !isEmptyCell(text, 'phoneNumber'));
  const inNamed = filled(named);
  const inFound = filled(found);
  const seemsNumber = inFound.filter((text) => /\d/.test(text));
  const read = [...inNamed, ...seemsNumber].map((text) => readPhoneCell(text, country));
  const numbers = [...new Set(read.flatMap((cell) => cell.numbers))];
  const unread = read.flatMap((cell) =>
    cell.unread.map(({ text, problem }) => ({ text, reason: `It ${problem}.` })),
  );
  if (numbers.length > 0 || unread.length > 0) return { numbers, unread };
  const [text = null] = inFound;
  const reason = text === null ? 'The row has no phone number.' : 'It is not a valid phone number.';
  return { numbers, unread: [{ text, reason }] };
}

/** Finds the phone number columns, and checks that the file can be read to its end. */
async function inspectFile(
  checks: Checks,
  { file, encoding }: ImportDoNotCallInput,
  country: Country,
): Promise<{
  format: FileFormat;
  columns: PhoneColumns;
  /** Position right after the header, in bytes; 0 without a header. */
  headerEnd: number;
}> {
  const hasNumber = (cell: string): boolean =>
    /(?:\d\D*){5}/.test(cell) && readPhoneCell(cellText(cell), country).numbers.length > 0;
  const namesColumn = headerTest([]);
  const { format, cells, end } = await readHeader(file, {
    encoding,
    isHeader: (row) => namesColumn(row) || row.some(hasNumber),
  });
  // A plain list of numbers has no header.
  const hasHeader = !cells.some(hasNumber);
  const columns = hasHeader ? mapColumns(checks, cells, null) : [];
  const isNamed = (index: number): boolean => columns[index]?.field === 'phoneNumber';
  // Columns that are known to have something else, such as names. A weak name of a phone number column, such as
  // "Number", is not enough for `isNamed`.
  const others = new Set(
    columns.flatMap(({ column }, index) => {
      const field = guessField(column)?.field ?? 'phoneNumber';
      return field === 'phoneNumber' ? [] : index;
    }),
  );
  const headerEnd = hasHeader ? end : 0;
  const found = new Set<number>();
  let rows = 0;
  for await (const row of rowsOf(file, format)) {
    if (row.end <= headerEnd) continue;
    rows += 1;
    for (const [index, cell] of row.cells.entries()) {
      if (isNamed(index) || found.has(index) || others.has(index)) continue;
      if (hasNumber(cell)) found.add(index);
    }
  }
  if (rows > MAX_ROWS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${MAX_ROWS.toLocaleString('en')} rows. Split it.`,
      ['file'],
    );
  }
  const named = columns.flatMap((_column, index) => (isNamed(index) ? [index] : []));
  return { format, columns: { named, found: [...found] }, headerEnd };
}

function rowsOf(file: UploadedFile, format: FileFormat): AsyncGenerator<CsvRow> {
  return readRows(new CsvReader(format, MAX_ROW_BYTES), readText(file.read(), format.encoding));
}
