/** Translates filters on the name and the sync status, which several lists have, into conditions. */
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { statusCondition, type VisibleStatus } from './status.ts';

interface NameAndStatusFilter {
  name?: string | null | undefined;
  /** Empty means all. */
  status?: readonly VisibleStatus[] | null | undefined;
}

export function nameAndStatusWhere(_checks: Checks, { name, status }: NameAndStatusFilter) {
  const text = name ? { contains: escapeLike(name), mode: 'insensitive' as const } : undefined;
  return { ...(text ? { name: text } : {}), ...statusCondition(status) };
}
