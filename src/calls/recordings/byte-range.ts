/** Byte ranges of HTTP (RFC 9110), as far as audio players use them: one range. */

export interface ByteRange {
  /** First and last byte, both included. */
  first: number;
  last: number;
}

/**
 * The range that a header requests from a body of this size. Null when the whole body is to be sent: without
 * the header, and for one that is malformed or asks for several ranges. `unsatisfiable` when the range begins
 * after the end.
 */
export function byteRangeOf(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | null {
  if (!isOneRange(header)) return null;
  const [, from = '', to = ''] = RANGE.exec(header) ?? [];
  if (from === '') {
    const length = Math.min(Number(to), size);
    return length === 0 ? 'unsatisfiable' : { first: size - length, last: size - 1 };
  }
  const first = Number(from);
  const last = to === '' ? size - 1 : Math.min(Number(to), size - 1);
  return first >= size ? 'unsatisfiable' : { first, last };
}

const RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/;

/** Whether the header is one well-formed range, which may be passed on. */
export function isOneRange(header: string | undefined): header is string {
  const [, from, to] = RANGE.exec(header ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return false;
  return from === '' || to === '' || Number(from) <= Number(to);
}

/** The bytes of the range, out of a stream of the whole. Ends the stream after the last one. */
export async function* sliceOf(
  chunks: AsyncIterable<Uint8Array>,
  { first, last }: ByteRange,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, first - at), Math.max(0, last + 1 - at));
    at += chunk.byteLength;
    if (part.byteLength > 0) yield part;
    if (at > last) return;
  }
}
