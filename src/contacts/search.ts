/** Which contacts a filter means. Built so that indexes carry it for a million contacts. */

import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { ContactOutcome } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { literal } from '../infra/like.ts';
import { searchForm, toE164 } from './record.ts';

export interface ContactFilter {
  folderId?: string | null | undefined;
  search?: string | null | undefined;
  lastCallOutcome?: readonly ContactOutcome[] | null | undefined;
  phoneNumber?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

const MAX_SEARCH = 200;

/** The condition of a filter; what is wrong with it is in `checks` under `path`. */
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
    const number = toE164(phoneNumber);
    if (number) conditions.push({ phoneNumber: number });
    else {
      checks.add(
        'INVALID_INPUT',
        'It is not a phone number in E.164 form, such as "+14155550123".',
        [...path, 'phoneNumber'],
      );
    }
  }
  if (createdFrom) conditions.push({ createdAt: { gte: createdFrom } });
  if (createdBefore) conditions.push({ createdAt: { lt: createdBefore } });
  return { AND: conditions };
}

/**
 * A trigram index finds no text of one or two letters in the middle of a word. It does find words
 * that begin so, since a word's beginning counts as letters too: that is what short searches do.
 */
function matching(checks: Checks, search: string, path: ProblemPath): Prisma.ContactWhereInput {
  const text = searchForm(search);
  if (!/[a-z0-9]/.test(text) || text.length > MAX_SEARCH) {
    checks.add(
      'INVALID_INPUT',
      `A search needs at least one letter or digit, and has at most ${MAX_SEARCH} characters.`,
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
