/** URLs of receivers. Their path or query often contains a token of the receiver. */
import type { Viewer } from '../viewer.ts';
import { grantedScopes } from './scopes.ts';

export const ONLY_ORIGIN =
  'Without the scope `WRITE` only its scheme and host are shown, because the rest may contain a secret of the receiver.';

export function receiverUrlFor(viewer: Viewer | null, url: string): string {
  return grantedScopes(viewer).write ? url : `${new URL(url).origin}/`;
}
