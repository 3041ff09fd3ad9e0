/** Looks up agents for the calls and campaigns that use them. */
import type { App, Tx } from '../app.ts';
import { type Problem, userError } from '../errors.ts';
import type { Agent } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { lockReferences } from '../sync/references.ts';
import { ownedAndNotDeleted, type Viewer } from '../viewer.ts';

const PATH = ['agentId'];
const NOT_FOUND = 'Agent not found.';

/** Returns the agent given in the input field `agentId`. Adds a problem if there is none. */
export async function findAgent(
  db: App['db'] | Tx,
  viewer: Viewer,
  checks: Checks,
  publicAgentId: string,
): Promise<Agent | null> {
  const id = checks.id('Agent', publicAgentId, PATH);
  if (!id) return null;
  const agent = await db.agent.findFirst({ where: { ...ownedAndNotDeleted(viewer), id } });
  if (!agent) checks.add('NOT_FOUND', NOT_FOUND, PATH);
  return agent;
}

/** Whether the agent can place and take calls, with its last synced revision. */
export function isReadyForCalls(agent: Pick<Agent, 'status' | 'remoteId' | 'deletedAt'>): boolean {
  return agent.status === 'ACTIVE' && agent.remoteId !== null && agent.deletedAt === null;
}

/** Reasons why the agent cannot place or take calls; empty if it can. */
export function readinessProblems(agent: Agent): Problem[] {
  if (isReadyForCalls(agent)) return [];
  const why = agent.syncError ? ` Reason: ${agent.syncError}` : '';
  const message = `The agent is ${agent.status}, not ACTIVE, so it cannot take or place calls yet.${why}`;
  return [{ code: 'AGENT_NOT_READY', message, path: PATH }];
}

/**
 * Prevents the agent from being deleted until the transaction ends.
 *
 * @throws UserInputError NOT_FOUND if it is already deleted.
 */
export async function keepAgentFromDeletion(tx: Tx, viewer: Viewer, id: string): Promise<void> {
  const locked = await lockReferences(tx, 'agents', viewer.organizationId, [id]);
  if (!locked.has(id)) throw userError('NOT_FOUND', NOT_FOUND, PATH);
}
