/** What is in a knowledge base: documents that were uploaded, and pages of the web. */
import type { App } from '../app.ts';
import { userError } from '../errors.ts';
import type { KnowledgeSource, Prisma } from '../generated/prisma/client.ts';
import { mayBePublicHost } from '../infra/addresses.ts';
import { Checks } from '../infra/checks.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { lockForDeletion } from '../sync/references.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { checkDocument, type DocumentInput } from './documents.ts';
import { checkKnowledgeBase, noSuchBase } from './existence.ts';
import { knowledgeBaseSync, knowledgeSourceSync } from './sync.ts';

/** Ultravox takes no more. */
export const MAX_SOURCES = 20;
export const MAX_URLS = 50;
const MAX_DEPTH = 10;
const MAX_DOCUMENTS = 200;
const MAX_NAME = 255;
const MAX_DESCRIPTION = 1000;

/** A source without the bytes of its document, which nothing but the upload reads. */
export type Source = Omit<KnowledgeSource, 'content'>;

interface AddSourceInput {
  knowledgeBaseId: string;
  name: string;
  description?: string | null | undefined;
}

export type AddDocumentSourceInput = AddSourceInput & DocumentInput;

/**
 * Puts a document into a knowledge base.
 *
 * Order: the row with the document and its job are committed, then the document is uploaded to
 * Ultravox and a source made of it, after which the row lets go of the document.
 * If the second step fails: the row says so. Unreachable, the job goes on, and looks for the source
 * by our id first, so that there is never a second; refused, the row is FAILED and can be deleted.
 */
export async function addDocumentSource(
  app: App,
  viewer: Viewer,
  input: AddDocumentSourceInput,
): Promise<Source> {
  const checks = new Checks();
  const document = checkDocument(checks, input);
  return addSource(app, viewer, checks, input, () => ({
    kind: 'DOCUMENT',
    filename: input.filename,
    contentType: document!.contentType,
    sizeBytes: document!.bytes.length,
    content: document!.bytes,
  }));
}

export interface AddWebSourceInput extends AddSourceInput {
  urls: readonly string[];
  maxDepth?: number | null | undefined;
  maxDocuments?: number | null | undefined;
}

/** Puts pages of the web into a knowledge base. Order and failure: as with a document. */
export async function addWebSource(
  app: App,
  viewer: Viewer,
  input: AddWebSourceInput,
): Promise<Source> {
  const checks = new Checks();
  checkUrls(app, checks, input.urls);
  const whole = { min: 1, integer: true };
  checks.number(input.maxDepth, ['maxDepth'], { ...whole, max: MAX_DEPTH });
  checks.number(input.maxDocuments, ['maxDocuments'], { ...whole, max: MAX_DOCUMENTS });
  return addSource(app, viewer, checks, input, () => ({
    kind: 'WEB',
    urls: [...new Set(input.urls)],
    maxDepth: input.maxDepth ?? 1,
    maxDocuments: input.maxDocuments ?? null,
  }));
}

function checkUrls(app: App, checks: Checks, urls: readonly string[]): void {
  const allowPrivate = app.config.ALLOW_PRIVATE_ADDRESSES;
  if (urls.length === 0) checks.add('REQUIRED', 'Give at least one address.', ['urls']);
  if (urls.length > MAX_URLS) {
    checks.add('LIMIT_EXCEEDED', `\`urls\` may have at most ${MAX_URLS} entries.`, ['urls']);
    return;
  }
  for (const [index, url] of urls.entries()) {
    const path = ['urls', index];
    if (checks.url(url, path, { allowPrivate }) === undefined) continue;
    if (allowPrivate || mayBePublicHost(new URL(url).hostname)) continue;
    checks.add('INVALID_INPUT', `\`urls.${index}\` must be a page that anybody can read.`, path);
  }
}

async function addSource(
  app: App,
  viewer: Viewer,
  checks: Checks,
  input: AddSourceInput,
  content: () => Omit<
    Prisma.KnowledgeSourceUncheckedCreateInput,
    'id' | 'organizationId' | 'knowledgeBaseId' | 'name' | 'description' | 'status'
  >,
): Promise<Source> {
  const baseId = checks.id('knb', 'KnowledgeBase', input.knowledgeBaseId, ['knowledgeBaseId']);
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  await checkKnowledgeBase(app, viewer, checks, baseId, ['knowledgeBaseId']);
  checks.throwIfAny();

  const id = newObjectId(viewer);
  await app.db.$transaction(async (tx) => {
    // Whoever holds the base this way is the only one to add to it or to delete it.
    if (!(await lockForDeletion(tx, 'knowledge_bases', viewer.organizationId, baseId!))) {
      throw noSuchBase(['knowledgeBaseId']);
    }
    const made =
      viewer.idempotency &&
      (await tx.knowledgeSource.findFirst({
        where: { ...ownedBy(viewer), id },
        select: { id: true },
      }));
    if (made) return;
    const existing = await tx.knowledgeSource.count({
      where: { knowledgeBaseId: baseId!, deletedAt: null },
    });
    if (existing >= MAX_SOURCES) {
      throw userError(
        'LIMIT_EXCEEDED',
        `A knowledge base has at most ${MAX_SOURCES} sources. Delete one first, or use another base.`,
        ['knowledgeBaseId'],
      );
    }
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
    await enqueueSync(app, tx, knowledgeSourceSync, id);
  });
  await trySync(app, knowledgeBaseSync, baseId!);
  await trySync(app, knowledgeSourceSync, id);
  return app.db.knowledgeSource.findUniqueOrThrow({ where: { id }, omit: { content: true } });
}

/**
 * Takes a source out of its knowledge base.
 *
 * Order: the row is marked as deleted, with a job, and then removed at Ultravox.
 * If the second step fails: agents may still find what is in it until the job has got through.
 *
 * @returns the id of the row.
 */
export async function deleteKnowledgeSource(
  app: App,
  viewer: Viewer,
  publicSourceId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('src', 'KnowledgeSource', publicSourceId, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    const deleted = await tx.knowledgeSource.updateMany({
      where: { ...ownedBy(viewer), id: id!, deletedAt: null },
      data: { deletedAt: app.now(), content: null },
    });
    if (deleted.count === 0) {
      throw userError('NOT_FOUND', 'There is no such knowledge source.', ['id']);
    }
    await enqueueSync(app, tx, knowledgeSourceSync, id!);
  });
  await trySync(app, knowledgeSourceSync, id!);
  return id!;
}
