/** Translates campaign filters into conditions. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { CampaignStatus } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';

interface CampaignFilter {
  /** Empty means all. */
  status?: readonly CampaignStatus[] | null | undefined;
  agentId?: string | null | undefined;
  phoneNumberId?: string | null | undefined;
  contactFolderId?: string | null | undefined;
  name?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
  scheduledFrom?: Date | null | undefined;
  scheduledBefore?: Date | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function campaignsWhere(
  checks: Checks,
  filter: CampaignFilter,
  path: ProblemPath,
): Prisma.CampaignWhereInput {
  const agentId = checks.id('Agent', filter.agentId, [...path, 'agentId']);
  const phoneNumberId = checks.id('PhoneNumber', filter.phoneNumberId, [...path, 'phoneNumberId']);
  const contactFolderId = checks.id('ContactFolder', filter.contactFolderId, [
    ...path,
    'contactFolderId',
  ]);
  return {
    ...(filter.status?.length ? { status: { in: [...filter.status] } } : {}),
    ...(agentId ? { agentId } : {}),
    ...(phoneNumberId ? { phoneNumbers: { some: { phoneNumberId } } } : {}),
    ...(contactFolderId ? { contactFolderId } : {}),
    ...(filter.name ? { name: { contains: escapeLike(filter.name), mode: 'insensitive' } } : {}),
    ...within('createdAt', filter.createdFrom, filter.createdBefore),
    ...within('scheduledAt', filter.scheduledFrom, filter.scheduledBefore),
  };
}

function within(
  column: 'createdAt' | 'scheduledAt',
  from: Date | null | undefined,
  before: Date | null | undefined,
): Prisma.CampaignWhereInput {
  if (!from && !before) return {};
  return { [column]: { ...(from ? { gte: from } : {}), ...(before ? { lt: before } : {}) } };
}
