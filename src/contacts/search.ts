/**
 * Translates filters for contacts, their folders and imports, and the do-not-call list into conditions. Indexes support
 * those for contacts; the others scan the folders, imports or do-not-call entries of the organization.
 */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { type ContactImportStatus, ContactOutcome } from '../generated/prisma/enums.ts';
import { parsePublicId } from '../ids.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { withoutPunctuation } from '../infra/phone-number.ts';
import { signedDate } from '../infra/signed-token.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { normalizeForSearch } from './fields.ts';
import { checkFolder } from './folders.ts';

/** A filter as carried by download links. Unknown members are rejected: ignoring them would match more contacts. */
export const contactFilter = z.strictObject({
  folderId: z.string().nullish(),
  search: z.string().nullish(),
  name: z.string().nullish(),
  /** Empty means all. */
  lastCallOutcome: z.array(z.enum(ContactOutcome)).readonly().nullish(),
  phoneNumber: z.string().nullish(),
  createdFrom: signedDate.nullish(),
  createdBefore: signedDate.nullish(),
});
export type ContactFilter = z.output<typeof contactFilter>;

const MAX_SEARCH = 200;

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function contactsWhere(
  checks: Checks,
  filter: ContactFilter,
  path: ProblemPath,
): Prisma.ContactWhereInput {
  const conditions: Prisma.ContactWhereInput[] = [];
  const { folderId, search, name, lastCallOutcome, phoneNumber, createdFrom, createdBefore } =
    filter;
  const folder = checks.id('ContactFolder', folderId, [...path, 'folderId']);
  if (folder) conditions.push({ folderId: folder });
  if (search?.trim()) conditions.push(searchCondition(checks, search, [...path, 'search']));
  if (name?.trim()) conditions.push(nameCondition(checks, name, [...path, 'name']));
  if (lastCallOutcome?.length) conditions.push({ lastCallOutcome: { in: [...lastCallOutcome] } });
  const numbers = checks.phoneNumberForms(phoneNumber, [...path, 'phoneNumber']);
  if (numbers) conditions.push({ phoneNumber: { in: numbers } });
  if (createdFrom) conditions.push({ createdAt: { gte: createdFrom } });
  if (createdBefore) conditions.push({ createdAt: { lt: createdBefore } });
  return { AND: conditions };
}

/**
 * A trigram index cannot find one or two letters in the middle of a word. It can find words that start with them,
 * because the start of a word is part of its first trigram. Short searches therefore match only the starts of words.
 */
function searchCondition(
  checks: Checks,
  search: string,
  path: ProblemPath,
): Prisma.ContactWhereInput {
  const text = searchedText(checks, search, path);
  if (text === undefined) return {};
  const patterns = [patternOf(text)];
  const digits = withoutPunctuation(text);
  if (/^\+?\d+$/.test(digits)) {
    patterns.push(digits.length >= 3 ? digits : ` +${digits.replace('+', '')}`);
  }
  const [first, ...others] = [...new Set(patterns)].map((pattern) => ({
    searchText: { contains: escapeLike(pattern) },
  }));
  return others.length > 0 ? { OR: [first!, ...others] } : first!;
}

/** Separates a line of the searched text from a next one that begins with a plus, such as the phone number. */
const BEFORE_PLUS = '\n +';
/** Maximum number of such lines: the phone number, and after it the email address and the keywords. */
const MAX_PLUS_LINES = 3;

/**
 * In the searched text the name, if there is one, is the line before the phone number. So all lines that begin with a
 * plus must follow what was found.
 */
function nameCondition(checks: Checks, name: string, path: ProblemPath): Prisma.ContactWhereInput {
  const text = searchedText(checks, name, path);
  if (text === undefined) return {};
  const found = escapeLike(patternOf(text));
  const hasName = { OR: [{ firstName: { not: null } }, { lastName: { not: null } }] };
  // For the index: the alternatives below imply it.
  const first = { searchText: { contains: `${found}%${BEFORE_PLUS}` } };
  const alternatives = Array.from({ length: MAX_PLUS_LINES }, (_, index) => {
    const lines = Array<string>(index + 1).fill(BEFORE_PLUS);
    return {
      searchText: { contains: [found, ...lines].join('%') },
      NOT: { searchText: { contains: [...lines, BEFORE_PLUS].join('%') } },
    };
  });
  return { AND: [hasName, first, { OR: alternatives }] };
}

function searchedText(checks: Checks, search: string, path: ProblemPath): string | undefined {
  const text = normalizeForSearch(search);
  if (/[a-z0-9]/.test(text) && text.length <= MAX_SEARCH) return text;
  return checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must contain a letter or digit, and have at most ${MAX_SEARCH} characters.`,
    path,
  );
}

function patternOf(text: string): string {
  return /[a-z0-9]{3}/.test(text) ? text : ` ${text}`;
}

/**
 * Checks the filter of a mutation and returns its condition, limited to contacts of the viewer's organization. A folder
 * that the organization does not have is a problem: no contacts would look like success. So is a blank search, which
 * lists ignore: it would select all contacts, for example for deletion.
 */
export async function checkContactFilter(
  app: App,
  viewer: Viewer,
  checks: Checks,
  { filter, path }: { filter: ContactFilter; path: ProblemPath },
): Promise<Prisma.ContactWhereInput> {
  const where = { ...ownedBy(viewer), ...contactsWhere(checks, filter, path) };
  const { folderId } = filter;
  for (const member of ['search', 'name'] as const) {
    if (typeof filter[member] !== 'string' || filter[member].trim()) continue;
    const at = [...path, member];
    const message = `\`${at.join('.')}\` is blank. Leave it out to select all contacts.`;
    checks.add('INVALID_INPUT', message, at);
  }
  if (folderId && parsePublicId(folderId)?.type === 'ContactFolder') {
    await checkFolder(app, viewer, checks, { folderId, path: [...path, 'folderId'] });
  }
  return where;
}

interface FolderFilter {
  name?: string | null | undefined;
  /** The former name of `name`. */
  search?: string | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function foldersWhere(
  checks: Checks,
  filter: FolderFilter,
  path: ProblemPath,
): Prisma.ContactFolderWhereInput {
  const { value: name } = checks.renamed(path, ['name', filter.name], ['search', filter.search]);
  return name ? { name: { contains: escapeLike(name), mode: 'insensitive' } } : {};
}

interface ImportFilter {
  folderId?: string | null | undefined;
  /** Empty means all. */
  status?: readonly ContactImportStatus[] | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function importsWhere(
  checks: Checks,
  filter: ImportFilter,
  path: ProblemPath,
): Prisma.ContactImportWhereInput {
  const folderId = checks.id('ContactFolder', filter.folderId, [...path, 'folderId']);
  return {
    ...(folderId ? { folderId } : {}),
    ...(filter.status?.length ? { status: { in: [...filter.status] } } : {}),
  };
}

interface DoNotCallFilter {
  search?: string | null | undefined;
  source?: string | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function doNotCallWhere(
  checks: Checks,
  { search, source }: DoNotCallFilter,
  path: ProblemPath,
): Prisma.DoNotCallEntryWhereInput {
  const digits = search ? withoutPunctuation(search) : '';
  if (digits && !/^\+?\d*$/.test(digits)) {
    const at = [...path, 'search'];
    const message = `\`${at.join('.')}\` must contain only digits, optionally with a leading "+".`;
    checks.add('INVALID_INPUT', message, at);
  }
  return {
    ...(digits ? { phoneNumber: { contains: digits } } : {}),
    ...(source ? { source: source.replaceAll('\u0000', '\uFFFD') } : {}),
  };
}
