/** Examples of data that fits a JSON Schema. */
import { isObject, type Json, type JsonObject, listAt, objectAt, stringAt } from './json.ts';

/** Examples of the formats that the server checks. */
const FORMATS = new Map([
  ['date', '2026-11-20'],
  ['time', '14:30:00Z'],
  ['date-time', '2026-11-20T14:30:00Z'],
  ['duration', 'PT30M'],
  ['email', 'ada@example.com'],
  ['hostname', 'example.com'],
  ['ipv4', '192.0.2.1'],
  ['ipv6', '2001:db8::1'],
  ['uri', 'https://example.com/'],
  ['uri-reference', '/example'],
  ['uuid', '0199a000-0000-7000-8000-000000000001'],
]);

/** From here on, only required members are part of the example, so that a schema may refer to itself. */
const MAX_DEPTH = 5;
/** A schema that requires itself without end has no example. */
const MAX_REQUIRED_DEPTH = 50;
/** A schema may refer to itself many times at each depth. The rest of such an example is empty. */
const MAX_NODES = 10_000;
const MAX_ITEMS = 100;
const MAX_TEXT = 10_000;

interface Place {
  /** The whole schema, in which references are resolved. */
  root: Json;
  success: boolean;
  /** Name of the member that the example is for. */
  name: string;
  depth: number;
  /** Shared by the whole example. */
  budget: { nodes: number };
}

/**
 * A value that fits the types, formats and limits of the schema, and the first of several alternatives. Ignores other
 * keywords, such as `pattern`. From an enum it takes the first value, or the last for a failed call.
 */
export function exampleOf(schema: Json, success: boolean): Json {
  return exampleAt(schema, {
    root: schema,
    success,
    name: 'value',
    depth: 0,
    budget: { nodes: MAX_NODES },
  });
}

function exampleAt(given: Json, place: Place): Json {
  if (!spend(place) || !isObject(given) || place.depth > MAX_REQUIRED_DEPTH) return {};
  const schema = merged(given, place);
  const choice = listAt(schema, 'enum').at(place.success ? 0 : -1);
  const value = schema.const === undefined ? choice : schema.const;
  if (value !== undefined) return spendText(place, JSON.stringify(value)) ? value : {};
  const [type] = Array.isArray(schema.type) ? schema.type : [schema.type];
  switch (type) {
    case 'string':
      return FORMATS.get(stringAt(schema, 'format') ?? '') ?? textFor(schema, place);
    case 'integer':
    case 'number':
      return numberFor(schema, type === 'integer');
    case 'boolean':
      return place.success;
    case 'null':
      return null;
    case 'array': {
      const length = Math.min(
        Math.max(1, limit(schema, 'minItems', 0)),
        limit(schema, 'maxItems'),
        MAX_ITEMS,
      );
      const item = () => exampleAt(schema.items ?? {}, { ...place, depth: place.depth + 1 });
      return Array.from({ length }, item);
    }
    default:
      return objectFor(schema, place);
  }
}

/** Takes nodes from the budget. Returns false if it is used up. */
function spend({ budget }: Place, nodes = 1): boolean {
  budget.nodes -= nodes;
  return budget.nodes >= 0;
}

/** A long text counts as several nodes. */
function spendText(place: Place, text: string): boolean {
  return spend(place, Math.floor(text.length / 100));
}

/** The schema together with those that it refers to or consists of. */
function merged({ $ref, allOf, anyOf, oneOf, ...own }: JsonObject, place: Place): JsonObject {
  const parts = [
    typeof $ref === 'string' ? atPointer(place.root, $ref) : undefined,
    ...listOf(allOf),
    listOf(anyOf)[0],
    listOf(oneOf)[0],
  ];
  const below = { ...place, depth: place.depth + 1 };
  let result: JsonObject = own;
  for (const part of parts) {
    if (!isObject(part) || below.depth > MAX_REQUIRED_DEPTH || !spend(place)) continue;
    const other = merged(part, below);
    const properties = { ...objectAt(other, 'properties'), ...objectAt(result, 'properties') };
    const required = new Set([...listAt(other, 'required'), ...listAt(result, 'required')]);
    result = { ...other, ...result, properties, required: [...required] };
  }
  return result;
}

/** The schema at a JSON pointer such as `#/$defs/person`. */
function atPointer(root: Json, pointer: string): Json | undefined {
  let current: Json | undefined = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(current)) current = current[Number(key)];
    else current = isObject(current) && Object.hasOwn(current, key) ? current[key] : undefined;
  }
  return current;
}

function listOf(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

function objectFor(schema: JsonObject, place: Place): JsonObject {
  const required = new Set(listAt(schema, 'required'));
  const properties = Object.entries(objectAt(schema, 'properties') ?? {}).filter(
    ([name]) => place.depth < MAX_DEPTH || required.has(name),
  );
  return Object.fromEntries(
    properties.map(([name, member]) => [
      name,
      exampleAt(member, { ...place, name, depth: place.depth + 1 }),
    ]),
  );
}

function textFor(schema: JsonObject, place: Place): string {
  const length = Math.min(limit(schema, 'minLength', 0), MAX_TEXT);
  const text = `example ${place.name}`.slice(0, limit(schema, 'maxLength'));
  const padded = text.padEnd(length, '.');
  return spendText(place, padded) ? padded : text;
}

function numberFor(schema: JsonObject, isInteger: boolean): number {
  const min = limit(schema, 'minimum', -Infinity);
  const max = limit(schema, 'maximum');
  const above = limit(schema, 'exclusiveMinimum', -Infinity);
  const below = limit(schema, 'exclusiveMaximum');
  const step = limit(schema, 'multipleOf', 1);
  const [lowest, highest] = [Math.max(min, above), Math.min(max, below)];
  const [first, last] = [Math.ceil(lowest / step) * step, Math.floor(highest / step) * step];
  const middle = (lowest + highest) / 2;
  const fits = (value: number): boolean =>
    value >= min &&
    value <= max &&
    value > above &&
    value < below &&
    Number.isFinite(value) &&
    (schema.multipleOf === undefined || Number.isInteger(value / step)) &&
    (!isInteger || Number.isInteger(value));
  return [lowest, 1, step, first, first + step, last, last - step, middle].find(fits) ?? 1;
}

/** The number in a keyword; without it there is no upper limit. */
function limit(schema: JsonObject, keyword: string, fallback = Infinity): number {
  const value = schema[keyword];
  return typeof value === 'number' ? value : fallback;
}
