/** Translates agent filters into conditions. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { nameAndStatusWhere } from '../sync/search.ts';
import type { VisibleStatus } from '../sync/status.ts';

export interface AgentFilter {
  /** Empty means all. */
  status?: readonly VisibleStatus[] | null | undefined;
  name?: string | null | undefined;
  voiceId?: string | null | undefined;
  toolId?: string | null | undefined;
  knowledgeBaseId?: string | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function agentsWhere(
  checks: Checks,
  filter: AgentFilter,
  path: ProblemPath,
): Prisma.AgentWhereInput {
  const voiceId = checks.id('Voice', filter.voiceId, [...path, 'voiceId']);
  const toolId = checks.id('Tool', filter.toolId, [...path, 'toolId']);
  const knowledgeBaseId = checks.id('KnowledgeBase', filter.knowledgeBaseId, [
    ...path,
    'knowledgeBaseId',
  ]);
  return {
    ...nameAndStatusWhere(checks, filter),
    ...(voiceId ? { voiceId } : {}),
    ...(toolId ? { tools: { some: { toolId } } } : {}),
    ...(knowledgeBaseId ? { knowledgeBases: { some: { knowledgeBaseId } } } : {}),
  };
}
