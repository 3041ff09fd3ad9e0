/** Creates, changes and deletes knowledge bases. `sources.ts` handles their sources. */
import type { App } from '../app.ts';
import type { KnowledgeBase } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks, changesNothing } from '../infra/checks.ts';
import { createAndSync, deleteAndSync } from '../sync/row-lifecycle.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { notUsable } from '../sync/sync-kind.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { checkKnowledgeBase, knowledgeBaseNotFound } from './existence.ts';
import { knowledgeBaseSync } from './sync.ts';

export const MAX_NAME = 255;
export const MAX_DESCRIPTION = 1000;

/**
 * Returns the corpus ID of a knowledge base, for the call template of an agent.
 *
 * @throws NotReadyError until the knowledge base is at Ultravox, RefusedError if Ultravox refused it. `resyncAgents` is
 *   enqueued in both cases.
 */
export function corpusIdFor(base: KnowledgeBase): string {
  if (base.remoteId) return base.remoteId;
  throw notUsable(base, `knowledge base ${publicId('KnowledgeBase', base.id)}`);
}

export interface CreateKnowledgeBaseInput {
  name: string;
  description?: string | null | undefined;
}

/**
 * Creates an empty knowledge base.
 *
 * Order: the row and its job are committed, then the corpus is created at Ultravox. If Ultravox cannot be reached, the
 * job retries, after looking for the corpus by our ID. If Ultravox refuses the knowledge base, the row is FAILED until
 * it is changed.
 */
export async function createKnowledgeBase(
  app: App,
  viewer: Viewer,
  input: CreateKnowledgeBaseInput,
): Promise<KnowledgeBase> {
  const checks = new Checks();
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  checks.throwIfAny();
  const id = newObjectId(viewer);
  await createAndSync(app, viewer, knowledgeBaseSync, {
    id,
    insert: (tx) =>
      tx.knowledgeBase.create({
        data: {
          ...ownedBy(viewer),
          id,
          status: 'DRAFT',
          name: input.name,
          description: input.description || null,
        },
      }),
  });
  return app.db.knowledgeBase.findUniqueOrThrow({ where: { id } });
}

export interface UpdateKnowledgeBaseInput {
  id: string;
  name?: string | null | undefined;
  description?: string | null | undefined;
}

/**
 * Changes the name or description.
 *
 * Order: the row and its job are committed, then the corpus is changed at Ultravox. If that fails,
 * Ultravox keeps the last synced description and `syncError` gives the reason; the job retries unless
 * Ultravox refused the change.
 */
export async function updateKnowledgeBase(
  app: App,
  viewer: Viewer,
  input: UpdateKnowledgeBaseInput,
): Promise<KnowledgeBase> {
  const checks = new Checks();
  const id = checks.id('KnowledgeBase', input.id, ['id']);
  const name = checks.notNull(input.name, ['name']);
  checks.text(name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  await checkKnowledgeBase(app, viewer, checks, { id, path: ['id'] });
  checks.throwIfAny();
  if (changesNothing(input)) return app.db.knowledgeBase.findUniqueOrThrow({ where: { id: id! } });
  await app.db.$transaction(async (tx) => {
    const changed = await tx.knowledgeBase.updateMany({
      where: { ...ownedBy(viewer), id: id!, deletedAt: null },
      data: {
        revision: { increment: 1 },
        ...(name === undefined ? {} : { name }),
        ...(input.description === undefined ? {} : { description: input.description || null }),
      },
    });
    if (changed.count === 0) throw knowledgeBaseNotFound(['id']);
    await enqueueSync(app, tx, knowledgeBaseSync, {
      id: id!,
      organizationId: viewer.organizationId,
    });
  });
  await trySync(app, knowledgeBaseSync, id!);
  return app.db.knowledgeBase.findUniqueOrThrow({ where: { id: id! } });
}

/**
 * Deletes a knowledge base that no agent uses, with its sources.
 *
 * Order: the rows are marked as deleted and the job committed, then the corpus is removed at Ultravox, which also
 * removes its sources. If that fails, the job retries.
 *
 * @returns the UUID of the knowledge base.
 */
export async function deleteKnowledgeBase(
  app: App,
  viewer: Viewer,
  publicBaseId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('KnowledgeBase', publicBaseId, ['id']);
  checks.throwIfAny();
  const deletedAt = app.now();
  await deleteAndSync(app, viewer, knowledgeBaseSync, {
    id: id!,
    noun: 'knowledge base',
    remedy: 'Remove it from them',
    async markDeleted(tx) {
      await tx.knowledgeSource.updateMany({
        where: { knowledgeBaseId: id!, deletedAt: null },
        data: { deletedAt, content: null },
      });
      await tx.knowledgeBase.update({
        where: { id: id! },
        data: { deletedAt, nextCheckAt: null },
      });
    },
  });
  return id!;
}
