/** Organizations, their API keys and access tokens, and who a credential stands for. */
import { createHash, randomBytes } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import { jwtVerify, SignJWT } from 'jose';
import type { App, Tx } from '../app.ts';
import { RequestError, userError } from '../errors.ts';
import type { ApiKey, ApiKeyScope, Organization } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { newId } from '../infra/ids.ts';
import { newObjectId, ownedBy, type Viewer } from './viewer.ts';

const KEY = /^truedy_[A-Za-z0-9]{32}$/;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const MAX_KEYS = 100;
const LAST_USED_EVERY_MS = 60_000;
const TOKEN_ISSUER = 'truedy';
export const MAX_TOKEN_SECONDS = 24 * 3600;

/** The topic on which processes hear that a key was revoked. */
export const API_KEY_REVOKED_TOPIC = 'apiKeyRevoked';

/** ADMIN includes WRITE, WRITE includes READ. */
function withImplied(scopes: readonly ApiKeyScope[]): Set<ApiKeyScope> {
  const all = new Set<ApiKeyScope>(scopes);
  if (all.has('ADMIN')) all.add('WRITE');
  if (all.has('WRITE')) all.add('READ');
  return all;
}

function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** `truedy_` and 32 random letters and digits, each equally likely. */
export function newApiKey(): string {
  let key = '';
  while (key.length < 32) {
    for (const byte of randomBytes(48)) {
      if (byte < 248 && key.length < 32) key += ALPHABET[byte % 62];
    }
  }
  return `truedy_${key}`;
}

/**
 * Who a credential stands for: an API key, or an access token made by `createAccessToken`.
 *
 * @throws RequestError UNAUTHENTICATED when it is unknown, expired or revoked, FORBIDDEN when the
 *   address is not on the key's allow-list. The same answer for every way of being unknown.
 */
export async function authenticate(
  app: App,
  credential: string,
  clientAddress: string | null,
): Promise<Viewer> {
  const viewer = KEY.test(credential)
    ? await authenticateKey(app, credential, clientAddress)
    : await authenticateToken(app, credential, clientAddress);
  if (!viewer) {
    throw new RequestError(
      'UNAUTHENTICATED',
      'The API key or access token is unknown, expired or revoked. Keys look like truedy_ and 32 letters or digits.',
    );
  }
  return viewer;
}

async function authenticateKey(
  app: App,
  key: string,
  clientAddress: string | null,
): Promise<Viewer | null> {
  const row = await app.db.apiKey.findUnique({ where: { hash: hashKey(key) } });
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
  const row = await app.db.apiKey.findUnique({ where: { id: String(payload.sub) } });
  if (!row || !isUsable(app, row) || row.organizationId !== payload.org) return null;
  checkAddress(row, clientAddress);
  return {
    organizationId: row.organizationId,
    apiKeyId: row.id,
    scopes: new Set<ApiKeyScope>(['READ']),
    expiresAt: new Date(Number(payload.exp) * 1000),
    ...(typeof payload.call === 'string' ? { onlyCallId: payload.call } : {}),
    ...(typeof payload.campaign === 'string' ? { onlyCampaignId: payload.campaign } : {}),
  };
}

function isUsable(app: Pick<App, 'now'>, key: ApiKey): boolean {
  return key.revokedAt === null && (key.expiresAt === null || key.expiresAt > app.now());
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

/** At most one write a minute for each key, never in the way of the request. */
function recordUse(app: App, key: ApiKey): void {
  const now = app.now();
  if (key.lastUsedAt && now.getTime() - key.lastUsedAt.getTime() < LAST_USED_EVERY_MS) return;
  app.background('recordApiKeyUse', async () => {
    await app.db.apiKey.updateMany({ where: { id: key.id }, data: { lastUsedAt: now } });
  });
}

/** Whether a viewer that was let in earlier still is: for sockets and streams that stay open. */
export async function isStillAllowed(app: App, viewer: Viewer): Promise<boolean> {
  if (viewer.expiresAt && viewer.expiresAt <= app.now()) return false;
  const key = await app.db.apiKey.findUnique({ where: { id: viewer.apiKeyId } });
  return key !== null && isUsable(app, key);
}

export interface CreateApiKeyInput {
  name: string;
  scopes: readonly ApiKeyScope[];
  ipAllowList?: readonly string[] | null | undefined;
  expiresAt?: Date | null | undefined;
}

/** @returns the row, and the key itself, which can never be read again. */
export async function createApiKey(
  app: App,
  viewer: Viewer,
  input: CreateApiKeyInput,
): Promise<{ apiKey: ApiKey; key: string }> {
  const checks = new Checks();
  checks.text(input.name, ['name'], { min: 1, max: 100 });
  if (input.scopes.length === 0) {
    checks.add('REQUIRED', 'Give at least one scope: READ, WRITE or ADMIN.', ['scopes']);
  }
  if (input.expiresAt && input.expiresAt <= app.now()) {
    checks.add('INVALID_INPUT', '`expiresAt` must lie in the future.', ['expiresAt']);
  }
  const ipAllowList = (input.ipAllowList ?? []).map((entry, index) =>
    checkRange(checks, entry, ['ipAllowList', index]),
  );
  if (ipAllowList.length > 100) {
    checks.add('LIMIT_EXCEEDED', '`ipAllowList` may have at most 100 entries.', ['ipAllowList']);
  }
  const id = newObjectId(viewer);
  // Left by a run under the same idempotency key that died. Nobody ever saw the key it made.
  const left = viewer.idempotency
    ? await app.db.apiKey.findFirst({ where: { ...ownedBy(viewer), id } })
    : null;
  const inUse = await app.db.apiKey.count({ where: { ...ownedBy(viewer), revokedAt: null } });
  if (!left && inUse >= MAX_KEYS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `An organization has at most ${MAX_KEYS} API keys. Revoke one first.`,
      [],
    );
  }
  checks.throwIfAny();
  if (left) {
    const key = newApiKey();
    const apiKey = await app.db.apiKey.update({ where: { id }, data: secretColumns(key) });
    return { apiKey, key };
  }
  return insertApiKey(app.db, {
    id,
    organizationId: viewer.organizationId,
    key: newApiKey(),
    name: input.name,
    scopes: [...new Set(input.scopes)],
    ipAllowList,
    expiresAt: input.expiresAt ?? null,
  });
}

/** One address or range, as a range. */
function checkRange(checks: Checks, entry: string, path: (string | number)[]): string {
  const text = entry.trim();
  if (ipaddr.isValidCIDR(text)) return text;
  if (ipaddr.isValid(text)) return `${text}/${ipaddr.parse(text).kind() === 'ipv4' ? 32 : 128}`;
  checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must be an IP address or a CIDR range such as 203.0.113.0/24.`,
    path,
  );
  return text;
}

async function insertApiKey(
  db: Tx | App['db'],
  data: {
    id: string;
    organizationId: string;
    key: string;
    name: string;
    scopes: ApiKeyScope[];
    ipAllowList?: string[];
    expiresAt?: Date | null;
  },
): Promise<{ apiKey: ApiKey; key: string }> {
  const { key, ...columns } = data;
  const apiKey = await db.apiKey.create({
    data: { ...columns, ...secretColumns(key) },
  });
  return { apiKey, key };
}

/** What is kept of a key. */
function secretColumns(key: string): { prefix: string; hash: string } {
  return { prefix: key.slice(0, 'truedy_'.length + 4), hash: hashKey(key) };
}

/**
 * Ends a key at once, open sockets included. Revoking it again changes nothing. The last key that
 * could make another one stays: without it the organization would be locked out.
 */
export async function revokeApiKey(app: App, viewer: Viewer, id: string): Promise<ApiKey> {
  const checks = new Checks();
  const uuid = checks.id('key', 'API key', id, ['id']);
  checks.throwIfAny();
  const { key, revoked } = await app.db.$transaction(async (tx) => {
    // One at a time for each organization, so that two keys cannot revoke each other.
    await tx.$queryRaw`SELECT id FROM organizations WHERE id = ${viewer.organizationId}::uuid FOR UPDATE`;
    const key = await tx.apiKey.findFirst({ where: { ...ownedBy(viewer), id: uuid! } });
    if (!key) throw userError('NOT_FOUND', 'There is no such API key.', ['id']);
    if (key.revokedAt) return { key, revoked: false };
    if (key.scopes.includes('ADMIN') && isUsable(app, key)) {
      const others = await tx.apiKey.count({
        where: {
          ...ownedBy(viewer),
          id: { not: key.id },
          scopes: { has: 'ADMIN' },
          revokedAt: null,
          OR: [{ expiresAt: null }, { expiresAt: { gt: app.now() } }],
        },
      });
      if (others === 0) {
        throw userError(
          'INVALID_STATE',
          'This is the last key with the scope ADMIN. Make another one before you revoke it.',
          ['id'],
        );
      }
    }
    const data = { revokedAt: app.now() };
    return { key: await tx.apiKey.update({ where: { id: key.id }, data }), revoked: true };
  });
  if (revoked) app.bus.publish(API_KEY_REVOKED_TOPIC, key.id);
  return key;
}

export interface CreateAccessTokenInput {
  expiresInSeconds?: number | null | undefined;
  callId?: string | null | undefined;
  campaignId?: string | null | undefined;
}

/**
 * A token for a browser: reads only, ends by itself, and with the key it was made with. With a
 * `callId` it sees that call and its events, with a `campaignId` that campaign, its contacts, its
 * calls and their events, and nothing else.
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
  const callId = checks.id('cal', 'Call', input.callId, ['callId']);
  if (callId) {
    const call = await app.db.call.findFirst({
      where: { ...ownedBy(viewer), id: callId, deletedAt: null },
      select: { id: true },
    });
    if (!call) checks.add('NOT_FOUND', 'There is no such call.', ['callId']);
  }
  const campaignId = checks.id('cmp', 'Campaign', input.campaignId, ['campaignId']);
  if (campaignId) {
    const campaign = await app.db.campaign.findFirst({
      where: { ...ownedBy(viewer), id: campaignId, deletedAt: null },
      select: { id: true },
    });
    if (!campaign) checks.add('NOT_FOUND', 'There is no such campaign.', ['campaignId']);
  }
  if (input.callId && input.campaignId) {
    checks.add(
      'INVALID_INPUT',
      'A token is narrowed to one call or to one campaign: leave out `callId` or `campaignId`.',
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

function tokenKey(app: App): Uint8Array {
  return Buffer.from(app.cipher.derive('access-token'), 'hex');
}

/** An organization with a first key that may do everything. For start-up and the command line. */
export async function createOrganization(
  app: Pick<App, 'db'>,
  input: { name: string; key?: string; id?: string },
): Promise<{ organization: Organization; apiKey: ApiKey; key: string }> {
  const checks = new Checks();
  checks.text(input.name, ['name'], { min: 1, max: 100 });
  checks.throwIfAny();
  return app.db.$transaction(async (tx) => {
    const organization = await tx.organization.create({
      data: { id: input.id ?? newId(), name: input.name },
    });
    const made = await insertApiKey(tx, {
      id: newId(),
      organizationId: organization.id,
      key: input.key ?? newApiKey(),
      name: 'First key',
      scopes: ['ADMIN'],
    });
    return { organization, ...made };
  });
}

/**
 * Another key that may do everything, for the command line: for who has lost the others.
 *
 * @throws UserInputError INVALID_ID or NOT_FOUND
 */
export async function createAdminKey(
  app: Pick<App, 'db'>,
  organizationId: string,
): Promise<{ organization: Organization; key: string }> {
  const checks = new Checks();
  const id = checks.id('org', 'Organization', organizationId, ['id']);
  checks.throwIfAny();
  const organization = await app.db.organization.findUnique({ where: { id: id! } });
  if (!organization) throw userError('NOT_FOUND', 'There is no such organization.', ['id']);
  const { key } = await insertApiKey(app.db, {
    id: newId(),
    organizationId: organization.id,
    key: newApiKey(),
    name: 'From the command line',
    scopes: ['ADMIN'],
  });
  return { organization, key };
}

/**
 * Makes sure that a given key works for an organization: the demo's, which is kept in a file.
 *
 * @returns whether it does; it cannot when it was revoked, has ended or is another organization's
 */
export async function ensureApiKey(
  app: Pick<App, 'db' | 'now'>,
  organizationId: string,
  key: string,
): Promise<boolean> {
  const existing = await app.db.apiKey.findUnique({ where: { hash: hashKey(key) } });
  if (existing) {
    return isUsable(app, existing) && existing.organizationId === organizationId;
  }
  await insertApiKey(app.db, {
    id: newId(),
    organizationId,
    key,
    name: 'Demo key',
    scopes: ['ADMIN'],
  });
  return true;
}
