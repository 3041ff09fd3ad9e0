/** Deletes agents. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { Agent } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { unassignAgent } from '../phone-numbers/service.ts';
import { lockForDeletion } from '../sync/references.ts';
import { wasDeletedEarlier } from '../sync/row-lifecycle.ts';
import { enqueueSync } from '../sync/service.ts';
import type { Viewer } from '../viewer.ts';
import { agentSync, syncAndRead } from './sync.ts';

/** Maximum number of calls or campaigns listed in an error. */
const MAX_NAMED = 10;

/**
 * Deletes an agent and unassigns its phone numbers. Its calls are kept.
 *
 * Order: the row is marked as deleted and its job committed, then the agent is removed at Ultravox. If that fails, the
 * job retries. Until then no calls reach the remote agent, because no number leads to it.
 */
export async function deleteAgent(app: App, viewer: Viewer, publicAgentId: string): Promise<Agent> {
  const checks = new Checks();
  const id = checks.id('Agent', publicAgentId, ['id']);
  checks.throwIfAny();
  if (await wasDeletedEarlier(app, viewer, agentSync, id!)) return syncAndRead(app, id!);
  const { organizationId } = viewer;
  const own = { organizationId, agentId: id! };
  await app.db.$transaction(async (tx) => {
    if (!(await lockForDeletion(tx, 'agents', organizationId, id!))) {
      throw userError('NOT_FOUND', 'Agent not found.', ['id']);
    }
    await rejectWhileInCalls(tx, own);
    await rejectWhileInCampaigns(tx, own);
    await unassignAgent(tx, viewer, id!);
    await tx.agentTool.deleteMany({ where: own });
    await tx.agentKnowledgeBase.deleteMany({ where: own });
    await tx.agent.update({ where: { id: id! }, data: { deletedAt: app.now() } });
    await enqueueSync(app, tx, agentSync, { id: id!, organizationId });
    await appendEvents(tx, organizationId, [{ type: 'AGENT_DELETED', agentId: id!, data: {} }]);
  });
  announceEvents(app, organizationId);
  return syncAndRead(app, id!);
}

/** Throws if a campaign uses the agent. Drafts do not count: their agent is checked when they are scheduled. */
async function rejectWhileInCampaigns(
  tx: Tx,
  own: { organizationId: string; agentId: string },
): Promise<void> {
  const campaigns = await tx.campaign.findMany({
    where: { ...own, deletedAt: null, status: { in: ['SCHEDULED', 'ACTIVE', 'PAUSED'] } },
    select: { id: true, name: true },
    orderBy: { id: 'asc' },
    take: MAX_NAMED,
  });
  if (campaigns.length === 0) return;
  throw userError(
    'IN_USE',
    `The agent is used by the campaigns ${campaigns.map(({ name }) => JSON.stringify(name)).join(', ')}. Cancel them with \`cancelCampaign\` first.`,
    ['id'],
    { details: { campaignIds: campaigns.map(({ id }) => publicId('Campaign', id)) } },
  );
}

async function rejectWhileInCalls(
  tx: Tx,
  own: { organizationId: string; agentId: string },
): Promise<void> {
  const calls = await tx.call.findMany({
    where: { ...own, endedAt: null },
    select: { id: true },
    orderBy: { id: 'asc' },
    take: MAX_NAMED,
  });
  if (calls.length === 0) return;
  throw userError(
    'INVALID_STATE',
    'The agent has calls that have not ended. Wait for them, or end them with `endCall`, first.',
    ['id'],
    { details: { callIds: calls.map(({ id }) => publicId('Call', id)) } },
  );
}
