/** The text in a file of bytes: told by its first bytes, and held to be text to the last. Pure. */
import { isUtf8 } from 'node:buffer';

/** The file is not a text that can be read. The message is for the person who sent it. */
export class UnreadableTextError extends Error {
  override name = 'UnreadableTextError';
}

const SAVE_AS = 'Save it as "CSV UTF-8" and send it again.';

/** What begins like this is something else. */
const SIGNATURES: readonly [Buffer, string][] = [
  [Buffer.from('504b0304', 'hex'), 'an Excel workbook or another ZIP file'],
  [Buffer.from('d0cf11e0', 'hex'), 'an old Excel workbook'],
  [Buffer.from('%PDF'), 'a PDF'],
  [Buffer.from('1f8b', 'hex'), 'compressed with gzip'],
  [Buffer.from('89504e47', 'hex'), 'a PNG image'],
  [Buffer.from('ffd8ff', 'hex'), 'a JPEG image'],
];

/**
 * The bytes as UTF-8 without a byte order mark. Takes UTF-8, and UTF-16 that has its mark.
 *
 * @throws UnreadableTextError that names what it is instead, as far as that can be told.
 */
export async function* readText(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let decoder: TextDecoder | null = null;
  let pending: Buffer = Buffer.alloc(0);
  let begun = false;
  let line = 1;

  function* take(bytes: Buffer, last: boolean): Generator<Buffer> {
    if (decoder) {
      const text = decodeUtf16(decoder, bytes, last);
      if (text.includes('\u0000')) throw nullCharacter();
      if (text) yield Buffer.from(text);
      return;
    }
    const length = last ? bytes.length : completeLength(bytes);
    const whole = bytes.subarray(0, length);
    pending = bytes.subarray(length);
    if (whole.includes(0)) throw nullCharacter();
    if (!isUtf8(whole)) throw wrongEncoding(whole, line);
    line += countLines(whole);
    if (whole.length > 0) yield whole;
  }

  for await (const piece of source) {
    let bytes = pending.length > 0 ? Buffer.concat([pending, piece]) : piece;
    pending = Buffer.alloc(0);
    if (!begun) {
      if (bytes.length < 4) {
        pending = bytes;
        continue;
      }
      begun = true;
      ({ bytes, decoder } = begin(bytes));
    }
    yield* take(bytes, false);
  }
  if (!begun) ({ bytes: pending, decoder } = begin(pending));
  yield* take(pending, true);
}

function begin(bytes: Buffer): { bytes: Buffer; decoder: TextDecoder | null } {
  const found = SIGNATURES.find(([mark]) => bytes.subarray(0, mark.length).equals(mark));
  if (found) throw new UnreadableTextError(`The file is ${found[1]}, not a CSV. ${SAVE_AS}`);
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return { bytes: bytes.subarray(3), decoder: null };
  }
  if (bytes[0] === 0xff && bytes[1] === 0xfe) {
    return { bytes, decoder: new TextDecoder('utf-16le', { fatal: true }) };
  }
  if (bytes[0] === 0xfe && bytes[1] === 0xff) {
    return { bytes, decoder: new TextDecoder('utf-16be', { fatal: true }) };
  }
  return { bytes, decoder: null };
}

function decodeUtf16(decoder: TextDecoder, bytes: Buffer, last: boolean): string {
  try {
    return decoder.decode(bytes, { stream: !last });
  } catch {
    throw new UnreadableTextError(
      `The file begins as UTF-16 and then is not. It may be damaged. ${SAVE_AS}`,
    );
  }
}

/** Without the character at the end that is not whole yet. */
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

function nullCharacter(): UnreadableTextError {
  return new UnreadableTextError(
    `The file holds null characters, so it is no text, or it is UTF-16 without a byte order mark. ${SAVE_AS}`,
  );
}

function wrongEncoding(bytes: Buffer, firstLine: number): UnreadableTextError {
  let line = firstLine;
  for (let from = 0; ; line += 1) {
    const next = bytes.indexOf(10, from);
    const end = next === -1 ? bytes.length : next;
    if (!isUtf8(bytes.subarray(from, end)) || next === -1) break;
    from = next + 1;
  }
  return new UnreadableTextError(
    `The file is not UTF-8: line ${line} holds bytes that mean nothing in it, as a file in Windows-1252 or Latin-1 does. ${SAVE_AS}`,
  );
}
