/** Translates filters for API keys into conditions. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';

interface ApiKeyFilter {
  name?: string | null | undefined;
  revoked?: boolean | null | undefined;
  expired?: boolean | null | undefined;
}

export function apiKeysWhere(
  _checks: Checks,
  { name, revoked, expired }: ApiKeyFilter,
  _path: ProblemPath,
  { now }: { now: Date },
): Prisma.ApiKeyWhereInput {
  const isExpired = expired
    ? { expiresAt: { lte: now } }
    : { OR: [{ expiresAt: null }, { expiresAt: { gt: now } }] };
  return {
    ...(name ? { name: { contains: escapeLike(name), mode: 'insensitive' } } : {}),
    ...(typeof revoked === 'boolean' ? { revokedAt: revoked ? { not: null } : null } : {}),
    ...(typeof expired === 'boolean' ? isExpired : {}),
  };
}
