/** Filter of agent lists. */
import type { Prisma } from '../generated/prisma/client.ts';
import type { SyncStatus } from '../generated/prisma/enums.ts';
import { literal } from '../infra/database/like.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

export interface AgentFilter {
  /** Empty means all. */
  status?: readonly SyncStatus[] | null | undefined;
  name?: string | null | undefined;
}

export function listedAgents(
  viewer: Viewer,
  filter: AgentFilter | null | undefined,
): Prisma.AgentWhereInput {
  const { status, name } = filter ?? {};
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(status?.length ? { status: { in: [...status] } } : {}),
    ...(name ? { name: { contains: literal(name), mode: 'insensitive' } } : {}),
  };
}
