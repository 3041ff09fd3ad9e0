/** Counts the bytes that work of one kind holds in memory, in all and per key, such as an organization. */

export interface ByteBudget {
  /** Number of bytes that may be added for the key; negative if there are more than the maximum. */
  room(key: string): number;
  /** Counts bytes that are held; a negative number for those that are not held any more. */
  add(key: string, bytes: number): void;
}

/** A key may hold at most half of the maximum, so that none takes all of it from the others. */
export function createByteBudget(max: number): ByteBudget {
  const held = new Map<string, number>();
  let total = 0;
  return {
    room: (key) => Math.min(max - total, max / 2 - (held.get(key) ?? 0)),
    add(key, bytes) {
      const sum = (held.get(key) ?? 0) + bytes;
      total += bytes;
      if (sum === 0) held.delete(key);
      else held.set(key, sum);
    },
  };
}
