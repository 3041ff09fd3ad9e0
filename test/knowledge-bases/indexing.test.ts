/** The polling of the indexing status, without a worker: the status is read when a test says so. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { App } from '../../src/app.ts';
import { newId } from '../../src/infra/ids.ts';
import { checkIndexing } from '../../src/knowledge-bases/indexing.ts';
import { knowledgeSourceSync } from '../../src/knowledge-bases/sync.ts';
import { runSync } from '../../src/sync/service.ts';
import type { Corpus, CorpusSource } from '../../src/ultravox/wire.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
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

/** An app whose Ultravox reports this status of the source, and of the corpus. */
function reporting(
  sourceId: string,
  status: string,
  corpusStatus = 'CORPUS_STATUS_READY',
  asked = async () => {},
): App {
  const { ultravox } = server.app;
  const corpus = { stats: { status: corpusStatus, numChunks: 1, numDocs: 1 } };
  async function* listAllSources() {
    await asked();
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

it.each([
  ['ever more rarely', DAY_MS, 864],
  ['not at all after a week', 8 * DAY_MS, null],
])('reads the status of a corpus that is not ready although its sources are %s', async (_, ageMs, seconds) => {
  const { base, source } = await addBase(ageMs);
  const { db } = server.app;
  await db.knowledgeSource.update({
    where: { id: source.id },
    data: { indexingStatus: 'READY', updatedAt: source.updatedAt },
  });
  const ready = 'SOURCE_STATUS_READY';
  await checkIndexing(reporting(source.remoteId!, ready, 'CORPUS_STATUS_UPDATING'));
  const next = await nextCheckOf(base.id);
  if (seconds === null) expect(next).toBeNull();
  else expect(next).toBeCloseTo(seconds, -2);
});

it.each([
  ['recorded', false, { indexingStatus: 'READY' }],
  ['removed', true, { remoteId: null }],
])('does not block another change of the base and its sources while one is %s', async (_, isDeleted, after) => {
  const { base, source } = await addBase(0);
  const { db } = server.app;
  const asked = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const app = reporting(source.remoteId!, 'SOURCE_STATUS_READY', 'CORPUS_STATUS_READY', () => {
    asked.resolve();
    return locked.promise;
  });
  const where = { id: source.id };
  if (isDeleted) await db.knowledgeSource.update({ where, data: { deletedAt: new Date() } });
  const working = isDeleted ? runSync(app, knowledgeSourceSync, source.id) : checkIndexing(app);
  await asked.promise;
  await db.$transaction(async (tx) => {
    await tx.$queryRaw`SELECT 1 FROM knowledge_bases WHERE id = ${base.id}::uuid FOR UPDATE`;
    locked.resolve();
    const statement = '%knowledge_bases%';
    await untilBlocked(db, { holder: await sessionOf(tx), statement });
    await tx.knowledgeSource.update({ where, data: { description: 'Changed' } });
  });
  await working;
  const changed = { ...after, description: 'Changed' };
  expect(await db.knowledgeSource.findUnique({ where })).toMatchObject(changed);
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

it('fails a document that was removed at Ultravox, since it is not stored here any more', async () => {
  const { source } = await addBase(0);
  const { db } = server.app;
  // Sent once more, as after a sender that lost its lease. The random ID of the source does not exist at Ultravox.
  await db.knowledgeSource.update({
    where: { id: source.id },
    data: { kind: 'DOCUMENT', contentType: 'text/markdown', content: null, syncedRevision: null },
  });
  await runSync(server.app, knowledgeSourceSync, source.id);
  expect(await db.knowledgeSource.findUniqueOrThrow({ where: { id: source.id } })).toMatchObject({
    status: 'FAILED',
    syncError: expect.stringContaining('add the document again'),
  });
});
