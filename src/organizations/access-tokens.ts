/** Creates the short-lived, read-only tokens that browsers use in place of an API key. */
import { SignJWT } from 'jose/jwt/sign';
import type { App } from '../app.ts';
import { Checks } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

export const TOKEN_ISSUER = 'truedy';
export const MAX_TOKEN_SECONDS = 24 * 3600;

export interface CreateAccessTokenInput {
  expiresInSeconds?: number | null | undefined;
  callId?: string | null | undefined;
  campaignId?: string | null | undefined;
}

/**
 * Creates a read-only token that expires no later than its key. With a `callId` it can read only that call and its
 * events; with a `campaignId` only that campaign, its contacts and calls, and their events. Of the agent it can then
 * read only the ID and the name.
 */
export async function createAccessToken(
  app: App,
  viewer: Viewer,
  input: CreateAccessTokenInput,
): Promise<{ accessToken: string; expiresAt: Date }> {
  const checks = new Checks();
  const seconds =
    checks.number(input.expiresInSeconds, ['expiresInSeconds'], {
      min: 30,
      max: MAX_TOKEN_SECONDS,
      integer: true,
    }) ?? 3600;
  const callId = checks.id('Call', input.callId, ['callId']);
  if (callId) {
    const call = await app.db.call.findFirst({
      where: { ...ownedBy(viewer), id: callId, deletedAt: null },
      select: { id: true },
    });
    if (!call) checks.add('NOT_FOUND', 'Call not found.', ['callId']);
  }
  const campaignId = checks.id('Campaign', input.campaignId, ['campaignId']);
  if (campaignId) {
    const campaign = await app.db.campaign.findFirst({
      where: { ...ownedBy(viewer), id: campaignId, deletedAt: null },
      select: { id: true },
    });
    if (!campaign) checks.add('NOT_FOUND', 'Campaign not found.', ['campaignId']);
  }
  if (input.callId && input.campaignId) {
    checks.add(
      'INVALID_INPUT',
      'A token can be limited to one call or to one campaign, not both. Omit `callId` or `campaignId`.',
      ['campaignId'],
    );
  }
  checks.throwIfAny();
  const now = Math.floor(app.now().getTime() / 1000);
  let expires = now + seconds;
  if (viewer.expiresAt) expires = Math.min(expires, Math.floor(viewer.expiresAt.getTime() / 1000));
  const accessToken = await new SignJWT({
    org: viewer.organizationId,
    ...(callId ? { call: callId } : {}),
    ...(campaignId ? { campaign: campaignId } : {}),
  })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer(TOKEN_ISSUER)
    .setSubject(viewer.apiKeyId)
    .setIssuedAt(now)
    .setExpirationTime(expires)
    .sign(tokenKey(app));
  return { accessToken, expiresAt: new Date(expires * 1000) };
}

/** The key that signs and verifies access tokens, derived from `ENCRYPTION_KEY`. */
export function tokenKey(app: App): Uint8Array {
  return Buffer.from(app.cipher.derive('access-token'), 'hex');
}
