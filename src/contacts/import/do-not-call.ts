/** Imports a do-not-call list from a file. */
import type { App } from '../../app.ts';
import { Checks, quote } from '../../infra/checks.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { formatNumber } from '../../infra/format-number.ts';
import type { PhoneNumberRules } from '../../infra/phone-number.ts';
import { ownedBy, type Viewer } from '../../viewer.ts';
import { MAX_REASON, MAX_SOURCE, upsertEntries } from '../do-not-call.ts';
import { checkPhoneColumns, headerTest, mapColumns } from './column-mapping.ts';
import { CsvReader, type CsvRow, cellText } from './csv.ts';
import { readRows } from './csv-rows.ts';
import { isEmptyCell } from './empty-cells.ts';
import { type FileFormat, readHeader } from './header.ts';
import { guessField } from './header-names.ts';
import {
  hasPhoneNumber,
  hasWrittenPhone,
  mayHaveNumber,
  type PhoneCell,
  readAnyNotation,
  readPhoneCell,
  readUnnamedCell,
} from './phone-cells.ts';
import { checkFile, MAX_ROW_BYTES, MAX_ROWS } from './service.ts';
import { type FileEncoding, readText } from './text-encoding.ts';

const BATCH = 5_000;
const MAX_PROBLEMS = 1_000;
/** A column is not tried further once this many of its cells have digits but no phone number. */
const MAX_TRIES = 1_000;

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
  /** The first 1,000 numbers that cannot be read, and columns that may have numbers and were not read. */
  problems: NumberProblem[];
}

/**
 * Adds all numbers of a file to the do-not-call list. Once it returns, none of them is called anymore. Anything that
 * looks like a number but cannot be read is reported. A column that has numbers, but neither the name of a phone number
 * column nor numbers that are written as phone numbers, is reported and not added: they may be IDs.
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
  const findUnreadColumns = unreadColumnFinder(columns, country);
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
  // Never crowded out by the problems of rows.
  const unreadColumns: NumberProblem[] = [];
  let row = 0;
  const report = (problems: NumberProblem[], unread: readonly UnreadNumber[]): void => {
    for (const { text, reason: why } of unread) {
      if (problems.length === MAX_PROBLEMS) break;
      problems.push({ row, phoneNumber: text && truncateText(text, 60), reason: why });
    }
  };
  for await (const { cells, problem, end } of rowsOf(input.file, format)) {
    if (end <= headerEnd) continue;
    row += 1;
    const read = problem
      ? { numbers: [], unread: [{ text: null, reason: problem }] }
      : readRow(cells, columns, country);
    const unreadHere = findUnreadColumns(cells);
    numbers.push(...read.numbers);
    if (read.unread.length + unreadHere.length > 0) result.failedCount += 1;
    report(result.problems, read.unread);
    report(unreadColumns, unreadHere);
    if (numbers.length >= BATCH) await write();
  }
  if (numbers.length > 0) await write();
  result.problems = [...unreadColumns, ...result.problems]
    .slice(0, MAX_PROBLEMS)
    .sort((one, other) => one.row - other.row);
  return result;
}

type Country = PhoneNumberRules['defaultCountry'];

/** Indexes of the columns with phone numbers. */
interface PhoneColumns {
  /** Columns named as such in the header: each filled cell is a phone number. */
  named: readonly number[];
  /** The only column with numbers in a file without a header: each number that is not a date is a phone number. */
  list: readonly number[];
  /** Other columns with a cell that is written as a phone number; other cells may contain something else. */
  found: readonly number[];
  /** Columns that are known to have something else, such as names. */
  others: ReadonlySet<number>;
  /** Names in the header; empty without a header. */
  names: readonly string[];
}

interface UnreadNumber {
  text: string | null;
  reason: string;
}

function readRow(
  cells: readonly string[],
  { named, list, found }: PhoneColumns,
  country: Country,
): { numbers: string[]; unread: UnreadNumber[] } {
  const filled = (indexes: readonly number[]): string[] =>
    indexes
      .map((index) => cellText(cells[index] ?? ''))
      .filter((text) => !isEmptyCell(text, 'phoneNumber'));
  const withDigit = (texts: readonly string[]): string[] => texts.filter((text) => /\d/.test(text));
  const unnamed = [filled(list), filled(found)] as const;
  const read = [
    ...filled(named).map((text) => readPhoneCell(text, country)),
    ...withDigit(unnamed[0]).map((text) => readAnyNotation(text, country)),
    ...withDigit(unnamed[1]).map((text) => readFoundCell(text, country)),
  ];
  const numbers = [...new Set(read.flatMap((cell) => cell.numbers))];
  const unread = read.flatMap((cell) =>
    cell.unread.map(({ text, problem }) => ({ text, reason: `It ${problem}.` })),
  );
  if (numbers.length > 0 || unread.length > 0) return { numbers, unread };
  const [text = null] = unnamed.flat();
  const reason = text === null ? 'The row has no phone number.' : 'It is not a valid phone number.';
  return { numbers, unread: [{ text, reason }] };
}

function readFoundCell(text: string, country: Country): PhoneCell {
  const { numbers, unread, doubtful } = readUnnamedCell(text, country);
  const problem =
    'may be a phone number, but is not written as one. Write it with "+" and the country calling code';
  return { numbers, unread: [...unread, ...doubtful.map((it) => ({ text: it, problem }))] };
}

/** Returns a function that reports, in the first such row, each column that is not read and may have phone numbers. */
function unreadColumnFinder(
  { named, list, found, others, names }: PhoneColumns,
  country: Country,
): (cells: readonly string[]) => UnreadNumber[] {
  const done = new Set([...named, ...list, ...found, ...others]);
  const tries = new Map<number, number>();
  return (cells) =>
    cells.flatMap((cell, index) => {
      if (done.has(index) || !mayHaveNumber(cell)) return [];
      const [text] = readUnnamedCell(cellText(cell), country).doubtful;
      const tried = (tries.get(index) ?? 0) + 1;
      tries.set(index, tried);
      if (text !== undefined || tried === MAX_TRIES) done.add(index);
      if (text === undefined) return [];
      const column = names[index] ? `Column ${quote(names[index])}` : `Column ${index + 1}`;
      const reason = `${column} was not read; it has what may be phone numbers. If they are, name it "phone_number" in the header.`;
      return [{ text, reason }];
    });
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
  const hasNumber = (cell: string): boolean => hasPhoneNumber(cellText(cell), country);
  const namesColumn = headerTest([]);
  const { format, cells, end } = await readHeader(file, {
    encoding,
    isHeader: (row) => namesColumn(row) || row.some(hasNumber),
  });
  // A plain list of numbers has no header.
  const hasHeader = !cells.some(hasNumber);
  const mapped = hasHeader ? mapColumns(checks, cells, null) : [];
  const named = mapped.flatMap(({ field }, index) => (field === 'phoneNumber' ? [index] : []));
  // A weak name of a phone number column, such as "Number", does not suffice for `named`.
  const others = new Set(
    mapped.flatMap(({ column }, index) => {
      const field = guessField(column)?.field ?? 'phoneNumber';
      return field === 'phoneNumber' ? [] : index;
    }),
  );
  const headerEnd = hasHeader ? end : 0;
  const written = new Set<number>();
  const readable = new Set<number>();
  const skipped = new Set([...named, ...others]);
  let rows = 0;
  for await (const row of rowsOf(file, format)) {
    if (row.end <= headerEnd) continue;
    rows += 1;
    for (const [index, cell] of row.cells.entries()) {
      if (skipped.has(index)) continue;
      if (!written.has(index) && hasWrittenPhone(cellText(cell), country)) written.add(index);
      if (!hasHeader && !readable.has(index) && hasNumber(cell)) readable.add(index);
    }
  }
  if (rows > MAX_ROWS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${formatNumber(MAX_ROWS)} rows. Split it.`,
      ['file'],
    );
  }
  const list = readable.size === 1 ? [...readable] : [];
  const found = [...written].filter((index) => !list.includes(index));
  if (found.length > 0) checkPhoneColumns(checks, named.length + found.length);
  const names = mapped.map(({ column }) => column);
  return { format, columns: { named, list, found, others, names }, headerEnd };
}

function rowsOf(file: UploadedFile, format: FileFormat): AsyncGenerator<CsvRow> {
  return readRows(new CsvReader(format, MAX_ROW_BYTES), readText(file.read(), format.encoding));
}
