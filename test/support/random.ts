/** Reproducible randomness. */
import { setTimeout as pause } from 'node:timers/promises';

/** Pseudorandom numbers from 0 to 1, always the same for a seed (Mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Pauses for up to `maxMs`, so that what follows, such as a failure, happens at a random moment of the work in
 * progress. It waits for no condition, and no test relies on what happens meanwhile.
 */
export async function waitRandomly(random: () => number, maxMs: number): Promise<void> {
  await pause(random() * maxMs);
}
