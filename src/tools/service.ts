/** Tools: HTTP requests that an agent may make during a conversation. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Prisma, Tool } from '../generated/prisma/client.ts';
import type { SyncStatus } from '../generated/prisma/enums.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { literal } from '../infra/like.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { lockForDeletion } from '../sync/references.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { deriveModelToolName } from './definition.ts';
import { type DefinitionInput, mergeDefinition } from './rules.ts';
import { definitionOf, encryptTokens, toolSync } from './sync.ts';

export { definitionOf, selectedToolFor } from './sync.ts';

const MAX_NAME = 255;
const MAX_DESCRIPTION = 2000;
const MODEL_TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

export interface ToolFilter {
  name?: string | null | undefined;
  /** Any of these; empty is as if it were not given. */
  status?: readonly SyncStatus[] | null | undefined;
}

export function listedTools(viewer: Viewer, filter: ToolFilter = {}): Prisma.ToolWhereInput {
  const { name, status } = filter;
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(name ? { name: { contains: literal(name), mode: 'insensitive' } } : {}),
    ...(status?.length ? { status: { in: [...status] } } : {}),
  };
}

export interface CreateToolInput extends DefinitionInput {
  name: string;
  modelToolName?: string | null | undefined;
  description: string;
}

/**
 * Makes a tool.
 *
 * Order: the row and its job are committed, then the tool is made at Ultravox.
 * If the second step fails: the row says so. Unreachable, the job goes on until it is there and
 * looks for it by our id first; refused, the row is FAILED until it is changed.
 */
export async function createTool(app: App, viewer: Viewer, input: CreateToolInput): Promise<Tool> {
  const checks = new Checks();
  checks.text(input.name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(input.description, ['description'], { min: 1, max: MAX_DESCRIPTION });
  const modelToolName = checkModelToolName(
    checks,
    input.modelToolName ?? deriveModelToolName(input.name),
  );
  const { definition, tokens } = mergeDefinition(checks, input, 'NEW', allowPrivate(app));
  checks.throwIfAny();

  const id = newObjectId(viewer);
  const made =
    viewer.idempotency && (await app.db.tool.findFirst({ where: { ...ownedBy(viewer), id } }));
  if (!made) {
    await app.db.$transaction(async (tx) => {
      await tx.tool.create({
        data: {
          ...ownedBy(viewer),
          id,
          status: 'DRAFT',
          name: input.name,
          modelToolName: modelToolName!,
          description: input.description,
          definition: definition as unknown as Prisma.InputJsonObject,
          secrets: encryptTokens(app, id, tokens ?? {}),
        },
      });
      await enqueueSync(app, tx, toolSync, id);
    });
  }
  await trySync(app, toolSync, id);
  return app.db.tool.findUniqueOrThrow({ where: { id } });
}

const allowPrivate = (app: App): boolean => app.config.ALLOW_PRIVATE_ADDRESSES;

function checkModelToolName(checks: Checks, name: string | undefined): string | undefined {
  if (name === undefined) {
    return checks.add(
      'REQUIRED',
      'No identifier can be made of `name`, which has no Latin letter and no digit: give `modelToolName`.',
      ['modelToolName'],
    );
  }
  if (MODEL_TOOL_NAME.test(name)) return name;
  return checks.add(
    'INVALID_INPUT',
    '`modelToolName` must be 1 to 64 letters without accents, digits, "_" or "-".',
    ['modelToolName'],
  );
}

export interface UpdateToolInput extends DefinitionInput {
  id: string;
  name?: string | null | undefined;
  modelToolName?: string | null | undefined;
  description?: string | null | undefined;
}

/**
 * Changes what was sent and leaves the rest, `modelToolName` included when only the name changes.
 * Two changes at once are done one after the other, so neither undoes the other.
 *
 * Order: the row and its job are committed, then the definition at Ultravox is replaced.
 * If the second step fails: Ultravox keeps the last synced revision, the row says why in
 * `syncError`, and the job goes on (unreachable) or waits for the next change (refused).
 */
export async function updateTool(app: App, viewer: Viewer, input: UpdateToolInput): Promise<Tool> {
  const checks = new Checks();
  const id = checks.id('tol', 'Tool', input.id, ['id']);
  const name = checks.notNull(input.name, ['name']);
  const description = checks.notNull(input.description, ['description']);
  const modelToolName = checks.notNull(input.modelToolName, ['modelToolName']);
  checks.text(name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(description, ['description'], { min: 1, max: MAX_DESCRIPTION });
  if (modelToolName !== undefined) checkModelToolName(checks, modelToolName);

  await app.db.$transaction(async (tx) => {
    const tool = id ? await lockTool(tx, viewer, id) : null;
    if (id && !tool) checks.add('NOT_FOUND', 'There is no such tool.', ['id']);
    const { definition, tokens } = mergeDefinition(
      checks,
      input,
      tool ? definitionOf(tool) : 'UNKNOWN',
      allowPrivate(app),
    );
    if (tool && modelToolName !== undefined && modelToolName !== tool.modelToolName) {
      await checkRename(tx, viewer, checks, tool.id, modelToolName);
    }
    checks.throwIfAny();
    if (!tool) return;
    const revision = tool.revision + 1;
    if (tokens) definition.authenticationRevision = revision;
    await tx.tool.update({
      where: { id: tool.id },
      data: {
        revision,
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(modelToolName === undefined ? {} : { modelToolName }),
        definition: definition as unknown as Prisma.InputJsonObject,
        ...(tokens ? { secrets: encryptTokens(app, tool.id, tokens) } : {}),
      },
    });
    await enqueueSync(app, tx, toolSync, tool.id);
  });
  await trySync(app, toolSync, id!);
  return app.db.tool.findUniqueOrThrow({ where: { id: id! } });
}

/** Of Ultravox itself; which of them an agent has is the agent's affair. */
const BUILT_IN = new Set([
  'hangUp',
  'queryCorpus',
  'leaveVoicemail',
  'playDtmfSounds',
  'coldTransfer',
  'warmTransfer',
]);

/** No agent may end up with two tools that the model cannot tell apart. */
async function checkRename(
  tx: Tx,
  viewer: Viewer,
  checks: Checks,
  toolId: string,
  modelToolName: string,
): Promise<void> {
  const twin = { deletedAt: null, id: { not: toolId }, modelToolName };
  const users = await tx.agentTool.findMany({
    where: {
      ...ownedBy(viewer),
      toolId,
      agent: {
        deletedAt: null,
        ...(BUILT_IN.has(modelToolName) ? {} : { tools: { some: { tool: twin } } }),
      },
    },
    select: { agentId: true },
    orderBy: { agentId: 'asc' },
    take: 100,
  });
  if (users.length === 0) return;
  checks.add(
    'INVALID_INPUT',
    `Agents that use this tool have, or may have, another one called "${modelToolName}". Choose another name, or take one of the two from them first.`,
    ['modelToolName'],
    { details: { agentIds: users.map(({ agentId }) => publicId('agt', agentId)) } },
  );
}

/** Held so that no other change comes between, and no agent takes the tool up meanwhile. */
async function lockTool(tx: Tx, viewer: Viewer, id: string): Promise<Tool | null> {
  await tx.$queryRaw`
    SELECT id FROM tools
    WHERE id = ${id}::uuid AND organization_id = ${viewer.organizationId}::uuid
    FOR UPDATE`;
  return tx.tool.findFirst({ where: { ...ownedBy(viewer), id, deletedAt: null } });
}

/**
 * Deletes a tool that no agent uses.
 *
 * Order: the row is marked as deleted, with a job, and then removed at Ultravox.
 * If the second step fails: the tool is gone here, and the job goes on until it is gone there.
 *
 * @returns the id of the row.
 */
export async function deleteTool(app: App, viewer: Viewer, publicToolId: string): Promise<string> {
  const checks = new Checks();
  const id = checks.id('tol', 'Tool', publicToolId, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    if (!(await lockForDeletion(tx, 'tools', viewer.organizationId, id!))) {
      throw userError('NOT_FOUND', 'There is no such tool.', ['id']);
    }
    const users = await tx.agentTool.findMany({
      where: { ...ownedBy(viewer), toolId: id!, agent: { deletedAt: null } },
      select: { agentId: true },
      orderBy: { agentId: 'asc' },
      take: 100,
    });
    if (users.length > 0) {
      throw userError(
        'IN_USE',
        'Agents use this tool. Take it from them, or delete them, first.',
        ['id'],
        { details: { agentIds: users.map(({ agentId }) => publicId('agt', agentId)) } },
      );
    }
    await tx.tool.update({ where: { id: id! }, data: { deletedAt: app.now(), secrets: null } });
    await enqueueSync(app, tx, toolSync, id!);
  });
  await trySync(app, toolSync, id!);
  return id!;
}
