import { describe, expect, it } from 'vitest';
import { headerTest } from '../../../src/contacts/import/column-mapping.ts';
import { cellText } from '../../../src/contacts/import/csv.ts';
import { detectEncoding } from '../../../src/contacts/import/encoding-detection.ts';
import { readHeader } from '../../../src/contacts/import/header.ts';
import {
  ENCODINGS,
  type FileEncoding,
  readText,
} from '../../../src/contacts/import/text-encoding.ts';
import { FileFromText } from '../../../src/infra/files/uploaded-file.ts';

/** The text in an encoding of one byte per character. */
function encode(text: string, encoding: FileEncoding): Buffer {
  const decoder = new TextDecoder(ENCODINGS[encoding]);
  const byteOf = new Map<string, number>();
  for (let byte = 0; byte < 256; byte += 1) byteOf.set(decoder.decode(Uint8Array.of(byte)), byte);
  return Buffer.from([...text].map((character) => byteOf.get(character)!));
}

function detect(bytes: Buffer, pieceSize = 1000): Promise<FileEncoding> {
  return detectEncoding(async function* () {
    for (let from = 0; from < bytes.length; from += pieceSize) {
      yield bytes.subarray(from, from + pieceSize);
    }
  });
}

describe('detectEncoding', () => {
  it.each([
    ['WINDOWS_1252', 'Müller'],
    ['WINDOWS_1252', 'Éric Lefèvre,François'],
    ['WINDOWS_1252', 'Nuñez,Ibáñez'],
    ['WINDOWS_1252', 'São Paulo,Conceição'],
    ['WINDOWS_1252', 'Søren Åse'],
    ['WINDOWS_1252', 'O’Brien’s “Pub”'],
    ['MACINTOSH', 'Müller,Größe'],
    ['MACINTOSH', 'Éric Lefèvre,François'],
    ['MACINTOSH', 'García,Peña'],
    ['MACINTOSH', 'São Paulo,João'],
  ] as const)('is certain of %s in %s', async (encoding, text) => {
    for (const pieceSize of [1, 7, 1000]) {
      expect(await detect(encode(`phone,name\n+1415,${text}\n`, encoding), pieceSize)).toBe(
        encoding,
      );
    }
  });

  it.each([
    ['WINDOWS_1252', 'Lefèvre', '"Lefčvre" in WINDOWS_1250'],
    ['WINDOWS_1252', 'Søren', '"Sřren" in WINDOWS_1250'],
    ['WINDOWS_1250', 'Čapek', '"Čapek" in WINDOWS_1250'],
    ['WINDOWS_1250', 'Łukasz Żak', '"Łukasz" in WINDOWS_1250'],
    ['WINDOWS_1251', 'Иванов Пётр', '"Иванов" in WINDOWS_1251'],
    ['WINDOWS_1254', 'Yılmaz Gökçe Şahin', '"Yılmaz" in WINDOWS_1254'],
    ['MACINTOSH', 'Müller', '"Müller" in MACINTOSH'],
  ] as const)('asks for the encoding of %s text %s', async (encoding, text, reading) => {
    const bytes = encode(`phone,name\n+1415,Ada\n+1416,${text}\n`, encoding);
    await expect(detect(bytes)).rejects.toThrow(/not UTF-8: line 3 .*Name the encoding/);
    await expect(detect(bytes)).rejects.toThrow(reading);
  });

  it('asks for the encoding of UTF-8 with a damaged character', async () => {
    const bytes = Buffer.concat([Buffer.from('Zoë,Łukasz,Ünal\n'), Buffer.from([0xc3, 0x0a])]);
    await expect(detect(bytes)).rejects.toThrow(/Name the encoding/);
  });

  it.each([
    ['UTF_8', Buffer.from('Zoë Łukasz')],
    ['UTF_8', Buffer.from('\ufeffZoë')],
    ['UTF_16LE', Buffer.from('\ufeffZoë', 'utf16le')],
    ['UTF_16BE', Buffer.from('\ufeffZoë', 'utf16le').swap16()],
  ] as const)('recognizes %s', async (encoding, bytes) => {
    expect(await detect(bytes)).toBe(encoding);
  });
});

describe('readText', () => {
  it.each([
    ['WINDOWS_1252', encode('Zoë “€5”', 'WINDOWS_1252'), 'Zoë “€5”'],
    ['MACINTOSH', encode('Zoë “€5”', 'MACINTOSH'), 'Zoë “€5”'],
    ['WINDOWS_1250', encode('Jiří', 'WINDOWS_1250'), 'Jiří'],
    ['SHIFT_JIS', Buffer.from('938c8b9e', 'hex'), '東京'],
    ['UTF_16LE', Buffer.from('Zoë', 'utf16le'), 'Zoë'],
    ['WINDOWS_1252', Buffer.from('\ufeffZoë'), 'Zoë'],
  ] as const)('decodes %s in pieces of any size', async (encoding, bytes, text) => {
    for (const pieceSize of [1, 3, 1000]) {
      const pieces: Buffer[] = [];
      const source = (async function* () {
        for (let from = 0; from < bytes.length; from += pieceSize) {
          yield bytes.subarray(from, from + pieceSize);
        }
      })();
      for await (const piece of readText(source, encoding)) pieces.push(piece);
      expect(Buffer.concat(pieces).toString()).toBe(text);
    }
  });

  it('rejects bytes that are invalid in the encoding', async () => {
    const source = (async function* () {
      yield Buffer.from([0x41, 0x42, 0x43, 0x44, 0x81, 0x20, 0x41]);
    })();
    await expect(Array.fromAsync(readText(source, 'SHIFT_JIS'))).rejects.toThrow(
      /invalid in SHIFT_JIS/,
    );
  });
});

describe('readHeader', () => {
  const read = (text: string, mapping: { column: string }[] = []) =>
    readHeader(new FileFromText('a.csv', text), { isHeader: headerTest(mapping) });

  it.each([
    ['phone,name\n+1415,Ada\n', ',', ['phone', 'name']],
    ['sep=;\nphone;a,b,c\n', ';', ['phone', 'a,b,c']],
    ['"sep=\t"\r\nphone\ta,b\r\n', '\t', ['phone', 'a,b']],
    ['SEP=^\rphone^name\r', '^', ['phone', 'name']],
    ['Leads, as of March\nphone;name\n+1415;Ada\n', ';', ['phone', 'name']],
    ['Leads;;\nMarch 2026;;\n\nName;City;Phone\nAda;Ort;+1\n', ';', ['Name', 'City', 'Phone']],
    ['Exported,2026-03-01\nName,City,Phone\n', ',', ['Name', 'City', 'Phone']],
    ['sep=;\nLeads\nphone;name\n', ';', ['phone', 'name']],
    ['Leads\nphone\n+1415\n', ',', ['phone']],
  ])('finds the header of %j', async (text, delimiter, cells) => {
    const header = await read(text);
    expect(header).toMatchObject({ format: { delimiter }, cells });
    expect(text.slice(0, header.end).trim().endsWith(cells.join(delimiter))).toBe(true);
  });

  it.each([
    'Kontakt,Stadt\n+1415,Phone\n',
    'Kontakt,Stadt,Weg\nAda,Phone,\n',
  ])('takes no row of %j for the header but the first', async (text) => {
    expect((await read(text)).cells.slice(0, 2)).toEqual(['Kontakt', 'Stadt']);
  });

  it('finds a header by the columns of the mapping', async () => {
    const { cells } = await read('Liste\nKontakt,Stadt\n+1415,Ort\n', [{ column: 'Kontakt' }]);
    expect(cells).toEqual(['Kontakt', 'Stadt']);
  });
});

describe('cellText', () => {
  it.each([
    ['="4155550125"', '4155550125'],
    ['="say ""hi"""', 'say "hi"'],
    ["'4155550125", '4155550125'],
    ["'+14155550125", '+14155550125'],
    ["'=cmd", '=cmd'],
    ['\u202a+14155550125\u202c', '+14155550125'],
    ['\u200b Ada\u2060\ufeff ', 'Ada'],
    ["'90s Kids Inc", "'90s Kids Inc"],
    ['نمی\u200cخواهم', 'نمی\u200cخواهم'],
    ['👨\u200d👩\u200d👧', '👨\u200d👩\u200d👧'],
    ['=1+1', '=1+1'],
  ])('reads %j as %j', (cell, text) => {
    expect(cellText(cell)).toBe(text);
  });
});
