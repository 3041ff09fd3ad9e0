/** Finds calls at Ultravox that no webhook announced, such as inbound ones. */
import type { App } from '../../app.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, ingestCall } from './ingest.ts';

/** Range of the first search. */
const FIRST_LOOK_BACK_MS = 24 * 3_600_000;
/** Overlap of later ones: Ultravox may list a call after others that were created later. */
const OVERLAP_MS = 5 * 60_000;
/** Calls after which the progress is stored. */
const PAGE = 100;

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
    await searchPage(app, page);
    page = [];
    if (app.closing.aborted) return;
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

async function searchPage(app: App, page: readonly UltravoxCall[]): Promise<void> {
  const last = page.at(-1);
  if (!last) return;
  await ingestUnknown(app, page);
  const upTo = new Date(last.created);
  await app.db.callDiscovery.updateMany({ where: { upTo: { lt: upTo } }, data: { upTo } });
}

/** Ingests the unknown calls of a page. Known calls are left to `checkCalls`. */
async function ingestUnknown(app: App, page: readonly UltravoxCall[]): Promise<void> {
  const known = await app.db.call.findMany({
    where: { ultravoxId: { in: page.map(({ callId }) => callId) } },
    select: { ultravoxId: true },
  });
  const knownIds = new Set(known.map(({ ultravoxId }) => ultravoxId));
  for (const seen of page) {
    if (knownIds.has(seen.callId)) continue;
    try {
      const ingested = await app.db.$transaction((tx) => ingestCall(app, tx, seen));
      if (!ingested) {
        await hangUpIfNotIngested(app, seen);
        continue;
      }
      announceUpdate(app, ingested.before, ingested.after);
      hangUpIfUnwanted(app, ingested);
    } catch (error) {
      app.failures.record('ingestCall', error, { level: 'error', ultravoxCallId: seen.callId });
    }
  }
}
