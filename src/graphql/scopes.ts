/** Authorization of callers: the scopes that fields require, and the error when one is missing. */
import { RequestError } from '../errors.ts';
import type { Viewer } from '../viewer.ts';

export interface Scopes {
  /** May read everything of the organization. */
  read: boolean;
  /** May read calls. The only scope of an access token for one call. */
  readCall: boolean;
  /** May read campaigns. With `readCall`, the only scope of an access token for one campaign. */
  readCampaign: boolean;
  write: boolean;
  admin: boolean;
}

export function scopesOf(viewer: Viewer | null): Scopes {
  const ofCampaign = viewer !== null && viewer.onlyCallId === undefined;
  const whole = ofCampaign && viewer.onlyCampaignId === undefined;
  return {
    read: whole && viewer.scopes.has('READ'),
    readCall: viewer?.scopes.has('READ') ?? false,
    readCampaign: ofCampaign && viewer.scopes.has('READ'),
    write: whole && viewer.scopes.has('WRITE'),
    admin: whole && viewer.scopes.has('ADMIN'),
  };
}

const NO_SCOPES = scopesOf(null);
const known = new WeakMap<Viewer, Scopes>();

/** Like `scopesOf`, but computed once per viewer. */
export function grantedScopes(viewer: Viewer | null): Scopes {
  if (!viewer) return NO_SCOPES;
  let scopes = known.get(viewer);
  if (!scopes) {
    scopes = scopesOf(viewer);
    known.set(viewer, scopes);
  }
  return scopes;
}

/** Of each inner list, at least one scope must be granted. */
export type RequiredScopes = readonly (readonly (keyof Scopes)[])[];

export function isGranted(granted: Scopes, required: RequiredScopes): boolean {
  return required.every((scopes) => scopes.some((scope) => granted[scope]));
}

/**
 * Whether the caller may use a field or type at all, as far as its `authScopes` show without running
 * it. If they are a plain object, any of its scopes is enough. True if they are a function or absent.
 */
export function mayUse(viewer: Viewer | null, element: { extensions: object }): boolean {
  const { pothosOptions } = element.extensions as { pothosOptions?: { authScopes?: unknown } };
  const required = pothosOptions?.authScopes;
  if (typeof required !== 'object' || required === null) return true;
  const granted = grantedScopes(viewer);
  const names = Object.entries(required)
    .filter(([, needed]) => needed === true)
    .map(([name]) => name);
  return names.length === 0 || names.some((name) => granted[name as keyof Scopes]);
}

/** Like `mayUse`, for a field of an object type. A field may require only its own scopes, not those of the type. */
export function mayUseFieldOf(
  viewer: Viewer | null,
  type: { extensions: object },
  field: { extensions: object },
): boolean {
  const { pothosOptions } = field.extensions as { pothosOptions?: { skipTypeScopes?: boolean } };
  return mayUse(viewer, field) && (pothosOptions?.skipTypeScopes === true || mayUse(viewer, type));
}

/** UNAUTHENTICATED without a credential, otherwise FORBIDDEN. `what` is a name such as `Query.agents`. */
export function forbiddenError(viewer: Viewer | null, what: string): RequestError {
  if (!viewer) {
    return new RequestError(
      'UNAUTHENTICATED',
      'This requires an API key: send the header "Authorization: Bearer truedy_…", or on a WebSocket the same in connectionParams.',
    );
  }
  const granted = [...viewer.scopes].join(', ') || 'none';
  const { onlyCallId, onlyCampaignId } = viewer;
  const one = onlyCallId ? 'call' : onlyCampaignId ? 'campaign' : null;
  const only = one ? ` It is limited to one ${one}.` : '';
  return new RequestError(
    'FORBIDDEN',
    `This key may not use ${what}; its scopes are ${granted}.${only}`,
  );
}
