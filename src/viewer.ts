/** The caller of an operation: organization, scopes and limits. */
import { randomBytes } from 'node:crypto';
import type { ApiKeyScope } from './generated/prisma/enums.ts';
import type { Cipher } from './infra/cipher.ts';
import { derivedId, newId } from './infra/ids.ts';

export interface Idempotency {
  readonly seed: string;
  readonly at: Date;
  /**
   * What the mutations of the operation have returned in this run and in earlier ones, by response name; null
   * for one that may succeed later. What is in here does not run again.
   */
  readonly results: Map<string, object | null>;
}

export interface Viewer {
  readonly organizationId: string;
  /** The API key that was sent, or that created the access token. */
  readonly apiKeyId: string;
  readonly scopes: ReadonlySet<ApiKeyScope>;
  /** Set for an access token that is limited to one call. */
  readonly onlyCallId?: string;
  /** Set for an access token that is limited to one campaign, with its contacts and calls. */
  readonly onlyCampaignId?: string;
  /** Expiry of the key or token. */
  readonly expiresAt?: Date;
  /** Identity of the running mutation field under its idempotency key. */
  readonly idempotency?: Idempotency;
}

/** Filter for the rows of the viewer's organization, part of every read and write. */
export function ownedBy(viewer: Viewer): { organizationId: string } {
  return { organizationId: viewer.organizationId };
}

/** The same without deleted rows, for tables with `deleted_at`. */
export function existingOf(viewer: Viewer): { organizationId: string; deletedAt: null } {
  return { ...ownedBy(viewer), deletedAt: null };
}

/**
 * The id for the object that a mutation creates. It is the same in each run under an idempotency key, so a
 * run after a crash finds what the first one created.
 */
export function newObjectId(viewer: Viewer): string {
  const { idempotency } = viewer;
  return idempotency ? derivedId(idempotency.seed, idempotency.at) : newId();
}

/**
 * The random bytes of a new secret, 32 at each call. They are the same in each run under an idempotency key,
 * so a run after a crash returns the secret that the first one has stored.
 */
export function secretBytes(
  app: { cipher: Cipher },
  { idempotency }: Viewer,
  purpose: string,
): () => Buffer {
  if (!idempotency) return () => randomBytes(32);
  const { seed, at } = idempotency;
  let block = 0;
  return () => {
    block += 1;
    return Buffer.from(app.cipher.derive(JSON.stringify([purpose, seed, at, block])), 'hex');
  };
}

/** Filter for the rows that an earlier run under the same idempotency key has deleted; null without a key. */
export function deletedEarlier(
  viewer: Viewer,
): { organizationId: string; deletedAt: { gte: Date } } | null {
  const { idempotency } = viewer;
  return idempotency ? { ...ownedBy(viewer), deletedAt: { gte: idempotency.at } } : null;
}
