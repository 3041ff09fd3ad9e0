/**
 * Validates and normalizes the fields of a contact, with the same rules for mutations, lists and files.
 * Pure.
 */
import type { ProblemPath } from '../errors.ts';
import { Checks } from '../infra/checks.ts';
import type { PhoneNumberRules } from '../infra/phone-number.ts';
import type { PersonField, TextField } from './person-columns.ts';
import { readTimeZone } from './time-zone.ts';

/** Fields with checks of their own, in `contactChanges`. */
type CheckedField = 'phoneNumber' | 'email' | 'keywords' | 'timezone' | 'metadata';
type PlainField = Exclude<PersonField, CheckedField>;

/** Maximum length of each plain text field, in characters. */
export const MAX_LENGTH = {
  firstName: 100,
  lastName: 100,
  companyName: 200,
  industry: 200,
  location: 200,
  pinCode: 20,
} as const satisfies Record<PlainField, number>;
const MAX_EMAIL = 254;
const MAX_KEYWORDS = 1_000;
export const MAX_METADATA_ENTRIES = 100;
export const TOO_MANY_KEYS = `A contact has at most ${MAX_METADATA_ENTRIES} metadata keys.`;
const METADATA = { maxEntries: MAX_METADATA_ENTRIES, maxKey: 100, maxValue: 2_000 } as const;

const PLAIN_FIELDS = Object.keys(MAX_LENGTH) as PlainField[];

/** The writable fields of a contact as sent by a caller. Blank text is the same as null. */
export type ContactInput = {
  [Field in TextField]?: string | null | undefined;
} & { metadata?: Record<string, unknown> | null | undefined };

/** The writable fields of a contact in the form in which they are stored. */
export interface ContactColumns extends Record<PlainField, string | null> {
  /** E.164 as formatted by libphonenumber, so that a number has one spelling. */
  phoneNumber: string;
  email: string | null;
  /** Separated by a comma and a space. No keyword is empty. */
  keywords: string | null;
  /** IANA, in its canonical spelling. Older rows may have an abbreviation. */
  timezone: string | null;
  metadata: Record<string, string>;
}

const NO_PLAIN_FIELDS = Object.fromEntries(PLAIN_FIELDS.map((field) => [field, null])) as Record<
  PlainField,
  null
>;

/**
 * Returns a complete contact in its stored form. Returns undefined if there are problems, which are added to `checks`
 * under `path`.
 */
export function contactColumns(
  checks: Checks,
  input: ContactInput,
  path: ProblemPath = [],
  rules: PhoneNumberRules = {},
): ContactColumns | undefined {
  const before = checks.problems.length;
  const changes = contactChanges(checks, input, path, rules);
  if (input.phoneNumber === undefined) addMissingNumber(checks, [...path, 'phoneNumber']);
  if (checks.problems.length > before || !changes.phoneNumber) return undefined;
  return {
    ...NO_PLAIN_FIELDS,
    email: null,
    keywords: null,
    timezone: null,
    metadata: {},
    ...changes,
    phoneNumber: changes.phoneNumber,
  };
}

/**
 * Returns the fields that were sent, validated. Null or blank text clears a field; the phone number
 * cannot be cleared.
 */
export function contactChanges(
  checks: Checks,
  input: ContactInput,
  path: ProblemPath = [],
  rules: PhoneNumberRules = {},
): Partial<ContactColumns> {
  const changes: Partial<ContactColumns> = {};
  const { phoneNumber, metadata } = input;
  if (phoneNumber !== undefined) {
    const read = checkPhoneNumber(checks, phoneNumber, [...path, 'phoneNumber'], rules);
    if (read) changes.phoneNumber = read;
  }
  for (const field of PLAIN_FIELDS) {
    const value = readText(checks, input[field], [...path, field], MAX_LENGTH[field]);
    if (value !== undefined) changes[field] = value;
  }
  const email = readText(checks, input.email, [...path, 'email'], MAX_EMAIL);
  if (email && !isEmail(email)) {
    checks.add('INVALID_INPUT', '`email` must be an email address, such as "ada@example.com".', [
      ...path,
      'email',
    ]);
  } else if (email !== undefined) changes.email = email;
  const keywords = readText(checks, input.keywords, [...path, 'keywords'], MAX_KEYWORDS);
  if (keywords !== undefined) changes.keywords = keywords && normalizeKeywords(keywords);
  const timezone = readText(checks, input.timezone, [...path, 'timezone'], 100);
  if (timezone !== undefined) {
    const zone = timezone && checkTimeZone(checks, timezone, [...path, 'timezone']);
    if (zone !== undefined) changes.timezone = zone;
  }
  if (metadata === null) changes.metadata = {};
  else if (metadata !== undefined) {
    const map = checks.textMap(metadata, [...path, 'metadata'], METADATA);
    if (map) changes.metadata = map;
  }
  return changes;
}

/** An invalid value of a row. The contact is stored without it. */
export interface IgnoredValue {
  field: keyof ContactInput;
  /** Null unless the field is `metadata` and only this key is invalid. */
  metadataKey: string | null;
  message: string;
}

/**
 * Reads the contact in a row of a file, without its invalid values. If it has no valid phone number, returns the
 * reasons. Empty cells are empty text or absent.
 */
export function readContactRow(
  input: ContactInput,
  rules: PhoneNumberRules = {},
): { contact: ContactColumns; ignored: IgnoredValue[] } | { reason: string } {
  const checks = new Checks();
  const contact = contactColumns(checks, input, [], rules);
  if (contact) return { contact, ignored: [] };
  const fatal = checks.problems.filter(({ path: [field] }) => field === 'phoneNumber');
  if (fatal.length > 0) return { reason: fatal.map(({ message }) => message).join(' ') };
  const ignored = checks.problems.map(({ path: [field, key], message }) => ({
    field: field as keyof ContactInput,
    metadataKey: key === undefined ? null : String(key),
    message,
  }));
  const rest = contactColumns(new Checks(), withoutIgnored(input, ignored), [], rules);
  return rest ? { contact: rest, ignored } : { reason: 'The row is invalid.' };
}

function withoutIgnored(input: ContactInput, ignored: readonly IgnoredValue[]): ContactInput {
  const fields = new Set<string>();
  const keys = new Set<string>();
  for (const { field, metadataKey } of ignored) {
    if (metadataKey === null) fields.add(field);
    else keys.add(metadataKey);
  }
  const { metadata } = input;
  const rest = metadata && Object.entries(metadata).filter(([key]) => !keys.has(key));
  const kept = rest ? { ...input, metadata: Object.fromEntries(rest) } : input;
  return Object.fromEntries(Object.entries(kept).filter(([field]) => !fields.has(field)));
}

export interface MergedContact {
  contact: ContactColumns;
  /** Metadata keys of the row that were left out, because the contact would have more than the maximum. */
  excessKeys: string[];
}

/**
 * Merges a row into an existing contact. Fields that are empty in the row keep their values, and
 * metadata is merged by key.
 */
export function mergeContact(existing: ContactColumns, row: ContactColumns): MergedContact {
  const filled = Object.entries(row).filter(([, value]) => value !== null);
  const metadata = new Map(Object.entries(existing.metadata));
  const excessKeys: string[] = [];
  for (const [key, value] of Object.entries(row.metadata)) {
    if (metadata.has(key) || metadata.size < MAX_METADATA_ENTRIES) metadata.set(key, value);
    else excessKeys.push(key);
  }
  const contact = {
    ...existing,
    ...(Object.fromEntries(filled) as Partial<ContactColumns>),
    metadata: Object.fromEntries(metadata),
  };
  return { contact, excessKeys };
}

/**
 * Returns the text to search in. A space precedes each word, so that a search can match the beginnings of words; a line
 * break separates the fields.
 */
export function searchTextOf({
  firstName,
  lastName,
  phoneNumber,
  email,
  keywords,
}: Pick<ContactColumns, 'firstName' | 'lastName' | 'phoneNumber' | 'email' | 'keywords'>): string {
  const name = [firstName, lastName].filter(Boolean).join(' ') || null;
  return [name, phoneNumber, email, keywords]
    .filter((part) => part !== null)
    .map((part) => ` ${normalizeForSearch(part)}`)
    .join('\n');
}

/**
 * Normalizes text for searches: ignores case and accents, and collapses white space.
 *
 * Trigrams consist of letters and digits, and the locale of the database determines whether `ж` or `王` is a letter.
 * Characters outside ASCII are therefore encoded in ASCII letters and digits.
 */
export function normalizeForSearch(text: string): string {
  const folded = text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toUpperCase()
    .toLowerCase();
  return folded
    .replace(/[^\p{ASCII}]/gu, (character) =>
      /[\p{L}\p{M}\p{N}]/u.test(character) ? asciiCode(character) : character,
    )
    .replace(/\s+/g, ' ')
    .trim();
}

function asciiCode(character: string): string {
  return `q${(character.codePointAt(0) ?? 0).toString(36).padStart(4, '0')}`;
}

function addMissingNumber(checks: Checks, path: ProblemPath): undefined {
  return checks.add('REQUIRED', 'A phone number is required.', path);
}

/** Returns a required phone number in its canonical form, or undefined with a problem in `checks`. */
export function checkPhoneNumber(
  checks: Checks,
  value: string | null,
  path: ProblemPath,
  rules: PhoneNumberRules = {},
): string | undefined {
  if (value === null || value.trim() === '') return addMissingNumber(checks, path);
  return checks.phoneNumber(value, path, rules);
}

/** Returns an IANA time zone, or undefined with a problem in `checks`. */
function checkTimeZone(checks: Checks, text: string, path: ProblemPath): string | undefined {
  const zone = readTimeZone(text);
  if (typeof zone === 'string') return zone;
  const problem = zone
    ? `is ambiguous: ${JSON.stringify(text)} can mean ${zone.canMean}.`
    : `must be an IANA time zone, such as "Europe/Berlin"; it is ${JSON.stringify(text)}.`;
  return checks.add('INVALID_INPUT', `\`timezone\` ${problem}`, path);
}

/** Returns undefined if the value is absent or invalid, null if it is blank. */
function readText(
  checks: Checks,
  value: string | null | undefined,
  path: ProblemPath,
  max: number,
): string | null | undefined {
  if (value === undefined) return undefined;
  const text = value?.trim() ?? '';
  if (text === '') return null;
  return checks.text(text, path, { max });
}

function isEmail(text: string): boolean {
  const at = text.lastIndexOf('@');
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)];
  return (
    at > 0 &&
    /^[^\s@,;:<>()[\]\\"\p{Cc}]{1,64}$/u.test(local) &&
    !/^\.|\.\.|\.$/.test(local) &&
    /^(?:[\p{L}\p{M}\p{N}](?:[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?\.)+[\p{L}\p{M}\p{N}-]{2,63}$/u.test(
      domain,
    )
  );
}

function normalizeKeywords(text: string): string | null {
  const words = text
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean);
  return words.join(', ') || null;
}
