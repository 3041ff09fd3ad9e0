/**
 * Counts of open subscriptions across all processes. Each process writes its own counts to Redis and renews them, so
 * the counts of a killed process expire, and those that a restarted Redis has lost are restored.
 */
import type { Failures } from '../../infra/failures.ts';
import { newId } from '../../infra/ids.ts';
import { repeat } from '../../infra/jobs/repeat.ts';
import type { LimitConnection, LimitStore } from './limit-store.ts';

const LIFETIME_MS = 20_000;
/** Counts that changed are written together. */
const WRITE_DELAY_MS = 50;
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * KEYS: hashes of process → "count:expiry", all in one slot of a cluster. ARGV: process, lifetime, then for
 * each key the count of the process and the limit. Writes the counts unless a total exceeds its limit.
 * Returns the 1-based index of the first such key, or 0.
 */
const SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local process, lifetime = ARGV[1], tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  local total, max = tonumber(ARGV[1 + 2 * i]), tonumber(ARGV[2 + 2 * i])
  local entries = redis.call('HGETALL', key)
  for j = 1, #entries, 2 do
    local count, expiry = string.match(entries[j + 1], '(%d+):(%d+)')
    if tonumber(expiry) <= now then redis.call('HDEL', key, entries[j])
    elseif entries[j] ~= process then total = total + tonumber(count) end
  end
  if total > max then return i end
end
for i, key in ipairs(KEYS) do
  if ARGV[1 + 2 * i] == '0' then redis.call('HDEL', key, process)
  else
    redis.call('HSET', key, process, ARGV[1 + 2 * i] .. ':' .. (now + lifetime))
    redis.call('PEXPIRE', key, lifetime)
  end
end
return 0`;

export interface Limited {
  key: string;
  max: number;
}

export interface SharedCounts {
  /**
   * Writes the counts of this process for these keys, unless a total of all processes exceeds its limit.
   * The keys must be in one slot of a cluster.
   *
   * @returns the index of the first key over its limit; null if there is none, or Redis is unavailable.
   */
  findExceeded(limits: readonly Limited[]): Promise<number | null>;
  /** Writes the counts of these keys after a short delay. */
  changed(keys: readonly string[]): void;
  /** Removes the counts of this process. */
  close(): Promise<void>;
}

export interface SharedCountsOptions {
  store: LimitStore;
  failures: Failures;
  /** Number that this process has open now. */
  countOf: (key: string) => number;
  /** Time for which the counts of a process that died are kept. Default: 20 seconds. */
  lifetimeMs?: number;
}

export function createSharedCounts(options: SharedCountsOptions): SharedCounts {
  const { store, failures, countOf, lifetimeMs = LIFETIME_MS } = options;
  const process = newId();
  /** Keys that this process has in Redis, or will have. */
  const written = new Set<string>();
  const dirty = new Set<string>();
  let timer: NodeJS.Timeout | undefined;

  async function run(redis: LimitConnection, limits: readonly Limited[]): Promise<number> {
    const counts = limits.map(({ key }) => countOf(key));
    const result = await redis.eval(
      SCRIPT,
      limits.length,
      ...limits.map(({ key }) => `truedy:open:${key}`),
      process,
      lifetimeMs,
      ...limits.flatMap(({ max }, index) => [counts[index] ?? 0, max]),
    );
    limits.forEach(({ key }, index) => {
      if (counts[index] === 0 && countOf(key) === 0) written.delete(key);
    });
    return Number(result);
  }

  async function write(keys: Iterable<string>): Promise<void> {
    for (const key of keys) written.add(key);
    const redis = store.connection();
    if (!redis) return;
    const each = [...keys].map((key) => run(redis, [{ key, max: NO_LIMIT }]));
    await Promise.all(each).catch(failures.recorder('limits.write'));
  }

  const renew = (): Promise<void> => write(written);
  const stopRenewing = repeat(lifetimeMs / 3, renew);
  const stopListening = store.onReady(() => void renew());

  return {
    async findExceeded(limits) {
      // Also while Redis is unavailable, so that the counts are written when it is back.
      for (const { key } of limits) written.add(key);
      const redis = store.connection();
      if (!redis) return null;
      try {
        const exceeded = await run(redis, limits);
        return exceeded === 0 ? null : exceeded - 1;
      } catch (error) {
        failures.record('limits.count', error);
        return null;
      }
    },
    changed(keys) {
      for (const key of keys) dirty.add(key);
      timer ??= setTimeout(() => {
        timer = undefined;
        const changed = [...dirty];
        dirty.clear();
        void write(changed);
      }, WRITE_DELAY_MS);
      timer.unref();
    },
    async close() {
      stopRenewing();
      clearTimeout(timer);
      stopListening();
      await write(written);
    },
  };
}
