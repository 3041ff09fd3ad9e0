/** Agents: what they may be made of, and every write to one. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Agent } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { announceEvents, appendEvents, type NewEvent } from '../live/log.ts';
import { newObjectId, ownedBy, type Viewer } from '../organizations/viewer.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import { isInSync } from '../sync/status.ts';
import {
  type AgentContent,
  type AgentInput,
  type ReadContent,
  readContent,
  toColumns,
} from './content.ts';
import { type AgentReferences, checkReferences, writeReferences } from './references.ts';
import { settingsOf } from './settings.ts';
import { agentSync } from './sync.ts';

/**
 * Makes an agent and brings it to Ultravox.
 *
 * Order: the row is committed as DRAFT with a job; then it is sent at once.
 * If the second step fails: it stays DRAFT with `syncError` and the job sends it later (Ultravox not
 * reachable), or it is FAILED until it is changed (Ultravox refused it).
 */
export async function createAgent(app: App, viewer: Viewer, input: AgentInput): Promise<Agent> {
  const id = newObjectId(viewer);
  const made = viewer.idempotency && (await findOwn(app, viewer, id));
  if (made) return sendAndRead(app, made.id);

  const checks = new Checks();
  const content = readAll(app, checks, input);
  await app.db.$transaction(async (tx) => {
    await checkReferences(tx, viewer, checks, null, content);
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
    await enqueueSync(app, tx, agentSync, id);
    await append(tx, viewer, { type: 'AGENT_CREATED', agentId: id, data: { name: whole.name } });
  });
  announceEvents(app, viewer.organizationId);
  return sendAndRead(app, id);
}

/**
 * Changes what was sent and nothing else; null clears a member or puts it back to its default.
 *
 * Order: the row is committed with a higher revision and a job; then it is sent at once.
 * If the second step fails: an active agent goes on with its last synced revision, and the job
 * sends the new one later unless Ultravox refused it.
 */
export async function updateAgent(
  app: App,
  viewer: Viewer,
  { id, ...input }: AgentInput & { id: string },
): Promise<Agent> {
  const checks = new Checks();
  const content = readContent(checks, input, {
    whole: false,
    allowPrivate: app.config.ALLOW_PRIVATE_ADDRESSES,
  });
  return changeAgent(app, viewer, checks, id, content);
}

/**
 * Puts other content in place of all that the agent was: what is not given goes back to its default.
 * Order and failure are those of `updateAgent`.
 */
export async function replaceAgent(
  app: App,
  viewer: Viewer,
  { id, ...input }: AgentInput & { id: string },
): Promise<Agent> {
  const checks = new Checks();
  return changeAgent(app, viewer, checks, id, readAll(app, checks, input));
}

async function changeAgent(
  app: App,
  viewer: Viewer,
  checks: Checks,
  publicAgentId: string,
  read: Partial<ReadContent>,
): Promise<Agent> {
  const id = checks.id('agt', 'Agent', publicAgentId, ['id']);
  const changed = await app.db.$transaction(async (tx) => {
    const agent = id ? await lockAgent(tx, viewer, id) : null;
    if (id && !agent) checks.add('NOT_FOUND', 'There is no such agent.', ['id']);
    await checkReferences(tx, viewer, checks, agent && (await referencesOf(tx, agent)), read);
    checks.throwIfAny();
    const content = read as Partial<AgentContent>;
    const changes = Object.keys(content);
    if (!agent || changes.length === 0) return false;
    await tx.agent.update({
      where: { id: agent.id },
      data: {
        ...toColumns(content),
        ...secretColumn(app, agent.id, content),
        revision: { increment: 1 },
      },
    });
    await writeReferences(tx, viewer.organizationId, agent.id, content);
    await enqueueSync(app, tx, agentSync, agent.id);
    await append(tx, viewer, {
      type: 'AGENT_UPDATED',
      agentId: agent.id,
      data: { changed: changes },
    });
    return true;
  });
  if (changed) announceEvents(app, viewer.organizationId);
  return sendAndRead(app, id!);
}

/** How many of the calls in the way are named. */
const NAMED_CALLS = 10;

/**
 * Takes an agent away: its numbers are free again, its calls stay readable.
 *
 * Order: the row is marked as deleted and committed with a job; then its copy is removed at once.
 * If the second step fails: the job removes the copy later. The copy takes no calls meanwhile, since
 * no number leads to it.
 */
export async function deleteAgent(app: App, viewer: Viewer, publicAgentId: string): Promise<Agent> {
  const checks = new Checks();
  const id = checks.id('agt', 'Agent', publicAgentId, ['id']);
  checks.throwIfAny();
  const gone = viewer.idempotency && (await findOwn(app, viewer, id!));
  // An earlier run under the same key has done it.
  if (gone?.deletedAt && gone.deletedAt >= viewer.idempotency!.at) return sendAndRead(app, gone.id);

  await app.db.$transaction(async (tx) => {
    const agent = await lockAgent(tx, viewer, id!);
    if (!agent) throw userError('NOT_FOUND', 'There is no such agent.', ['id']);
    await refuseWhileInCalls(tx, viewer, agent);
    await refuseWhileInCampaigns(tx, viewer, agent);
    const own = { ...ownedBy(viewer), agentId: agent.id };
    for (const slot of ['inboundAgentId', 'outboundAgentId'] as const) {
      await tx.phoneNumber.updateMany({
        where: { ...ownedBy(viewer), [slot]: agent.id },
        data: { [slot]: null },
      });
    }
    await tx.agentTool.deleteMany({ where: own });
    await tx.agentKnowledgeBase.deleteMany({ where: own });
    await tx.agent.update({ where: { id: agent.id }, data: { deletedAt: app.now() } });
    await enqueueSync(app, tx, agentSync, agent.id);
    await append(tx, viewer, { type: 'AGENT_DELETED', agentId: agent.id, data: {} });
  });
  announceEvents(app, viewer.organizationId);
  return sendAndRead(app, id!);
}

/** Only those that are under way or will be; a draft finds out when it is scheduled. */
async function refuseWhileInCampaigns(tx: Tx, viewer: Viewer, agent: Agent): Promise<void> {
  const campaigns = await tx.campaign.findMany({
    where: {
      ...ownedBy(viewer),
      agentId: agent.id,
      deletedAt: null,
      status: { in: ['SCHEDULED', 'ACTIVE', 'PAUSED'] },
    },
    select: { id: true, name: true },
    orderBy: { id: 'asc' },
    take: NAMED_CALLS,
  });
  if (campaigns.length === 0) return;
  throw userError(
    'IN_USE',
    `The agent is to make the calls of ${campaigns.map(({ name }) => JSON.stringify(name)).join(', ')}. Cancel such a campaign with \`cancelCampaign\` first.`,
    ['id'],
    { details: { campaignIds: campaigns.map((campaign) => publicId('cmp', campaign.id)) } },
  );
}

async function refuseWhileInCalls(tx: Tx, viewer: Viewer, agent: Agent): Promise<void> {
  const where = {
    ...ownedBy(viewer),
    agentId: agent.id,
    status: { in: ['CREATED' as const, 'RINGING' as const, 'IN_PROGRESS' as const] },
  };
  const calls = await tx.call.findMany({
    where,
    select: { id: true },
    orderBy: { id: 'asc' },
    take: NAMED_CALLS,
  });
  if (calls.length === 0) return;
  throw userError(
    'INVALID_STATE',
    'The agent has calls that have not ended. Wait for them or end them with `endCall`, then delete it.',
    ['id'],
    { details: { callIds: calls.map((call) => publicId('cal', call.id)) } },
  );
}

/**
 * Sends an agent again that is not in step, now, also when Ultravox refused it as it is. One that is
 * in step is left alone.
 */
export async function retryAgentSync(
  app: App,
  viewer: Viewer,
  publicAgentId: string,
): Promise<Agent> {
  const checks = new Checks();
  const id = checks.id('agt', 'Agent', publicAgentId, ['id']);
  checks.throwIfAny();
  await app.db.$transaction(async (tx) => {
    const agent = await lockAgent(tx, viewer, id!);
    if (!agent) throw userError('NOT_FOUND', 'There is no such agent.', ['id']);
    if (isInSync(agent)) return;
    // Not a change of the agent, so `updated_at` stays.
    await tx.$executeRaw`
      UPDATE agents SET revision = revision + 1, refused_revision = NULL
      WHERE id = ${agent.id}::uuid`;
    await enqueueSync(app, tx, agentSync, agent.id);
  });
  return sendAndRead(app, id!);
}

/** Whether calls can be placed and taken: once active, an agent stays so while a change is on its way. */
export function isReadyForCalls(
  agent: Pick<Agent, 'status' | 'ultravoxId' | 'deletedAt'>,
): boolean {
  return agent.status === 'ACTIVE' && agent.ultravoxId !== null && agent.deletedAt === null;
}

/** The key by which the agent's CRM webhook is signed, or null without one. */
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

function readAll(app: App, checks: Checks, input: AgentInput): Partial<ReadContent> {
  return readContent(checks, input, {
    whole: true,
    allowPrivate: app.config.ALLOW_PRIVATE_ADDRESSES,
  });
}

function findOwn(app: App, viewer: Viewer, id: string): Promise<Agent | null> {
  return app.db.agent.findFirst({ where: { ...ownedBy(viewer), id } });
}

/** The agent as it is now, which nobody else changes or deletes until the transaction ends. */
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

/** After the commit. The job does it should this process die here. */
async function sendAndRead(app: App, id: string): Promise<Agent> {
  await trySync(app, agentSync, id);
  return app.db.agent.findUniqueOrThrow({ where: { id } });
}
