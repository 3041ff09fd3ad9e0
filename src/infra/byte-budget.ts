/** Counts the bytes that work of one kind holds in memory, in all and per key, such as an organization. */

export interface ByteBudget {
  /** Number of bytes that may be added for the key; negative if there are more than the maximum. */
  room(key: string): number;
  /** Counts bytes that are held; a negative number for those that are no longer held. */
  add(key: string, bytes: number): void;
}

/**
 * A key may hold at most half of the maximum. One that holds nothing always has room for a little, so that the others
 * cannot keep it waiting.
 */
export function createByteBudget(max: number): ByteBudget {
  const held = new Map<string, number>();
  let total = 0;
  return {
    room(key) {
      const own = held.get(key);
      return own === undefined ? max / 16 : Math.min(max - total, max / 2 - own);
    },
    add(key, bytes) {
      const sum = (held.get(key) ?? 0) + bytes;
      total += bytes;
      if (sum === 0) held.delete(key);
      else held.set(key, sum);
    },
  };
}
