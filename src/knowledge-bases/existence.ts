/** Checks that a knowledge base exists. */
import type { App } from '../app.ts';
import { type UserInputError, userError } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

/** Adds a problem at `path` if the viewer has no such knowledge base. */
export async function checkKnowledgeBase(
  app: App,
  viewer: Viewer,
  checks: Checks,
  { id, path }: { id: string | undefined; path: string[] },
): Promise<void> {
  if (!id) return;
  const base = await app.db.knowledgeBase.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
    select: { id: true },
  });
  if (!base) checks.add('NOT_FOUND', 'Knowledge base not found.', path);
}

export function knowledgeBaseNotFound(path: string[]): UserInputError {
  return userError('NOT_FOUND', 'Knowledge base not found.', path);
}
