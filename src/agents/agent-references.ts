/** Checks, locks and writes an agent's references to its voice, tools and knowledge bases. */
import type { Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import type { Checks } from '../infra/checks.ts';
import type { ResyncAgents } from '../sync/jobs.ts';
import { type LockedReference, lockReferences } from '../sync/references.ts';
import { refusal } from '../sync/sync-kind.ts';
import { builtInToolNames } from '../tools/built-in-tools.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import type { AgentContent, ReadContent } from './agent-input.ts';

export type AgentReferences = Pick<
  AgentContent,
  'voiceId' | 'toolIds' | 'knowledgeBaseIds' | 'builtInConfig'
>;

interface ReferenceChange {
  /** Current references of the agent; null for a new agent. */
  before: AgentReferences | null;
  /** References that the write sets. Invalid fields are missing, and invalid list entries are undefined. */
  change: Partial<Pick<ReadContent, keyof AgentReferences>>;
}

/**
 * Checks the references that a write sets, together with those that stay, and locks all of them
 * against deletion until the transaction ends.
 */
export async function checkReferences(
  tx: Tx,
  viewer: Viewer,
  checks: Checks,
  { before, change }: ReferenceChange,
): Promise<void> {
  const { organizationId } = viewer;
  const voiceId = change.voiceId ?? before?.voiceId;
  const toolIds = change.toolIds ?? before?.toolIds ?? [];
  const knowledgeBaseIds = change.knowledgeBaseIds ?? before?.knowledgeBaseIds ?? [];
  const voices = await lockReferences(tx, 'voices', organizationId, voiceId ? [voiceId] : []);
  const tools = await lockReferences(tx, 'tools', organizationId, toolIds.filter(isDefined));
  const knowledge = await lockReferences(
    tx,
    'knowledge_bases',
    organizationId,
    knowledgeBaseIds.filter(isDefined),
  );

  if (change.voiceId) {
    const voice = voices.get(change.voiceId);
    const isNew = change.voiceId !== before?.voiceId;
    if (!voice) checks.add('NOT_FOUND', 'Voice not found.', ['voiceId']);
    else if (isNew && voice.status === 'FAILED') {
      const message = `Choose another voice from \`voices\`. ${refusal('this one', voice)}`;
      checks.add('INVALID_STATE', message, ['voiceId']);
    } else if (isNew) await checkNotWithdrawn(tx, checks, change.voiceId);
  }
  checkList(checks, {
    ids: change.toolIds,
    before: before?.toolIds,
    found: tools,
    path: 'toolIds',
    noun: (id) => `tool ${publicId('Tool', id)}`,
  });
  checkList(checks, {
    ids: change.knowledgeBaseIds,
    before: before?.knowledgeBaseIds,
    found: knowledge,
    path: 'knowledgeBaseIds',
    noun: (id) => `knowledge base ${publicId('KnowledgeBase', id)}`,
  });
  if (change.toolIds || change.knowledgeBaseIds || change.builtInConfig) {
    await checkToolNames(tx, viewer, checks, {
      toolIds,
      reserved: builtInToolNames(
        change.builtInConfig === undefined ? (before?.builtInConfig ?? null) : change.builtInConfig,
        knowledgeBaseIds.length > 0,
      ),
      path: change.toolIds
        ? 'toolIds'
        : change.builtInConfig
          ? 'builtInConfig'
          : 'knowledgeBaseIds',
    });
  }
}

/** Checks the tools or knowledge bases that a write sets. */
function checkList(
  checks: Checks,
  list: {
    ids: readonly (string | undefined)[] | undefined;
    before: readonly string[] | undefined;
    found: ReadonlyMap<string, LockedReference>;
    path: string;
    noun: (id: string) => string;
  },
): void {
  for (const [index, id] of (list.ids ?? []).entries()) {
    if (id === undefined) continue;
    const noun = list.noun(id);
    const row = list.found.get(id);
    if (!row) {
      const message = `There is no ${noun} in your organization.`;
      checks.add('NOT_FOUND', message, [list.path, index]);
    } else if (row.status === 'FAILED' && !list.before?.includes(id)) {
      const message = `Correct or omit the ${noun}. ${refusal('it', row)}`;
      checks.add('INVALID_STATE', message, [list.path, index]);
    }
  }
}

function isDefined<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}

async function checkNotWithdrawn(tx: Tx, checks: Checks, voiceId: string): Promise<void> {
  const voice = await tx.voice.findUnique({
    where: { id: voiceId },
    select: { withdrawnAt: true },
  });
  if (!voice?.withdrawnAt) return;
  checks.add(
    'INVALID_STATE',
    'Ultravox no longer offers this voice. Choose another one from `voices`.',
    ['voiceId'],
  );
}

/** Ultravox refuses two tools with the same name, because the model could not distinguish them. */
async function checkToolNames(
  tx: Tx,
  viewer: Viewer,
  checks: Checks,
  {
    toolIds,
    reserved,
    path,
  }: { toolIds: readonly (string | undefined)[]; reserved: readonly string[]; path: string },
): Promise<void> {
  if (toolIds.length === 0) return;
  const rows = await tx.tool.findMany({
    where: { ...ownedBy(viewer), id: { in: toolIds.filter(isDefined) }, deletedAt: null },
    select: { id: true, modelToolName: true },
  });
  const names = new Map(rows.map(({ id, modelToolName }) => [id, modelToolName]));
  const taken = new Map<string, string>(reserved.map((name) => [name, 'a built-in tool']));
  for (const [index, id] of toolIds.entries()) {
    const name = id && names.get(id);
    if (!id || !name) continue;
    const holder = taken.get(name);
    if (holder) {
      checks.add(
        'INVALID_INPUT',
        `The tool ${publicId('Tool', id)} and ${holder} of this agent are both called "${name}". Rename the tool, or omit one of the two.`,
        path === 'toolIds' ? [path, index] : [path],
        { details: { modelToolName: name, toolId: publicId('Tool', id) } },
      );
    }
    taken.set(name, `the tool ${publicId('Tool', id)}`);
  }
}

/** Replaces the given lists. */
export async function writeReferences(
  tx: Tx,
  organizationId: string,
  agentId: string,
  { toolIds, knowledgeBaseIds }: Partial<Pick<AgentContent, 'toolIds' | 'knowledgeBaseIds'>>,
): Promise<void> {
  const agent = { organizationId, agentId };
  if (toolIds) {
    await tx.agentTool.deleteMany({ where: agent });
    await tx.agentTool.createMany({
      data: toolIds.map((toolId, position) => ({ ...agent, toolId, position })),
    });
  }
  if (knowledgeBaseIds) {
    await tx.agentKnowledgeBase.deleteMany({ where: agent });
    await tx.agentKnowledgeBase.createMany({
      data: knowledgeBaseIds.map((knowledgeBaseId, position) => ({
        ...agent,
        knowledgeBaseId,
        position,
      })),
    });
  }
}

/** Raises the revision of every agent that uses a resource. The agents are locked in order of ID. */
export async function raiseRevisions(
  tx: Tx,
  { kind, id }: ResyncAgents,
): Promise<{ id: string; organizationId: string }[]> {
  const uses = {
    VOICE: Prisma.sql`(organization_id, voice_id) IN
      (SELECT organization_id, id FROM voices WHERE id = ${id}::uuid)`,
    TOOL: Prisma.sql`id IN (
      SELECT used.agent_id FROM tools JOIN agent_tools used
        ON (used.organization_id, used.tool_id) = (tools.organization_id, tools.id)
      WHERE tools.id = ${id}::uuid)`,
    KNOWLEDGE_BASE: Prisma.sql`id IN (
      SELECT used.agent_id FROM knowledge_bases base JOIN agent_knowledge_bases used
        ON (used.organization_id, used.knowledge_base_id) = (base.organization_id, base.id)
      WHERE base.id = ${id}::uuid)`,
  }[kind];
  return tx.$queryRaw<{ id: string; organizationId: string }[]>`
    WITH used AS (
      SELECT id FROM agents WHERE deleted_at IS NULL AND ${uses} ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE agents SET revision = revision + 1 FROM used WHERE agents.id = used.id
    RETURNING agents.id, agents.organization_id AS "organizationId"`;
}
