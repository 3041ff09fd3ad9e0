/** Translates contact filters into conditions that indexes support for a million contacts. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { ContactOutcome } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { literal } from '../infra/database/like.ts';
import { phoneNumberForms } from '../infra/phone-number.ts';
import { searchForm } from './fields.ts';

export interface ContactFilter {
  folderId?: string | null | undefined;
  search?: string | null | undefined;
  lastCallOutcome?: readonly ContactOutcome[] | null | undefined;
  phoneNumber?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

const MAX_SEARCH = 200;

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function contactsWhere(
  checks: Checks,
  filter: ContactFilter | null | undefined,
  path: ProblemPath,
): Prisma.ContactWhereInput {
  const conditions: Prisma.ContactWhereInput[] = [];
  const { folderId, search, lastCallOutcome, phoneNumber, createdFrom, createdBefore } =
    filter ?? {};
  const folder = checks.id('fld', 'ContactFolder', folderId, [...path, 'folderId']);
  if (folder) conditions.push({ folderId: folder });
  if (search?.trim()) conditions.push(matching(checks, search, [...path, 'search']));
  if (lastCallOutcome?.length) conditions.push({ lastCallOutcome: { in: [...lastCallOutcome] } });
  if (phoneNumber) {
    const number = checks.phoneNumber(phoneNumber, [...path, 'phoneNumber']);
    if (number) conditions.push({ phoneNumber: { in: phoneNumberForms(number) } });
  }
  if (createdFrom) conditions.push({ createdAt: { gte: createdFrom } });
  if (createdBefore) conditions.push({ createdAt: { lt: createdBefore } });
  return { AND: conditions };
}

/**
 * A trigram index cannot find one or two letters in the middle of a word. It can find words that begin
 * with them, because the start of a word is part of its first trigram. Short searches use that.
 */
function matching(checks: Checks, search: string, path: ProblemPath): Prisma.ContactWhereInput {
  const text = searchForm(search);
  if (!/[a-z0-9]/.test(text) || text.length > MAX_SEARCH) {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` must contain a letter or digit, and have at most ${MAX_SEARCH} characters.`,
      path,
    );
    return {};
  }
  const patterns = [/[a-z0-9]{3}/.test(text) ? text : ` ${text}`];
  const digits = text.replace(/[\s().\-/]/g, '');
  if (/^\+?\d+$/.test(digits)) {
    patterns.push(digits.length >= 3 ? digits : ` +${digits.replace('+', '')}`);
  }
  const [first, ...others] = [...new Set(patterns)].map((pattern) => ({
    searchText: { contains: literal(pattern) },
  }));
  return others.length > 0 ? { OR: [first!, ...others] } : first!;
}
