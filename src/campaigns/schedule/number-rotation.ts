/** Rotation strategies: choose the index of the phone number for a call. */

/**
 * ROUND_ROBIN: the index of the next number, and where to continue. `next` is stored with the campaign in the
 * transaction that claims the calls, so the rotation survives a restart.
 */
export function nextNumber({
  numbers,
  next,
}: {
  numbers: number;
  /** Index after the last call; may exceed the size of a pool that has since shrunk. */
  next: number;
}): { index: number; next: number } {
  return { index: next % numbers, next: (next + 1) % numbers };
}

/**
 * SEQUENTIAL: the number whose block contains the contact at `position` (from 0) of `contacts`. Blocks are consecutive,
 * in the order of the numbers, and differ in size by at most one contact. Retries keep the number.
 */
export function numberOfBlock({
  numbers,
  position,
  contacts,
}: {
  numbers: number;
  position: number;
  contacts: number;
}): number {
  return Math.min(Math.floor((position * numbers) / contacts), numbers - 1);
}

/** RANDOM: a number that depends only on `seed` (the ID of the call), uniformly distributed over many seeds. */
export function seededNumber({ numbers, seed }: { numbers: number; seed: string }): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) {
    hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
  }
  // FNV alone maps seeds that differ only in their last characters to similar values.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash = (hash ^ (hash >>> 16)) >>> 0;
  return Math.floor((hash / 0x1_0000_0000) * numbers);
}
