/** Finds calls at Ultravox that no webhook announced, such as inbound ones. */
import { LRUCache } from 'lru-cache';
import type { App } from '../../app.ts';
import { isDatabaseOutage } from '../../infra/database/database-errors.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, ingestCall } from './ingest.ts';

/** Range of the first search. */
const FIRST_LOOK_BACK_MS = 24 * 3_600_000;
/** Overlap of later ones: Ultravox may list a call after others that were created later. */
const OVERLAP_MS = 5 * 60_000;
/** Calls after which the progress is stored. */
const PAGE = 100;
/** Up to this many calls are listed from the newest on. */
const FEW = 2_000;
/** Searches that do not go past a call that cannot be ingested. */
const MAX_TRIES = 3;

/** How often calls could not be ingested, by Ultravox's ID. */
const failures = perInstance((_app: App) => new LRUCache<string, number>({ max: 1_000 }));

/**
 * Searches the calls of the account for unknown ones. Usually few were created since the last search. Otherwise, as
 * after a long downtime, it goes on from the oldest, and stores its progress, so that a search that was interrupted
 * continues there. (Ultravox documents only whole days for `fromDate`, which may have many more calls.)
 */
export async function discoverCalls(app: App): Promise<void> {
  const from = new Date((await searchedUpTo(app)).getTime() - OVERLAP_MS);
  const newest = await newestCalls(app, from);
  if (newest) {
    await ingestUnknown(app, newest.unknown, newest.last);
    return;
  }
  for await (const page of pagesOf(app, from, 'created')) {
    const unknown = await unknownOf(app, page, from);
    const isDone = await ingestUnknown(app, unknown, page.at(-1));
    if (!isDone || app.closing.aborted) return;
  }
}

/** The first search has no progress yet. Its beginning is stored, so that the next one begins there too. */
async function searchedUpTo({ db }: App): Promise<Date> {
  const { upTo } = await db.callDiscovery.upsert({
    where: { id: 1 },
    create: { id: 1, upTo: new Date(Date.now() - FIRST_LOOK_BACK_MS) },
    update: {},
  });
  return upTo;
}

async function* pagesOf(
  { ultravox }: App,
  from: Date,
  sort: 'created' | '-created',
): AsyncGenerator<UltravoxCall[]> {
  const fromDate = from.toISOString().slice(0, 'YYYY-MM-DD'.length);
  let page: UltravoxCall[] = [];
  for await (const seen of ultravox.calls.listAll({ fromDate, sort, pageSize: PAGE })) {
    page.push(seen);
    if (page.length < PAGE) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/** Those of the calls since `from` that are unknown, the oldest first, and the newest call; null if there are many. */
async function newestCalls(
  app: App,
  from: Date,
): Promise<{ unknown: UltravoxCall[]; last: UltravoxCall | undefined } | null> {
  const unknown: UltravoxCall[] = [];
  let last: UltravoxCall | undefined;
  let count = 0;
  for await (const page of pagesOf(app, from, '-created')) {
    last ??= page[0];
    unknown.push(...(await unknownOf(app, page, from)));
    count += page.length;
    if (page.some((seen) => new Date(seen.created) < from)) break;
    if (count >= FEW) return null;
  }
  return { unknown: unknown.reverse(), last };
}

/** Known calls are left to `checkCalls`. */
async function unknownOf(
  app: App,
  page: readonly UltravoxCall[],
  from: Date,
): Promise<UltravoxCall[]> {
  const calls = page.filter((seen) => new Date(seen.created) >= from);
  if (calls.length === 0) return [];
  const known = await app.db.call.findMany({
    where: { ultravoxId: { in: calls.map(({ callId }) => callId) } },
    select: { ultravoxId: true },
  });
  const knownIds = new Set(known.map(({ ultravoxId }) => ultravoxId));
  return calls.filter(({ callId }) => !knownIds.has(callId));
}

/**
 * Ingests unknown calls, and stores the progress: up to `last`, or to the first call that is to be tried again.
 *
 * @returns whether there is none.
 */
async function ingestUnknown(
  app: App,
  unknown: readonly UltravoxCall[],
  last: UltravoxCall | undefined,
): Promise<boolean> {
  let again: UltravoxCall | undefined;
  for (const seen of unknown) {
    if (!(await ingestOne(app, seen))) again ??= seen;
  }
  const to = again ?? last;
  if (to) {
    const upTo = new Date(to.created);
    await app.db.callDiscovery.updateMany({ where: { upTo: { lt: upTo } }, data: { upTo } });
  }
  return again === undefined;
}

/**
 * Returns whether the call is done with, also since it has failed too often: then the search goes past it.
 *
 * @throws when the database is away
 */
async function ingestOne(app: App, seen: UltravoxCall): Promise<boolean> {
  try {
    const ingested = await app.db.$transaction((tx) => ingestCall(app, tx, seen));
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
    return tries >= MAX_TRIES;
  }
}
