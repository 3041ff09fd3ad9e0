/** Text messages of a server as WebSocket frames, https://www.rfc-editor.org/rfc/rfc6455#section-5.2 */

const FINAL_TEXT = 0x81;
/** Payload lengths that are stored in 2 and in 8 bytes. */
const IN_2_BYTES = 126;
const IN_8_BYTES = 127;
const MAX_IN_2_BYTES = 0xffff;

/**
 * One frame for each ending, with a text that begins with `start`, in one buffer. Written to the
 * connection of a socket without compression, it takes its place among the frames that `ws` writes, since
 * that hands each frame to the connection at once.
 */
export function textFrames(start: Uint8Array, endings: readonly Uint8Array[]): Buffer {
  let size = 0;
  for (const ending of endings) {
    const length = start.length + ending.length;
    size += headerLength(length) + length;
  }
  const frames = Buffer.allocUnsafe(size);
  let at = 0;
  for (const ending of endings) {
    at = writeHeader(frames, at, start.length + ending.length);
    frames.set(start, at);
    frames.set(ending, at + start.length);
    at += start.length + ending.length;
  }
  return frames;
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
