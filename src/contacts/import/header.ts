/** Finds the header of a file, and with it the file's format and encoding. */
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { type CsvFormat, CsvReader, type CsvRow, DELIMITERS, guessFormat } from './csv.ts';
import { detectEncoding } from './encoding-detection.ts';
import { type FileEncoding, readText, UnreadableTextError } from './text-encoding.ts';

const MAX_HEADER_BYTES = 64 * 1024;
export const MAX_COLUMNS = 1_000;
/** Number of rows searched for a header below titles. */
const MAX_TITLES = 20;
/** A first line that names the delimiter, as written and read by Excel. */
const DELIMITER_LINE = /^"?sep=([^"\r\n])"?(?:\r\n|\r|\n)/i;

/** How the bytes of a file are read. */
export interface FileFormat extends CsvFormat {
  encoding: FileEncoding;
}

export interface FileHeader {
  format: FileFormat;
  cells: string[];
  /** Position in the text right after the header, in bytes. */
  end: number;
}

export interface HeaderOptions {
  /** Default: the encoding is detected. */
  encoding?: FileEncoding | null | undefined;
  /** Whether a row looks like a header. */
  isHeader: (cells: readonly string[]) => boolean;
}

/**
 * Reads the header of a file: the first row or, below title rows, the first row that looks like a header.
 *
 * @throws UnreadableTextError if there is none, or the encoding is uncertain.
 */
export async function readHeader(
  file: UploadedFile,
  { encoding: given, isHeader }: HeaderOptions,
): Promise<FileHeader> {
  const encoding = given ?? (await detectEncoding(() => file.read()));
  const { format, row } = findHeader(await readStart(file, encoding), isHeader);
  const { cells, problem, end } = row;
  if (problem || end > MAX_HEADER_BYTES) {
    throw new UnreadableTextError(
      `The first row is not a header: ${problem ?? 'It is longer than 64 KB.'} A CSV file starts with a row of column names.`,
    );
  }
  if (cells.length > MAX_COLUMNS) {
    throw new UnreadableTextError(
      `The header has ${cells.length} columns; the maximum is ${MAX_COLUMNS}.`,
    );
  }
  return { format: { ...format, encoding }, cells, end };
}

async function readStart(file: UploadedFile, encoding: FileEncoding): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of readText(file.read(), encoding)) {
    pieces.push(piece);
    size += piece.length;
    if (size >= MAX_HEADER_BYTES) break;
  }
  return Buffer.concat(pieces);
}

interface FoundHeader {
  format: CsvFormat;
  row: CsvRow;
}

function findHeader(text: Buffer, isHeader: HeaderOptions['isHeader']): FoundHeader {
  const beginning = text.toString('utf8', 0, MAX_HEADER_BYTES);
  const [line, named] = DELIMITER_LINE.exec(beginning) ?? [];
  const skipped = line && isDelimiter(named) ? Buffer.byteLength(line) : 0;
  const guessed = guessFormat(beginning.slice(skipped));
  const format = skipped > 0 ? { ...guessed, delimiter: named as string } : guessed;
  const [row] = firstRows(text, format, skipped, 1);
  if (!row) {
    throw new UnreadableTextError(
      'The file is empty. A CSV file starts with a row of column names.',
    );
  }
  if (row.problem === null && isHeader(row.cells)) return { format, row };
  const delimiters = skipped > 0 ? [format.delimiter] : [format.delimiter, ...DELIMITERS];
  for (const delimiter of delimiters) {
    const found = headerBelowTitles(text, { ...format, delimiter }, skipped, isHeader);
    if (found) return found;
  }
  return { format, row };
}

/** Whether a character takes one byte, as the CSV parser requires. */
function isDelimiter(character: string | undefined): boolean {
  return character !== undefined && /^[\t\x20-\x7e]$/.test(character);
}

/** Finds a header below titles. Titles have fewer filled cells than the header, or only one. */
function headerBelowTitles(
  text: Buffer,
  format: CsvFormat,
  from: number,
  isHeader: HeaderOptions['isHeader'],
): FoundHeader | null {
  let mostFilled = 0;
  for (const row of firstRows(text, format, from, MAX_TITLES)) {
    const filled = row.cells.filter((cell) => cell.trim() !== '').length;
    const isBelowTitles = mostFilled <= 1 || filled > mostFilled;
    if (row.problem === null && isBelowTitles && isHeader(row.cells)) {
      return { format, row };
    }
    mostFilled = Math.max(mostFilled, filled);
  }
  return null;
}

function firstRows(text: Buffer, format: CsvFormat, from: number, count: number): CsvRow[] {
  const reader = new CsvReader(format, MAX_HEADER_BYTES, from);
  const rows: CsvRow[] = [];
  for (const some of [reader.push(text.subarray(from)), reader.finish()]) {
    for (const row of some) {
      rows.push(row);
      if (rows.length === count) return rows;
    }
  }
  return rows;
}
