/** Text messages of a server as WebSocket frames, https://www.rfc-editor.org/rfc/rfc6455#section-5.2 */
import type { Writable } from 'node:stream';

const FINAL_TEXT = 0x81;
/** Payload lengths that are stored in 2 and in 8 bytes. */
const IN_2_BYTES = 126;
const IN_8_BYTES = 127;
const MAX_IN_2_BYTES = 0xffff;

/** Frames in which only the starts of the texts differ from one connection to the next. */
export class TextFrames {
  readonly #endings: readonly Uint8Array[];
  #buffer: Buffer = Buffer.alloc(0);
  /** Where the texts start in the buffer. */
  #starts: number[] = [];
  /** Bytes of the starts in the buffer. */
  #startLength = -1;

  /** @param endings what the text of each frame ends with, in UTF-8 */
  constructor(endings: readonly Uint8Array[]) {
    this.#endings = endings;
  }

  /**
   * Writes one frame for each ending, with a text that begins with `start`, in one write. On the connection
   * of a socket without compression the frames take their place among those that `ws` writes, since that
   * hands each frame to the connection at once.
   *
   * @param connection of a socket of the system: what it has not passed on counts in its `writableLength`
   */
  writeTo(connection: Writable, start: string): void {
    const length = Buffer.byteLength(start);
    if (length !== this.#startLength) this.#prepare(length);
    const [first = 0, ...others] = this.#starts;
    this.#buffer.write(start, first);
    for (const other of others) this.#buffer.copyWithin(other, first, first + length);
    connection.write(this.#buffer);
    // What the system has not taken yet must stay as it is. Otherwise the next connection gets the same buffer.
    if (connection.writableLength > 0) this.#startLength = -1;
  }

  #prepare(startLength: number): void {
    const lengths = this.#endings.map((ending) => startLength + ending.length);
    this.#buffer = Buffer.allocUnsafe(
      lengths.reduce((size, length) => size + headerLength(length) + length, 0),
    );
    this.#starts = [];
    let at = 0;
    for (const [index, length] of lengths.entries()) {
      at = writeHeader(this.#buffer, at, length);
      this.#starts.push(at);
      this.#buffer.set(this.#endings[index] ?? [], at + startLength);
      at += length;
    }
    this.#startLength = startLength;
  }
}

function headerLength(length: number): number {
  if (length < IN_2_BYTES) return 2;
  return length <= MAX_IN_2_BYTES ? 4 : 10;
}

/** @returns where the header ends */
function writeHeader(frames: Buffer, at: number, length: number): number {
  frames[at] = FINAL_TEXT;
  if (length < IN_2_BYTES) {
    frames[at + 1] = length;
    return at + 2;
  }
  if (length <= MAX_IN_2_BYTES) {
    frames[at + 1] = IN_2_BYTES;
    return frames.writeUInt16BE(length, at + 2);
  }
  frames[at + 1] = IN_8_BYTES;
  return frames.writeBigUInt64BE(BigInt(length), at + 2);
}
