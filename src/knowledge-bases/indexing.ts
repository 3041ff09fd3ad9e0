/**
 * Polls the indexing status of knowledge bases, which Ultravox does not report unprompted: every two seconds at first,
 * less often the longer indexing takes, and not at all after a week.
 */
import type { App } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { IndexingStatus } from '../generated/prisma/enums.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import type { Corpus, CorpusSource } from '../ultravox/wire.ts';
import { knowledgeBaseSync, lockBase } from './sync.ts';

const BATCH = 20;
const MIN_SECONDS = 2;
/** Maximum pause during the first 100 minutes. */
const MAX_SECONDS = 60;
const MAX_LATER_SECONDS = 3_600;
/** Since a source was added, sent again or deleted. */
const GIVE_UP_DAYS = 7;

interface DueBase {
  id: string;
  organizationId: string;
  corpusId: string;
  nextCheckAt: Date;
}

const DUE = Prisma.sql`next_check_at <= now() AND deleted_at IS NULL AND remote_id IS NOT NULL`;

/** SQL condition: whether a knowledge base is due for a check. */
export function hasDueIndexing(): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM knowledge_bases WHERE ${DUE})`;
}

/** Checks the knowledge bases that are due. Safe to run in several processes at once. */
export async function checkIndexing(app: App): Promise<void> {
  for (;;) {
    const due = await claimDue(app);
    await Promise.all(
      due.map(async (base) => {
        try {
          await checkBase(app, base);
        } catch (error) {
          app.failures.record('checkIndexing', error, {
            message: 'Could not read the indexing status of a knowledge base; will retry',
            knowledgeBaseId: base.id,
          });
        }
      }),
    );
    if (due.length < BATCH || app.closing.aborted) return;
  }
}

/** Claims due knowledge bases, and schedules their next check in the same statement, so that a crash loses nothing. */
async function claimDue(app: App): Promise<DueBase[]> {
  return app.db.$queryRaw<DueBase[]>`
    UPDATE knowledge_bases b SET next_check_at = now() + make_interval(secs => coalesce((
        SELECT least(
          greatest(${MIN_SECONDS}::float8, age / 4),
          greatest(${MAX_SECONDS}::float8, age / 100),
          ${MAX_LATER_SECONDS}::float8)
        FROM (
          SELECT extract(epoch FROM now() - max(s.updated_at))::float8 AS age
          FROM knowledge_sources s WHERE s.knowledge_base_id = b.id
        ) newest WHERE age IS NOT NULL
      ), ${MIN_SECONDS}::float8))
    WHERE b.id IN (
      SELECT id FROM knowledge_bases
      WHERE ${DUE}
      ORDER BY next_check_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED
    )
    RETURNING b.id, b.organization_id AS "organizationId", b.remote_id AS "corpusId", b.next_check_at AS "nextCheckAt"`;
}

async function checkBase(app: App, base: DueBase): Promise<void> {
  const { corpora } = app.ultravox;
  const corpus = await nullIfNotFound(corpora.get(base.corpusId, { signal: app.closing }));
  if (!corpus) return recreate(app, base);
  const sources: CorpusSource[] = [];
  for await (const source of corpora.listAllSources(base.corpusId, {}, { signal: app.closing })) {
    sources.push(source);
  }
  await recordStatus(app, base, corpus, sources);
}

/** Sends a knowledge base again whose corpus was removed at Ultravox; Ultravox then creates a new one. */
async function recreate(app: App, base: DueBase): Promise<void> {
  await app.db.$transaction(async (tx) => {
    const raised = await tx.knowledgeBase.updateMany({
      where: { id: base.id, remoteId: base.corpusId, deletedAt: null },
      data: { revision: { increment: 1 }, nextCheckAt: null },
    });
    if (raised.count > 0) await enqueueSync(app, tx, knowledgeBaseSync, base);
  });
  await trySync(app, knowledgeBaseSync, base.id);
}

/**
 * Writes the status. Ends polling once everything is READY, or if no source has changed for a week, unless another
 * check was scheduled meanwhile.
 */
async function recordStatus(
  app: App,
  base: DueBase,
  corpus: Corpus,
  sources: readonly CorpusSource[],
): Promise<void> {
  const read = (text: string | undefined, initial: IndexingStatus) => {
    const status = indexingStatus(text ?? '', initial);
    if (status === null) {
      app.failures.record('unknownIndexingStatus', new Error(text), {
        message: 'Ultravox reported an unknown indexing status; the known one is kept',
        knowledgeBaseId: base.id,
      });
    }
    return status;
  };
  const status = read(corpus.stats?.status, 'EMPTY');
  const found = sources.map((source) => ({
    remote_id: source.sourceId,
    status: read(source.stats?.status, 'INITIALIZING'),
    documents: source.stats?.numDocs ?? 0,
  }));
  const finished = status === null || status === 'READY' || status === 'EMPTY';
  const unready = Prisma.sql`SELECT 1 FROM knowledge_sources s
    WHERE s.knowledge_base_id = b.id AND s.deleted_at IS NULL
      AND s.remote_id IS NOT NULL AND s.indexing_status <> 'READY'`;
  const recent = Prisma.sql`SELECT 1 FROM knowledge_sources s
    WHERE s.knowledge_base_id = b.id AND s.updated_at > now() - make_interval(days => ${GIVE_UP_DAYS})`;
  await app.db.$transaction(async (tx) => {
    await lockBase(tx, base.id);
    await tx.$executeRaw`
      UPDATE knowledge_sources s
      SET indexing_status = coalesce(v.status::"IndexingStatus", s.indexing_status),
        document_count = v.documents
      FROM jsonb_to_recordset(${JSON.stringify(found)}::jsonb)
        AS v(remote_id text, status text, documents int)
      WHERE s.knowledge_base_id = ${base.id}::uuid AND s.remote_id = v.remote_id
        AND (s.indexing_status::text, s.document_count)
          IS DISTINCT FROM (coalesce(v.status, s.indexing_status::text), v.documents)`;
    await tx.$executeRaw`
      UPDATE knowledge_bases b SET
        indexing_status = coalesce(${status}::"IndexingStatus", b.indexing_status),
        chunk_count = ${corpus.stats?.numChunks ?? 0}::int,
        document_count = ${corpus.stats?.numDocs ?? 0}::int,
        next_check_at = CASE
          WHEN b.next_check_at = ${base.nextCheckAt}
            AND ((${finished} AND NOT EXISTS (${unready})) OR NOT EXISTS (${recent}))
          THEN NULL
          ELSE b.next_check_at
        END
      WHERE b.id = ${base.id}::uuid AND b.remote_id = ${base.corpusId}`;
  });
}

/**
 * Maps `CORPUS_STATUS_READY` and `SOURCE_STATUS_READY` to `READY`, and so on, and an unset status to `initial`. Null for
 * unknown values.
 */
function indexingStatus(remoteStatus: string, initial: IndexingStatus): IndexingStatus | null {
  const status = remoteStatus.replace(/^(CORPUS|SOURCE)_STATUS_/, '');
  switch (status) {
    case '':
    case 'UNSPECIFIED':
      return initial;
    case 'EMPTY':
    case 'INITIALIZING':
    case 'READY':
    case 'UPDATING':
      return status;
    default:
      return null;
  }
}
