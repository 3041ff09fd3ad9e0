/** Knowledge bases and their sources at Ultravox, where a base is called a corpus. */
import type { App, Tx } from '../app.ts';
import type { KnowledgeBase, KnowledgeSource } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { orGone } from '../sync/gone.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { defineSyncJob, NotReadyError, type SyncKind, type SyncResult } from '../sync/service.ts';
import type { CreateCorpusSourceRequest, WriteCorpusRequest } from '../ultravox/wire.ts';

const corpusName = (row: Pick<KnowledgeBase, 'id'>): string => publicId('knb', row.id);
const sourceName = (row: Pick<KnowledgeSource, 'id'>): string => publicId('src', row.id);

const corpusRequest = (row: KnowledgeBase): WriteCorpusRequest => ({
  name: corpusName(row),
  description: row.description ?? row.name,
});

export const knowledgeBaseSync: SyncKind<KnowledgeBase> = {
  table: 'knowledge_bases',
  job: defineSyncJob('syncKnowledgeBase'),
  load: (app, id) => app.db.knowledgeBase.findUnique({ where: { id } }),

  async find(app, row) {
    const name = corpusName(row);
    const found: string[] = [];
    for await (const corpus of app.ultravox.corpora.listAll()) {
      if (corpus.name === name) found.push(corpus.corpusId);
    }
    return found;
  },

  async create(app, row) {
    return (await app.ultravox.corpora.create(corpusRequest(row))).corpusId;
  },

  async update(app, row, ultravoxId) {
    await app.ultravox.corpora.update(ultravoxId, corpusRequest(row));
  },

  async remove(app, _row, ultravoxId) {
    await orGone(app.ultravox.corpora.delete(ultravoxId));
  },

  async settled(app, tx, row, result) {
    if (result.outcome === 'REMOVED') await forgetSources(tx, row);
    if (result.outcome !== 'SYNCED' || result.ultravoxId === row.ultravoxId) return;
    if (row.syncedRevision !== null) await startSourcesAgain(tx, row);
    const waiting = await tx.knowledgeSource.findMany({
      where: { knowledgeBaseId: row.id, deletedAt: null, status: { not: 'FAILED' } },
      select: { id: true },
    });
    // Beside the job that waits for its next attempt, which may be minutes away.
    for (const { id } of waiting) await app.jobs.enqueue(tx, knowledgeSourceSync.job, { id });
    await app.jobs.enqueue(tx, resyncAgents, { kind: 'KNOWLEDGE_BASE', id: row.id });
  },
};

/** Removing a corpus takes its sources along, so nothing of them is left to remove. */
async function forgetSources(tx: Tx, base: KnowledgeBase): Promise<void> {
  await tx.$executeRaw`
    UPDATE knowledge_sources SET ultravox_id = NULL, remote_attempt_at = NULL, content = NULL
    WHERE knowledge_base_id = ${base.id}::uuid AND deleted_at IS NOT NULL`;
}

/**
 * The corpus was removed at Ultravox behind our back and has been made anew, empty. Pages are read
 * again; documents are no longer here, so they have to be added again.
 */
async function startSourcesAgain(tx: Tx, base: KnowledgeBase): Promise<void> {
  await tx.$executeRaw`
    UPDATE knowledge_bases SET
      indexing_status = 'EMPTY', document_count = 0, chunk_count = 0, next_check_at = NULL
    WHERE id = ${base.id}::uuid`;
  await tx.$executeRaw`
    UPDATE knowledge_sources SET
      ultravox_id = NULL,
      revision = revision + 1,
      indexing_status = 'INITIALIZING',
      document_count = 0,
      status = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN 'DRAFT'::"SyncStatus" ELSE 'FAILED'::"SyncStatus" END,
      refused_revision = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN refused_revision ELSE revision + 1 END,
      sync_error = CASE WHEN kind = 'WEB' OR content IS NOT NULL
        THEN NULL ELSE 'The document is gone at Ultravox. Delete this source and add the document again.' END
    WHERE knowledge_base_id = ${base.id}::uuid AND deleted_at IS NULL`;
}

/** Without the bytes of the document, which are read only when they are sent. */
export type SourceRow = Omit<KnowledgeSource, 'content'> & {
  knowledgeBase: Pick<KnowledgeBase, 'ultravoxId'>;
};

export const knowledgeSourceSync: SyncKind<SourceRow> = {
  table: 'knowledge_sources',
  job: defineSyncJob('syncKnowledgeSource'),
  load: (app, id) =>
    app.db.knowledgeSource.findUnique({
      where: { id },
      omit: { content: true },
      include: { knowledgeBase: { select: { ultravoxId: true } } },
    }),

  async find(app, row) {
    const corpusId = row.knowledgeBase.ultravoxId;
    if (!corpusId) return [];
    const name = sourceName(row);
    const found: string[] = [];
    const read = async (): Promise<void> => {
      for await (const source of app.ultravox.corpora.listAllSources(corpusId)) {
        if (source.name === name) found.push(source.sourceId);
      }
    };
    await orGone(read());
    return found;
  },

  async create(app, row) {
    const corpusId = row.knowledgeBase.ultravoxId;
    if (!corpusId) throw new NotReadyError('The knowledge base is not at Ultravox yet.');
    // Three requests for a document, but no longer than the lease was taken for.
    const signal = AbortSignal.timeout(app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000);
    const content =
      row.kind === 'WEB' ? crawlOf(row) : await uploadDocument(app, row, corpusId, signal);
    const source = await app.ultravox.corpora.createSource(
      corpusId,
      { name: sourceName(row), description: row.description ?? row.name, ...content },
      { signal },
    );
    return source.sourceId;
  },

  /** A source never changes; it can only be gone, and reading it tells. */
  async update(app, row, ultravoxId) {
    const corpusId = row.knowledgeBase.ultravoxId;
    if (!corpusId) throw new NotReadyError('The knowledge base is not at Ultravox yet.');
    await app.ultravox.corpora.getSource(corpusId, ultravoxId);
  },

  async remove(app, row, ultravoxId) {
    const corpusId = row.knowledgeBase.ultravoxId;
    if (corpusId) await orGone(app.ultravox.corpora.deleteSource(corpusId, ultravoxId));
  },

  async settled(_app, tx, row, result) {
    await dropContent(tx, row, result);
    await startLookingUp(tx, row, result);
  },
};

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
 * What is uploaded belongs to no source until one is made of it. A run that died in between left
 * an upload that nothing refers to; the next begins with an upload of its own.
 */
async function uploadDocument(
  app: App,
  row: SourceRow,
  corpusId: string,
  signal: AbortSignal,
): Promise<Pick<CreateCorpusSourceRequest, 'upload'>> {
  const stored = await app.db.knowledgeSource.findUnique({
    where: { id: row.id },
    select: { content: true },
  });
  const mimeType = row.contentType;
  if (!stored?.content || !mimeType) throw new NotReadyError('The document is being deleted.');
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

/** Ultravox has the document now, or is not to have it any more. */
async function dropContent(tx: Tx, row: SourceRow, result: SyncResult): Promise<void> {
  if (result.outcome !== 'SYNCED' && result.outcome !== 'REMOVED') return;
  await tx.$executeRaw`UPDATE knowledge_sources SET content = NULL WHERE id = ${row.id}::uuid`;
}

/** The base has something new to read, or something less to count. */
async function startLookingUp(tx: Tx, row: SourceRow, result: SyncResult): Promise<void> {
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
