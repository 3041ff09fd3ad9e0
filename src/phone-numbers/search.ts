/** Translates filters for phone numbers into conditions. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { PhoneNumberProvider } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { withoutPunctuation } from '../infra/phone-number.ts';

interface PhoneNumberFilter {
  search?: string | null | undefined;
  provider?: PhoneNumberProvider | null | undefined;
  agentId?: string | null | undefined;
  assigned?: boolean | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function numbersWhere(
  checks: Checks,
  filter: PhoneNumberFilter,
  path: ProblemPath,
): Prisma.PhoneNumberWhereInput {
  const conditions: Prisma.PhoneNumberWhereInput[] = [];
  const { search, provider, assigned } = filter;
  if (search) {
    const digits = withoutPunctuation(search);
    conditions.push({
      OR: [
        { name: { contains: escapeLike(search), mode: 'insensitive' } },
        ...(/^\+?\d+$/.test(digits) ? [{ phoneNumber: { contains: digits } }] : []),
      ],
    });
  }
  if (provider) conditions.push({ provider });
  const agentId = checks.id('Agent', filter.agentId, [...path, 'agentId']);
  if (agentId) conditions.push({ OR: [{ inboundAgentId: agentId }, { outboundAgentId: agentId }] });
  if (typeof assigned === 'boolean') {
    const free = { inboundAgentId: null, outboundAgentId: null };
    conditions.push(assigned ? { NOT: free } : free);
  }
  return { AND: conditions };
}
