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
/** Searches that do not go past a call that cannot be ingested. */
const MAX_TRIES = 3;

/** How often calls could not be ingested, by Ultravox's ID. */
const failures = perInstance((_app: App) => new LRUCache<string, number>({ max: 1_000 }));

/**
 * Searches the calls of the account for unknown ones, from the oldest on. The progress is stored, so that
 * a search that was interrupted, or the first one after a long downtime, continues where the last one was.
 */
export async function discoverCalls(app: App): Promise<void> {
  const from = new Date((await searchedUpTo(app)).getTime() - OVERLAP_MS);
  const calls = app.ultravox.calls.listAll({
    fromDate: from.toISOString(),
    sort: 'created',
    pageSize: PAGE,
  });
  let page: UltravoxCall[] = [];
  for await (const seen of calls) {
    page.push(seen);
    if (page.length < PAGE) continue;
    const isDone = await searchPage(app, page);
    if (!isDone || app.closing.aborted) return;
    page = [];
  }
  await searchPage(app, page);
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

/**
 * Ingests the unknown calls of a page, and stores the progress: up to its last call, or to the first one that is to be
 * tried again. Known calls are left to `checkCalls`.
 *
 * @returns whether there is none to be tried again.
 */
async function searchPage(app: App, page: readonly UltravoxCall[]): Promise<boolean> {
  const known = await app.db.call.findMany({
    where: { ultravoxId: { in: page.map(({ callId }) => callId) } },
    select: { ultravoxId: true },
  });
  const knownIds = new Set(known.map(({ ultravoxId }) => ultravoxId));
  let again: UltravoxCall | undefined;
  for (const seen of page) {
    if (knownIds.has(seen.callId)) continue;
    if (!(await ingestOne(app, seen))) again ??= seen;
  }
  const to = again ?? page.at(-1);
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
