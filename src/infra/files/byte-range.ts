/** HTTP byte ranges (RFC 9110), limited to what audio players use: a single range. */

export interface ByteRange {
  /** First and last byte, inclusive. */
  first: number;
  last: number;
}

/**
 * Parses the range that a header requests from a body of this size. Null if the whole body is to be sent: the header
 * is missing, malformed, or asks for several ranges. `unsatisfiable` if the range starts after the end.
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

/** Whether the header is a single well-formed range, which may be passed on. */
export function isOneRange(header: string | undefined): header is string {
  const [, from, to] = RANGE.exec(header ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return false;
  return from === '' || to === '' || Number(from) <= Number(to);
}

/** Returns the bytes of the range from a stream of the whole body. Ends the stream after the last one. */
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
