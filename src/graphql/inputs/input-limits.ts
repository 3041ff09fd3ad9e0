/**
 * Checks that every input must pass because of its type: values that the database can store, safe JSON keys and, for
 * strings that are only searched for, a maximum length.
 */
import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
} from 'graphql';
import type { Problem, ProblemPath } from '../../errors.ts';
import { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { formatNumber } from '../../infra/format-number.ts';

/** Maximum number of problems that are reported. */
const MAX_PROBLEMS = 50;
/** Maximum number of errors about the variables of a request. */
export const MAX_VARIABLE_ERRORS = 50;
/** Longer than any cursor, and than any text that a search could find. */
export const MAX_SEARCHED_CHARACTERS = 5_000;

interface InputCheck {
  problems: Problem[];
  maxCharacters: number;
}

/**
 * Problems of a coerced value of an argument or input field: a string or an instant that PostgreSQL
 * cannot store, also inside JSON, or a JSON key that JavaScript cannot copy safely. Operations are checked
 * before they run. A mutation checks its own input, reports user errors, and limits the strings that it stores.
 * `isSearched` limits the length of strings here; strings in filters are always limited.
 */
export function findInputProblems(
  input: GraphQLArgument | GraphQLInputField,
  value: unknown,
  { path = [], isSearched = false }: { path?: ProblemPath; isSearched?: boolean } = {},
): Problem[] {
  const maxCharacters = isSearched ? MAX_SEARCHED_CHARACTERS : Number.POSITIVE_INFINITY;
  const check: InputCheck = { problems: [], maxCharacters };
  checkValue(check, input.type, value, path);
  return check.problems;
}

function checkValue(
  check: InputCheck,
  nullable: GraphQLInputType,
  value: unknown,
  path: ProblemPath,
): void {
  if (value === null || value === undefined || isFull(check)) return;
  const type = getNullableType(nullable);
  if (isListType(type)) {
    const items = Array.isArray(value) ? value : [value];
    for (const [index, item] of items.entries()) {
      checkValue(check, type.ofType, item, [...path, index]);
    }
  } else if (isInputObjectType(type)) {
    // The type of every `filter` has such a name; a test of the schema checks this.
    const inner = type.name.endsWith('Filter')
      ? { ...check, maxCharacters: MAX_SEARCHED_CHARACTERS }
      : check;
    for (const field of Object.values(type.getFields())) {
      const item = (value as Record<string, unknown>)[field.name];
      if (item !== undefined) checkValue(inner, field.type, item, [...path, field.name]);
    }
  } else if (/^JSON(Object)?$/.test(getNamedType(type).name)) {
    checkJson(check, value, path);
  } else if (typeof value === 'string') checkText(check, value, path);
  else if (value instanceof Date) checkInstant(check, value, path);
}

function isFull({ problems }: InputCheck): boolean {
  return problems.length >= MAX_PROBLEMS;
}

function checkText(check: InputCheck, text: string, path: ProblemPath): void {
  if (text.length > check.maxCharacters) {
    const max = formatNumber(check.maxCharacters);
    add(check, `must have at most ${max} characters.`, path);
  } else if (text.includes('\u0000')) {
    add(check, 'must not contain a null character.', path);
  } else if (!text.isWellFormed()) {
    add(check, 'must not contain an unpaired surrogate.', path);
  }
}

/** PostgreSQL has no year 0, and ISO 8601 no year after 9999. */
function checkInstant(check: InputCheck, instant: Date, path: ProblemPath): void {
  const year = instant.getUTCFullYear();
  if (year < 1 || year > 9999) add(check, 'must be in the years 1 to 9999 (UTC).', path);
}

/** Recursion is safe: the number of JSON values and their depth were limited before parsing. */
function checkJson(check: InputCheck, value: unknown, path: ProblemPath): void {
  if (isFull(check)) return;
  if (typeof value === 'string') checkText(check, value, path);
  else if (typeof value === 'number' && !Number.isFinite(value)) {
    add(check, 'must be a number of at most 1.8e308.', path);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkJson(check, item, [...path, index]);
  } else if (value instanceof UploadedFile) add(check, 'must be JSON, not a file.', path);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      if (key === '__proto__') add(check, 'must not have the key "__proto__".', [...path, key]);
      checkText(check, key, [...path, key.slice(0, 100)]);
      checkJson(check, item, [...path, key]);
    }
  }
}

function add(check: InputCheck, predicate: string, path: ProblemPath): void {
  if (isFull(check)) return;
  check.problems.push({
    code: 'INVALID_INPUT',
    message: `\`${path.join('.')}\` ${predicate}`,
    path,
  });
}
