/** Resolves an API key or an access token to its viewer. */
import ipaddr from 'ipaddr.js';
import { jwtVerify } from 'jose/jwt/verify';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import type { Viewer } from '../viewer.ts';
import { TOKEN_ISSUER, tokenKey } from './access-tokens.ts';
import { findApiKey } from './api-key-cache.ts';
import { hashKey, isApiKey } from './api-key-secret.ts';
import { isUsable } from './api-keys.ts';

const LAST_USED_EVERY_MS = 60_000;

/** Shared scope sets. Every viewer of a socket or stream holds one, so equal sets are stored only once. */
const scopeSets = new Map<string, ReadonlySet<ApiKeyScope>>();

/** ADMIN includes WRITE, WRITE includes READ. */
function withImplied(scopes: readonly ApiKeyScope[]): ReadonlySet<ApiKeyScope> {
  const all = new Set<ApiKeyScope>(scopes);
  if (all.has('ADMIN')) all.add('WRITE');
  if (all.has('WRITE')) all.add('READ');
  const key = [...all].sort().join();
  const known = scopeSets.get(key);
  if (known) return known;
  scopeSets.set(key, all);
  return all;
}

/**
 * Returns the viewer of an API key or access token.
 *
 * @throws RequestError UNAUTHENTICATED if it is unknown, expired or revoked, with the same message for all of these;
 *   FORBIDDEN if the address is not on the key's allow-list.
 */
export async function authenticate(
  app: App,
  credential: string,
  clientAddress: string | null,
): Promise<Viewer> {
  const viewer = isApiKey(credential)
    ? await authenticateKey(app, credential, clientAddress)
    : await authenticateToken(app, credential, clientAddress);
  if (!viewer) {
    throw new RequestError(
      'UNAUTHENTICATED',
      'The API key or access token is unknown, expired or revoked. A key is truedy_ followed by 32 letters or digits.',
    );
  }
  return viewer;
}

async function authenticateKey(
  app: App,
  key: string,
  clientAddress: string | null,
): Promise<Viewer | null> {
  const row = await findApiKey(app, { hash: hashKey(key) });
  if (!row || !isUsable(app, row)) return null;
  checkAddress(row, clientAddress);
  recordUse(app, row);
  return {
    organizationId: row.organizationId,
    apiKeyId: row.id,
    scopes: withImplied(row.scopes),
    ...(row.expiresAt ? { expiresAt: row.expiresAt } : {}),
  };
}

async function authenticateToken(
  app: App,
  token: string,
  clientAddress: string | null,
): Promise<Viewer | null> {
  let payload: Awaited<ReturnType<typeof jwtVerify>>['payload'];
  try {
    ({ payload } = await jwtVerify(token, tokenKey(app), {
      issuer: TOKEN_ISSUER,
      algorithms: ['HS256'],
      currentDate: app.now(),
      requiredClaims: ['exp', 'sub', 'org'],
    }));
  } catch {
    return null;
  }
  const row = await findApiKey(app, { id: String(payload.sub) });
  if (!row || !isUsable(app, row) || row.organizationId !== payload.org) return null;
  checkAddress(row, clientAddress);
  return {
    organizationId: row.organizationId,
    apiKeyId: row.id,
    scopes: withImplied(['READ']),
    expiresAt: new Date(Number(payload.exp) * 1000),
    ...(typeof payload.call === 'string' ? { onlyCallId: payload.call } : {}),
    ...(typeof payload.campaign === 'string' ? { onlyCampaignId: payload.campaign } : {}),
  };
}

function checkAddress(key: ApiKey, clientAddress: string | null): void {
  if (key.ipAllowList.length === 0) return;
  const address =
    clientAddress && ipaddr.isValid(clientAddress) ? ipaddr.process(clientAddress) : null;
  const allowed = key.ipAllowList.some((entry) => {
    const [base, bits] = ipaddr.parseCIDR(entry);
    return address !== null && address.kind() === base.kind() && address.match(base, bits);
  });
  if (!allowed) {
    throw new RequestError(
      'FORBIDDEN',
      `This key may not be used from ${clientAddress ?? 'an unknown address'}: it is not on its IP allow-list.`,
    );
  }
}

/** Records the use of a key, at most once per minute, after the response. */
function recordUse(app: App, key: ApiKey): void {
  const now = app.now();
  if (key.lastUsedAt && now.getTime() - key.lastUsedAt.getTime() < LAST_USED_EVERY_MS) return;
  // The row is cached, so the next requests need not write again.
  key.lastUsedAt = now;
  app.background('recordApiKeyUse', async () => {
    await app.db.apiKey.updateMany({ where: { id: key.id }, data: { lastUsedAt: now } });
  });
}
