/** Keeps an agent and its copy at Ultravox in step. */
import type { App } from '../app.ts';
import type {
  Agent,
  AgentKnowledgeBase,
  AgentTool,
  KnowledgeBase,
  Tool,
  Voice,
} from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { corpusIdFor } from '../knowledge-bases/service.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { orGone } from '../sync/gone.ts';
import type { ResyncAgents } from '../sync/jobs.ts';
import { defineSyncJob, enqueueSync, runSync, type SyncKind } from '../sync/service.ts';
import { selectedToolFor } from '../tools/service.ts';
import type { CreateAgentRequest } from '../ultravox/wire.ts';
import { ultravoxVoiceId } from '../voices/service.ts';
import { raiseRevisions } from './references.ts';
import { callTemplate, remoteName } from './template.ts';

type AgentRow = Agent & {
  voice: Voice;
  tools: (AgentTool & { tool: Tool })[];
  knowledgeBases: (AgentKnowledgeBase & { knowledgeBase: KnowledgeBase })[];
};

export const agentSync: SyncKind<AgentRow> = {
  table: 'agents',
  job: defineSyncJob('syncAgent'),

  load: (app, id) =>
    app.db.agent.findUnique({
      where: { id },
      include: {
        voice: true,
        tools: { include: { tool: true }, orderBy: { position: 'asc' } },
        knowledgeBases: { include: { knowledgeBase: true }, orderBy: { position: 'asc' } },
      },
    }),

  async find(app, row) {
    const suffix = publicId('agt', row.id);
    const found: string[] = [];
    for await (const agent of app.ultravox.agents.listAll({ search: suffix })) {
      if (agent.name.endsWith(suffix)) found.push(agent.agentId);
    }
    return found;
  },

  create: async (app, row) => (await app.ultravox.agents.create(wireAgent(app, row))).agentId,

  async update(app, row, ultravoxId) {
    await app.ultravox.agents.update(ultravoxId, wireAgent(app, row));
  },

  async remove(app, _row, ultravoxId) {
    await orGone(app.ultravox.agents.delete(ultravoxId));
  },

  async settled(_app, tx, row, result) {
    if (result.outcome !== 'SYNCED' && result.outcome !== 'REFUSED') return;
    // Deleted meanwhile: nothing comes after AGENT_DELETED.
    const now = await tx.agent.findUnique({ where: { id: row.id }, select: { deletedAt: true } });
    if (!now || now.deletedAt) return;
    await appendEvents(tx, row.organizationId, [
      result.outcome === 'SYNCED'
        ? { type: 'AGENT_SYNCED', agentId: row.id, data: { revision: row.revision } }
        : {
            type: 'AGENT_FAILED',
            agentId: row.id,
            data: { revision: row.revision, error: result.message },
          },
    ]);
  },

  async announced(app, row, result) {
    if (result.outcome === 'SYNCED' || result.outcome === 'REFUSED') {
      announceEvents(app, row.organizationId);
    }
  },
};

/** @throws NotReadyError while something the agent refers to has no copy at Ultravox. */
function wireAgent(app: App, row: AgentRow): CreateAgentRequest {
  return {
    name: remoteName(row.name, publicId('agt', row.id)),
    callTemplate: callTemplate(row, {
      voiceId: ultravoxVoiceId(row.voice),
      tools: row.tools.map(({ tool }) => selectedToolFor(app, tool)),
      corpusIds: row.knowledgeBases.map(({ knowledgeBase }) => corpusIdFor(knowledgeBase)),
    }),
  };
}

/** Ultravox does not know the agent: it is made there again, by whoever is first. */
export async function bringAgentBack(app: App, agent: { id: string }): Promise<void> {
  await app.db.$transaction(async (tx) => {
    await tx.$executeRaw`
      UPDATE agents SET synced_revision = NULL
      WHERE id = ${agent.id}::uuid AND deleted_at IS NULL AND synced_revision = revision`;
    await enqueueSync(app, tx, agentSync, agent.id);
  });
  app.background('bringAgentBack', async () => {
    await runSync(app, agentSync, agent.id);
  });
}

/** How many agents are sent to Ultravox at once when something they share has changed. */
const RESYNC_AT_ONCE = 5;

/**
 * Sends every agent again that uses a tool, a knowledge base or a voice.
 *
 * Order: the raised revisions are committed with a job for each agent, then all are sent from here.
 * If that stops halfway, the jobs send the rest.
 */
export async function resyncAgentsUsing(app: App, used: ResyncAgents): Promise<void> {
  const ids = await app.db.$transaction(async (tx) => {
    const raised = await raiseRevisions(tx, used);
    for (const id of raised) await enqueueSync(app, tx, agentSync, id);
    return raised;
  });
  const queue = [...ids];
  const senders = Array.from({ length: RESYNC_AT_ONCE }, async () => {
    for (let id = queue.shift(); id; id = queue.shift()) await runSync(app, agentSync, id);
  });
  await Promise.all(senders);
}
