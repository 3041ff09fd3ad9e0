import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CsvFormat, CsvReader, guessFormat } from '../../../src/contacts/import/csv.ts';
import { readRows } from '../../../src/contacts/import/csv-rows.ts';
import { readText } from '../../../src/contacts/import/text-encoding.ts';
import { csvLine, withoutFormulaGuard } from '../../../src/infra/files/csv-line.ts';

const COMMA: CsvFormat = { delimiter: ',', newline: '\n' };

function read(text: string, format = COMMA, pieceSize = 1_000_000, maxRowBytes = 1000) {
  const bytes = Buffer.from(text);
  const reader = new CsvReader(format, maxRowBytes);
  const rows = [];
  for (let from = 0; from < bytes.length; from += pieceSize) {
    rows.push(...reader.push(bytes.subarray(from, from + pieceSize)));
  }
  return [...rows, ...reader.finish()];
}
const cells = (text: string, format?: CsvFormat) => read(text, format).map((row) => row.cells);

describe('readRows', () => {
  it('lets other work go on while rows take long to process', async () => {
    let hasRun = false;
    setImmediate(() => {
      hasRun = true;
    });
    const pieces = (async function* () {
      yield Buffer.from('1\n2\n3\n');
    })();
    const seen: [string | undefined, boolean][] = [];
    for await (const { cells } of readRows(new CsvReader(COMMA, 1000), pieces)) {
      seen.push([cells[0], hasRun]);
      for (const until = performance.now() + 30; performance.now() < until; );
    }
    expect(seen).toEqual([
      ['1', false],
      ['2', true],
      ['3', true],
    ]);
  });
});

describe('CsvReader', () => {
  it('reads rows with any line end', () => {
    const expected = [
      ['a', 'b'],
      ['1', '2'],
    ];
    expect(cells('a,b\n1,2')).toEqual(expected);
    expect(cells('a,b\r\n1,2\r\n')).toEqual(expected);
    expect(cells('a,b\n\n,\n \n1,2\n\n')).toEqual(expected);
    expect(cells('a;b\r1;2\r', { delimiter: ';', newline: '\r' })).toEqual(expected);
  });

  it('reads delimiters, line ends and quotes in quoted cells', () => {
    expect(cells('"a,b","c\nd","e""f",""\n1,2,3,4\n')).toEqual([
      ['a,b', 'c\nd', 'e"f', ''],
      ['1', '2', '3', '4'],
    ]);
    expect(cells('a, "b, c" ,d\r\n"x"\r\n')).toEqual([['a', 'b, c', 'd'], ['x']]);
    expect(cells('5" pipe,b\nc,d\n')).toEqual([
      ['5" pipe', 'b'],
      ['c', 'd'],
    ]);
  });

  it('reports a malformed row and reads the next one', () => {
    const rows = read('a,b\n"He said "hi" to me",1\nc,d\n"x"y,1\ne,f\n');
    expect(rows.map((row) => [row.problem !== null, row.cells])).toEqual([
      [false, ['a', 'b']],
      [true, []],
      [false, ['c', 'd']],
      [true, []],
      [false, ['e', 'f']],
    ]);
    const [first, unclosed, ...more] = read('a,b\n"open,1\nc,d\n');
    expect([first?.cells, unclosed?.problem, more]).toEqual([
      ['a', 'b'],
      expect.stringContaining('no closing quote'),
      [],
    ]);
  });

  it('reports an oversized row without buffering it', () => {
    for (const long of ['x'.repeat(5000), `"${'x,\n""'.repeat(2000)}"`]) {
      for (const pieceSize of [1, 100, 999, 1_000_000]) {
        const rows = read(`a,b\n${long},2\nc,d\n`, COMMA, pieceSize);
        expect(rows.map((row) => row.cells)).toEqual([['a', 'b'], [], ['c', 'd']]);
        expect(rows[1]?.problem).toContain('longer than');
      }
    }
    const reader = new CsvReader(COMMA, 1000);
    const before = process.memoryUsage().arrayBuffers;
    for (let piece = 0; piece < 200; piece += 1) {
      expect([...reader.push(Buffer.alloc(1_000_000, 'x'))]).toEqual([]);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000);
  });

  it('returns the same rows and positions for pieces of any size', () => {
    const cell = fc.string({
      unit: fc.constantFrom(...['a', 'é', '𝄞', ',', '"', '\n', '\r\n', ' ']),
    });
    const text = fc.array(
      fc.oneof(cell, fc.constantFrom('"', '""', ',', '\n', '\r\n', '"a",', '"a\nb"\n', '1,2\n')),
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 9 }), (parts, pieceSize) => {
        const whole = parts.join('');
        const rows = read(whole);
        expect(read(whole, COMMA, pieceSize)).toEqual(rows);
        // Reading from the end of a row returns the rows after it.
        const bytes = Buffer.from(whole);
        rows.forEach(({ end }, index) => {
          const reader = new CsvReader(COMMA, 1000, end);
          const rest = [...reader.push(bytes.subarray(end)), ...reader.finish()];
          expect(rest).toEqual(rows.slice(index + 1));
        });
      }),
      { numRuns: 2000 },
    );
  });

  it('reads what csvLine writes', () => {
    const cell = fc.string({ unit: fc.constantFrom(...'aé,"\n\r;=+-@\' 1') });
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 1 })), (all) => {
        const full = all.filter((row) => row.some((item) => item.trim() !== ''));
        const text = full.map(csvLine).join('');
        expect(cells(text).map((row) => row.map(withoutFormulaGuard))).toEqual(
          full.map((row) => row.map((item) => withoutFormulaGuard(item))),
        );
        for (const row of cells(text)) {
          for (const item of row) expect(item).toMatch(/^(?![=@\t\r-]|\+(?!\d{2,15}$))/);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('is given the format that guessFormat detects', () => {
    expect(guessFormat('a;b;c,d\n1,2,3,4,5\n')).toEqual({ delimiter: ';', newline: '\n' });
    expect(guessFormat('"a,b,c";d\r\n')).toEqual({ delimiter: ';', newline: '\n' });
    expect(guessFormat('a\tb\rc\td\r')).toEqual({ delimiter: '\t', newline: '\r' });
    expect(guessFormat('phone\n1\n').delimiter).toBe(',');
  });
});

describe('readText', () => {
  async function textOf(bytes: Buffer, pieceSize: number): Promise<string> {
    const pieces: Buffer[] = [];
    async function* source() {
      for (let from = 0; from < bytes.length; from += pieceSize) {
        yield bytes.subarray(from, from + pieceSize);
      }
    }
    for await (const piece of readText(source())) pieces.push(piece);
    return Buffer.concat(pieces).toString();
  }
  const utf16be = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16();

  it('decodes every supported encoding in pieces of any size', async () => {
    const text = 'phone,name\n+14155550100,Zoë 𝄞 Müller\n';
    for (const pieceSize of [1, 2, 3, 5, 1000]) {
      for (const bytes of [
        Buffer.from(text),
        Buffer.from(`\ufeff${text}`),
        Buffer.from(`\ufeff${text}`, 'utf16le'),
        utf16be(text),
      ]) {
        expect(await textOf(bytes, pieceSize)).toBe(text);
      }
    }
    expect(await textOf(Buffer.from(''), 10)).toBe('');
    expect(await textOf(Buffer.from('é'), 1)).toBe('é');
  });

  it('rejects other files and names their type', async () => {
    const rejected: [Buffer, RegExp][] = [
      [Buffer.from('a\nb\nM\xfcller\n', 'latin1'), /not UTF-8: line 3/],
      [Buffer.from('a,b\n\u0000'), /null characters/],
      [Buffer.from('phone\n1\n', 'utf16le'), /UTF-16 without a byte order mark/],
      [Buffer.from('504b0304140000', 'hex'), /Excel/],
      [Buffer.from('%PDF-1.7'), /a PDF/],
      [Buffer.from('abcé').subarray(0, 4), /not UTF-8: line 1/],
      [Buffer.from([0xff, 0xfe, 0x00, 0xd8, 0x41, 0x00]), /invalid in UTF_16LE/],
    ];
    for (const [bytes, message] of rejected) {
      for (const pieceSize of [1, 1000]) {
        await expect(textOf(bytes, pieceSize)).rejects.toThrow(message);
      }
    }
  });
});
