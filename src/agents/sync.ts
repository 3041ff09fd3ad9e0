/** Syncs agents with Ultravox. A change replaces the whole call template there. */
import type { App } from '../app.ts';
import {
  type Agent,
  type AgentKnowledgeBase,
  type AgentTool,
  type KnowledgeBase,
  Prisma,
  type Tool,
  type Voice,
} from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import type { JobContext } from '../infra/jobs/jobs.ts';
import { corpusIdFor } from '../knowledge-bases/service.ts';
import { announceEvents, appendEvents, type NewEvent } from '../live/log.ts';
import type { ResyncAgents } from '../sync/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import { enqueueSync, enqueueSyncs, runSync, trySync } from '../sync/service.ts';
import {
  defineSyncJob,
  type SyncContext,
  type SyncKind,
  type SyncResult,
} from '../sync/sync-kind.ts';
import { selectedToolFor } from '../tools/service.ts';
import type { CreateAgentRequest } from '../ultravox/wire.ts';
import { ultravoxVoiceId } from '../voices/service.ts';
import { raiseRevisions } from './agent-references.ts';
import { callTemplate, remoteName } from './call-template.ts';

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
    const suffix = publicId('Agent', row.id);
    const found: string[] = [];
    for await (const agent of app.ultravox.agents.listAll({ search: suffix })) {
      if (agent.name.endsWith(suffix)) found.push(agent.agentId);
    }
    return found;
  },

  create: async (app, row) => (await app.ultravox.agents.create(wireAgent(app, row))).agentId,

  async update(app, row, remoteId) {
    await app.ultravox.agents.update(remoteId, wireAgent(app, row));
  },

  async remove(app, _row, remoteId) {
    await nullIfNotFound(app.ultravox.agents.delete(remoteId));
  },

  async onResult(_app, tx, row, result) {
    const event = eventOf(row, result);
    if (!event) return;
    // AGENT_DELETED is always the last event of an agent.
    const now = await tx.agent.findUnique({ where: { id: row.id }, select: { deletedAt: true } });
    if (!now || now.deletedAt) return;
    await appendEvents(tx, row.organizationId, [event]);
  },

  async afterResult(app, row, result) {
    if (eventOf(row, result)) announceEvents(app, row.organizationId);
  },
};

/** Null if the result changes neither the status nor the error of the agent, as when a retry fails as before. */
function eventOf(row: AgentRow, result: SyncResult): NewEvent | null {
  const { id: agentId, revision } = row;
  switch (result.outcome) {
    case 'SYNCED':
      return { type: 'AGENT_SYNCED', agentId, data: { revision } };
    case 'REFUSED':
      return { type: 'AGENT_FAILED', agentId, data: { revision, error: result.message } };
    case 'UNREACHABLE': {
      const isRepeated = row.syncAttempts > 0 && row.syncError === result.message;
      const data = { revision, error: result.message };
      return isRepeated ? null : { type: 'AGENT_SYNC_DELAYED', agentId, data };
    }
    case 'REMOVED':
      return null;
  }
}

/** @throws NotReadyError or RefusedError while a resource that the agent refers to is not at Ultravox. */
function wireAgent(app: SyncContext, row: AgentRow): CreateAgentRequest {
  return {
    name: remoteName(row.name, publicId('Agent', row.id)),
    callTemplate: callTemplate(row, {
      voiceId: ultravoxVoiceId(row.voice),
      tools: row.tools.map(({ tool }) => selectedToolFor(app, tool)),
      corpusIds: row.knowledgeBases.map(({ knowledgeBase }) => corpusIdFor(knowledgeBase)),
    }),
  };
}

/** Sends the agent to Ultravox now, and returns it as it is afterwards. */
export async function syncAndRead(app: App, id: string): Promise<Agent> {
  await trySync(app, agentSync, id);
  return app.db.agent.findUniqueOrThrow({ where: { id } });
}

/**
 * Sends the agent to Ultravox again, as a new revision, after Ultravox reported that it does not exist. A sender that is
 * at work sends it once more, since its request may have been earlier than the report. If another report has had it sent
 * again since the agent was read, that serves all who read it before. An edit does not: it may have been sent before the
 * agent was deleted.
 *
 * @returns the revision to wait for; null if the agent was deleted.
 */
export async function resendAgent(
  app: App,
  agent: AgentRef & Pick<Agent, 'revision'>,
): Promise<number | null> {
  const resent = Prisma.sql`
    CASE WHEN resent_revision > ${agent.revision} THEN resent_revision ELSE revision + 1 END`;
  const revision = await app.db.$transaction(async (tx) => {
    // Raw SQL, because `updated_at` must not change: the agent itself does not.
    const [raised] = await tx.$queryRaw<Pick<Agent, 'revision'>[]>`
      UPDATE agents SET revision = greatest(revision, ${resent}), resent_revision = ${resent}
      WHERE id = ${agent.id}::uuid AND deleted_at IS NULL
      RETURNING resent_revision AS revision`;
    if (raised) await enqueueSync(app, tx, agentSync, agent);
    return raised?.revision ?? null;
  });
  sendInBackground(app, agent);
  return revision;
}

/** Sends the agent to Ultravox if its revision is not there yet. */
export async function ensureAgentIsSent(app: App, agent: AgentRef): Promise<void> {
  await enqueueSyncs(app, app.db, agentSync, [agent]);
  sendInBackground(app, agent);
}

type AgentRef = Pick<Agent, 'id' | 'organizationId'>;

function sendInBackground(app: App, { id }: AgentRef): void {
  app.background('sendAgent', async () => {
    await runSync(app, agentSync, id);
  });
}

/** Number of agents that a job sends to Ultravox concurrently. */
const RESYNC_CONCURRENCY = 5;

/**
 * Sends every agent that uses a tool, a knowledge base or a voice to Ultravox again.
 *
 * Order: the raised revisions are committed with a job for each agent, then the agents are sent here. If that is
 * interrupted, the jobs send the rest.
 */
export async function resyncAgentsUsing(
  app: App,
  used: ResyncAgents,
  { signal }: JobContext,
): Promise<void> {
  const agents = await app.db.$transaction(async (tx) => {
    const raised = await raiseRevisions(tx, used);
    await enqueueSyncs(app, tx, agentSync, raised);
    return raised;
  });
  const queue = [...agents];
  const senders = Array.from({ length: RESYNC_CONCURRENCY }, async () => {
    for (let next = queue.shift(); next && !signal.aborted; next = queue.shift()) {
      await runSync(app, agentSync, next.id, { signal });
    }
  });
  await Promise.all(senders);
}
