/** Steps of creating and deleting that all kinds of rows with a remote resource share. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { deletedByEarlierRun, type Viewer } from '../viewer.ts';
import { lockForDeletion } from './references.ts';
import { enqueueSync, trySync } from './service.ts';
import type { SyncKind, SyncRow } from './sync-kind.ts';

/** Maximum number of agents that an IN_USE error names. */
const MAX_NAMED_AGENTS = 100;

/**
 * Commits a new row with its sync job, then sends it. Does not insert the row again if an earlier
 * run under the same idempotency key has inserted it.
 */
export async function createAndSync<Row extends SyncRow>(
  app: App,
  viewer: Viewer,
  kind: SyncKind<Row>,
  { id, insert }: { id: string; insert: (tx: Tx) => Promise<unknown> },
): Promise<void> {
  const { organizationId } = viewer;
  if (!(viewer.idempotency && (await exists(app, kind, organizationId, id)))) {
    await app.db.$transaction(async (tx) => {
      await insert(tx);
      await enqueueSync(app, tx, kind, { id, organizationId });
    });
  }
  await trySync(app, kind, id);
}

async function exists(
  app: App,
  { table }: Pick<SyncKind<SyncRow>, 'table'>,
  organizationId: string,
  id: string,
): Promise<boolean> {
  const rows = await app.db.$queryRaw<unknown[]>`
    SELECT 1 FROM ${Prisma.raw(table)}
    WHERE organization_id = ${organizationId}::uuid AND id = ${id}::uuid`;
  return rows.length > 0;
}

type UsedTable = 'tools' | 'voices' | 'knowledge_bases';

interface Deletion {
  id: string;
  /** Name of the row in messages, such as "tool". */
  noun: string;
  /** What to do so that no agent uses the row, such as "Remove it from them". */
  remedy: string;
  markDeleted: (tx: Tx) => Promise<unknown>;
}

/**
 * Marks a row as deleted together with its sync job, then removes its remote resource. If that fails,
 * the job retries.
 *
 * @throws UserInputError NOT_FOUND, or IN_USE while agents use the row.
 */
export async function deleteAndSync<Row extends SyncRow>(
  app: App,
  viewer: Viewer,
  kind: SyncKind<Row, UsedTable>,
  { id, noun, remedy, markDeleted }: Deletion,
): Promise<void> {
  const { organizationId } = viewer;
  const { table } = kind;
  if (await wasDeletedEarlier(app, viewer, kind, id)) return;
  await app.db.$transaction(async (tx) => {
    if (!(await lockForDeletion(tx, table, organizationId, id))) {
      throw userError('NOT_FOUND', `${capitalize(noun)} not found.`, ['id']);
    }
    const agentIds = await agentsUsing(tx, table, { organizationId, id });
    if (agentIds.length > 0) {
      throw userError(
        'IN_USE',
        `The ${noun} is used by agents. ${remedy}, or delete these agents, first.`,
        ['id'],
        { details: { agentIds: agentIds.map((agentId) => publicId('Agent', agentId)) } },
      );
    }
    await markDeleted(tx);
    await enqueueSync(app, tx, kind, { id, organizationId });
  });
  await trySync(app, kind, id);
}

/** Whether an earlier run under the same idempotency key has deleted the row. */
export async function wasDeletedEarlier(
  app: App,
  viewer: Viewer,
  { table }: Pick<SyncKind<SyncRow>, 'table'>,
  id: string,
): Promise<boolean> {
  const earlier = deletedByEarlierRun(viewer);
  if (!earlier) return false;
  const rows = await app.db.$queryRaw<unknown[]>`
    SELECT 1 FROM ${Prisma.raw(table)}
    WHERE organization_id = ${earlier.organizationId}::uuid AND id = ${id}::uuid
      AND deleted_at >= ${earlier.deletedAt.gte}`;
  return rows.length > 0;
}

async function agentsUsing(
  tx: Tx,
  table: UsedTable,
  { organizationId, id }: { organizationId: string; id: string },
): Promise<string[]> {
  const own = Prisma.sql`organization_id = ${organizationId}::uuid`;
  const uses = {
    voices: Prisma.sql`voice_id = ${id}::uuid`,
    tools: Prisma.sql`id IN (
      SELECT agent_id FROM agent_tools WHERE ${own} AND tool_id = ${id}::uuid)`,
    knowledge_bases: Prisma.sql`id IN (
      SELECT agent_id FROM agent_knowledge_bases
      WHERE ${own} AND knowledge_base_id = ${id}::uuid)`,
  }[table];
  const agents = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM agents WHERE ${own} AND deleted_at IS NULL AND ${uses}
    ORDER BY id LIMIT ${MAX_NAMED_AGENTS}`;
  return agents.map((agent) => agent.id);
}

function capitalize(noun: string): string {
  return noun.charAt(0).toUpperCase() + noun.slice(1);
}
