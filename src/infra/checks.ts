/**
 * Collects everything that is wrong with an input, so that all of it is answered at once.
 *
 * Each check returns the value in the form in which it is used, or undefined when it was not given
 * or was wrong; the wrong ones are reported by `throwIfAny`.
 */
import parsePhoneNumber from 'libphonenumber-js/max';
import { type Problem, type ProblemPath, type UserErrorCode, UserInputError } from '../errors.ts';
import { parsePublicId, withArticle } from './ids.ts';

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

  /** For a field that must not be cleared: refuses null, lets undefined through. */
  notNull<T>(value: T | null | undefined, path: ProblemPath): T | undefined {
    if (value === null) this.add('REQUIRED', `${name(path)} cannot be null.`, path);
    return value ?? undefined;
  }

  /** Length in characters (not UTF-16 units), white space around it not counted for being empty. */
  text(
    value: string | null | undefined,
    path: ProblemPath,
    { min = 0, max }: { min?: number; max: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (value.includes('\u0000')) {
      return this.add('INVALID_INPUT', `${name(path)} must not contain a null character.`, path);
    }
    if (!value.isWellFormed()) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must not contain half of a surrogate pair.`,
        path,
      );
    }
    if (min > 0 && value.trim() === '') {
      return this.add('REQUIRED', `${name(path)} must not be empty.`, path);
    }
    const length = [...value].length;
    if (length < min || length > max) {
      const allowed = min > 0 ? `${min} to ${max}` : `at most ${max}`;
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must have ${allowed} characters; it has ${length}.`,
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
        `${name(path)} must be ${kind} from ${min} to ${max}; it is ${value}.`,
        path,
      );
    }
    return value;
  }

  /** A duration such as `"30s"` or `"0.5s"`, with its limits in seconds. */
  duration(
    value: string | null | undefined,
    path: ProblemPath,
    { min, max }: { min: number; max: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (!DURATION.test(value)) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must be a number of seconds followed by "s", such as "30s"; it is ${quote(value)}.`,
        path,
      );
    }
    const seconds = durationSeconds(value);
    if (seconds < min || seconds > max) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must be from "${min}s" to "${max}s"; it is ${quote(value)}.`,
        path,
      );
    }
    return value;
  }

  /** A dialable E.164 number, returned as given. */
  phoneNumber(value: string | null | undefined, path: ProblemPath): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (!/^\+[1-9]\d{1,14}$/.test(value)) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must be in E.164 form: "+", country code and number, digits only, such as "+14155550123"; it is ${quote(value)}.`,
        path,
      );
    }
    if (!parsePhoneNumber(value)?.isPossible()) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} is not a possible phone number: ${quote(value)} has an unknown country code or the wrong length.`,
        path,
      );
    }
    return value;
  }

  /** The UUID in a public id with this prefix. `what` is the type's name, for the message. */
  id(
    prefix: string,
    what: string,
    value: string | null | undefined,
    path: ProblemPath,
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    const parsed = parsePublicId(value);
    if (parsed?.prefix === prefix) return parsed.uuid;
    const found = parsed ? `an id of another type` : 'not an id of this API';
    return this.add(
      'INVALID_ID',
      `${name(path)} must be ${withArticle(what)} id (${prefix}_ and a UUID); ${quote(value)} is ${found}.`,
      path,
    );
  }

  /**
   * The UUIDs in a list of public ids, each once. A wrong one leaves undefined in its place, so that
   * the others can still be looked up and reported under their own index.
   */
  ids(
    prefix: string,
    what: string,
    values: readonly string[],
    path: ProblemPath,
    { max }: { max: number },
  ): (string | undefined)[] | undefined {
    if (values.length > max) {
      return this.add(
        'LIMIT_EXCEEDED',
        `${name(path)} may have at most ${max} ${max === 1 ? 'entry' : 'entries'}; it has ${values.length}.`,
        path,
      );
    }
    const seen = new Set<string>();
    return values.map((value, index) => {
      const uuid = this.id(prefix, what, value, [...path, index]);
      if (uuid !== undefined && seen.has(uuid)) {
        return this.add('INVALID_INPUT', `${name([...path, index])} is listed twice.`, [
          ...path,
          index,
        ]);
      }
      if (uuid !== undefined) seen.add(uuid);
      return uuid;
    });
  }

  /** A public HTTPS address, unless `allowPrivate`; no user information in it. */
  url(
    value: string | null | undefined,
    path: ProblemPath,
    { allowPrivate, max = 2000 }: { allowPrivate: boolean; max?: number },
  ): string | undefined {
    if (value === null || value === undefined) return undefined;
    // The parser forgives white space and control characters; whoever the address is sent to may not.
    const url = /^[!-~\u00a0-\uffff]*$/.test(value) && URL.canParse(value) ? new URL(value) : null;
    const allowed = allowPrivate ? ['https:', 'http:'] : ['https:'];
    if (!url || !allowed.includes(url.protocol) || value.length > max) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must be an https:// address of at most ${max} characters; it is ${quote(value)}.`,
        path,
      );
    }
    if (url.username || url.password) {
      return this.add(
        'INVALID_INPUT',
        `${name(path)} must not hold a user name or password.`,
        path,
      );
    }
    return value;
  }

  /** A flat object of text values, as template variables and metadata are. */
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
      return this.add('INVALID_INPUT', `${name(path)} must be an object with text values.`, path);
    }
    const entries = Object.entries(value);
    const before = this.problems.length;
    if (entries.length > maxEntries) {
      this.add('INVALID_INPUT', `${name(path)} may have at most ${maxEntries} entries.`, path);
    }
    const result: Record<string, string> = {};
    for (const [key, item] of entries) {
      if (typeof item !== 'string') {
        this.add('INVALID_INPUT', `${name([...path, key])} must be a text.`, [...path, key]);
        continue;
      }
      this.text(key, [...path, key], { min: 1, max: maxKey });
      this.text(item, [...path, key], { max: maxValue });
      result[key] = item;
    }
    return this.problems.length > before ? undefined : result;
  }
}

/** Seconds in a duration string that has been checked. */
export function durationSeconds(duration: string): number {
  return Number.parseFloat(duration);
}

function name(path: ProblemPath): string {
  return path.length > 0 ? `\`${path.join('.')}\`` : 'The input';
}

function quote(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}
