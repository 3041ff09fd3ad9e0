/** Reads the filter of analytics. */
import type { ProblemPath } from '../errors.ts';
import type { AnsweredBy, CallEndReason } from '../generated/prisma/client.ts';
import type { NodeType } from '../ids.ts';
import type { Checks } from '../infra/checks.ts';
import type { AnalyticsFilter } from './query.ts';

/** Empty lists mean all. */
interface FilterInput {
  agentId?: readonly string[] | null | undefined;
  campaignId?: readonly string[] | null | undefined;
  phoneNumberId?: readonly string[] | null | undefined;
  endReason?: readonly CallEndReason[] | null | undefined;
  answeredBy?: readonly AnsweredBy[] | null | undefined;
}

/** Problems are added to `checks` under `path`. */
export function analyticsFilter(
  checks: Checks,
  filter: FilterInput,
  path: ProblemPath,
): AnalyticsFilter {
  const { endReason, answeredBy } = filter;
  const uuids = (type: NodeType, member: 'agentId' | 'campaignId' | 'phoneNumberId') =>
    filter[member]?.flatMap((id, index) => checks.id(type, id, [...path, member, index]) ?? []) ??
    [];
  const agentIds = uuids('Agent', 'agentId');
  const campaignIds = uuids('Campaign', 'campaignId');
  const phoneNumberIds = uuids('PhoneNumber', 'phoneNumberId');
  return {
    ...(agentIds.length > 0 ? { agentIds } : {}),
    ...(campaignIds.length > 0 ? { campaignIds } : {}),
    ...(phoneNumberIds.length > 0 ? { phoneNumberIds } : {}),
    ...(endReason?.length ? { endReasons: endReason } : {}),
    ...(answeredBy?.length ? { answeredBy } : {}),
  };
}
