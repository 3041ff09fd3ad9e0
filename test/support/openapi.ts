/**
 * Checks requests and responses against an OpenAPI 3.0 document. In requests, members that the document
 * does not declare are errors; in responses they are allowed.
 */
import { readFileSync } from 'node:fs';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

type Json = Record<string, unknown>;
type Direction = 'request' | 'response';
/** Returns the problems of a value. Validators are cached by `key`. */
type Check = (key: string, schema: Json, direction: Direction, value: unknown) => string[];

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema: Json;
}
interface Operation {
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, { schema?: Json }> };
  responses: Record<string, { content?: Record<string, { schema?: Json }> }>;
}
interface Document {
  paths: Record<string, Record<string, unknown>>;
  components?: { schemas?: Record<string, Json> };
}

export interface SentRequest {
  method: string;
  /** As sent, without the query: `/api/agents/123`. */
  path: string;
  query?: URLSearchParams | string | Record<string, string | string[]> | undefined;
  /** Parsed body. For a form, an object of its fields, with `contentType` set accordingly. */
  body?: unknown;
  /** Default: `application/json`. */
  contentType?: string;
}
export interface ReceivedResponse {
  method: string;
  path: string;
  status: number;
  body?: unknown;
  contentType?: string;
}

export interface OpenApi {
  /** Descriptions of all problems. */
  validateRequest(request: SentRequest): string[];
  /** Descriptions of all problems. Undocumented error statuses are allowed, because few documents list them. */
  validateResponse(response: ReceivedResponse): string[];
}

/**
 * @param open schemas that allow more members than they declare. Ultravox's data message declares
 *   only its type, although each type has further members.
 */
export function loadOpenApi(
  file: string,
  { open = ['SendCallDataMessage'] }: { open?: readonly string[] } = {},
): OpenApi {
  const document = parse(readFileSync(file, 'utf8')) as Document;
  const ajv = createAjv(document, open);
  const routes = Object.entries(document.paths)
    .map(([template, item]) => ({ template, item, matches: matcherOf(template) }))
    // So that `/accounts/me` comes before `/accounts/{id}`.
    .sort((a, b) => placeholders(a.template) - placeholders(b.template));
  const validators = new Map<string, ValidateFunction>();

  function validatorOf(key: string, schema: Json, direction: Direction): ValidateFunction {
    const known = validators.get(key);
    if (known) return known;
    const validate = ajv.compile(convert(schema, direction, open));
    validators.set(key, validate);
    return validate;
  }

  function operationOf(method: string, path: string) {
    const verb = method.toLowerCase();
    const fitting = routes.filter(({ matches }) => matches.test(path));
    const route = fitting.find(({ item }) => item[verb] !== undefined);
    if (!route) {
      return fitting.length === 0 ? `${path}: no such path` : `${method} ${path}: no such method`;
    }
    const operation = route.item[verb] as Operation;
    const shared = (route.item.parameters ?? []) as Parameter[];
    const parameters = [...shared, ...(operation.parameters ?? [])];
    return { key: `${verb} ${route.template}`, template: route.template, operation, parameters };
  }

  function check(key: string, schema: Json, direction: Direction, value: unknown): string[] {
    const validate = validatorOf(key, schema, direction);
    return validate(value) ? [] : (validate.errors ?? []).map(inWords);
  }

  return {
    validateRequest({ method, path, query, body, contentType = 'application/json' }) {
      const found = operationOf(method, path);
      if (typeof found === 'string') return [found];
      const { key, template, operation, parameters } = found;
      const problems = [
        ...checkPath(check, template, path, parameters),
        ...checkQuery(check, query, parameters),
      ];
      const contents = operation.requestBody?.content ?? {};
      if (body === undefined) {
        if (operation.requestBody?.required) problems.push('body: missing');
      } else if (contents[contentType] === undefined) {
        problems.push(`body: ${contentType} is not taken here`);
      } else {
        const { schema = {} } = contents[contentType];
        problems.push(...check(`${key} ${contentType}`, schema, 'request', body));
      }
      return problems;
    },

    validateResponse({ method, path, status, body, contentType = 'application/json' }) {
      const found = operationOf(method, path);
      if (typeof found === 'string') return [found];
      const { key, operation } = found;
      const answer = operation.responses[status] ?? operation.responses.default;
      if (!answer) return status >= 400 ? [] : [`status ${status}: not documented`];
      const contents = answer.content ?? {};
      if (Object.keys(contents).length === 0) {
        return body === undefined || body === '' ? [] : ['body: none is documented'];
      }
      const content = contents[contentType] ?? contents['*/*'];
      if (!content) return [`body: ${contentType} is not documented`];
      return check(`${key} ${status} ${contentType}`, content.schema ?? {}, 'response', body);
    },
  };
}

function checkPath(
  check: Check,
  template: string,
  path: string,
  parameters: Parameter[],
): string[] {
  const names = [...template.matchAll(/\{(.+?)\}/g)].map(([, name]) => name);
  const values = matcherOf(template).exec(path)?.slice(1) ?? [];
  return names.flatMap((name, index) => {
    const parameter = parameters.find((one) => one.in === 'path' && one.name === name);
    return parameter
      ? checkParameter(check, parameter, decodeURIComponent(values[index] ?? ''))
      : [];
  });
}

function checkQuery(check: Check, query: SentRequest['query'], parameters: Parameter[]): string[] {
  const declared = parameters.filter((one) => one.in === 'query');
  const given = new Map<string, unknown>();
  const problems: string[] = [];
  for (const [name, value] of entriesOf(query)) {
    const [owner = name, ...rest] = name.split('.');
    const parameter =
      declared.find((one) => one.name === name) ??
      declared.find((one) => one.name === owner && rest.length > 0 && typeOf(one) === 'object');
    if (!parameter) {
      problems.push(`query ${name}: not documented`);
    } else if (typeOf(parameter) === 'object') {
      const members = (given.get(parameter.name) ?? {}) as Json;
      given.set(parameter.name, { ...members, [rest.join('.')]: value });
    } else if (typeOf(parameter) === 'array') {
      given.set(parameter.name, [...((given.get(parameter.name) ?? []) as unknown[]), value]);
    } else if (given.has(parameter.name)) {
      problems.push(`query ${name}: given twice`);
    } else {
      given.set(parameter.name, value);
    }
  }
  for (const parameter of declared) {
    if (given.has(parameter.name)) {
      problems.push(...checkParameter(check, parameter, given.get(parameter.name)));
    } else if (parameter.required) {
      problems.push(`query ${parameter.name}: missing`);
    }
  }
  return problems;
}

function checkParameter(check: Check, parameter: Parameter, given: unknown): string[] {
  const type = typeOf(parameter);
  let value = given;
  if ((type === 'integer' || type === 'number') && given !== '') value = Number(given);
  if (type === 'boolean' && /^(true|false)$/.test(String(given))) value = given === 'true';
  const key = `parameter ${JSON.stringify(parameter.schema)}`;
  return check(key, parameter.schema, 'request', value).map(
    (problem) => `${parameter.in} ${parameter.name}: ${problem.replace(/^body: /, '')}`,
  );
}

function createAjv(document: Document, open: readonly string[]): Ajv {
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  // The list of values next to this format is checked instead.
  ajv.addFormat('enum', true);
  ajv.addFormat('binary', true);
  ajv.addFormat('ipv4-cidr', /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/);
  ajv.addFormat('uint32', { type: 'number', validate: (n) => n >= 0 && n < 2 ** 32 });
  // JSON Schema requires a time zone, but filters by time of day have none.
  ajv.addFormat('time', /^\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/);
  for (const direction of ['request', 'response'] as const) {
    const schemas = Object.entries(document.components?.schemas ?? {});
    const $defs = Object.fromEntries(
      schemas.map(([name, schema]) => [name, convert(schema, direction, open, name)]),
    );
    ajv.addSchema({ $id: `openapi:${direction}`, $defs });
  }
  return ajv;
}

/** Converts OpenAPI 3.0 to JSON Schema for one direction. */
function convert(schema: Json, direction: Direction, open: readonly string[], name = ''): Json {
  const inner = (value: unknown) => convert(value as Json, direction, open);
  if (typeof schema.$ref === 'string') {
    const target = schema.$ref.replace('#/components/schemas/', '');
    return { $ref: `openapi:${direction}#/$defs/${target}` };
  }
  const { nullable, readOnly, writeOnly, discriminator, example, ...rest } = schema;
  const result: Json = { ...rest };
  for (const key of ['allOf', 'anyOf', 'oneOf'] as const) {
    if (Array.isArray(schema[key])) result[key] = schema[key].map(inner);
  }
  if (schema.items) result.items = inner(schema.items);
  if (schema.not) result.not = inner(schema.not);
  if (typeof schema.additionalProperties === 'object') {
    result.additionalProperties = inner(schema.additionalProperties);
  }
  if (schema.properties) {
    const hidden = direction === 'request' ? 'readOnly' : 'writeOnly';
    const members = Object.entries(schema.properties as Record<string, Json>);
    const visible = members.filter(([, member]) => member[hidden] !== true);
    const names = new Set(visible.map(([member]) => member));
    result.properties = Object.fromEntries(
      visible.map(([member, value]) => [member, inner(value)]),
    );
    result.required = ((schema.required ?? []) as string[]).filter((member) => names.has(member));
    if (direction === 'request' && !open.includes(name)) {
      // Closing one part of a composition would reject the members of the others.
      if (Array.isArray(schema.allOf)) throw new Error(`${name}: properties beside allOf`);
      result.additionalProperties ??= false;
    }
    if (direction === 'response') {
      // Write-only members must not be returned.
      const secret = members.filter(([, member]) => member.writeOnly === true);
      Object.assign(
        result.properties as Json,
        Object.fromEntries(secret.map(([member]) => [member, false])),
      );
    }
  }
  if (direction === 'request' && Array.isArray(schema.allOf) && schema.allOf.length > 1) {
    throw new Error(`${name}: allOf of several schemas cannot be closed`);
  }
  if (nullable !== true) return result;
  if (typeof result.type !== 'string') return { anyOf: [{ type: 'null' }, result] };
  result.type = [result.type, 'null'];
  if (Array.isArray(result.enum)) result.enum = [...result.enum, null];
  return result;
}

function entriesOf(query: SentRequest['query']): [string, string][] {
  if (query === undefined) return [];
  if (typeof query === 'string' || query instanceof URLSearchParams) {
    return [...new URLSearchParams(query)];
  }
  return Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((item): [string, string] => [name, item]),
  );
}

const typeOf = (parameter: Parameter) => parameter.schema.type;

const placeholders = (template: string) => template.split('{').length;

function matcherOf(template: string): RegExp {
  const literal = (text: string) => text.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
  const parts = template.split(/\{[^}]+\}/).map(literal);
  return new RegExp(`^${parts.join('([^/]+)')}$`);
}

function inWords({ instancePath, message, params }: ErrorObject): string {
  const extra = params.additionalProperty ?? params.allowedValues;
  return `${instancePath || 'body'}: ${message}${extra === undefined ? '' : ` (${extra})`}`;
}
