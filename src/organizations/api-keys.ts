/** Creates and revokes the API keys of an organization. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { parseAddressRange } from '../infra/outgoing/addresses.ts';
import { newObjectId, ownedBy, secretBytes, type Viewer } from '../viewer.ts';
import { API_KEY_REVOKED_TOPIC } from './api-key-cache.ts';
import { hashKey, newApiKey, secretColumns } from './api-key-secret.ts';

export const MAX_KEYS = 100;

/** Whether the key is neither revoked nor expired. */
export function isUsable(app: Pick<App, 'now'>, key: ApiKey): boolean {
  return key.revokedAt === null && (key.expiresAt === null || key.expiresAt > app.now());
}

/** Whether the key with this ID is usable, read from the database. */
export async function isKeyUsable(app: App, id: string): Promise<boolean> {
  const key = await app.db.apiKey.findUnique({ where: { id } });
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
  checks.notEmpty(input.scopes, ['scopes']);
  if (input.expiresAt && input.expiresAt <= app.now()) {
    checks.add('INVALID_INPUT', '`expiresAt` must be in the future.', ['expiresAt']);
  }
  const ipAllowList = (input.ipAllowList ?? []).map((entry, index) =>
    checkRange(checks, entry, ['ipAllowList', index]),
  );
  checks.throwIfAny();
  const id = newObjectId(viewer);
  const key = newApiKey(secretBytes(app, viewer, 'api key'));
  return app.db.$transaction(async (tx) => {
    await lockKeys(tx, viewer);
    // The key may have been created by an earlier run under the same idempotency key, with the same secret.
    const made = await tx.apiKey.findFirst({
      where: { ...ownedBy(viewer), id, hash: hashKey(key) },
    });
    if (made) return { apiKey: made, key };
    const inUse = await tx.apiKey.count({ where: { ...ownedBy(viewer), revokedAt: null } });
    if (inUse >= MAX_KEYS) {
      throw userError(
        'LIMIT_EXCEEDED',
        `An organization can have at most ${MAX_KEYS} API keys. Revoke one first.`,
      );
    }
    return insertApiKey(tx, {
      id,
      organizationId: viewer.organizationId,
      key,
      name: input.name,
      scopes: [...new Set(input.scopes)],
      ipAllowList,
      expiresAt: input.expiresAt ?? null,
    });
  });
}

/** Serializes changes of an organization's keys: their number is limited, and two keys must not revoke each other. */
async function lockKeys(tx: Tx, { organizationId }: Viewer): Promise<void> {
  await tx.$queryRaw`SELECT id FROM organizations WHERE id = ${organizationId}::uuid FOR NO KEY UPDATE`;
}

/** Converts one address or range to a range. Adds a problem if it is invalid. */
function checkRange(checks: Checks, entry: string, path: (string | number)[]): string {
  const range = parseAddressRange(entry.trim());
  if (range !== null) return range;
  checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must be an IPv4 or IPv6 address or a CIDR range, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32. IPv4 addresses have four numbers without leading zeros.`,
    path,
  );
  return entry;
}

/**
 * Revokes a key immediately, also for open sockets. Has no effect on a revoked key. The last usable ADMIN key cannot be
 * revoked, because that would lock out the organization.
 */
export async function revokeApiKey(app: App, viewer: Viewer, id: string): Promise<ApiKey> {
  const checks = new Checks();
  const uuid = checks.id('ApiKey', id, ['id']);
  checks.throwIfAny();
  const { key, revoked } = await app.db.$transaction(async (tx) => {
    await lockKeys(tx, viewer);
    const key = await tx.apiKey.findFirst({ where: { ...ownedBy(viewer), id: uuid! } });
    if (!key) throw userError('NOT_FOUND', 'API key not found.', ['id']);
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
          'This is the last key with the scope ADMIN. Create another one first.',
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

export async function insertApiKey(
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
