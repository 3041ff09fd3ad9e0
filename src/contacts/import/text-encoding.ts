/** Decodes the bytes of a file to UTF-8 text, and rejects what is not text. Pure. */
import { isUtf8 } from 'node:buffer';

/** The file is not readable text. The message is shown to the user. */
export class UnreadableTextError extends Error {
  override name = 'UnreadableTextError';
}

/** The file is not UTF-8, and may be text in another encoding. */
export class NotUtf8Error extends UnreadableTextError {
  override name = 'NotUtf8Error';
}

/** File encodings, with their labels in the Encoding Standard. */
export const ENCODINGS = {
  UTF_8: 'utf-8',
  UTF_16LE: 'utf-16le',
  UTF_16BE: 'utf-16be',
  WINDOWS_1250: 'windows-1250',
  WINDOWS_1251: 'windows-1251',
  WINDOWS_1252: 'windows-1252',
  WINDOWS_1253: 'windows-1253',
  WINDOWS_1254: 'windows-1254',
  WINDOWS_1255: 'windows-1255',
  WINDOWS_1256: 'windows-1256',
  WINDOWS_1257: 'windows-1257',
  WINDOWS_1258: 'windows-1258',
  MACINTOSH: 'macintosh',
  SHIFT_JIS: 'shift_jis',
  GB18030: 'gb18030',
  BIG5: 'big5',
  EUC_KR: 'euc-kr',
} as const;

export type FileEncoding = keyof typeof ENCODINGS;

const SAVE_AS = 'Save it as "CSV UTF-8" and upload it again.';

/** First bytes of files that are not text. */
const SIGNATURES: readonly [Buffer, string][] = [
  [Buffer.from('504b0304', 'hex'), 'an Excel workbook or another ZIP file'],
  [Buffer.from('d0cf11e0', 'hex'), 'an old Excel workbook'],
  [Buffer.from('%PDF'), 'a PDF'],
  [Buffer.from('1f8b', 'hex'), 'compressed with gzip'],
  [Buffer.from('89504e47', 'hex'), 'a PNG image'],
  [Buffer.from('ffd8ff', 'hex'), 'a JPEG image'],
];

/** Byte order marks, with the encodings they indicate. */
const BYTE_ORDER_MARKS: readonly [Buffer, FileEncoding][] = [
  [Buffer.from('efbbbf', 'hex'), 'UTF_8'],
  [Buffer.from('fffe', 'hex'), 'UTF_16LE'],
  [Buffer.from('feff', 'hex'), 'UTF_16BE'],
];

/**
 * Yields the text as UTF-8 without a byte order mark. A byte order mark takes precedence over
 * `encoding`.
 *
 * @throws UnreadableTextError that names the actual type of the file if it is known.
 */
export async function* readText(
  source: AsyncIterable<Buffer>,
  encoding: FileEncoding = 'UTF_8',
): AsyncGenerator<Buffer> {
  let decodePiece: DecodePiece | null = null;
  let start: Buffer = Buffer.alloc(0);
  for await (const piece of source) {
    if (decodePiece) {
      yield* decodePiece(piece, false);
      continue;
    }
    start = Buffer.concat([start, piece]);
    if (start.length < 4) continue;
    decodePiece = chooseDecoder(start, encoding);
    yield* decodePiece(start, false);
  }
  decodePiece ??= chooseDecoder(start, encoding);
  yield* decodePiece(start.length < 4 ? start : Buffer.alloc(0), true);
}

/** Decodes the next piece; with `last`, also the pending bytes. */
type DecodePiece = (piece: Buffer, last: boolean) => Generator<Buffer>;

function chooseDecoder(start: Buffer, given: FileEncoding): DecodePiece {
  const encoding = encodingByMark(start) ?? given;
  return encoding === 'UTF_8' ? createUtf8Decoder() : createDecoder(encoding);
}

/**
 * Returns the encoding indicated by a byte order mark at the start of a file; null if there is none.
 *
 * @throws UnreadableTextError if the start is that of a file that is not text.
 */
export function encodingByMark(start: Buffer): FileEncoding | null {
  const signature = SIGNATURES.find(([mark]) => start.subarray(0, mark.length).equals(mark));
  if (signature) {
    throw new UnreadableTextError(`The file is ${signature[1]}, not a CSV. ${SAVE_AS}`);
  }
  return (
    BYTE_ORDER_MARKS.find(([mark]) => start.subarray(0, mark.length).equals(mark))?.[1] ?? null
  );
}

function createUtf8Decoder(): DecodePiece {
  let pending: Buffer = Buffer.alloc(0);
  let started = false;
  let line = 1;
  return function* (piece, last) {
    let bytes = pending.length > 0 ? Buffer.concat([pending, piece]) : piece;
    const length = last ? bytes.length : completeLength(bytes);
    pending = bytes.subarray(length);
    bytes = bytes.subarray(0, length);
    if (!started && bytes.length > 0) {
      started = true;
      if (encodingByMark(bytes) === 'UTF_8') bytes = bytes.subarray(3);
    }
    if (bytes.includes(0)) throw nullCharacterError();
    if (!isUtf8(bytes)) throw notUtf8Error(bytes, line);
    line += countLines(bytes);
    if (bytes.length > 0) yield bytes;
  };
}

function createDecoder(encoding: FileEncoding): DecodePiece {
  const decoder = new TextDecoder(ENCODINGS[encoding], { fatal: true });
  return function* (piece, last) {
    const text = decode(decoder, encoding, piece, last);
    if (text.includes('\u0000')) throw nullCharacterError();
    if (text) yield Buffer.from(text);
  };
}

function decode(decoder: TextDecoder, encoding: FileEncoding, bytes: Buffer, last: boolean) {
  try {
    return decoder.decode(bytes, { stream: !last });
  } catch {
    throw new UnreadableTextError(
      `The file contains bytes that are invalid in ${encoding}. It may be damaged. ${SAVE_AS}`,
    );
  }
}

/** Length without an incomplete character at the end. */
function completeLength(bytes: Buffer): number {
  const { length } = bytes;
  for (let back = 1; back <= Math.min(3, length); back += 1) {
    const byte = bytes[length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? length - back : length;
  }
  return length;
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) count += 1;
  return count;
}

function nullCharacterError(): UnreadableTextError {
  return new UnreadableTextError(
    `The file contains null characters. It is not text, or it is UTF-16 without a byte order mark; then name it with \`encoding\`. ${SAVE_AS}`,
  );
}

function notUtf8Error(bytes: Buffer, firstLine: number): NotUtf8Error {
  let line = firstLine;
  for (let from = 0; ; line += 1) {
    const next = bytes.indexOf(10, from);
    const end = next === -1 ? bytes.length : next;
    if (!isUtf8(bytes.subarray(from, end)) || next === -1) break;
    from = next + 1;
  }
  return new NotUtf8Error(`The file is not UTF-8: line ${line} contains invalid bytes.`);
}
