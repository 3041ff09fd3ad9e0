/** Adds documents and web pages to knowledge bases as sources, and deletes sources. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { KnowledgeSource, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { lockForDeletion } from '../sync/references.ts';
import { createAndSync, wasDeletedEarlier } from '../sync/row-lifecycle.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { checkDocument, type DocumentInput } from './documents.ts';
import { checkKnowledgeBase, knowledgeBaseNotFound } from './existence.ts';
import { knowledgeBaseSync, knowledgeSourceSync } from './sync.ts';

/** Ultravox's limit. */
export const MAX_SOURCES = 20;
export const MAX_URLS = 50;
export const MAX_DEPTH = 10;
export const MAX_DOCUMENTS = 200;
export const MAX_NAME = 255;
export const MAX_DESCRIPTION = 1000;

/** A source without the content of its document, which only the upload reads. */
export type Source = Omit<KnowledgeSource, 'content'>;

interface AddSourceInput {
  knowledgeBaseId: string;
  name: string;
  description?: string | null | undefined;
}

export type AddDocumentSourceInput = AddSourceInput & DocumentInput;

/**
 * Adds a document to a knowledge base.
 *
 * Order: the row with the document and its job are committed. Then the document is uploaded to Ultravox, a source is
 * created from it, and the document is removed from the row. If Ultravox cannot be reached, the job retries, after
 * looking for the source by our ID. If Ultravox refuses the document, the row is FAILED and can only be deleted.
 */
export async function addDocumentSource(
  app: App,
  viewer: Viewer,
  input: AddDocumentSourceInput,
): Promise<Source> {
  const checks = new Checks();
  const document = checkDocument(checks, input);
  return addSource(app, viewer, input, {
    checks,
    content: () => ({
      kind: 'DOCUMENT',
      filename: input.filename,
      contentType: document!.contentType,
      sizeBytes: document!.bytes.length,
      content: document!.bytes,
    }),
  });
}

export interface AddWebSourceInput extends AddSourceInput {
  urls: readonly string[];
  maxDepth?: number | null | undefined;
  maxDocuments?: number | null | undefined;
}

/** Adds web pages to a knowledge base. Order and failures are as in `addDocumentSource`. */
export async function addWebSource(
  app: App,
  viewer: Viewer,
  input: AddWebSourceInput,
): Promise<Source> {
  const checks = new Checks();
  const urls = checkUrls(app, checks, input.urls);
  const whole = { min: 1, integer: true };
  checks.number(input.maxDepth, ['maxDepth'], { ...whole, max: MAX_DEPTH });
  checks.number(input.maxDocuments, ['maxDocuments'], { ...whole, max: MAX_DOCUMENTS });
  return addSource(app, viewer, input, {
    checks,
    content: () => ({
      kind: 'WEB',
      urls: [...new Set(urls)],
      maxDepth: input.maxDepth ?? 1,
      maxDocuments: input.maxDocuments ?? null,
    }),
  });
}

function checkUrls(app: App, checks: Checks, urls: readonly string[]): string[] {
  const allowPrivate = app.config.ALLOW_PRIVATE_ADDRESSES;
  checks.notEmpty(urls, ['urls']);
  return urls.flatMap((url, index) => checks.url(url, ['urls', index], { allowPrivate }) ?? []);
}

interface NewSource {
  /** Holds the problems found so far. */
  checks: Checks;
  /** Called once there are no problems. */
  content: () => Omit<
    Prisma.KnowledgeSourceUncheckedCreateInput,
    'id' | 'organizationId' | 'knowledgeBaseId' | 'name' | 'description' | 'status'
  >;
}

async function addSource(
  app: App,
  viewer: Viewer,
  input: AddSourceInput,
  { checks, content }: NewSource,
): Promise<Source> {
  const baseId = checks.id('KnowledgeBase', input.knowledgeBaseId, ['knowledgeBaseId']);
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  await checkKnowledgeBase(app, viewer, checks, { id: baseId, path: ['knowledgeBaseId'] });
  checks.throwIfAny();

  // A source can be created only in a knowledge base that is at Ultravox.
  await trySync(app, knowledgeBaseSync, baseId!);
  const id = newObjectId(viewer);
  await createAndSync(app, viewer, knowledgeSourceSync, {
    id,
    async insert(tx) {
      await reservePlace(tx, viewer, baseId!);
      await tx.knowledgeSource.create({
        data: {
          ...content(),
          ...ownedBy(viewer),
          id,
          knowledgeBaseId: baseId!,
          status: 'DRAFT',
          name: input.name,
          description: input.description || null,
        },
        select: { id: true },
      });
    },
  });
  return app.db.knowledgeSource.findUniqueOrThrow({ where: { id }, omit: { content: true } });
}

/** Locks the knowledge base against concurrent additions, which might exceed the limit, and against deletion. */
async function reservePlace(tx: Tx, viewer: Viewer, baseId: string): Promise<void> {
  if (!(await lockForDeletion(tx, 'knowledge_bases', viewer.organizationId, baseId))) {
    throw knowledgeBaseNotFound(['knowledgeBaseId']);
  }
  const existing = await tx.knowledgeSource.count({
    where: { knowledgeBaseId: baseId, deletedAt: null },
  });
  if (existing < MAX_SOURCES) return;
  throw userError(
    'LIMIT_EXCEEDED',
    `A knowledge base may have at most ${MAX_SOURCES} sources. Delete one first, or use another knowledge base.`,
    ['knowledgeBaseId'],
  );
}

/**
 * Deletes a source.
 *
 * Order: the row is marked as deleted and its job committed, then the source is removed at Ultravox. If that fails, the
 * job retries, and agents can still find the content until it succeeds.
 *
 * @returns the UUID of the source.
 */
export async function deleteKnowledgeSource(
  app: App,
  viewer: Viewer,
  publicSourceId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('KnowledgeSource', publicSourceId, ['id']);
  checks.throwIfAny();
  if (await wasDeletedEarlier(app, viewer, knowledgeSourceSync, id!)) return id!;
  await app.db.$transaction(async (tx) => {
    const deleted = await tx.knowledgeSource.updateMany({
      where: { ...ownedBy(viewer), id: id!, deletedAt: null },
      data: { deletedAt: app.now(), content: null },
    });
    if (deleted.count === 0) {
      throw userError('NOT_FOUND', 'Knowledge source not found.', ['id']);
    }
    await enqueueSync(app, tx, knowledgeSourceSync, {
      id: id!,
      organizationId: viewer.organizationId,
    });
  });
  await trySync(app, knowledgeSourceSync, id!);
  return id!;
}
