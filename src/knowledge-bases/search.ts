/** Translates knowledge base filters into conditions. */
import type { Prisma } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { statusCondition, type VisibleStatus } from '../sync/status.ts';

interface KnowledgeBaseFilter {
  name?: string | null | undefined;
  /** Empty means all. */
  status?: readonly VisibleStatus[] | null | undefined;
}

export function knowledgeBasesWhere(
  _checks: Checks,
  { name, status }: KnowledgeBaseFilter,
): Prisma.KnowledgeBaseWhereInput {
  return {
    ...(name ? { name: { contains: escapeLike(name), mode: 'insensitive' } } : {}),
    ...statusCondition(status),
  };
}
