/** The caller of an operation: organization, scopes and limits. */
import type { ApiKeyScope } from './generated/prisma/enums.ts';
import { derivedId, newId } from './infra/ids.ts';

export interface Idempotency {
  readonly seed: string;
  readonly at: Date;
  /** Call it when the same request may succeed later: its result is not stored, so that it runs again. */
  readonly allowRetry: () => void;
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
