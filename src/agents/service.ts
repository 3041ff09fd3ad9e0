/** Creates and changes agents. `deletion.ts` deletes them. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Agent } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { announceEvents, appendEvents, type NewEvent } from '../live/log.ts';
import { phoneNumberRules } from '../organizations/service.ts';
import { enqueueSync } from '../sync/service.ts';
import { isInSync } from '../sync/status.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import {
  type AgentContent,
  type AgentInput,
  type ReadContent,
  readContent,
  toColumns,
} from './agent-input.ts';
import { type AgentReferences, checkReferences, writeReferences } from './agent-references.ts';
import { acceptedModels } from './models.ts';
import { checkPremiumTarget } from './premium-targets.ts';
import { settingsOf } from './settings.ts';
import { agentSync, syncAndRead } from './sync.ts';

/**
 * Creates an agent.
 *
 * Order: the row and its job are committed, then the agent is created at Ultravox. If Ultravox cannot
 * be reached, the row stays DRAFT and the job retries. If Ultravox refuses the agent, the row is FAILED
 * until it is changed.
 */
export async function createAgent(app: App, viewer: Viewer, input: AgentInput): Promise<Agent> {
  const id = newObjectId(viewer);
  const made = viewer.idempotency && (await findOwn(app, viewer, id));
  if (made) return syncAndRead(app, made.id);

  const checks = new Checks();
  const content = await readAll(app, viewer, checks, input);
  await app.db.$transaction(async (tx) => {
    await checkReferences(tx, viewer, checks, { before: null, change: content });
    await checkPremiumTarget(tx, viewer, checks, content.builtInConfig);
    checks.throwIfAny();
    const whole = content as AgentContent;
    await tx.agent.create({
      data: {
        ...toColumns(whole),
        ...secretColumn(app, id, whole),
        ...ownedBy(viewer),
        id,
        status: 'DRAFT',
      },
    });
    await writeReferences(tx, viewer.organizationId, id, whole);
    await enqueueSync(app, tx, agentSync, { id, organizationId: viewer.organizationId });
    await append(tx, viewer, { type: 'AGENT_CREATED', agentId: id, data: { name: whole.name } });
  });
  announceEvents(app, viewer.organizationId);
  return syncAndRead(app, id);
}

/**
 * Updates the given fields; null resets a field to its default.
 *
 * Order: the row, with a higher revision, and its job are committed, then the agent is sent to
 * Ultravox. If that fails, calls use the last synced revision; the job retries unless Ultravox refused
 * the agent.
 */
export async function updateAgent(
  app: App,
  viewer: Viewer,
  { id, ...input }: AgentInput & { id: string },
): Promise<Agent> {
  const checks = new Checks();
  const options = await readOptions(app, viewer, input);
  const content = readContent(checks, input, { ...options, whole: false });
  return changeAgent(app, viewer, { checks, id, content });
}

/**
 * Replaces all fields; fields that are not given are reset to their defaults. Order and failures are as in
 * `updateAgent`.
 */
export async function replaceAgent(
  app: App,
  viewer: Viewer,
  { id, ...input }: AgentInput & { id: string },
): Promise<Agent> {
  const checks = new Checks();
  return changeAgent(app, viewer, {
    checks,
    id,
    content: await readAll(app, viewer, checks, input),
  });
}

interface AgentChange {
  /** Holds the problems found so far. */
  checks: Checks;
  /** Public ID. */
  id: string;
  content: Partial<ReadContent>;
}

async function changeAgent(app: App, viewer: Viewer, change: AgentChange): Promise<Agent> {
  const { checks } = change;
  const id = checks.id('Agent', change.id, ['id']);
  const changed = await app.db.$transaction(async (tx) => {
    const agent = id ? await lockAgent(tx, viewer, id) : null;
    if (id && !agent) checks.add('NOT_FOUND', 'Agent not found.', ['id']);
    await checkReferences(tx, viewer, checks, {
      before: agent && (await referencesOf(tx, agent)),
      change: change.content,
    });
    await checkPremiumTarget(tx, viewer, checks, change.content.builtInConfig);
    checks.throwIfAny();
    const content = change.content as Partial<AgentContent>;
    const changes = Object.keys(content);
    if (!agent || changes.length === 0) return false;
    await tx.agent.update({
      where: { id: agent.id },
      data: {
        ...toColumns(content),
        ...secretColumn(app, agent.id, content),
        revision: { increment: 1 },
        // The change is not a retry: if it is delayed too, subscribers learn of that.
        syncAttempts: 0,
      },
    });
    await writeReferences(tx, viewer.organizationId, agent.id, content);
    await enqueueSync(app, tx, agentSync, agent);
    await append(tx, viewer, {
      type: 'AGENT_UPDATED',
      agentId: agent.id,
      data: { changed: changes },
    });
    return true;
  });
  if (changed) announceEvents(app, viewer.organizationId);
  return syncAndRead(app, id!);
}

/**
 * Sends an agent to Ultravox now, even if Ultravox has refused its current revision. Does nothing if the current
 * revision is at Ultravox.
 */
export async function retryAgentSync(
  app: App,
  viewer: Viewer,
  publicAgentId: string,
): Promise<Agent> {
  const checks = new Checks();
  const id = checks.id('Agent', publicAgentId, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    const agent = await lockAgent(tx, viewer, id!);
    if (!agent) throw userError('NOT_FOUND', 'Agent not found.', ['id']);
    if (isInSync(agent)) return;
    // Raw SQL, because `updated_at` must not change: the agent itself does not.
    await tx.$executeRaw`
      UPDATE agents SET revision = revision + 1, refused_revision = NULL
      WHERE id = ${agent.id}::uuid`;
    await enqueueSync(app, tx, agentSync, agent);
  });
  return syncAndRead(app, id!);
}

/** The secret that signs the agent's CRM webhook; null if there is none. */
export function crmWebhookSecretOf(
  app: App,
  agent: Pick<Agent, 'id' | 'crmWebhookSecret'>,
): string | null {
  return agent.crmWebhookSecret
    ? app.cipher.decrypt(agent.crmWebhookSecret, secretContext(agent.id))
    : null;
}

function secretColumn(
  app: App,
  agentId: string,
  { crmWebhookSecret }: Partial<AgentContent>,
): { crmWebhookSecret?: string | null } {
  if (crmWebhookSecret === undefined) return {};
  if (crmWebhookSecret === null) return { crmWebhookSecret: null };
  return { crmWebhookSecret: app.cipher.encrypt(crmWebhookSecret, secretContext(agentId)) };
}

function secretContext(agentId: string): string {
  return `agents.crm_webhook_secret:${agentId}`;
}

async function readAll(
  app: App,
  viewer: Viewer,
  checks: Checks,
  input: AgentInput,
): Promise<Partial<ReadContent>> {
  return readContent(checks, input, { ...(await readOptions(app, viewer, input)), whole: true });
}

async function readOptions(app: App, viewer: Viewer, { model }: AgentInput) {
  const { allowPremium } = await phoneNumberRules(app, viewer);
  return {
    allowPremium,
    allowPrivate: app.config.ALLOW_PRIVATE_ADDRESSES,
    allowedUrls: app.config.WEBHOOK_ALLOWED_URLS ?? [],
    models: await acceptedModels(app, model),
  };
}

function findOwn(app: App, viewer: Viewer, id: string): Promise<Agent | null> {
  return app.db.agent.findFirst({ where: { ...ownedBy(viewer), id } });
}

/** Returns the agent, locked against changes and deletion until the transaction ends. */
async function lockAgent(tx: Tx, viewer: Viewer, id: string): Promise<Agent | null> {
  const locked = await tx.$queryRaw<unknown[]>`
    SELECT id FROM agents
    WHERE id = ${id}::uuid AND organization_id = ${viewer.organizationId}::uuid
      AND deleted_at IS NULL
    FOR NO KEY UPDATE`;
  return locked.length === 0 ? null : tx.agent.findUnique({ where: { id } });
}

async function referencesOf(tx: Tx, agent: Agent): Promise<AgentReferences> {
  const where = { organizationId: agent.organizationId, agentId: agent.id };
  const tools = await tx.agentTool.findMany({ where, orderBy: { position: 'asc' } });
  const knowledgeBases = await tx.agentKnowledgeBase.findMany({ where });
  return {
    voiceId: agent.voiceId,
    toolIds: tools.map(({ toolId }) => toolId),
    knowledgeBaseIds: knowledgeBases.map(({ knowledgeBaseId }) => knowledgeBaseId),
    builtInConfig: settingsOf(agent).builtInConfig,
  };
}

async function append(tx: Tx, viewer: Viewer, event: NewEvent): Promise<void> {
  await appendEvents(tx, viewer.organizationId, [event]);
}
