/** Finds calls at Ultravox that no webhook announced, such as inbound ones. */
import { LRUCache } from 'lru-cache';
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { isDatabaseOutage } from '../../infra/database/database-errors.ts';
import { type Lease, newLease, whileRenewing } from '../../infra/jobs/lease.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, ingestCall } from './ingest.ts';
import { createdAtOf } from './reported-times.ts';

/** How far the first search looks back. */
const FIRST_LOOK_BACK_HOURS = 24;
/** Overlap of later searches: Ultravox may list a call after others that were created later. */
const OVERLAP_MS = 5 * 60_000;
/** Number of calls after which the progress is stored. */
const PAGE = 100;
/** Time after its last renewal at which a search counts as interrupted. */
const LEASE_SECONDS = 60;
/** Number of failed searches after which a call that cannot be ingested is skipped. */
const MAX_ATTEMPTS = 3;

/** Number of failed attempts to ingest a call, by Ultravox ID. */
const failures = perInstance((_app: App) => new LRUCache<string, number>({ max: 1_000 }));

/**
 * Searches the account for unknown calls, oldest first, unless another process does. The progress is stored, so an
 * interrupted search, or the first one after a long downtime, continues where the last one stopped.
 *
 * @throws LeaseLostError if another process has taken over.
 */
export async function discoverCalls(app: App): Promise<void> {
  const lease = newLease({
    columns: { table: 'call_discovery', id: 'lease_id', until: 'lease_until' },
    row: Prisma.sql`id = 1`,
    seconds: LEASE_SECONDS,
  });
  const row = {
    columns: ['id', 'up_to'],
    select: Prisma.sql`SELECT 1, now() - make_interval(hours => ${FIRST_LOOK_BACK_HOURS}::int)`,
  } as const;
  if (!(await lease.claimOrInsert(app.db, row))) return;
  const failed = app.failures.recorder('renewDiscoveryLease');
  const renewal = { seconds: LEASE_SECONDS, renew: () => lease.renew(app.db), failed };
  try {
    await whileRenewing(renewal, () => searchCalls(app, lease));
  } finally {
    await lease.release(app.db).catch(app.failures.recorder('releaseDiscoveryLease'));
  }
}

async function searchCalls(app: App, lease: Lease): Promise<void> {
  // The stored progress may be in the future if the clock of the database was set back.
  await storeProgress(app, lease, new Date(0));
  const { upTo } = await app.db.callDiscovery.findFirstOrThrow();
  const from = new Date(upTo.getTime() - OVERLAP_MS);
  const calls = app.ultravox.calls.listAll({
    fromDate: from.toISOString(),
    sort: 'created',
    pageSize: PAGE,
  });
  let page: UltravoxCall[] = [];
  for await (const seen of calls) {
    page.push(seen);
    if (page.length < PAGE) continue;
    const isDone = await searchPage(app, lease, page);
    if (!isDone || app.closing.aborted) return;
    page = [];
  }
  await searchPage(app, lease, page);
}

/**
 * Ingests the unknown calls of a page, and stores the progress: up to its last call, or up to the first call that
 * must be retried. Known calls are left to `checkCalls`.
 *
 * @returns whether no call must be retried.
 */
async function searchPage(app: App, lease: Lease, page: readonly UltravoxCall[]): Promise<boolean> {
  const known = await app.db.call.findMany({
    where: { ultravoxId: { in: page.map(({ callId }) => callId) } },
    select: { ultravoxId: true },
  });
  const knownIds = new Set(known.map(({ ultravoxId }) => ultravoxId));
  let firstFailed: UltravoxCall | undefined;
  for (const seen of page) {
    if (knownIds.has(seen.callId)) continue;
    if (!(await ingestOne(app, seen))) firstFailed ??= seen;
  }
  const to = firstFailed ?? page.at(-1);
  if (to) await storeProgress(app, lease, createdAtOf(app, to));
  return firstFailed === undefined;
}

/**
 * Moves the progress forward, at most to the current time: the clock of Ultravox may be ahead, and calls created before
 * that time would not be found.
 */
async function storeProgress(app: App, lease: Lease, upTo: Date): Promise<void> {
  await lease.renew(app.db, {
    set: Prisma.sql`up_to = least(greatest(up_to, ${upTo}::timestamptz), now())`,
  });
}

/**
 * Returns whether the search may move past the call: it was ingested, or has failed too often.
 *
 * @throws if the database is unavailable.
 */
async function ingestOne(app: App, seen: UltravoxCall): Promise<boolean> {
  try {
    const ingested = await app.db.$transaction((tx) => ingestCall(app, tx, { seen }));
    if (ingested) {
      announceUpdate(app, ingested.before, ingested.after);
      hangUpIfUnwanted(app, ingested);
    } else await hangUpIfNotIngested(app, seen);
    failures(app).delete(seen.callId);
    return true;
  } catch (error) {
    if (isDatabaseOutage(error)) throw error;
    app.failures.record('ingestCall', error, { level: 'error', ultravoxCallId: seen.callId });
    const tries = (failures(app).get(seen.callId) ?? 0) + 1;
    failures(app).set(seen.callId, tries);
    return tries >= MAX_ATTEMPTS;
  }
}
