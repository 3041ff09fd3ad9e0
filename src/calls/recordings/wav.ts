/** Length of a WAV file in seconds, from its header; null if it is not a WAV file or does not state its length. */
export function wavSeconds(beginning: Buffer, totalBytes: number | null): number | null {
  if (beginning.length < 12 || beginning.toString('latin1', 0, 4) !== 'RIFF') return null;
  if (beginning.toString('latin1', 8, 12) !== 'WAVE') return null;
  let bytesPerSecond = 0;
  let at = 12;
  while (at + 8 <= beginning.length) {
    const name = beginning.toString('latin1', at, at + 4);
    const size = beginning.readUInt32LE(at + 4);
    at += 8;
    if (name === 'fmt ' && at + 12 <= beginning.length) {
      bytesPerSecond = beginning.readUInt32LE(at + 8);
    }
    if (name === 'data') {
      if (bytesPerSecond === 0) return null;
      // A file written as a stream may not state its size.
      const rest = totalBytes === null ? null : totalBytes - at;
      const bytes = rest !== null && (size === 0 || size > rest) ? rest : size;
      return bytes > 0 && bytes < 0xffffffff ? bytes / bytesPerSecond : null;
    }
    at += size + (size % 2);
  }
  return null;
}
