/** Whether a knowledge base is there, for whoever changes it or what is in it. */
import type { App } from '../app.ts';
import { type UserInputError, userError } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

/** Adds a problem when there is no such base. */
export async function checkKnowledgeBase(
  app: App,
  viewer: Viewer,
  checks: Checks,
  id: string | undefined,
  path: string[],
): Promise<void> {
  if (!id) return;
  const base = await app.db.knowledgeBase.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
    select: { id: true },
  });
  if (!base) checks.add('NOT_FOUND', 'There is no such knowledge base.', path);
}

export function noSuchBase(path: string[]): UserInputError {
  return userError('NOT_FOUND', 'There is no such knowledge base.', path);
}
