/**
 * Parses CSV. Files of any size are read in pieces, with at most one row of `maxRowBytes` in memory. A malformed row is
 * reported and parsing continues with the next row. (csv-parse drops the rest of the piece after an oversized row, and
 * is slower.) Pure.
 */
import { withoutFormulaGuard } from '../../infra/files/csv-line.ts';

export interface CsvFormat {
  delimiter: string;
  /** `\n` also accepts `\r\n`. */
  newline: '\n' | '\r';
}

export interface CsvRow {
  cells: string[];
  /** Reason why the row cannot be read, or null. */
  problem: string | null;
  /** Position in the text right after the row, in bytes. */
  end: number;
}

export const DELIMITERS = [',', ';', '\t', '|'];
const QUOTE = 0x22;
const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;

/** Detects the format from the first line: the delimiter is the candidate that occurs most often in it. */
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

/** State of the parser within a row. */
type State = 'cellStart' | 'plain' | 'quoted' | 'afterQuote';

export class CsvReader {
  readonly #delimiter: string;
  readonly #delimiterByte: number;
  readonly #newlineByte: number;
  readonly #maxRowBytes: number;
  /** Position of `#buffer` in the text. */
  #offset: number;
  /** The incomplete row; empty while an oversized row is being skipped. */
  #buffer: Buffer = Buffer.alloc(0);
  /** Number of bytes of `#buffer` that have been scanned. */
  #scanned = 0;
  #state: State = 'cellStart';
  #hasQuotes = false;
  #broken = false;
  #tooLong = false;

  /** `offset` is the position of the first piece in the text; it must be the start of a row. */
  constructor(format: CsvFormat, maxRowBytes: number, offset = 0) {
    this.#delimiter = format.delimiter;
    this.#delimiterByte = format.delimiter.charCodeAt(0);
    this.#newlineByte = format.newline.charCodeAt(0);
    this.#maxRowBytes = maxRowBytes;
    this.#offset = offset;
  }

  /** Yields the rows that end in the next piece of the text. Empty rows are skipped. */
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

  /** Yields the last row if the text does not end with a line break. */
  *finish(): Generator<CsvRow> {
    if (this.#buffer.length === 0 && !this.#tooLong) return;
    const unclosed = this.#state === 'quoted';
    const row = this.#endRow(this.#buffer, 0, this.#buffer.length, this.#buffer.length);
    if (!row) return;
    if (unclosed) {
      row.cells = [];
      row.problem =
        'A quoted cell of this row has no closing quote, so the rest of the file belongs to it.';
    }
    yield row;
  }

  /** Returns the index of the line break that ends the row, or -1 if the row continues after the buffer. */
  #findEnd(buffer: Buffer, from: number): number {
    const newline = this.#newlineByte;
    const delimiter = this.#delimiterByte;
    let state = this.#state;
    let index = from;
    if (state === 'cellStart' && !this.#hasQuotes) {
      // Most rows contain no quote and need no scan.
      const end = buffer.indexOf(newline, from);
      const quote = buffer.subarray(from, end === -1 ? buffer.length : end).indexOf(QUOTE);
      if (quote === -1) {
        if (end === -1) {
          let last = buffer.length - 1;
          while (last >= from && buffer[last] === SPACE) last -= 1;
          this.#state = last < from || buffer[last] === delimiter ? 'cellStart' : 'plain';
        }
        return end;
      }
    }
    for (; index < buffer.length; index += 1) {
      const byte = buffer[index];
      if (state === 'quoted') {
        const quote = buffer.indexOf(QUOTE, index);
        if (quote === -1) index = buffer.length;
        else {
          index = quote;
          state = 'afterQuote';
        }
      } else if (byte === newline) {
        this.#state = state;
        return index;
      } else if (byte === delimiter) {
        state = 'cellStart';
      } else if (byte === QUOTE && state === 'cellStart') {
        state = 'quoted';
        this.#hasQuotes = true;
      } else if (byte === QUOTE && state === 'afterQuote') {
        state = 'quoted';
      } else if (state === 'afterQuote' && byte !== CR && byte !== SPACE) {
        this.#broken = true;
        state = 'plain';
      } else if (state === 'cellStart' && byte !== SPACE) {
        state = 'plain';
      }
    }
    this.#state = state;
    return -1;
  }

  #endRow(buffer: Buffer, start: number, end: number, next: number): CsvRow | null {
    const row: CsvRow = { cells: [], problem: null, end: this.#offset + next };
    if (this.#tooLong || end - start > this.#maxRowBytes) {
      row.problem = `The row is longer than ${Math.floor(this.#maxRowBytes / 1024)} KB.`;
    } else if (this.#broken) {
      row.problem =
        'A quoted cell has text after its closing quote. Quotes inside a quoted cell must be doubled.';
    } else {
      const last =
        end > start && buffer[end - 1] === CR && this.#newlineByte === LF ? end - 1 : end;
      const text = buffer.toString('utf8', start, last);
      row.cells = this.#hasQuotes
        ? splitQuoted(text, this.#delimiter)
        : text.split(this.#delimiter);
    }
    this.#state = 'cellStart';
    this.#hasQuotes = false;
    this.#broken = false;
    this.#tooLong = false;
    const empty = row.problem === null && row.cells.every((cell) => cell.trim() === '');
    return empty ? null : row;
  }
}

/** Splits a well-formed row. */
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

/** Direction marks, zero-width spaces and soft hyphens. Joiners of letters and emoji are kept. */
const INVISIBLE = /[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;
const PLAIN = /^[\x20!#-&(-<>-~]*$/;

/**
 * Returns the text of a cell as a spreadsheet shows it: without surrounding white space, invisible characters,
 * apostrophes before numbers and formulas, and the formula around a text such as `="0049"`.
 */
export function cellText(cell: string): string {
  const text = cell.trim();
  if (PLAIN.test(text)) return text;
  const visible = text.replace(INVISIBLE, '').trim();
  const unguarded = withoutFormulaGuard(visible);
  if (unguarded !== visible) return unguarded;
  const [, formula] = /^="((?:[^"]|"")*)"$/.exec(visible) ?? [];
  if (formula !== undefined) return formula.replaceAll('""', '"').trim();
  return /^'\d+$/.test(visible) ? visible.slice(1) : visible;
}
