/** Checks request bodies against shapes. */
import { isDuration, isObject, type Json, type JsonObject, type Problems, UUID } from '../json.ts';

/**
 * Shapes of request members. One pass over a body checks it, treats null as absent, and drops and
 * counts unknown members, which the real API drops silently.
 */
export type Shape =
  | { kind: 'string'; max?: number; min?: number; pattern?: RegExp; values?: readonly string[] }
  | { kind: 'uuid' }
  | { kind: 'url' }
  | { kind: 'duration'; positive?: boolean; maxSeconds?: number }
  | { kind: 'number'; min?: number; max?: number; integer?: boolean }
  | { kind: 'boolean' }
  | { kind: 'any' }
  | { kind: 'anyObject' }
  | { kind: 'map'; of: Shape }
  | { kind: 'list'; of: Shape; max?: number; min?: number }
  | {
      kind: 'object';
      fields: Record<string, Shape>;
      required?: readonly string[];
      exactlyOne?: readonly string[];
      atMostOne?: readonly string[];
    };

export interface ShapeCheck {
  problems: Problems;
  ignored: string[];
}

export function checkShape(shape: Shape, value: Json, path: string, check: ShapeCheck): Json {
  switch (shape.kind) {
    case 'string':
      return checkString(shape, value, path, check);
    case 'uuid':
      if (typeof value !== 'string' || !UUID.test(value)) {
        check.problems.add(path, 'Must be a valid UUID.');
      }
      return value;
    case 'url':
      if (typeof value !== 'string' || !/^https?:$/.test(protocolOf(value))) {
        check.problems.add(path, 'Enter a valid URL.');
      }
      return value;
    case 'duration':
      return checkDuration(shape, value, path, check);
    case 'number':
      return checkNumber(shape, value, path, check);
    case 'boolean':
      if (typeof value !== 'boolean') check.problems.add(path, 'Must be a valid boolean.');
      return value;
    case 'any':
      return value;
    case 'anyObject':
      if (!isObject(value)) check.problems.add(path, 'Must be an object.');
      return value;
    case 'map': {
      if (!isObject(value)) {
        check.problems.add(path, 'Must be an object.');
        return value;
      }
      for (const [key, item] of Object.entries(value)) {
        checkShape(shape.of, item, join(path, key.replaceAll('.', '_')), check);
      }
      return value;
    }
    case 'list': {
      if (!Array.isArray(value)) {
        check.problems.add(path, 'Expected a list of items.');
        return value;
      }
      if (shape.max !== undefined && value.length > shape.max) {
        check.problems.add(path, `Must have no more than ${shape.max} items.`);
      }
      if (shape.min !== undefined && value.length < shape.min) {
        check.problems.add(path, `Must have at least ${shape.min} items.`);
      }
      return value.map((item, index) =>
        checkShape(shape.of, item, join(path, String(index)), check),
      );
    }
    case 'object':
      return checkObject(shape, value, path, check);
  }
}

/** Checks a request body, which must be an object. */
export function checkBody(shape: Shape, body: Json, check: ShapeCheck): JsonObject {
  const cleaned = checkShape(shape, body, '', check);
  check.problems.throwIfAny();
  return isObject(cleaned) ? cleaned : {};
}

function checkObject(
  shape: Extract<Shape, { kind: 'object' }>,
  value: Json,
  path: string,
  check: ShapeCheck,
): Json {
  if (!isObject(value)) {
    check.problems.add(path, 'Invalid data. Expected an object.');
    return value;
  }
  const cleaned: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const field = Object.hasOwn(shape.fields, key) ? shape.fields[key] : undefined;
    if (field === undefined) check.ignored.push(join(path, key));
    else if (item !== null) cleaned[key] = checkShape(field, item, join(path, key), check);
  }
  for (const key of shape.required ?? []) {
    if (cleaned[key] === undefined) check.problems.add(join(path, key), 'This field is required.');
  }
  const count = (names: readonly string[]) =>
    names.filter((name) => cleaned[name] !== undefined).length;
  if (shape.exactlyOne !== undefined && count(shape.exactlyOne) !== 1) {
    check.problems.add(path, `Exactly one of ${shape.exactlyOne.join(', ')} must be set.`);
  }
  if (shape.atMostOne !== undefined && count(shape.atMostOne) > 1) {
    check.problems.add(path, `At most one of ${shape.atMostOne.join(', ')} may be set.`);
  }
  return cleaned;
}

function checkString(
  shape: Extract<Shape, { kind: 'string' }>,
  value: Json,
  path: string,
  check: ShapeCheck,
): Json {
  if (typeof value !== 'string') check.problems.add(path, 'Not a valid string.');
  else if (shape.max !== undefined && value.length > shape.max) {
    check.problems.add(path, `Ensure this field has no more than ${shape.max} characters.`);
  } else if (shape.min !== undefined && value.length < shape.min) {
    check.problems.add(path, `Ensure this field has at least ${shape.min} characters.`);
  } else if (shape.pattern !== undefined && !shape.pattern.test(value)) {
    check.problems.add(path, `Must match ${shape.pattern.source}.`);
  } else if (shape.values !== undefined && !shape.values.includes(value)) {
    check.problems.add(path, `"${value.slice(0, 80)}" is not a valid choice.`);
  }
  return value;
}

function checkDuration(
  shape: Extract<Shape, { kind: 'duration' }>,
  value: Json,
  path: string,
  check: ShapeCheck,
): Json {
  if (typeof value !== 'string' || !isDuration(value)) {
    check.problems.add(path, 'Must be a duration in seconds such as "30s".');
    return value;
  }
  const seconds = Number(value.slice(0, -1));
  if (seconds < 0 || (shape.positive === true && seconds === 0)) {
    check.problems.add(path, 'Must be a positive duration.');
  } else if (shape.maxSeconds !== undefined && seconds > shape.maxSeconds) {
    check.problems.add(path, `Must not exceed ${shape.maxSeconds}s.`);
  }
  return value;
}

function checkNumber(
  shape: Extract<Shape, { kind: 'number' }>,
  value: Json,
  path: string,
  check: ShapeCheck,
): Json {
  if (typeof value !== 'number') check.problems.add(path, 'A valid number is required.');
  else if (shape.integer === true && !Number.isInteger(value)) {
    check.problems.add(path, 'A valid integer is required.');
  } else if (shape.min !== undefined && value < shape.min) {
    check.problems.add(path, `Ensure this value is greater than or equal to ${shape.min}.`);
  } else if (shape.max !== undefined && value > shape.max) {
    check.problems.add(path, `Ensure this value is less than or equal to ${shape.max}.`);
  }
  return value;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

function protocolOf(value: string): string {
  return URL.canParse(value) ? new URL(value).protocol : '';
}
