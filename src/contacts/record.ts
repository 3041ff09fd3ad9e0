/**
 * One contact as data: what its fields may hold and the form in which they are kept. The same rules
 * for a contact in a mutation, a row of a list and a row of a CSV; nothing here has an effect.
 */
import parsePhoneNumber, { type CountryCode, isSupportedCountry } from 'libphonenumber-js/max';
import type { ProblemPath } from '../errors.ts';
import { Checks } from '../infra/checks.ts';
import { isStorableJson } from '../infra/storable.ts';

/** The most characters of each field that is plain text. */
export const MAX_LENGTH = {
  firstName: 100,
  lastName: 100,
  companyName: 200,
  industry: 200,
  location: 200,
  pinCode: 20,
} as const;
const MAX_EMAIL = 254;
const MAX_KEYWORDS = 1_000;
const METADATA = { maxEntries: 100, maxKey: 100, maxValue: 2_000 } as const;

type PlainField = keyof typeof MAX_LENGTH;
const PLAIN_FIELDS = Object.keys(MAX_LENGTH) as PlainField[];

/** What can be told about a contact. Blank text says nothing: it is the same as null. */
export type ContactInput = {
  [Field in PlainField | 'phoneNumber' | 'email' | 'keywords' | 'timezone']?:
    | string
    | null
    | undefined;
} & { metadata?: Record<string, unknown> | null | undefined };

/** A contact as it is kept, apart from what the server keeps by itself. */
export interface ContactColumns {
  /** E.164, as libphonenumber writes it, so that one line has one spelling. */
  phoneNumber: string;
  firstName: string | null;
  lastName: string | null;
  email: string | null;
  companyName: string | null;
  industry: string | null;
  location: string | null;
  pinCode: string | null;
  /** Separated by a comma and a space, without empty ones. */
  keywords: string | null;
  /** IANA, in its usual spelling. */
  timezone: string | null;
  metadata: Record<string, string>;
}

/** The fields as they are named in the API, for whoever maps the columns of a file onto them. */
export const CONTACT_FIELDS = [
  'phoneNumber',
  ...PLAIN_FIELDS,
  'email',
  'keywords',
  'timezone',
] as const satisfies readonly (keyof ContactColumns)[];

/**
 * A whole contact, checked and in the form in which it is kept; undefined when something is wrong,
 * which is then in `checks` under `path`.
 */
export function contactColumns(
  checks: Checks,
  input: ContactInput,
  path: ProblemPath = [],
  defaultCountry?: CountryCode,
): ContactColumns | undefined {
  const before = checks.problems.length;
  const changes = contactChanges(checks, input, path, defaultCountry);
  if (input.phoneNumber === undefined) addMissingNumber(checks, [...path, 'phoneNumber']);
  if (checks.problems.length > before || !changes.phoneNumber) return undefined;
  return {
    phoneNumber: changes.phoneNumber,
    firstName: changes.firstName ?? null,
    lastName: changes.lastName ?? null,
    email: changes.email ?? null,
    companyName: changes.companyName ?? null,
    industry: changes.industry ?? null,
    location: changes.location ?? null,
    pinCode: changes.pinCode ?? null,
    keywords: changes.keywords ?? null,
    timezone: changes.timezone ?? null,
    metadata: changes.metadata ?? {},
  };
}

/** Only what was sent, checked; null or blank text clears. A phone number cannot be cleared. */
export function contactChanges(
  checks: Checks,
  input: ContactInput,
  path: ProblemPath = [],
  defaultCountry?: CountryCode,
): Partial<ContactColumns> {
  const changes: Partial<ContactColumns> = {};
  const { phoneNumber, metadata } = input;
  if (phoneNumber !== undefined) {
    const read = checkPhoneNumber(checks, phoneNumber, [...path, 'phoneNumber'], defaultCountry);
    if (read) changes.phoneNumber = read;
  }
  for (const field of PLAIN_FIELDS) {
    const value = readText(checks, input[field], [...path, field], MAX_LENGTH[field]);
    if (value !== undefined) changes[field] = value;
  }
  const email = readText(checks, input.email, [...path, 'email'], MAX_EMAIL);
  if (email && !isEmail(email)) {
    checks.add('INVALID_INPUT', 'It is not an e-mail address, such as "ada@example.com".', [
      ...path,
      'email',
    ]);
  } else if (email !== undefined) changes.email = email;
  const keywords = readText(checks, input.keywords, [...path, 'keywords'], MAX_KEYWORDS);
  if (keywords !== undefined) changes.keywords = keywords && tidyKeywords(keywords);
  const timezone = readText(checks, input.timezone, [...path, 'timezone'], 100);
  if (timezone !== undefined) {
    const known = timezone && timezoneNamed(timezone);
    if (known === undefined) {
      checks.add(
        'INVALID_INPUT',
        `${JSON.stringify(timezone)} is not an IANA time zone, such as "Europe/Berlin".`,
        [...path, 'timezone'],
      );
    } else changes.timezone = known || null;
  }
  if (metadata === null) changes.metadata = {};
  else if (metadata !== undefined) {
    const map = checks.textMap(metadata, [...path, 'metadata'], METADATA);
    if (map && isStorableJson(map)) changes.metadata = map;
    else if (map) addBroken(checks, [...path, 'metadata']);
  }
  return changes;
}

/**
 * The contact in a row of a file, or why there is none, in one text. Empty cells are given as empty
 * text or left out.
 */
export function readContactRow(
  input: ContactInput,
  defaultCountry?: CountryCode,
): { contact: ContactColumns } | { reason: string } {
  const checks = new Checks();
  const contact = contactColumns(checks, input, [], defaultCountry);
  return contact
    ? { contact }
    : { reason: checks.problems.map(({ message }) => message).join(' ') };
}

/**
 * What a row says of a contact that is already there: fields that are empty in the row stay as they
 * are, metadata is taken over key by key.
 */
export function mergeContact(existing: ContactColumns, row: ContactColumns): ContactColumns {
  const said = Object.entries(row).filter(([, value]) => value !== null);
  return {
    ...existing,
    ...(Object.fromEntries(said) as Partial<ContactColumns>),
    metadata: { ...existing.metadata, ...row.metadata },
  };
}

/** E.164, or undefined when it is not a number that could be dialled. */
export function toE164(text: string, defaultCountry?: CountryCode): string | undefined {
  const parsed = parsePhoneNumber(text.trim(), {
    ...(defaultCountry ? { defaultCountry } : {}),
    extract: false,
  });
  // Nobody dials an extension for us, so it would reach somebody else.
  return parsed?.isPossible() && !parsed.ext ? parsed.number : undefined;
}

/** An ISO 3166-1 country that has phone numbers, from whatever case it is written in. */
export function countryNamed(text: string): CountryCode | undefined {
  const code = text.trim().toUpperCase();
  return isSupportedCountry(code) ? code : undefined;
}

/**
 * What a search looks through. Each word begins after a space, so that a search for the beginning of
 * a word can be told from one for its middle; a line break keeps the fields apart.
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
    .map((part) => ` ${searchForm(part)}`)
    .join('\n');
}

/**
 * Text as searches compare it, on both sides: without case, accents and repeated white space.
 *
 * Trigrams are made of letters and digits, and whether PostgreSQL counts `ж` or `王` among them
 * hangs on the locale of its database. So each one outside ASCII is spelled in letters and digits.
 */
export function searchForm(text: string): string {
  const folded = text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toUpperCase()
    .toLowerCase();
  return folded
    .replace(/[^\p{ASCII}]/gu, (character) =>
      /[\p{L}\p{M}\p{N}]/u.test(character) ? spelled(character) : character,
    )
    .replace(/\s+/g, ' ')
    .trim();
}

function spelled(character: string): string {
  return `q${(character.codePointAt(0) ?? 0).toString(36).padStart(4, '0')}`;
}

function addMissingNumber(checks: Checks, path: ProblemPath): undefined {
  return checks.add('REQUIRED', 'A phone number is needed.', path);
}

function addBroken(checks: Checks, path: ProblemPath): undefined {
  return checks.add('INVALID_INPUT', 'It holds characters that are not valid Unicode.', path);
}

/** In E.164 form, whatever spaces and signs it was written with. */
export function checkPhoneNumber(
  checks: Checks,
  value: string | null,
  path: ProblemPath,
  defaultCountry?: CountryCode,
): string | undefined {
  if (value === null || value.trim() === '') return addMissingNumber(checks, path);
  const number = toE164(value, defaultCountry);
  if (number) return number;
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  const wanted = defaultCountry
    ? `a phone number of ${defaultCountry}, nor one with a country code, such as "+14155550123"`
    : 'a phone number with a country code, such as "+14155550123"';
  return checks.add('INVALID_INPUT', `${shown} is not ${wanted}.`, path);
}

/** Undefined when it was not sent or is wrong, null when there is nothing in it. */
function readText(
  checks: Checks,
  value: string | null | undefined,
  path: ProblemPath,
  max: number,
): string | null | undefined {
  if (value === undefined) return undefined;
  const text = value?.trim() ?? '';
  if (text === '') return null;
  if (!text.isWellFormed()) return addBroken(checks, path);
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

function tidyKeywords(text: string): string | null {
  const words = text
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean);
  return words.join(', ') || null;
}

const timezones = new Map<string, string>();

/** The zone in its usual spelling; undefined when there is none. An offset is not a zone. */
function timezoneNamed(text: string): string | undefined {
  const known = timezones.get(text);
  if (known) return known;
  if (!/^[a-z]/i.test(text)) return undefined;
  try {
    const name = new Temporal.ZonedDateTime(0n, text).timeZoneId;
    // Of the spellings of a zone only the usual one is kept, so that this stays small.
    timezones.set(name, name);
    return name;
  } catch {
    return undefined;
  }
}
