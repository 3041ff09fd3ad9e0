/** Translates voice filters into conditions. */
import type { Prisma } from '../generated/prisma/client.ts';
import type { VoiceType } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { statusCondition, type VisibleStatus } from '../sync/status.ts';
import type { VoiceProvider } from './providers.ts';

interface VoiceFilter {
  search?: string | null | undefined;
  provider?: VoiceProvider | null | undefined;
  /** `en` also matches `en-US`. */
  language?: string | null | undefined;
  type?: VoiceType | null | undefined;
  /** Empty means all. */
  status?: readonly VisibleStatus[] | null | undefined;
}

export function voicesWhere(_checks: Checks, filter: VoiceFilter): Prisma.VoiceWhereInput {
  const { search, provider, language, type, status } = filter;
  const conditions: Prisma.VoiceWhereInput[] = [statusCondition(status)];
  if (provider) conditions.push({ provider });
  if (type) conditions.push({ type });
  if (search) {
    const text = { contains: escapeLike(search), mode: 'insensitive' } as const;
    conditions.push({ OR: [{ name: text }, { description: text }] });
  }
  if (language) {
    const [exactly, mode] = [escapeLike(language), 'insensitive' as const];
    conditions.push({
      OR: [
        { language: { equals: exactly, mode } },
        { language: { startsWith: `${exactly}-`, mode } },
      ],
    });
  }
  return { AND: conditions };
}
