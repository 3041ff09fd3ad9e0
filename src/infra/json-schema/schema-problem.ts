/**
 * Checks user-provided JSON Schemas without compiling them: compilation takes much more time and
 * memory than a request may.
 */
import type { Ajv } from 'ajv';
import { formatNumber } from '../format-number.ts';
import { dialectOf, isSupportedDialect, type NewAjv } from './dialect.ts';

const MAX_DEPTH = 64;
const MAX_REFS = 200;
/** Keywords whose values are data. Members of those values are not keywords. */
const DATA = new Set(['const', 'default', 'enum', 'examples']);

/** One checker per dialect, because it compiles the schema of the dialect. */
const checkers = new Map<NewAjv, Ajv>();

/** The reason why this is not a valid JSON Schema or is too large to compile. Null if it can be used. */
export function schemaProblem(
  schema: Record<string, unknown>,
  { maxObjects }: { maxObjects: number },
): string | null {
  const content = readContent(schema, maxObjects);
  if (typeof content === 'string') return content;
  if (!isSupportedDialect(schema.$schema)) {
    return 'its "$schema" is not supported, use draft 2020-12 or draft-07';
  }
  const dialect = dialectOf(schema);
  const checker = checkers.get(dialect.newAjv) ?? newChecker(dialect.newAjv);
  checkers.set(dialect.newAjv, checker);
  if (!checker.validateSchema(dialect.content)) {
    return checker.errorsText(checker.errors?.slice(0, 10), { dataVar: 'schema' });
  }
  const refersTo = resolver(schema, content);
  for (const object of content) {
    const problem = compilationProblem(object) ?? refersTo(object.$ref);
    if (problem) return problem;
  }
  return null;
}

/** A checker that compares the items of long lists, such as an `enum`, in no more time than it takes to read them. */
function newChecker(newAjv: NewAjv): Ajv {
  const checker = newAjv({ validateFormats: false }).removeKeyword('uniqueItems');
  return checker.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    validate: (_isWanted: boolean, list: unknown[]) =>
      new Set(list.map((item) => JSON.stringify(item))).size === list.length,
    error: { message: 'must NOT have duplicate items' },
  });
}

type Objects = Record<string, unknown>[];

/** The objects of the schema that are not data, or what exceeds a limit. Works level by level, without recursion. */
function readContent(schema: Record<string, unknown>, maxObjects: number): Objects | string {
  const content: Objects = [];
  let objects = 0;
  let refs = 0;
  let level: { value: unknown; isData: boolean }[] = [{ value: schema, isData: false }];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return `it has more than ${MAX_DEPTH} levels`;
    const next: typeof level = [];
    for (const { value, isData } of level) {
      if (typeof value !== 'object' || value === null) continue;
      objects += 1;
      if (objects > maxObjects)
        return `it has more than ${formatNumber(maxObjects)} objects and lists`;
      if (!isData && !Array.isArray(value)) content.push(value as Record<string, unknown>);
      for (const [key, member] of Object.entries(value)) {
        if (key === '$ref') refs += 1;
        next.push({ value: member, isData: isData || DATA.has(key) });
      }
      if (refs > MAX_REFS) return `it has more than ${MAX_REFS} references`;
    }
    level = next;
  }
  return content;
}

/** A valid construct that the compiler refuses. Null if there is none. */
function compilationProblem(object: Record<string, unknown>): string | null {
  const { id, nullable, type, pattern, patternProperties } = object;
  if (typeof id === 'string') return 'the keyword "id" is not supported, use "$id"';
  if (nullable === true && type === undefined) return '"nullable" needs "type" beside it';
  const patterns =
    typeof patternProperties === 'object' && patternProperties !== null
      ? Object.keys(patternProperties)
      : [];
  if (typeof pattern === 'string') patterns.push(pattern);
  const invalid = patterns.find((text) => !isPattern(text));
  return invalid === undefined
    ? null
    : `${JSON.stringify(invalid.slice(0, 60))} is not a regular expression`;
}

function isPattern(text: string): boolean {
  try {
    new RegExp(text, 'u');
    return true;
  } catch {
    return false;
  }
}

/** Returns a function that finds the problem of a reference. In schemas with nested `$id`s, nothing is checked. */
function resolver(
  schema: Record<string, unknown>,
  content: Objects,
): (ref: unknown) => string | null {
  const texts = (keyword: string) =>
    content.map((object) => object[keyword]).filter((value) => typeof value === 'string');
  const [root, ...inner] = [schema.$id, ...texts('$id').filter((id) => id !== schema.$id)];
  const anchors = new Set([...texts('$anchor'), ...texts('$dynamicAnchor')]);
  return (ref) => {
    if (typeof ref !== 'string' || inner.length > 0) return null;
    const [address, fragment = ''] = ref.split('#', 2);
    const isFound =
      (address === '' || address === root) &&
      (fragment === '' || anchors.has(fragment) || pointsToSchema(schema, fragment));
    return isFound ? null : `can't resolve reference ${JSON.stringify(ref.slice(0, 200))}`;
  };
}

/** Whether a JSON pointer, encoded as a URI fragment, leads to a schema. */
function pointsToSchema(schema: unknown, fragment: string): boolean {
  if (!fragment.startsWith('/') || !isEncoded(fragment)) return false;
  let value = schema;
  for (const step of fragment.slice(1).split('/')) {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return false;
    value = (value as Record<string, unknown>)[key];
  }
  return typeof value === 'boolean' || (typeof value === 'object' && value !== null);
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
