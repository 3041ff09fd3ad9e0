/** Syncs knowledge bases and their sources with Ultravox, which calls a knowledge base a corpus. */
import type { Tx } from '../app.ts';
import type { KnowledgeBase, KnowledgeSource } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { idsByName } from '../sync/ids-by-name.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import {
  defineSyncJob,
  NotReadyError,
  RefusedError,
  type SyncContext,
  type SyncKind,
  type SyncResult,
} from '../sync/sync-kind.ts';
import type {
  CorpusSource,
  CreateCorpusSourceRequest,
  WriteCorpusRequest,
} from '../ultravox/wire.ts';

const corpusName = (row: Pick<KnowledgeBase, 'id'>): string => publicId('KnowledgeBase', row.id);
/** The document is no longer stored here once it was at Ultravox. */
const DOCUMENT_REMOVED =
  'The document was removed at Ultravox. Delete this source and add the document again.';
const sourceName = (row: Pick<KnowledgeSource, 'id'>): string =>
  publicId('KnowledgeSource', row.id);

const corpusRequest = (row: KnowledgeBase): WriteCorpusRequest => ({
  name: corpusName(row),
  description: row.description ?? row.name,
});

export const knowledgeBaseSync: SyncKind<KnowledgeBase, 'knowledge_bases'> = {
  table: 'knowledge_bases',
  job: defineSyncJob('syncKnowledgeBase'),
  load: (app, id) => app.db.knowledgeBase.findUnique({ where: { id } }),

  async find(app, row) {
    const listed = app.ultravox.corpora.listAll();
    return idsByName(listed, corpusName(row), ({ corpusId }) => corpusId);
  },

  async create(app, row) {
    return (await app.ultravox.corpora.create(corpusRequest(row))).corpusId;
  },

  async update(app, row, remoteId) {
    await app.ultravox.corpora.update(remoteId, corpusRequest(row));
  },

  async remove(app, _row, remoteId) {
    await nullIfNotFound(app.ultravox.corpora.delete(remoteId));
  },

  async onResult(app, tx, row, result) {
    if (result.outcome === 'REMOVED') await forgetSources(tx, row);
    const resync = { kind: 'KNOWLEDGE_BASE', id: row.id } as const;
    if (result.outcome === 'REFUSED' && !row.remoteId) {
      // Agents that wait for it report the reason.
      await app.jobs.enqueue(tx, resyncAgents, resync, { group: row.organizationId });
    }
    if (result.outcome !== 'SYNCED' || result.remoteId === row.remoteId) return;
    if (row.syncedRevision !== null) await resetSources(tx, row);
    const waiting = await tx.knowledgeSource.findMany({
      where: { knowledgeBaseId: row.id, deletedAt: null, status: { not: 'FAILED' } },
      select: { id: true },
    });
    // The next retry of these sources' jobs may be minutes away.
    await app.jobs.enqueueMany(
      tx,
      knowledgeSourceSync.job,
      waiting.map(({ id }) => ({ payload: { id }, group: row.organizationId })),
    );
    await app.jobs.enqueue(tx, resyncAgents, resync, { group: row.organizationId });
  },
};

/** Clears the deleted sources of a removed corpus: Ultravox removed them with it, so nothing is left to remove. */
async function forgetSources(tx: Tx, base: KnowledgeBase): Promise<void> {
  await tx.$executeRaw`
    UPDATE knowledge_sources SET remote_id = NULL, remote_attempt_at = NULL, content = NULL
    WHERE knowledge_base_id = ${base.id}::uuid AND deleted_at IS NOT NULL`;
}

/**
 * Resets the sources after the corpus was removed at Ultravox and created again, empty. Web pages are read again.
 * Documents that are no longer stored here cannot be sent again, so their sources are FAILED.
 */
async function resetSources(tx: Tx, base: KnowledgeBase): Promise<void> {
  await tx.$executeRaw`
    UPDATE knowledge_bases SET
      indexing_status = 'EMPTY', document_count = 0, chunk_count = 0, next_check_at = NULL
    WHERE id = ${base.id}::uuid`;
  await tx.$executeRaw`
    UPDATE knowledge_sources SET
      updated_at = now(),
      remote_id = NULL,
      revision = revision + 1,
      indexing_status = 'INITIALIZING',
      document_count = 0,
      status = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN 'DRAFT'::"SyncStatus" ELSE 'FAILED'::"SyncStatus" END,
      refused_revision = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN refused_revision ELSE revision + 1 END,
      sync_error = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN NULL ELSE ${DOCUMENT_REMOVED} END
    WHERE knowledge_base_id = ${base.id}::uuid AND deleted_at IS NULL`;
}

/** A source without the content of its document, which is read only when it is sent. */
export type SourceRow = Omit<KnowledgeSource, 'content'> & {
  knowledgeBase: Pick<KnowledgeBase, 'remoteId'>;
};

export const knowledgeSourceSync: SyncKind<SourceRow> = {
  table: 'knowledge_sources',
  job: defineSyncJob('syncKnowledgeSource'),
  load: (app, id) =>
    app.db.knowledgeSource.findUnique({
      where: { id },
      omit: { content: true },
      include: { knowledgeBase: { select: { remoteId: true } } },
    }),

  async find(app, row) {
    const corpusId = row.knowledgeBase.remoteId;
    if (!corpusId) return [];
    const listed = app.ultravox.corpora.listAllSources(corpusId);
    const found = await nullIfNotFound(idsByName(listed, sourceName(row), (it) => it.sourceId));
    return found ?? [];
  },

  async create(app, row) {
    const corpusId = row.knowledgeBase.remoteId;
    if (!corpusId) throw new NotReadyError('The knowledge base is not at Ultravox yet.');
    // A document takes three requests, which together must not outlast the lease.
    const signal = AbortSignal.timeout(app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000);
    const created = await nullIfNotFound(createSource(app, row, corpusId, signal));
    if (created) return created.sourceId;
    await checkCorpus(app, row);
    throw new NotReadyError('The knowledge base was removed at Ultravox and is created again.');
  },

  /** Checks only whether the source still exists, since sources never change. */
  async update(app, row, remoteId) {
    const corpusId = row.knowledgeBase.remoteId;
    if (!corpusId) throw new NotReadyError('The knowledge base is not at Ultravox yet.');
    await app.ultravox.corpora.getSource(corpusId, remoteId);
  },

  async remove(app, row, remoteId) {
    const corpusId = row.knowledgeBase.remoteId;
    if (corpusId) await nullIfNotFound(app.ultravox.corpora.deleteSource(corpusId, remoteId));
  },

  lockForResult: (tx, row) => lockBase(tx, row.knowledgeBaseId),

  async onResult(_app, tx, row, result) {
    await dropContent(tx, row, result);
    await startPolling(tx, row, result);
  },
};

/**
 * Locks a knowledge base. Call it before changing a source and its base in one transaction: whoever changes both starts
 * with the base, so that none waits for another in a circle.
 */
export async function lockBase(tx: Tx, id: string): Promise<void> {
  await tx.$queryRaw`SELECT 1 FROM knowledge_bases WHERE id = ${id}::uuid FOR NO KEY UPDATE`;
}

async function createSource(
  app: SyncContext,
  row: SourceRow,
  corpusId: string,
  signal: AbortSignal,
): Promise<CorpusSource> {
  const content =
    row.kind === 'WEB' ? crawlOf(row) : await uploadDocument(app, row, corpusId, signal);
  return app.ultravox.corpora.createSource(
    corpusId,
    { name: sourceName(row), description: row.description ?? row.name, ...content },
    { signal },
  );
}

/** Has the corpus looked up, so that it is created again if it does not exist. It then sends its sources. */
async function checkCorpus(app: SyncContext, row: SourceRow): Promise<void> {
  await app.db.$executeRaw`
    UPDATE knowledge_bases SET next_check_at = now()
    WHERE id = ${row.knowledgeBaseId}::uuid AND deleted_at IS NULL`;
}

function crawlOf(row: SourceRow): Pick<CreateCorpusSourceRequest, 'crawl'> {
  return {
    crawl: {
      startUrls: row.urls,
      ...(row.maxDepth === null ? {} : { maxDepth: row.maxDepth }),
      ...(row.maxDocuments === null ? {} : { maxDocuments: row.maxDocuments }),
    },
  };
}

/**
 * Uploads a document. An upload belongs to no source until one is created from it. If the process dies in between, the
 * upload stays unused and the next run uploads the document again.
 */
async function uploadDocument(
  app: SyncContext,
  row: SourceRow,
  corpusId: string,
  signal: AbortSignal,
): Promise<Pick<CreateCorpusSourceRequest, 'upload'>> {
  const stored = await app.db.knowledgeSource.findUnique({
    where: { id: row.id },
    select: { content: true },
  });
  const mimeType = row.contentType;
  if (!stored || row.deletedAt) throw new NotReadyError('The document is being deleted.');
  if (!stored.content || !mimeType) throw new RefusedError(DOCUMENT_REMOVED);
  const { corpora } = app.ultravox;
  const { documentId, presignedUrl } = await corpora.requestUpload(
    corpusId,
    { mimeType, ...(row.filename ? { fileName: row.filename } : {}) },
    { signal },
  );
  await corpora.uploadDocument(presignedUrl, stored.content, mimeType, { signal });
  await app.db.knowledgeSource.update({
    where: { id: row.id },
    data: { ultravoxDocumentId: documentId },
    select: { id: true },
  });
  return { upload: { documentIds: [documentId] } };
}

/** Removes the document from the row once it is at Ultravox or deleted. */
async function dropContent(tx: Tx, row: SourceRow, result: SyncResult): Promise<void> {
  if (result.outcome !== 'SYNCED' && result.outcome !== 'REMOVED') return;
  await tx.$executeRaw`UPDATE knowledge_sources SET content = NULL WHERE id = ${row.id}::uuid`;
}

/** Schedules a check of the indexing status, which the added or removed source changes. */
async function startPolling(tx: Tx, row: SourceRow, result: SyncResult): Promise<void> {
  if (result.outcome !== 'SYNCED' && result.outcome !== 'REMOVED') return;
  await tx.$executeRaw`
    UPDATE knowledge_bases SET
      next_check_at = now(),
      indexing_status = CASE
        WHEN ${result.outcome === 'REMOVED'} THEN indexing_status
        WHEN indexing_status IN ('EMPTY', 'INITIALIZING') THEN 'INITIALIZING'::"IndexingStatus"
        ELSE 'UPDATING'::"IndexingStatus"
      END
    WHERE id = ${row.knowledgeBaseId}::uuid AND deleted_at IS NULL`;
}
