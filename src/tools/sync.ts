/** Tools at Ultravox. A change replaces the whole definition; agents refer to it by id. */
import type { App } from '../app.ts';
import type { Tool } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { orGone } from '../sync/gone.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { defineSyncJob, NotReadyError, type SyncKind } from '../sync/service.ts';
import type { SelectedTool, WriteToolRequest } from '../ultravox/wire.ts';
import { type ToolDefinition, wireDefinition } from './definition.ts';

export function definitionOf(tool: Pick<Tool, 'definition'>): ToolDefinition {
  return tool.definition as unknown as ToolDefinition;
}

/** Exactly the 40 characters that a name may have there. */
const remoteName = (row: Pick<Tool, 'id'>): string => publicId('tol', row.id);

const request = (row: Tool): WriteToolRequest => ({
  name: remoteName(row),
  definition: wireDefinition({ ...row, definition: definitionOf(row) }),
});

export const toolSync: SyncKind<Tool> = {
  table: 'tools',
  job: defineSyncJob('syncTool'),
  load: (app, id) => app.db.tool.findUnique({ where: { id } }),

  async find(app, row) {
    const name = remoteName(row);
    const found: string[] = [];
    for await (const tool of app.ultravox.tools.listAll({ ownership: 'private', search: name })) {
      if (tool.name === name) found.push(tool.toolId);
    }
    return found;
  },

  async create(app, row) {
    return (await app.ultravox.tools.create(request(row))).toolId;
  },

  async update(app, row, ultravoxId) {
    await app.ultravox.tools.replace(ultravoxId, request(row));
  },

  async remove(app, _row, ultravoxId) {
    await orGone(app.ultravox.tools.delete(ultravoxId));
  },

  /** Agents hold the tool's id and its tokens, and only those; so only those concern them. */
  async settled(app, tx, row, result) {
    if (result.outcome !== 'SYNCED') return;
    const newTokens = definitionOf(row).authenticationRevision > (row.syncedRevision ?? 0);
    if (result.ultravoxId === row.ultravoxId && !newTokens) return;
    await app.jobs.enqueue(tx, resyncAgents, { kind: 'TOOL', id: row.id });
  },
};

const secretsContext = (toolId: string): string => `tools.secrets:${toolId}`;

/** The tokens as the row keeps them; null when there are none. */
export function encryptTokens(
  app: App,
  toolId: string,
  tokens: Record<string, string>,
): string | null {
  if (Object.keys(tokens).length === 0) return null;
  return app.cipher.encrypt(JSON.stringify(tokens), secretsContext(toolId));
}

/**
 * How an agent's template names this tool, tokens included: secret, to be sent and not kept.
 *
 * @throws NotReadyError while Ultravox does not have the tool, or not yet with the authentication
 *   these tokens belong to. `resyncAgents` follows when it has.
 */
export function selectedToolFor(app: App, tool: Tool): SelectedTool {
  const inStep = definitionOf(tool).authenticationRevision <= (tool.syncedRevision ?? 0);
  if (!tool.ultravoxId || !inStep) {
    throw new NotReadyError(
      `The tool "${tool.modelToolName}" (${publicId('tol', tool.id)}) is not at Ultravox yet.`,
    );
  }
  if (!tool.secrets) return { toolId: tool.ultravoxId };
  const authTokens = JSON.parse(
    app.cipher.decrypt(tool.secrets, secretsContext(tool.id)),
  ) as Record<string, string>;
  return { toolId: tool.ultravoxId, authTokens };
}
