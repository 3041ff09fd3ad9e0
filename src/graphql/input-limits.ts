/** Checks that hold for every input by its type: values that the database can store, safe JSON keys. */
import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
} from 'graphql';
import type { Problem, ProblemPath } from '../errors.ts';
import { UploadedFile } from '../infra/uploaded-file.ts';

/** More problems than this are not reported. */
const MAX_PROBLEMS = 50;

/**
 * What is wrong with a coerced value of an argument or input field: text or an instant that PostgreSQL
 * cannot store, also inside JSON, or a JSON key that JavaScript cannot copy safely. Operations are checked
 * before they run; the inputs of mutations by the mutation, which reports user errors.
 */
export function findInputProblems(
  input: GraphQLArgument | GraphQLInputField,
  value: unknown,
  path: ProblemPath = [],
): Problem[] {
  const problems: Problem[] = [];
  checkValue(problems, input.type, value, path);
  return problems;
}

function checkValue(
  problems: Problem[],
  nullable: GraphQLInputType,
  value: unknown,
  path: ProblemPath,
): void {
  if (value === null || value === undefined || problems.length >= MAX_PROBLEMS) return;
  const type = getNullableType(nullable);
  if (isListType(type)) {
    const items = Array.isArray(value) ? value : [value];
    for (const [index, item] of items.entries()) {
      checkValue(problems, type.ofType, item, [...path, index]);
    }
  } else if (isInputObjectType(type)) {
    for (const field of Object.values(type.getFields())) {
      const item = (value as Record<string, unknown>)[field.name];
      if (item !== undefined) checkValue(problems, field.type, item, [...path, field.name]);
    }
  } else if (/^JSON(Object)?$/.test(getNamedType(type).name)) {
    checkJson(problems, value, path);
  } else if (typeof value === 'string') checkText(problems, value, path);
  else if (value instanceof Date) checkInstant(problems, value, path);
}

function checkText(problems: Problem[], text: string, path: ProblemPath): void {
  if (text.includes('\u0000')) {
    add(problems, 'must not contain a null character.', path);
  } else if (!text.isWellFormed()) {
    add(problems, 'must not contain half of a surrogate pair.', path);
  }
}

/** PostgreSQL has no year 0, and ISO 8601 no year after 9999. */
function checkInstant(problems: Problem[], instant: Date, path: ProblemPath): void {
  const year = instant.getUTCFullYear();
  if (year < 1 || year > 9999) add(problems, 'must be in the years 1 to 9999 (UTC).', path);
}

/** The values of the JSON were counted, and its depth limited, before it was parsed. */
function checkJson(problems: Problem[], value: unknown, path: ProblemPath): void {
  if (problems.length >= MAX_PROBLEMS) return;
  if (typeof value === 'string') checkText(problems, value, path);
  else if (typeof value === 'number' && !Number.isFinite(value)) {
    add(problems, 'must be a number of at most 1.8e308.', path);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkJson(problems, item, [...path, index]);
  } else if (value instanceof UploadedFile) add(problems, 'must be JSON, not a file.', path);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      if (key === '__proto__') add(problems, 'must not have the key "__proto__".', [...path, key]);
      checkText(problems, key, [...path, key]);
      checkJson(problems, item, [...path, key]);
    }
  }
}

function add(problems: Problem[], predicate: string, path: ProblemPath): void {
  if (problems.length >= MAX_PROBLEMS) return;
  problems.push({ code: 'INVALID_INPUT', message: `\`${path.join('.')}\` ${predicate}`, path });
}
