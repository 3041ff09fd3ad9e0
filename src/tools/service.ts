/** Creates, changes and deletes the tools of an organization. */
import type { App, Tx } from '../app.ts';
import type { Prisma, Tool } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks, changesNothing } from '../infra/checks.ts';
import { createAndSync, deleteAndSync } from '../sync/row-lifecycle.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import { type BuiltInConfig, builtInToolNames } from './built-in-tools.ts';
import { deriveModelToolName } from './definition.ts';
import { type DefinitionInput, mergeDefinition } from './definition-input.ts';
import { definitionOf, encryptTokens, toolSync } from './sync.ts';

export { definitionOf, selectedToolFor } from './sync.ts';

export const MAX_NAME = 255;
export const MAX_DESCRIPTION = 2000;
/** Maximum number of agents that an error names. */
const MAX_NAMED_AGENTS = 100;
const MODEL_TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

export interface CreateToolInput extends DefinitionInput {
  name: string;
  modelToolName?: string | null | undefined;
  description: string;
}

/**
 * Creates a tool.
 *
 * Order: the row and its job are committed, then the tool is created at Ultravox. If Ultravox cannot be reached, the
 * job retries, after looking for the tool by our ID. If Ultravox refuses the tool, the row is FAILED until it is
 * changed.
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
  await createAndSync(app, viewer, toolSync, {
    id,
    insert: (tx) =>
      tx.tool.create({
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
      }),
  });
  return app.db.tool.findUniqueOrThrow({ where: { id } });
}

const allowPrivate = (app: App): boolean => app.config.ALLOW_PRIVATE_ADDRESSES;

function checkModelToolName(checks: Checks, name: string | undefined): string | undefined {
  if (name === undefined) {
    return checks.add(
      'REQUIRED',
      '`name` has no Latin letter or digit to derive `modelToolName` from. Provide `modelToolName`.',
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
 * Updates the given fields. A new name leaves `modelToolName` unchanged. Concurrent changes run one after the other, so
 * neither undoes the other.
 *
 * Order: the row and its job are committed, then the definition at Ultravox is replaced. If that
 * fails, Ultravox keeps the last synced revision and `syncError` gives the reason; the job retries
 * unless Ultravox refused the tool.
 */
export async function updateTool(app: App, viewer: Viewer, input: UpdateToolInput): Promise<Tool> {
  const checks = new Checks();
  const id = checks.id('Tool', input.id, ['id']);
  const name = checks.notNull(input.name, ['name']);
  const description = checks.notNull(input.description, ['description']);
  const modelToolName = checks.notNull(input.modelToolName, ['modelToolName']);
  checks.text(name, ['name'], { min: 1, max: MAX_NAME });
  checks.text(description, ['description'], { min: 1, max: MAX_DESCRIPTION });
  if (modelToolName !== undefined) checkModelToolName(checks, modelToolName);

  await app.db.$transaction(async (tx) => {
    const tool = id ? await lockTool(tx, viewer, id) : null;
    if (id && !tool) checks.add('NOT_FOUND', 'Tool not found.', ['id']);
    const { definition, tokens } = mergeDefinition(
      checks,
      input,
      tool ? definitionOf(tool) : 'UNKNOWN',
      allowPrivate(app),
    );
    if (tool && modelToolName !== undefined && modelToolName !== tool.modelToolName) {
      await checkRename(tx, checks, tool, modelToolName);
    }
    checks.throwIfAny();
    if (!tool || changesNothing(input)) return;
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
    await enqueueSync(app, tx, toolSync, tool);
  });
  await trySync(app, toolSync, id!);
  return app.db.tool.findUniqueOrThrow({ where: { id: id! } });
}

/**
 * Prevents an agent from having two tools with the same name, which the model could not distinguish. The renames of an
 * organization run one after the other, so that each of them sees the new names of the others.
 */
async function checkRename(
  tx: Tx,
  checks: Checks,
  { id: toolId, organizationId }: Tool,
  modelToolName: string,
): Promise<void> {
  await tx.$queryRaw`
    SELECT id FROM organizations WHERE id = ${organizationId}::uuid FOR NO KEY UPDATE`;
  const sameName = { tool: { deletedAt: null, id: { not: toolId }, modelToolName } };
  const users = await tx.agent.findMany({
    where: { organizationId, deletedAt: null, tools: { some: { toolId } } },
    select: {
      id: true,
      builtInConfig: true,
      _count: { select: { tools: { where: sameName }, knowledgeBases: true } },
    },
    orderBy: { id: 'asc' },
  });
  const agentIds = users
    .filter(({ builtInConfig, _count: { tools, knowledgeBases } }) => {
      const config = builtInConfig as BuiltInConfig | null;
      return tools > 0 || builtInToolNames(config, knowledgeBases > 0).includes(modelToolName);
    })
    .map(({ id }) => publicId('Agent', id));
  if (agentIds.length === 0) return;
  checks.add(
    'INVALID_INPUT',
    `Agents that use this tool have another tool named "${modelToolName}". Choose another name, or remove one of the two tools from these agents first.`,
    ['modelToolName'],
    { details: { agentIds: agentIds.slice(0, MAX_NAMED_AGENTS) } },
  );
}

/** Locks the tool against other changes and against being added to an agent. */
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
 * Order: the row is marked as deleted and its job committed, then the tool is removed at Ultravox.
 * If that fails, the job retries.
 *
 * @returns the UUID of the tool.
 */
export async function deleteTool(app: App, viewer: Viewer, publicToolId: string): Promise<string> {
  const checks = new Checks();
  const id = checks.id('Tool', publicToolId, ['id']);
  checks.throwIfAny();
  await deleteAndSync(app, viewer, toolSync, {
    id: id!,
    noun: 'tool',
    remedy: 'Remove it from them',
    markDeleted: (tx) =>
      tx.tool.update({ where: { id: id! }, data: { deletedAt: app.now(), secrets: null } }),
  });
  return id!;
}
