/** Knowledge bases: what agents look things up in. What is in them is in `sources.ts`. */
import type { App } from '../app.ts';
import { userError } from '../errors.ts';
import type { KnowledgeBase, Prisma } from '../generated/prisma/client.ts';
import type { SyncStatus } from '../generated/prisma/enums.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { literal } from '../infra/like.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { lockForDeletion } from '../sync/references.ts';
import { enqueueSync, NotReadyError, trySync } from '../sync/service.ts';
import { checkKnowledgeBase, noSuchBase } from './existence.ts';
import { knowledgeBaseSync } from './sync.ts';

export { addDocumentSource, addWebSource, deleteKnowledgeSource } from './sources.ts';

const MAX_NAME = 255;
const MAX_DESCRIPTION = 1000;

export interface KnowledgeBaseFilter {
  name?: string | null | undefined;
  /** Any of these; empty is as if it were not given. */
  status?: readonly SyncStatus[] | null | undefined;
}

export function listedKnowledgeBases(
  viewer: Viewer,
  filter: KnowledgeBaseFilter = {},
): Prisma.KnowledgeBaseWhereInput {
  const { name, status } = filter;
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(name ? { name: { contains: literal(name), mode: 'insensitive' } } : {}),
    ...(status?.length ? { status: { in: [...status] } } : {}),
  };
}

/**
 * The corpus id to put into an agent's template.
 *
 * @throws NotReadyError while Ultravox does not have the base; `resyncAgents` follows when it has.
 */
export function corpusIdFor(base: Pick<KnowledgeBase, 'id' | 'ultravoxId'>): string {
  if (base.ultravoxId) return base.ultravoxId;
  throw new NotReadyError(`The knowledge base ${publicId('knb', base.id)} is not at Ultravox yet.`);
}

export interface CreateKnowledgeBaseInput {
  name: string;
  description?: string | null | undefined;
}

/**
 * Makes an empty knowledge base.
 *
 * Order: the row and its job are committed, then the corpus is made at Ultravox.
 * If the second step fails: the row says so. Unreachable, the job goes on until it is there and
 * looks for it by our id first; refused, the row is FAILED until it is changed.
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
  const made =
    viewer.idempotency &&
    (await app.db.knowledgeBase.findFirst({ where: { ...ownedBy(viewer), id } }));
  if (!made) {
    await app.db.$transaction(async (tx) => {
      await tx.knowledgeBase.create({
        data: {
          ...ownedBy(viewer),
          id,
          status: 'DRAFT',
          name: input.name,
          description: input.description || null,
        },
      });
      await enqueueSync(app, tx, knowledgeBaseSync, id);
    });
  }
  await trySync(app, knowledgeBaseSync, id);
  return app.db.knowledgeBase.findUniqueOrThrow({ where: { id } });
}

export interface UpdateKnowledgeBaseInput {
  id: string;
  name?: string | null | undefined;
  description?: string | null | undefined;
}

/**
 * Changes name or description; what is in the base changes through its sources.
 *
 * Order: the row and its job are committed, then the corpus is changed at Ultravox.
 * If the second step fails: Ultravox keeps the earlier description, the row says why in
 * `syncError`, and the job goes on (unreachable) or waits for the next change (refused).
 */
export async function updateKnowledgeBase(
  app: App,
  viewer: Viewer,
  input: UpdateKnowledgeBaseInput,
): Promise<KnowledgeBase> {
  const checks = new Checks();
  const id = checks.id('knb', 'KnowledgeBase', input.id, ['id']);
  const name = checks.notNull(input.name, ['name']);
  checks.text(name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  await checkKnowledgeBase(app, viewer, checks, id, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    const changed = await tx.knowledgeBase.updateMany({
      where: { ...ownedBy(viewer), id: id!, deletedAt: null },
      data: {
        revision: { increment: 1 },
        ...(name === undefined ? {} : { name }),
        ...(input.description === undefined ? {} : { description: input.description || null }),
      },
    });
    if (changed.count === 0) throw noSuchBase(['id']);
    await enqueueSync(app, tx, knowledgeBaseSync, id!);
  });
  await trySync(app, knowledgeBaseSync, id!);
  return app.db.knowledgeBase.findUniqueOrThrow({ where: { id: id! } });
}

/**
 * Deletes a base that no agent uses, with all that is in it.
 *
 * Order: base and sources are marked as deleted, with a job, and then the corpus is removed at
 * Ultravox, which takes the sources along.
 * If the second step fails: the base is gone here, and the job goes on until it is gone there.
 *
 * @returns the id of the row.
 */
export async function deleteKnowledgeBase(
  app: App,
  viewer: Viewer,
  publicBaseId: string,
): Promise<string> {
  const checks = new Checks();
  const id = checks.id('knb', 'KnowledgeBase', publicBaseId, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    if (!(await lockForDeletion(tx, 'knowledge_bases', viewer.organizationId, id!))) {
      throw noSuchBase(['id']);
    }
    const users = await tx.agentKnowledgeBase.findMany({
      where: { ...ownedBy(viewer), knowledgeBaseId: id!, agent: { deletedAt: null } },
      select: { agentId: true },
      orderBy: { agentId: 'asc' },
      take: 100,
    });
    if (users.length > 0) {
      throw userError(
        'IN_USE',
        'Agents use this knowledge base. Take it from them, or delete them, first.',
        ['id'],
        { details: { agentIds: users.map(({ agentId }) => publicId('agt', agentId)) } },
      );
    }
    const deletedAt = app.now();
    await tx.knowledgeSource.updateMany({
      where: { knowledgeBaseId: id!, deletedAt: null },
      data: { deletedAt, content: null },
    });
    await tx.knowledgeBase.update({
      where: { id: id! },
      data: { deletedAt, nextCheckAt: null },
    });
    await enqueueSync(app, tx, knowledgeBaseSync, id!);
  });
  await trySync(app, knowledgeBaseSync, id!);
  return id!;
}
