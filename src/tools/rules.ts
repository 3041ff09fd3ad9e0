/** What a tool's HTTP definition may be. */
import type { ProblemPath } from '../errors.ts';
import { mayBePublicHost } from '../infra/addresses.ts';
import type { Checks } from '../infra/checks.ts';
import { jsonSchemaProblem } from '../infra/json-schema.ts';
import { isStorableJson } from '../infra/storable.ts';
import type {
  AutomaticParameter,
  DynamicParameter,
  HttpMethod,
  ParameterLocation,
  StaticParameter,
  ToolAuthentication,
  ToolDefinition,
  ToolHttp,
  ToolReaction,
} from './definition.ts';

const MAX_PARAMETERS = 50;
const MAX_TIMEOUT_SECONDS = 40;
const MAX_AUTHENTICATION = 5;
const MAX_URL = 2000;
const MAX_JSON = 20_000;
const MAX_TOKEN = 4096;
const MAX_STATIC_RESPONSE = 4000;
const PARAMETER_NAME = /^[a-zA-Z0-9_.-]{1,64}$/;
/** What HTTP allows as a header name or an authentication scheme. */
const HTTP_TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
const PLACEHOLDER = /\{([^{}]*)\}/g;

type Maybe<T> = T | null | undefined;

/** Exactly one member is given. */
export interface AuthenticationInput {
  headerApiKey?: Maybe<{ name: string; value: string }>;
  queryApiKey?: Maybe<{ name: string; value: string }>;
  httpAuth?: Maybe<{ scheme: string; token: string }>;
}

export interface DefinitionInput {
  http?: Maybe<{ url: string; method?: Maybe<HttpMethod> }>;
  dynamicParameters?: Maybe<
    readonly {
      name: string;
      location: ParameterLocation;
      schema: Record<string, unknown>;
      required?: Maybe<boolean>;
    }[]
  >;
  staticParameters?: Maybe<
    readonly { name: string; location: ParameterLocation; value?: unknown }[]
  >;
  automaticParameters?: Maybe<readonly AutomaticParameter[]>;
  authentication?: Maybe<readonly AuthenticationInput[]>;
  timeout?: Maybe<string>;
  precomputable?: Maybe<boolean>;
  defaultReaction?: Maybe<ToolReaction>;
  staticResponse?: Maybe<string>;
}

/**
 * Checks what was sent and lays it over what is there: the definition of a tool that is changed,
 * NEW for one that is made, or UNKNOWN when the tool was not found and the parts that were sent are
 * checked by themselves. The result may be used only if `checks` found nothing, and holds no
 * secrets: those are in `tokens`, which is null when the authentication was not sent.
 */
export function mergeDefinition(
  checks: Checks,
  input: DefinitionInput,
  existing: ToolDefinition | 'NEW' | 'UNKNOWN',
  allowPrivate: boolean,
): { definition: ToolDefinition; tokens: Record<string, string> | null } {
  const base = typeof existing === 'object' ? existing : null;
  if (existing === 'NEW' && input.http === undefined) {
    checks.add('REQUIRED', 'Give `http`.', ['http']);
  }
  const http = checkHttp(checks, input, base, allowPrivate);
  const dynamicParameters = checkList(checks, input.dynamicParameters, 'dynamicParameters')?.map(
    (parameter, index): DynamicParameter => {
      checkSchema(checks, parameter.schema, ['dynamicParameters', index, 'schema']);
      return { ...pick(parameter), schema: parameter.schema, required: parameter.required ?? true };
    },
  );
  const staticParameters = checkList(checks, input.staticParameters, 'staticParameters')?.map(
    (parameter, index): StaticParameter => {
      checkValue(checks, parameter, ['staticParameters', index, 'value']);
      return { ...pick(parameter), value: parameter.value ?? null };
    },
  );
  const automaticParameters = checkList(
    checks,
    input.automaticParameters,
    'automaticParameters',
  )?.map(
    (parameter): AutomaticParameter => ({
      ...pick(parameter),
      knownValue: parameter.knownValue,
    }),
  );
  const authentication = checkAuthentication(checks, input.authentication);
  const timeout = checks.duration(input.timeout, ['timeout'], {
    min: 0.1,
    max: MAX_TIMEOUT_SECONDS,
  });
  const staticResponse = checks.text(input.staticResponse, ['staticResponse'], {
    min: 1,
    max: MAX_STATIC_RESPONSE,
  });
  const kept = <T>(sent: T | undefined, given: unknown, before: T | undefined, empty: T): T =>
    sent ?? (given === undefined && before !== undefined ? before : empty);
  const definition: ToolDefinition = {
    http: http ?? base?.http ?? { url: '', method: 'GET' },
    dynamicParameters: kept(
      dynamicParameters,
      input.dynamicParameters,
      base?.dynamicParameters,
      [],
    ),
    staticParameters: kept(staticParameters, input.staticParameters, base?.staticParameters, []),
    automaticParameters: kept(
      automaticParameters,
      input.automaticParameters,
      base?.automaticParameters,
      [],
    ),
    authentication: authentication?.entries ?? base?.authentication ?? [],
    authenticationRevision: base?.authenticationRevision ?? 1,
    timeout: kept<string | null>(timeout, input.timeout, base?.timeout, null),
    precomputable: kept(
      input.precomputable ?? undefined,
      input.precomputable,
      base?.precomputable,
      false,
    ),
    defaultReaction: kept<ToolReaction>(
      input.defaultReaction ?? undefined,
      input.defaultReaction,
      base?.defaultReaction,
      'SPEAKS',
    ),
    staticResponse: kept<string | null>(
      staticResponse,
      input.staticResponse,
      base?.staticResponse,
      null,
    ),
  };
  if (!isStorableJson(definition)) {
    checks.add('INVALID_INPUT', 'No text may hold a null character or half a surrogate pair.', []);
  }
  checkTogether(checks, definition, existing !== 'UNKNOWN' && (http ?? base?.http) !== undefined);
  return { definition, tokens: authentication?.tokens ?? null };
}

function pick(parameter: { name: string; location: ParameterLocation }) {
  return { name: parameter.name, location: parameter.location };
}

function checkHttp(
  checks: Checks,
  input: DefinitionInput,
  base: ToolDefinition | null,
  allowPrivate: boolean,
): ToolHttp | undefined {
  const http = checks.notNull(input.http, ['http']);
  if (!http) return undefined;
  const path = ['http', 'url'];
  const before = checks.problems.length;
  // Placeholders are not allowed in a URL as they stand; anything in their place will do.
  checks.url(http.url.replace(PLACEHOLDER, '0'), path, { allowPrivate, max: MAX_URL });
  if (checks.problems.length > before) return undefined;
  const url = new URL(http.url.replace(PLACEHOLDER, '0'));
  if (http.url.includes('?') || http.url.includes('#')) {
    checks.add(
      'INVALID_INPUT',
      '`http.url` must not have a query string or fragment: use parameters with location QUERY, and `authentication` for keys.',
      path,
    );
  }
  const origin = /^[^/]*\/\/[^/]*/.exec(http.url)?.[0] ?? '';
  if (/[{}]/.test(origin)) {
    checks.add('INVALID_INPUT', '`http.url` may have {placeholders} in its path only.', path);
  } else if (!allowPrivate && !mayBePublicHost(url.hostname)) {
    checks.add(
      'INVALID_INPUT',
      '`http.url` must have a public host: no loopback, private or link-local address and no local name.',
      path,
    );
  }
  return { url: http.url, method: http.method ?? base?.http.method ?? 'GET' };
}

function checkList<P extends { name: string; location: ParameterLocation }>(
  checks: Checks,
  parameters: Maybe<readonly P[]>,
  member: string,
): readonly P[] | undefined {
  if (!parameters) return undefined;
  if (parameters.length > MAX_PARAMETERS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `\`${member}\` may have at most ${MAX_PARAMETERS} entries; it has ${parameters.length}.`,
      [member],
    );
    return undefined;
  }
  for (const [index, parameter] of parameters.entries()) {
    const header = parameter.location === 'HEADER';
    if (!(header ? HTTP_TOKEN : PARAMETER_NAME).test(parameter.name)) {
      checks.add(
        'INVALID_INPUT',
        `\`${member}.${index}.name\` must be ${header ? 'a header name' : '1 to 64 letters, digits, "_", "-" or "."'}.`,
        [member, index, 'name'],
      );
    }
  }
  return parameters;
}

function checkSchema(checks: Checks, schema: Record<string, unknown>, path: ProblemPath): void {
  if (JSON.stringify(schema).length > MAX_JSON) {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` may have at most ${MAX_JSON} characters.`,
      path,
    );
    return;
  }
  const problem = jsonSchemaProblem(schema);
  if (problem) {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` is not a valid JSON Schema: ${problem}.`,
      path,
    );
  }
}

function checkValue(
  checks: Checks,
  { value, location }: { value?: unknown; location: ParameterLocation },
  path: ProblemPath,
): void {
  if (value === undefined || value === null) {
    checks.add('REQUIRED', `\`${path.join('.')}\` must be given.`, path);
  } else if (location !== 'BODY' && typeof value === 'object') {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` must be a text, number or boolean: only a BODY parameter may be an object or list.`,
      path,
    );
  } else if (JSON.stringify(value).length > MAX_JSON) {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` may have at most ${MAX_JSON} characters.`,
      path,
    );
  } else if (location === 'HEADER' && !isHeaderValue(String(value))) {
    checks.add('INVALID_INPUT', `\`${path.join('.')}\` is not a valid header value.`, path);
  }
}

function isHeaderValue(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** Null clears, like an empty list. */
function checkAuthentication(
  checks: Checks,
  inputs: Maybe<readonly AuthenticationInput[]>,
): { entries: ToolAuthentication[]; tokens: Record<string, string> } | undefined {
  if (inputs === undefined) return undefined;
  const entries: ToolAuthentication[] = [];
  const tokens: Record<string, string> = {};
  if (inputs && inputs.length > MAX_AUTHENTICATION) {
    checks.add(
      'LIMIT_EXCEEDED',
      `\`authentication\` may have at most ${MAX_AUTHENTICATION} entries.`,
      ['authentication'],
    );
    return undefined;
  }
  for (const [index, input] of (inputs ?? []).entries()) {
    const read = readAuthentication(input);
    if (!read) {
      checks.add(
        'INVALID_INPUT',
        'Give exactly one of `headerApiKey`, `queryApiKey` and `httpAuth`.',
        ['authentication', index],
      );
      continue;
    }
    const at = (member: string): ProblemPath => ['authentication', index, read.member, member];
    const namePath = at(read.kind === 'HTTP_AUTH' ? 'scheme' : 'name');
    if (!HTTP_TOKEN.test(read.name)) {
      checks.add(
        'INVALID_INPUT',
        `\`${namePath.join('.')}\` must be 1 to 100 letters, digits or "-", "_", ".".`,
        namePath,
      );
    }
    const valuePath = at(read.kind === 'HTTP_AUTH' ? 'token' : 'value');
    const value = checks.text(read.value, valuePath, { min: 1, max: MAX_TOKEN });
    if (value !== undefined && !isHeaderValue(value)) {
      checks.add('INVALID_INPUT', `\`${valuePath.join('.')}\` must be printable ASCII.`, valuePath);
    }
    const key = `auth${index + 1}`;
    entries.push({ key, kind: read.kind, name: read.name });
    tokens[key] = read.value;
  }
  return { entries, tokens };
}

function readAuthentication(input: AuthenticationInput) {
  const { headerApiKey, queryApiKey, httpAuth } = input;
  const given = [
    headerApiKey && { ...headerApiKey, kind: 'HEADER_API_KEY' as const, member: 'headerApiKey' },
    queryApiKey && { ...queryApiKey, kind: 'QUERY_API_KEY' as const, member: 'queryApiKey' },
    httpAuth && {
      kind: 'HTTP_AUTH' as const,
      member: 'httpAuth',
      name: httpAuth.scheme,
      value: httpAuth.token,
    },
  ].filter((entry) => entry !== null && entry !== undefined);
  return given.length === 1 ? given[0] : undefined;
}

/** What has to hold between the parts, whichever of them were sent. */
function checkTogether(checks: Checks, definition: ToolDefinition, hasUrl: boolean): void {
  const all = (['dynamicParameters', 'staticParameters', 'automaticParameters'] as const).flatMap(
    (member) =>
      definition[member].map((parameter, index) => ({ ...pick(parameter), member, index })),
  );
  const seen = new Set<string>();
  for (const { name, location, member, index } of all) {
    const path = [member, index];
    if (seen.has(name)) {
      checks.add(
        'INVALID_INPUT',
        `There is another parameter named "${name}": names must differ, whatever their kind and location.`,
        [...path, 'name'],
      );
    }
    seen.add(name);
    if (location === 'BODY' && definition.http.method === 'GET' && hasUrl) {
      checks.add(
        'INVALID_INPUT',
        `A GET request has no body: give "${name}" another location, or use another method.`,
        [...path, 'location'],
      );
    }
    for (const entry of definition.authentication) {
      if (carries(entry, location, name)) {
        checks.add(
          'INVALID_INPUT',
          `"${name}" is what \`authentication\` sends already: leave the parameter out.`,
          [...path, 'name'],
        );
      }
    }
  }
  const carried = definition.authentication.map((entry) =>
    entry.kind === 'HTTP_AUTH'
      ? 'header authorization'
      : `${entry.kind} ${entry.name.toLowerCase()}`,
  );
  if (new Set(carried).size < carried.length) {
    checks.add('INVALID_INPUT', '`authentication` names the same place twice.', ['authentication']);
  }
  if (hasUrl) checkPlaceholders(checks, definition.http.url, all);
}

function carries(entry: ToolAuthentication, location: ParameterLocation, name: string): boolean {
  if (entry.kind === 'QUERY_API_KEY') return location === 'QUERY' && entry.name === name;
  const header = entry.kind === 'HTTP_AUTH' ? 'authorization' : entry.name.toLowerCase();
  return location === 'HEADER' && header === name.toLowerCase();
}

function checkPlaceholders(
  checks: Checks,
  url: string,
  parameters: readonly {
    name: string;
    location: ParameterLocation;
    member: string;
    index: number;
  }[],
): void {
  const placeholders = new Set([...url.matchAll(PLACEHOLDER)].map((match) => match[1] ?? ''));
  const inPath = parameters.filter(({ location }) => location === 'PATH');
  for (const name of placeholders) {
    if (inPath.some((parameter) => parameter.name === name)) continue;
    checks.add(
      'INVALID_INPUT',
      `\`http.url\` has the placeholder {${name}}, but there is no parameter of that name with location PATH.`,
      ['http', 'url'],
    );
  }
  for (const { name, member, index } of inPath) {
    if (placeholders.has(name)) continue;
    checks.add(
      'INVALID_INPUT',
      `The PATH parameter "${name}" has no place in \`http.url\`: put {${name}} where it belongs.`,
      [member, index, 'location'],
    );
  }
}
