/** Looks up the agents that subscriptions are about. */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { publicId } from '../ids.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

/**
 * Checks that the viewer has the agent of a subscription. It may be deleted, since its events are still in the log.
 *
 * @throws RequestError BAD_USER_INPUT if there is no such agent.
 */
export async function checkWatchedAgent(app: App, viewer: Viewer, id: string): Promise<void> {
  const found = await app.db.agent.count({ where: { ...ownedBy(viewer), id } });
  if (found > 0) return;
  throw new RequestError('BAD_USER_INPUT', `Agent ${publicId('Agent', id)} not found.`);
}
