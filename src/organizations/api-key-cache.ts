/** Caches API keys briefly, so that not every request reads one from the database. */
import { LRUCache } from 'lru-cache';
import type { App } from '../app.ts';
import type { ApiKey } from '../generated/prisma/client.ts';
import { perInstance } from '../infra/per-instance.ts';

/** Maximum time for which a revoked key is accepted if the announcement of its revocation is lost. */
const TTL_MS = 2_000;
const MAX_KEYS = 10_000;

/** Bus topic that announces the ID of each revoked key to every process. */
export const API_KEY_REVOKED_TOPIC = 'apiKeyRevoked';

type Where = { hash: string } | { id: string };

const cacheOf = perInstance((app: App) => {
  const rows = new LRUCache<string, ApiKey>({ max: MAX_KEYS, ttl: TTL_MS });
  /** Reads in progress. */
  const reading = new Map<string, Promise<ApiKey | null>>();
  const revoked = new LRUCache<string, true>({ max: MAX_KEYS, ttl: 2 * TTL_MS });
  app.bus.subscribe(API_KEY_REVOKED_TOPIC, (id) => {
    // A read that started before the revocation may end after it.
    revoked.set(String(id), true);
    for (const [key, row] of rows.entries()) if (row.id === id) rows.delete(key);
  });
  return { rows, reading, revoked };
});

/**
 * Returns the key with this hash or ID, at most two seconds old. A revoked key is removed as soon as the bus announces
 * it. The caller checks expiry and addresses. Unknown keys are not cached.
 */
export async function findApiKey(app: App, where: Where): Promise<ApiKey | null> {
  const { rows, reading, revoked } = cacheOf(app);
  const key = 'hash' in where ? `hash ${where.hash}` : `id ${where.id}`;
  const known = rows.get(key);
  if (known) return known;
  let read = reading.get(key);
  if (!read) {
    read = app.db.apiKey.findUnique({ where }).finally(() => reading.delete(key));
    reading.set(key, read);
  }
  const row = await read;
  if (!row || revoked.has(row.id)) return null;
  rows.set(key, row);
  return row;
}
