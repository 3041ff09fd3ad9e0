/** Encodes text messages of a server as WebSocket frames, https://www.rfc-editor.org/rfc/rfc6455#section-5.2 */
import type { Writable } from 'node:stream';

const FINAL_TEXT = 0x81;
/** Length codes for payload lengths stored in 2 and in 8 bytes. */
const IN_2_BYTES = 126;
const IN_8_BYTES = 127;
const MAX_IN_2_BYTES = 0xffff;

/** Frames whose texts differ only at their start from one connection to the next. */
export class TextFrames {
  readonly #endings: readonly Uint8Array[];
  #buffer: Buffer = Buffer.alloc(0);
  /** Where the texts start in the buffer. */
  #starts: number[] = [];
  /** Length of each start in the buffer, in bytes. */
  #startLength = -1;

  /** @param endings end of the text of each frame, in UTF-8 */
  constructor(endings: readonly Uint8Array[]) {
    this.#endings = endings;
  }

  /**
   * Writes one frame per ending, with a text that begins with `start`, in a single write. On the connection
   * of a WebSocket without compression, the frames keep their order with those that `ws` writes, because `ws`
   * passes each frame to the connection at once.
   *
   * @param connection an operating system socket; its `writableLength` counts the bytes not passed on yet
   */
  writeTo(connection: Writable, start: string): void {
    const length = Buffer.byteLength(start);
    if (length !== this.#startLength) this.#prepare(length);
    const [first = 0, ...others] = this.#starts;
    this.#buffer.write(start, first);
    for (const other of others) this.#buffer.copyWithin(other, first, first + length);
    connection.write(this.#buffer);
    // Bytes that the system has not taken yet must not change; otherwise the buffer is reused for the next connection.
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

/** @returns the position at which the header ends */
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
