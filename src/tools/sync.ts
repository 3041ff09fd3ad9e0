/** Syncs tools with Ultravox. A change replaces the whole definition there. */
import type { App } from '../app.ts';
import type { Tool } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { idsByName } from '../sync/ids-by-name.ts';
import { resyncAgents } from '../sync/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import { defineSyncJob, notUsable, type SyncKind } from '../sync/sync-kind.ts';
import type { SelectedTool, WriteToolRequest } from '../ultravox/wire.ts';
import { type ToolDefinition, wireDefinition } from './definition.ts';

export function definitionOf(tool: Pick<Tool, 'definition'>): ToolDefinition {
  return tool.definition as unknown as ToolDefinition;
}

/** Our public ID, which has exactly the 40 characters that Ultravox allows for a name. */
const remoteName = (row: Pick<Tool, 'id'>): string => publicId('Tool', row.id);

const request = (row: Tool): WriteToolRequest => ({
  name: remoteName(row),
  definition: wireDefinition({ ...row, definition: definitionOf(row) }),
});

export const toolSync: SyncKind<Tool, 'tools'> = {
  table: 'tools',
  job: defineSyncJob('syncTool'),
  load: (app, id) => app.db.tool.findUnique({ where: { id } }),

  async find(app, row) {
    const name = remoteName(row);
    const listed = app.ultravox.tools.listAll({ ownership: 'private', search: name });
    return idsByName(listed, name, ({ toolId }) => toolId);
  },

  async create(app, row) {
    return (await app.ultravox.tools.create(request(row))).toolId;
  },

  async update(app, row, remoteId) {
    await app.ultravox.tools.replace(remoteId, request(row));
  },

  async remove(app, _row, remoteId) {
    await nullIfNotFound(app.ultravox.tools.delete(remoteId));
  },

  /**
   * Agents carry the remote ID and the tokens of a tool, so they are sent again only if those change, or to report why
   * they cannot use the tool.
   */
  async onResult(app, tx, row, result) {
    if (result.outcome === 'SYNCED') {
      if (result.remoteId === row.remoteId && tokensFit(row)) return;
    } else if (result.outcome !== 'REFUSED' || isUsable(row)) return;
    const resync = { kind: 'TOOL', id: row.id } as const;
    await app.jobs.enqueue(tx, resyncAgents, resync, { group: row.organizationId });
  },
};

/** Whether the tokens belong to the authentication that Ultravox has. */
function tokensFit(tool: Pick<Tool, 'definition' | 'syncedRevision'>): boolean {
  return definitionOf(tool).authenticationRevision <= (tool.syncedRevision ?? 0);
}

function isUsable(tool: Tool): tool is Tool & { remoteId: string } {
  return tool.remoteId !== null && tokensFit(tool);
}

const secretsContext = (toolId: string): string => `tools.secrets:${toolId}`;

/** The tokens as stored in the row; null if there are none. */
export function encryptTokens(
  app: Pick<App, 'cipher'>,
  toolId: string,
  tokens: Record<string, string>,
): string | null {
  if (Object.keys(tokens).length === 0) return null;
  return app.cipher.encrypt(JSON.stringify(tokens), secretsContext(toolId));
}

/**
 * Returns the entry for this tool in the call template of an agent. It contains the tokens in clear text: send it to
 * Ultravox, but neither store nor log it.
 *
 * @throws NotReadyError until the tool, with the authentication to which the tokens belong, is at Ultravox, RefusedError
 *   if Ultravox refused it. `resyncAgents` is enqueued in both cases.
 */
export function selectedToolFor(app: Pick<App, 'cipher'>, tool: Tool): SelectedTool {
  if (!isUsable(tool)) {
    throw notUsable(tool, `tool "${tool.modelToolName}" (${publicId('Tool', tool.id)})`);
  }
  if (!tool.secrets) return { toolId: tool.remoteId };
  const authTokens = JSON.parse(
    app.cipher.decrypt(tool.secrets, secretsContext(tool.id)),
  ) as Record<string, string>;
  return { toolId: tool.remoteId, authTokens };
}
