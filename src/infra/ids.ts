/** Identifiers in the database: UUIDv7. `src/ids.ts` defines their form in the API. */
import { createHash } from 'node:crypto';
import { v7 } from 'uuid';

/** Sorts before every ID; start of a scan by ID. */
export const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/** A new UUIDv7, which sorts by its creation time. */
export function newId(): string {
  return v7();
}

/**
 * The UUIDv7 derived from `seed` and `at`. A mutation that is repeated under its idempotency key after a
 * crash gets the same id, and so finds the object that it had created.
 */
export function derivedId(seed: string, at: Date): string {
  const random = createHash('sha256').update(seed).digest().subarray(0, 16);
  return v7({ msecs: at.getTime(), random, seq: random.readUInt32BE(0) & 0x7fffffff });
}
