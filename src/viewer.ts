/** The caller of an operation: organization, scopes and limits. */
import { randomBytes } from 'node:crypto';
import type { ApiKeyScope } from './generated/prisma/enums.ts';
import type { Cipher } from './infra/cipher.ts';
import { derivedId, newId } from './infra/ids.ts';
import type { SqlExecutor } from './infra/jobs/lease.ts';

export interface Idempotency {
  readonly seed: string;
  readonly at: Date;
  /**
   * Results of the operation's mutations in this run and in earlier ones, by response name. Null for a mutation
   * that must run again. A mutation with a result does not.
   */
  readonly results: Map<string, object | null>;
  /** What mutations committed in earlier runs, by their seeds. */
  readonly committed: ReadonlyMap<string, unknown>;
  /** Stores a result by the seed of its mutation. @throws LeaseLostError if another run has taken over. */
  readonly commit: (tx: SqlExecutor, seed: string, result: unknown) => Promise<void>;
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

/** Like `ownedBy`, without deleted rows, for tables with `deleted_at`. */
export function ownedAndNotDeleted(viewer: Viewer): { organizationId: string; deletedAt: null } {
  return { ...ownedBy(viewer), deletedAt: null };
}

/**
 * The id of the object that a mutation creates. Every run under the same idempotency key gets the same id, so a
 * run after a crash finds the object that the first run created.
 */
export function newObjectId(viewer: Viewer): string {
  const { idempotency } = viewer;
  return idempotency ? derivedId(idempotency.seed, idempotency.at) : newId();
}

/**
 * Returns a function that produces 32 random bytes for a new secret on each call. Every run under the same
 * idempotency key gets the same bytes, so a run after a crash returns the secret that the first run stored.
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

/** Filter for rows deleted by an earlier run under the same idempotency key. Null without a key. */
export function deletedByEarlierRun(
  viewer: Viewer,
): { organizationId: string; deletedAt: { gte: Date } } | null {
  const { idempotency } = viewer;
  return idempotency ? { ...ownedBy(viewer), deletedAt: { gte: idempotency.at } } : null;
}

/**
 * What the mutation passed to `commitResult` in an earlier run under the same idempotency key; undefined if it
 * has not been committed. For mutations that cannot be repeated and leave no row that shows what they did.
 */
export function committedEarlier<Result>({ idempotency }: Viewer): Result | undefined {
  return idempotency?.committed.get(idempotency.seed) as Result | undefined;
}

/**
 * Stores the result of a mutation in the transaction that makes its change, as the last statement: it locks the
 * record of the key.
 *
 * @throws LeaseLostError if another run of the mutation has taken over, which will make the change.
 */
export async function commitResult<Result>(
  tx: SqlExecutor,
  { idempotency }: Viewer,
  result: Result,
): Promise<Result> {
  await idempotency?.commit(tx, idempotency.seed, result);
  return result;
}
