/**
 * CSV as people's programs write it. Rows are read from pieces of a file of any size, with never
 * more than one row of at most `maxRowBytes` in memory, and a row that cannot be read is one bad
 * row: the next one is read again. (csv-parse gathers an endless cell until memory is gone, or gives
 * up the whole file at it.) Pure.
 */

export interface CsvFormat {
  delimiter: string;
  /** `\n` also stands for `\r\n`. */
  newline: '\n' | '\r';
}

export interface CsvRow {
  cells: string[];
  /** Why it cannot be read, when it cannot. */
  problem: string | null;
  /** Bytes of the text up to and with the end of this row. */
  end: number;
}

const DELIMITERS = [',', ';', '\t', '|'];
const QUOTE = 0x22;
const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;

/** The format of a text, told by its first line: the delimiter that stands in it most often. */
export function guessFormat(text: string): CsvFormat {
  const counts = new Map(DELIMITERS.map((delimiter) => [delimiter, 0]));
  let quoted = false;
  let newline: CsvFormat['newline'] = '\n';
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] as string;
    if (character === '"') quoted = !quoted;
    if (quoted) continue;
    if (character === '\n') break;
    if (character === '\r') {
      if (text[index + 1] !== '\n') newline = '\r';
      break;
    }
    const count = counts.get(character);
    if (count !== undefined) counts.set(character, count + 1);
  }
  const [best] = [...counts].sort((a, b) => b[1] - a[1]);
  return { delimiter: best?.[0] ?? ',', newline };
}

/** Where the reader stands within a row. */
type Place = 'cellStart' | 'plain' | 'quoted' | 'afterQuote';

export class CsvReader {
  readonly #delimiter: string;
  readonly #delimiterByte: number;
  readonly #newlineByte: number;
  readonly #maxRowBytes: number;
  /** Of the text: where `#buffer` begins. */
  #offset: number;
  /** The row that is not at its end yet; empty while it is being passed over. */
  #buffer: Buffer = Buffer.alloc(0);
  /** How far into `#buffer` the row has been looked at. */
  #scanned = 0;
  #place: Place = 'cellStart';
  #hasQuotes = false;
  #broken = false;
  #tooLong = false;

  /** `offset` is where the first piece stands in the text, which must be at the start of a row. */
  constructor(format: CsvFormat, maxRowBytes: number, offset = 0) {
    this.#delimiter = format.delimiter;
    this.#delimiterByte = format.delimiter.charCodeAt(0);
    this.#newlineByte = format.newline.charCodeAt(0);
    this.#maxRowBytes = maxRowBytes;
    this.#offset = offset;
  }

  /** The rows that end in the next piece of the text. Rows with nothing in them are passed over. */
  *push(piece: Buffer): Generator<CsvRow> {
    const buffer = this.#buffer.length > 0 ? Buffer.concat([this.#buffer, piece]) : piece;
    let start = 0;
    let from = this.#scanned;
    for (;;) {
      const end = this.#findEnd(buffer, from);
      if (end === -1) break;
      const row = this.#endRow(buffer, start, end, end + 1);
      start = end + 1;
      from = start;
      if (row) yield row;
    }
    if (this.#tooLong || buffer.length - start > this.#maxRowBytes) {
      this.#tooLong = true;
      start = buffer.length;
    }
    this.#offset += start;
    this.#buffer = buffer.subarray(start);
    this.#scanned = this.#buffer.length;
  }

  /** The last row, when the text does not end with a line end. */
  *finish(): Generator<CsvRow> {
    if (this.#buffer.length === 0 && !this.#tooLong) return;
    const unclosed = this.#place === 'quoted';
    const row = this.#endRow(this.#buffer, 0, this.#buffer.length, this.#buffer.length);
    if (!row) return;
    if (unclosed) {
      row.cells = [];
      row.problem =
        'A quote that opens a cell of this row is never closed, so all that follows in the file belongs to the cell.';
    }
    yield row;
  }

  /** The index of the line end that ends the row; -1 when it goes on after the buffer. */
  #findEnd(buffer: Buffer, from: number): number {
    const newline = this.#newlineByte;
    const delimiter = this.#delimiterByte;
    let place = this.#place;
    let index = from;
    if (place === 'cellStart' && !this.#hasQuotes) {
      // Most rows have no quote in them, and need no closer look.
      const end = buffer.indexOf(newline, from);
      const quote = buffer.subarray(from, end === -1 ? buffer.length : end).indexOf(QUOTE);
      if (quote === -1) {
        if (end === -1) {
          let last = buffer.length - 1;
          while (last >= from && buffer[last] === SPACE) last -= 1;
          this.#place = last < from || buffer[last] === delimiter ? 'cellStart' : 'plain';
        }
        return end;
      }
    }
    for (; index < buffer.length; index += 1) {
      const byte = buffer[index];
      if (place === 'quoted') {
        const quote = buffer.indexOf(QUOTE, index);
        if (quote === -1) index = buffer.length;
        else {
          index = quote;
          place = 'afterQuote';
        }
      } else if (byte === newline) {
        this.#place = place;
        return index;
      } else if (byte === delimiter) {
        place = 'cellStart';
      } else if (byte === QUOTE && place === 'cellStart') {
        place = 'quoted';
        this.#hasQuotes = true;
      } else if (byte === QUOTE && place === 'afterQuote') {
        place = 'quoted';
      } else if (place === 'afterQuote' && byte !== CR && byte !== SPACE) {
        this.#broken = true;
        place = 'plain';
      } else if (place === 'cellStart' && byte !== SPACE) {
        place = 'plain';
      }
    }
    this.#place = place;
    return -1;
  }

  #endRow(buffer: Buffer, start: number, end: number, next: number): CsvRow | null {
    const row: CsvRow = { cells: [], problem: null, end: this.#offset + next };
    if (this.#tooLong || end - start > this.#maxRowBytes) {
      row.problem = `The row is longer than ${Math.floor(this.#maxRowBytes / 1024)} KB, which no contact is.`;
    } else if (this.#broken) {
      row.problem =
        'There is text after the quote that ends a cell. A quote within a quoted cell is written twice.';
    } else {
      const last =
        end > start && buffer[end - 1] === CR && this.#newlineByte === LF ? end - 1 : end;
      const text = buffer.toString('utf8', start, last);
      row.cells = this.#hasQuotes
        ? splitQuoted(text, this.#delimiter)
        : text.split(this.#delimiter);
    }
    this.#place = 'cellStart';
    this.#hasQuotes = false;
    this.#broken = false;
    this.#tooLong = false;
    const empty = row.problem === null && row.cells.every((cell) => cell.trim() === '');
    return empty ? null : row;
  }
}

/** Quotes are where they belong. */
function splitQuoted(text: string, delimiter: string): string[] {
  const cells: string[] = [];
  let index = 0;
  for (;;) {
    let cell = '';
    const opening = skipSpaces(text, index);
    if (text[opening] === '"') {
      index = opening;
      for (let from = index + 1; ; ) {
        const quote = text.indexOf('"', from);
        const end = quote === -1 ? text.length : quote;
        cell += text.slice(from, end);
        if (text[end + 1] !== '"') {
          index = end + 1;
          break;
        }
        cell += '"';
        from = end + 2;
      }
      const next = text.indexOf(delimiter, index);
      index = next === -1 ? text.length : next;
    } else {
      const next = text.indexOf(delimiter, index);
      const end = next === -1 ? text.length : next;
      cell = text.slice(index, end);
      index = end;
    }
    cells.push(cell);
    if (index >= text.length) return cells;
    index += 1;
  }
}

function skipSpaces(text: string, from: number): number {
  let index = from;
  while (text[index] === ' ') index += 1;
  return index;
}

/** What a spreadsheet would run when it opens the file. */
const FORMULA = /^[=+\-@\t\r]/;
const PHONE_NUMBER = /^\+\d{2,15}$/;

/** A row of a file for spreadsheets: nothing in it is taken for a formula, and numbers stay as they are. */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(cell: string | number | null): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const text = FORMULA.test(cell) && !PHONE_NUMBER.test(cell) ? `'${cell}` : cell;
  return /[",\r\n']/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Takes off the apostrophe that keeps a cell from being taken for a formula. */
export function withoutFormulaGuard(cell: string): string {
  return cell.charCodeAt(0) === 0x27 && FORMULA.test(cell.slice(1)) ? cell.slice(1) : cell;
}
