/** Checks the fields sent for a tool definition, and merges them with the stored definition. */
import { randomUUID } from 'node:crypto';
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { type AuthenticationInput, checkAuthentication } from './authentication-input.ts';
import type {
  AutomaticParameter,
  HttpMethod,
  ToolDefinition,
  ToolHttp,
  ToolReaction,
} from './definition.ts';
import { checkConsistency, PLACEHOLDER } from './definition-consistency.ts';
import {
  checkAutomaticParameters,
  checkDynamicParameters,
  checkStaticParameters,
  type DynamicParameterInput,
  type StaticParameterInput,
} from './parameter-input.ts';

export const MAX_URL = 2000;
const TIMEOUT_SECONDS = { min: 0.1, max: 40 };
export const MAX_STATIC_RESPONSE = 4000;

type Maybe<T> = T | null | undefined;

export interface DefinitionInput {
  http?: Maybe<{ url: string; method?: Maybe<HttpMethod> }>;
  dynamicParameters?: Maybe<readonly DynamicParameterInput[]>;
  staticParameters?: Maybe<readonly StaticParameterInput[]>;
  automaticParameters?: Maybe<readonly AutomaticParameter[]>;
  authentication?: Maybe<readonly AuthenticationInput[]>;
  timeout?: Maybe<string>;
  precomputable?: Maybe<boolean>;
  defaultReaction?: Maybe<ToolReaction>;
  staticResponse?: Maybe<string>;
}

type Defaults = Omit<ToolDefinition, 'http' | 'authentication' | 'authenticationRevision'>;

/** Values of fields that a creation omits or an update sets to null. */
const DEFAULTS: Defaults = {
  dynamicParameters: [],
  staticParameters: [],
  automaticParameters: [],
  timeout: null,
  precomputable: false,
  defaultReaction: 'SPEAKS',
  staticResponse: null,
};

/**
 * Merges the input with the definition of the tool. `NEW`: the tool is being created. `UNKNOWN`: the tool was not
 * found, and the input is only checked by itself.
 *
 * @returns the definition, to be used only if `checks` has no problems, and the tokens, which are not part of it; null
 *   if the authentication was not sent.
 */
export function mergeDefinition(
  checks: Checks,
  input: DefinitionInput,
  existing: ToolDefinition | 'NEW' | 'UNKNOWN',
  allowPrivate: boolean,
): { definition: ToolDefinition; tokens: Record<string, string> | null } {
  const base = typeof existing === 'object' ? existing : null;
  if (existing === 'NEW' && input.http === undefined) {
    checks.add('REQUIRED', '`http` is required.', ['http']);
  }
  const http = checkHttp(checks, input, base, allowPrivate) ?? base?.http;
  const authentication = checkAuthentication(checks, input.authentication);
  const sent: { [Member in keyof Defaults]: Defaults[Member] | undefined } = {
    dynamicParameters: checkDynamicParameters(checks, input.dynamicParameters),
    staticParameters: checkStaticParameters(checks, input.staticParameters),
    automaticParameters: checkAutomaticParameters(checks, input.automaticParameters),
    timeout: checks.duration(input.timeout, ['timeout'], TIMEOUT_SECONDS),
    precomputable: input.precomputable ?? undefined,
    defaultReaction: input.defaultReaction ?? undefined,
    staticResponse: checks.text(input.staticResponse, ['staticResponse'], {
      min: 1,
      max: MAX_STATIC_RESPONSE,
    }),
  };
  /** The value that was sent, else the stored one unless it is cleared, else the default. */
  const merged = <Member extends keyof Defaults>(member: Member): Defaults[Member] => {
    const stored = input[member] === undefined ? base?.[member] : undefined;
    return sent[member] ?? stored ?? DEFAULTS[member];
  };
  const definition: ToolDefinition = {
    http: http ?? { url: '', method: 'GET' },
    dynamicParameters: merged('dynamicParameters'),
    staticParameters: merged('staticParameters'),
    automaticParameters: merged('automaticParameters'),
    authentication: authentication?.entries ?? base?.authentication ?? [],
    authenticationRevision: base?.authenticationRevision ?? 1,
    timeout: merged('timeout'),
    precomputable: merged('precomputable'),
    defaultReaction: merged('defaultReaction'),
    staticResponse: merged('staticResponse'),
  };
  checkConsistency(checks, definition, existing !== 'UNKNOWN' && http !== undefined);
  return { definition, tokens: authentication?.tokens ?? null };
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
  if (http.url.includes('?') || http.url.includes('#')) {
    checks.add(
      'INVALID_INPUT',
      '`http.url` must not have a query string or fragment. Use parameters with the location QUERY, and `authentication` for keys.',
      path,
    );
  }
  if (checks.problems.length > before) return undefined;
  const url = checkTemplate(checks, http.url, path, allowPrivate);
  return url === undefined ? undefined : { url, method: http.method ?? base?.http.method ?? 'GET' };
}

/**
 * Returns the URL as parsed, with its placeholders as they were sent. Exactly what was checked is stored, so that no
 * other parser finds a different host in it.
 */
function checkTemplate(
  checks: Checks,
  template: string,
  path: ProblemPath,
  allowPrivate: boolean,
): string | undefined {
  // A URL cannot contain the braces of a placeholder, so any digit stands in for it.
  const filled = template.replace(PLACEHOLDER, '0');
  if (checks.url(filled, path, { allowPrivate, max: MAX_URL }) === undefined) return undefined;
  const placeholders: string[] = [];
  // Parsing does not change this text, and no URL contains it already.
  const mark = randomUUID();
  const marked = template.replace(
    PLACEHOLDER,
    (placeholder) => `${mark}.${placeholders.push(placeholder) - 1}.`,
  );
  const url = URL.parse(marked);
  // Only the scheme and the host precede the path: `checks.url` accepts neither user nor password.
  if (!url || `${url.protocol}${url.host}`.includes(mark)) {
    return checks.add(
      'INVALID_INPUT',
      '`http.url` may have {placeholders} only in its path.',
      path,
    );
  }
  return url.href.replace(
    new RegExp(`${mark}\\.(\\d+)\\.`, 'g'),
    (text, index) => placeholders[Number(index)] ?? text,
  );
}
