/** The polling of the indexing status, without a worker: the status is read when a test says so. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { App } from '../../src/app.ts';
import { newId } from '../../src/infra/ids.ts';
import { checkIndexing } from '../../src/knowledge-bases/indexing.ts';
import type { Corpus, CorpusSource } from '../../src/ultravox/wire.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

const DAY_MS = 86_400_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api', LOG_LEVEL: 'silent' } });
});
afterAll(() => server.close());

/** Adds a knowledge base with a source, whose status is due to be read. */
async function addBase(ageMs: number) {
  const { db } = server.app;
  const common = { organizationId: server.organizationId, status: 'ACTIVE' } as const;
  const base = await db.knowledgeBase.create({
    data: { ...common, id: newId(), name: 'Handbook', remoteId: newId(), nextCheckAt: new Date(0) },
  });
  const source = await db.knowledgeSource.create({
    data: {
      ...common,
      id: newId(),
      knowledgeBaseId: base.id,
      kind: 'WEB',
      name: 'Site',
      remoteId: newId(),
      updatedAt: new Date(Date.now() - ageMs),
    },
  });
  return { base, source };
}

/** An app whose Ultravox reports this status of the source. */
function reporting(sourceId: string, status: string): App {
  const { ultravox } = server.app;
  const corpus = { stats: { status: 'CORPUS_STATUS_READY', numChunks: 1, numDocs: 1 } };
  async function* listAllSources() {
    yield { sourceId, stats: { status, numDocs: 0 } } as CorpusSource;
  }
  const get = async () => corpus as Corpus;
  return {
    ...server.app,
    ultravox: { ...ultravox, corpora: { ...ultravox.corpora, get, listAllSources } },
  };
}

/** Seconds until the next check. Null if there is none. */
async function nextCheckOf(id: string): Promise<number | null> {
  const { nextCheckAt } = await server.app.db.knowledgeBase.findUniqueOrThrow({ where: { id } });
  return nextCheckAt && (nextCheckAt.getTime() - Date.now()) / 1000;
}

it.each([
  ['every few seconds at first', 0, 0, 10],
  ['every minute after some minutes', 600_000, 50, 61],
  ['ever more rarely after hours', DAY_MS, 800, 900],
])('reads the status of a source that is not ready %s', async (_, ageMs, min, max) => {
  const { base, source } = await addBase(ageMs);
  await checkIndexing(reporting(source.remoteId!, 'SOURCE_STATUS_UPDATING'));
  const seconds = await nextCheckOf(base.id);
  expect(seconds).toBeGreaterThan(min);
  expect(seconds).toBeLessThanOrEqual(max);
});

it('gives up after a week, and reports an unknown status', async () => {
  const { base, source } = await addBase(8 * DAY_MS);
  await checkIndexing(reporting(source.remoteId!, 'SOURCE_STATUS_QUARANTINED'));
  expect(await nextCheckOf(base.id)).toBeNull();
  expect(server.app.failures.counts()).toContainEqual(
    expect.objectContaining({
      name: 'unknownIndexingStatus',
      cause: expect.stringContaining('SOURCE_STATUS_QUARANTINED'),
    }),
  );
});
