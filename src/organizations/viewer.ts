/** Who is calling, as far as rules need to know. */
import type { ApiKeyScope } from '../generated/prisma/enums.ts';
import { derivedId, newId } from '../infra/ids.ts';

export interface Viewer {
  readonly organizationId: string;
  /** The API key that was presented, or that the access token was made with. */
  readonly apiKeyId: string;
  readonly scopes: ReadonlySet<ApiKeyScope>;
  /** Set for an access token that may see one call and nothing else. */
  readonly onlyCallId?: string;
  /** Set for an access token that may see one campaign, with its contacts and calls, and nothing else. */
  readonly onlyCampaignId?: string;
  /** When the key or token ends. */
  readonly expiresAt?: Date;
  /** What the running mutation field was asked for under an idempotency key. */
  readonly idempotency?: { readonly seed: string; readonly at: Date };
}

/** Every read and write of an organisation's rows goes through this fragment. */
export function ownedBy(viewer: Viewer): { organizationId: string } {
  return { organizationId: viewer.organizationId };
}

/**
 * The id of the object that a mutation makes. Under an idempotency key it is always the same one,
 * so a run that follows a crashed run finds what that had made.
 */
export function newObjectId(viewer: Viewer): string {
  const { idempotency } = viewer;
  return idempotency ? derivedId(idempotency.seed, idempotency.at) : newId();
}
