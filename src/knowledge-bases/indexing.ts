/**
 * How far Ultravox has come with reading what was given to it. It sends no word about that, so the
 * bases in which something is being read are looked up again and again: every two seconds at first,
 * and more rarely the longer it takes.
 */
import type { App } from '../app.ts';
import type { IndexingStatus } from '../generated/prisma/enums.ts';
import { orGone } from '../sync/gone.ts';
import type { Corpus, CorpusSource } from '../ultravox/wire.ts';
import { knowledgeBaseSync } from './sync.ts';

const AT_ONCE = 20;
const MIN_SECONDS = 2;
const MAX_SECONDS = 60;

interface Due {
  id: string;
  corpusId: string;
  nextCheckAt: Date;
}

/** Looks up the bases that are due. Safe to run in several processes: each base is one's. */
export async function checkIndexing(app: App): Promise<void> {
  for (;;) {
    const due = await claimDue(app);
    await Promise.all(
      due.map(async (base) => {
        try {
          await lookUp(app, base);
        } catch (error) {
          app.log.warn({ err: error, knowledgeBaseId: base.id }, 'A knowledge base was not read');
        }
      }),
    );
    if (due.length < AT_ONCE || app.closing.aborted) return;
  }
}

/** What is claimed is due again later, so that a process that dies takes nothing along. */
async function claimDue(app: App): Promise<Due[]> {
  return app.db.$queryRaw<Due[]>`
    UPDATE knowledge_bases b SET next_check_at = now() + make_interval(secs =>
      least(${MAX_SECONDS}::float8, greatest(${MIN_SECONDS}::float8, coalesce((
        SELECT extract(epoch FROM now() - max(s.created_at)) / 4 FROM knowledge_sources s
        WHERE s.knowledge_base_id = b.id AND s.deleted_at IS NULL AND s.indexing_status <> 'READY'
      ), 0)::float8)))
    WHERE b.id IN (
      SELECT id FROM knowledge_bases
      WHERE next_check_at <= now() AND deleted_at IS NULL AND ultravox_id IS NOT NULL
      ORDER BY next_check_at LIMIT ${AT_ONCE} FOR UPDATE SKIP LOCKED
    )
    RETURNING b.id, b.ultravox_id AS "corpusId", b.next_check_at AS "nextCheckAt"`;
}

async function lookUp(app: App, base: Due): Promise<void> {
  const { corpora } = app.ultravox;
  const corpus = await orGone(corpora.get(base.corpusId, { signal: app.closing }));
  if (!corpus) return makeAgain(app, base);
  const sources: CorpusSource[] = [];
  for await (const source of corpora.listAllSources(base.corpusId, {}, { signal: app.closing })) {
    sources.push(source);
  }
  await record(app, base, corpus, sources);
}

/** Somebody removed the corpus at Ultravox: sending the base again makes a new one. */
async function makeAgain(app: App, base: Due): Promise<void> {
  await app.db.$transaction(async (tx) => {
    const raised = await tx.knowledgeBase.updateMany({
      where: { id: base.id, ultravoxId: base.corpusId, deletedAt: null },
      data: { revision: { increment: 1 }, nextCheckAt: null },
    });
    if (raised.count > 0) await app.jobs.enqueue(tx, knowledgeBaseSync.job, { id: base.id });
  });
}

/** The base is done when all its sources are and nobody has asked for another look meanwhile. */
async function record(
  app: App,
  base: Due,
  corpus: Corpus,
  sources: readonly CorpusSource[],
): Promise<void> {
  const status = indexingStatus(corpus.stats?.status) ?? 'EMPTY';
  const found = sources.map((source) => ({
    ultravox_id: source.sourceId,
    status: indexingStatus(source.stats?.status) ?? 'INITIALIZING',
    documents: source.stats?.numDocs ?? 0,
  }));
  const settled = status === 'READY' || status === 'EMPTY';
  await app.db.$transaction(async (tx) => {
    await tx.$executeRaw`
      UPDATE knowledge_sources s
      SET indexing_status = v.status::"IndexingStatus", document_count = v.documents
      FROM jsonb_to_recordset(${JSON.stringify(found)}::jsonb)
        AS v(ultravox_id text, status text, documents int)
      WHERE s.knowledge_base_id = ${base.id}::uuid AND s.ultravox_id = v.ultravox_id
        AND (s.indexing_status::text, s.document_count) IS DISTINCT FROM (v.status, v.documents)`;
    await tx.$executeRaw`
      UPDATE knowledge_bases b SET
        indexing_status = ${status}::"IndexingStatus",
        chunk_count = ${corpus.stats?.numChunks ?? 0}::int,
        document_count = ${corpus.stats?.numDocs ?? 0}::int,
        next_check_at = CASE
          WHEN ${settled} AND b.next_check_at = ${base.nextCheckAt} AND NOT EXISTS (
            SELECT 1 FROM knowledge_sources s
            WHERE s.knowledge_base_id = b.id AND s.deleted_at IS NULL
              AND s.ultravox_id IS NOT NULL AND s.indexing_status <> 'READY'
          ) THEN NULL
          ELSE b.next_check_at
        END
      WHERE b.id = ${base.id}::uuid AND b.ultravox_id = ${base.corpusId}`;
  });
}

/** `CORPUS_STATUS_READY`, `SOURCE_STATUS_READY` → `READY`; null for what is not known here. */
function indexingStatus(word: string | undefined): IndexingStatus | null {
  const status = word?.replace(/^(CORPUS|SOURCE)_STATUS_/, '');
  switch (status) {
    case 'EMPTY':
    case 'INITIALIZING':
    case 'READY':
    case 'UPDATING':
      return status;
    default:
      return null;
  }
}
