/** Identifiers: UUIDv7 in the database, `<prefix>_<uuid>` in the API. */
import { createHash } from 'node:crypto';
import { v7 } from 'uuid';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const PUBLIC_ID = /^([a-z]{3})_([0-9a-f-]{36})$/;

/** A new UUIDv7, which sorts by its creation time. */
export function newId(): string {
  return v7();
}

/**
 * The UUIDv7 derived from `seed` and `at`. A mutation that is repeated under its idempotency key after a
 * crash gets the same id, and so finds what it had created.
 */
export function derivedId(seed: string, at: Date): string {
  const random = createHash('sha256').update(seed).digest().subarray(0, 16);
  return v7({ msecs: at.getTime(), random, seq: random.readUInt32BE(0) & 0x7fffffff });
}

/** `agt` + uuid → `agt_…`. */
export function publicId(prefix: string, uuid: string): string {
  return `${prefix}_${uuid}`;
}

/** Parses a public id; null when it is malformed. */
export function parsePublicId(id: string): { prefix: string; uuid: string } | null {
  const match = PUBLIC_ID.exec(id);
  if (!match?.[1] || !match[2] || !UUID.test(match[2])) return null;
  return { prefix: match[1], uuid: match[2] };
}

/** The name of a type with its article, for messages: `a Call`, `an Agent`. */
export function withArticle(name: string): string {
  return `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`;
}
