/** Which of a campaign's numbers a call is made from. Numbers are meant by their place in the pool. */

/**
 * The next `calls` numbers in turn, and where to go on. `next` is kept with the campaign, and taken
 * and put back in the transaction that reserves the calls, so that the turns go on after a restart.
 */
export function takeTurns({
  numbers,
  next,
  calls,
}: {
  numbers: number;
  /** Where the last time stopped; of a pool that was longer then, it is taken as of this one. */
  next: number;
  calls: number;
}): { indexes: number[]; next: number } {
  return {
    indexes: Array.from({ length: calls }, (_, call) => (next + call) % numbers),
    next: (next + calls) % numbers,
  };
}

/**
 * The number whose block holds the contact at `position` (from 0) of `contacts`. Blocks follow each
 * other in the order of the numbers and differ by one contact at most. Retries stay in the block.
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

/** Any number, always the same for one seed (such as the attempt's id); even over many seeds. */
export function anyNumber({ numbers, seed }: { numbers: number; seed: string }): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) {
    hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
  }
  // FNV leaves seeds that differ in their last characters close together; this spreads them.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash = (hash ^ (hash >>> 16)) >>> 0;
  return Math.floor((hash / 0x1_0000_0000) * numbers);
}
