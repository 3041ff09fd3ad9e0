/**
 * Collects all problems of an input, so that they are reported together.
 *
 * Each check returns the value in its canonical form, or undefined when it is missing or invalid.
 * `throwIfAny` reports invalid values.
 */
import { type Problem, type ProblemPath, type UserErrorCode, UserInputError } from '../errors.ts';
import { type NodeType, readPublicId } from '../ids.ts';
import { formatNumber } from './format-number.ts';
import { mayBePublicHost } from './outgoing/addresses.ts';
import {
  type CountryCode,
  type PhoneNumberRules,
  parseCountry,
  phoneNumberForms,
  readPhoneNumber,
} from './phone-number.ts';

/** Characters that RFC 3986 forbids. Parsers that accept them may read different hosts. */
const NOT_IN_URLS = /[\0- "<>\\^`{|}\x7f-\xa0\u2028\u2029]/;
const DURATION = /^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?s$/;

export class Checks {
  readonly problems: Problem[] = [];

  add(
    code: UserErrorCode,
    message: string,
    path: ProblemPath,
    more: Pick<Problem, 'retryAt' | 'details'> = {},
  ): undefined {
    this.problems.push({ code, message, path, ...more });
    return undefined;
  }

  /** @throws UserInputError with all problems found so far. */
  throwIfAny(): void {
    if (this.problems.length > 0) throw new UserInputError(this.problems);
  }

  /** Rejects null, for a field that cannot be cleared. Undefined is accepted. */
  notNull<T>(value: T | null | undefined, path: ProblemPath): T | undefined {
    if (value === null) this.add('REQUIRED', `${memberName(path)} cannot be null.`, path);
    return value ?? undefined;
  }

  /**
   * The value and path of a renamed member, which may be given under either name. Giving both names is
   * a problem.
   */
  renamed<Value>(
    path: ProblemPath,
    current: readonly [name: string, value: Value],
    old: readonly [name: string, value: Value],
  ): { value: Value; path: ProblemPath } {
    const isGiven = ([, value]: readonly [string, Value]) => value !== undefined && value !== null;
    const paths = { current: [...path, current[0]], old: [...path, old[0]] };
    if (isGiven(current) && isGiven(old)) {
      const both = `${memberName(paths.old)} is the deprecated name of ${memberName(paths.current)}. Use only the new one.`;
      this.add('INVALID_INPUT', both, paths.old);
    }
    return isGiven(old) && !isGiven(current)
      ? { value: old[1], path: paths.old }
      : { value: current[1], path: paths.current };
  }

  /** `min` and `max` count characters, not UTF-16 units. A string of only whitespace counts as empty. */
  text(
    value: string | null | undefined,
    path: ProblemPath,
    { min = 0, max }: { min?: number; max: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (value.includes('\u0000')) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must not contain a null character.`,
        path,
      );
    }
    if (!value.isWellFormed()) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must not contain an unpaired surrogate.`,
        path,
      );
    }
    if (min > 0 && value.trim() === '') {
      return this.add('REQUIRED', `${memberName(path)} must not be empty.`, path);
    }
    const length = countCodePoints(value);
    if (length < min || length > max) {
      const allowed =
        min > 0 ? `${formatNumber(min)} to ${formatNumber(max)}` : `at most ${formatNumber(max)}`;
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must have ${allowed} characters; it has ${formatNumber(length)}.`,
        path,
      );
    }
    return value;
  }

  number(
    value: number | null | undefined,
    path: ProblemPath,
    { min, max, integer = false }: { min: number; max: number; integer?: boolean },
  ): number | undefined {
    if (value === null || value === undefined) return undefined;
    if (!(value >= min && value <= max) || (integer && !Number.isInteger(value))) {
      const kind = integer ? 'a whole number' : 'a number';
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be ${kind} from ${formatNumber(min)} to ${formatNumber(max)}; it is ${formatNumber(value)}.`,
        path,
      );
    }
    return value;
  }

  /** A duration such as `"30s"` or `"0.5s"`. Limits are in seconds. */
  duration(
    value: string | null | undefined,
    path: ProblemPath,
    { min, max }: { min: number; max: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (!DURATION.test(value)) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be a number of seconds followed by "s", such as "30s"; it is ${quote(value)}.`,
        path,
      );
    }
    const seconds = durationSeconds(value);
    if (seconds < min || seconds > max) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be from "${min}s" to "${max}s"; it is ${quote(value)}.`,
        path,
      );
    }
    return value;
  }

  /**
   * Returns a valid phone number in its canonical E.164 form. Numbers without a calling code belong to
   * `defaultCountry`. Numbers with an extension are rejected, because nothing dials extensions. Premium
   * numbers are rejected if `allowPremium` is false.
   */
  phoneNumber(
    value: string | null | undefined,
    path: ProblemPath,
    { defaultCountry, allowPremium = true }: PhoneNumberRules = {},
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    const reading = readPhoneNumber(value, defaultCountry);
    const problem =
      'problem' in reading
        ? reading.problem
        : reading.extension !== null
          ? 'has an extension, which cannot be dialed'
          : undefined;
    if (problem !== undefined) {
      const message = `${memberName(path)} is invalid: ${quote(value)} ${problem}.`;
      return this.add('INVALID_INPUT', message, path);
    }
    if ('problem' in reading) return undefined;
    if (reading.premium && !allowPremium) {
      const message = `${memberName(path)} is invalid: ${reading.phoneNumber} is a premium-rate, shared-cost, personal or satellite number. An admin can allow such numbers with \`updateOrganization\`.`;
      return this.add('PREMIUM_NUMBER', message, path);
    }
    return reading.phoneNumber;
  }

  /**
   * All strings under which a phone number may be stored: as given, and in each of its forms. An invalid
   * number is a problem, because a filter would silently find nothing.
   */
  phoneNumberForms(value: string | null | undefined, path: ProblemPath): string[] | undefined {
    const canonical = this.phoneNumber(value, path);
    if (!value || canonical === undefined) return undefined;
    return [...new Set([value, ...phoneNumberForms(canonical)])];
  }

  /** An ISO 3166-1 alpha-2 country that has phone numbers. An empty string means no country. */
  country(value: string | null | undefined, path: ProblemPath): CountryCode | undefined {
    if (!value) return undefined;
    return (
      parseCountry(value) ??
      this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be an ISO 3166-1 alpha-2 country code, such as "US" or "DE".`,
        path,
      )
    );
  }

  /** The UUID in the public ID of an object of this type. */
  id(type: NodeType, value: string | null | undefined, path: ProblemPath): string | undefined {
    if (value === null || value === undefined) return undefined;
    const read = readPublicId(type, value);
    if ('uuid' in read) return read.uuid;
    return this.add('INVALID_ID', `${memberName(path)} is invalid: ${read.problem}`, path);
  }

  /** Lists that are too long have been refused before execution, by the `maxItems` of the input. */
  notEmpty(list: readonly unknown[], path: ProblemPath): void {
    if (list.length === 0) this.add('REQUIRED', `${memberName(path)} must not be empty.`, path);
  }

  /**
   * The UUIDs of a list of distinct public IDs. Invalid entries are undefined, so that the others can
   * still be looked up and reported with their own index.
   */
  ids(type: NodeType, values: readonly string[], path: ProblemPath): (string | undefined)[] {
    const seen = new Set<string>();
    return values.map((value, index) => {
      const uuid = this.id(type, value, [...path, index]);
      if (uuid !== undefined && seen.has(uuid)) {
        return this.add('INVALID_INPUT', `${memberName([...path, index])} is listed twice.`, [
          ...path,
          index,
        ]);
      }
      if (uuid !== undefined) seen.add(uuid);
      return uuid;
    });
  }

  /**
   * An HTTPS URL of a public host. `allowPrivate` also allows HTTP and any host. Normalized according to the WHATWG
   * URL standard, so that every receiver reads the same host.
   */
  url(
    value: string | null | undefined,
    path: ProblemPath,
    { allowPrivate, max = 2000 }: { allowPrivate: boolean; max?: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    const url = NOT_IN_URLS.test(value) ? null : URL.parse(value);
    const allowed = allowPrivate ? ['https:', 'http:'] : ['https:'];
    if (!url || !allowed.includes(url.protocol) || Math.max(value.length, url.href.length) > max) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be an https:// address of at most ${formatNumber(max)} characters; it is ${quote(value)}.`,
        path,
      );
    }
    if (url.username || url.password) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must not contain a username or password.`,
        path,
      );
    }
    if (!allowPrivate && !mayBePublicHost(url.hostname)) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must have a public host, not a loopback, private or link-local address or a local name.`,
        path,
      );
    }
    return url.href;
  }

  /** A flat object of texts, such as template variables and metadata. Numbers and booleans become text. */
  textMap(
    value: Record<string, unknown> | null | undefined,
    path: ProblemPath,
    {
      maxEntries,
      maxKey = 100,
      maxValue,
    }: { maxEntries: number; maxKey?: number; maxValue: number },
  ): Record<string, string> | undefined {
    if (value === null || value === undefined) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) {
      return this.add(
        'INVALID_INPUT',
        `${memberName(path)} must be an object with text values.`,
        path,
      );
    }
    const entries = Object.entries(value);
    const before = this.problems.length;
    if (entries.length > maxEntries) {
      const allowed = `${memberName(path)} may have at most ${maxEntries} entries.`;
      return this.add('INVALID_INPUT', allowed, path);
    }
    const result: [string, string][] = [];
    for (const [key, value] of entries) {
      const item = asText(value);
      if (typeof item !== 'string') {
        const message = `${memberName([...path, key])} must be a string, a number or a boolean.`;
        this.add('INVALID_INPUT', message, [...path, key]);
        continue;
      }
      this.text(key, [...path, key], { min: 1, max: maxKey });
      this.text(item, [...path, key], { max: maxValue });
      result.push([key, item]);
    }
    // Assignment would lose the key `__proto__`.
    return this.problems.length > before ? undefined : Object.fromEntries(result);
  }
}

/** Returns numbers and booleans as text, and other values as they are. */
export function asText(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : value;
}

/** Whether the input of an update contains only the ID of the object. */
export function changesNothing({ id: _, ...fields }: { id: string }): boolean {
  return Object.values(fields).every((value) => value === undefined);
}

/** Number of seconds in a valid duration string. */
export function durationSeconds(duration: string): number {
  return Number.parseFloat(duration);
}

/** Counts code points without building a list, since the string may be longer than allowed. */
function countCodePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function memberName(path: ProblemPath): string {
  return path.length > 0 ? `\`${path.join('.')}\`` : 'The input';
}

/** A value in a message, cut to a readable length. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}
