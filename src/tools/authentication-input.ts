/** Checks the authentication of a tool's request, and separates its tokens from the data that can be read. */
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import type { ToolAuthentication } from './definition.ts';

export const MAX_AUTHENTICATION = 5;
export const MAX_TOKEN = 4096;
/** A header name or an authentication scheme as allowed by HTTP. */
export const HTTP_TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;

type Maybe<T> = T | null | undefined;

/** Exactly one member is given. */
export interface AuthenticationInput {
  headerApiKey?: Maybe<{ name: string; value: string }>;
  queryApiKey?: Maybe<{ name: string; value: string }>;
  httpAuth?: Maybe<{ scheme: string; token: string }>;
}

export interface CheckedAuthentication {
  entries: ToolAuthentication[];
  /** Tokens by the `key` of the entry. */
  tokens: Record<string, string>;
}

export function isHeaderValue(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** Null removes all entries, like an empty list. Returns undefined if it was not sent. */
export function checkAuthentication(
  checks: Checks,
  inputs: Maybe<readonly AuthenticationInput[]>,
): CheckedAuthentication | undefined {
  if (inputs === undefined) return undefined;
  const checked: CheckedAuthentication = { entries: [], tokens: {} };
  for (const [index, input] of (inputs ?? []).entries()) {
    const entry = readEntry(input);
    if (!entry) {
      checks.add(
        'INVALID_INPUT',
        'Provide exactly one of `headerApiKey`, `queryApiKey` and `httpAuth`.',
        ['authentication', index],
      );
      continue;
    }
    const at = (member: string): ProblemPath => ['authentication', index, entry.member, member];
    const http = entry.kind === 'HTTP_AUTH';
    const namePath = at(http ? 'scheme' : 'name');
    if (!HTTP_TOKEN.test(entry.name)) {
      checks.add(
        'INVALID_INPUT',
        `\`${namePath.join('.')}\` must be 1 to 100 letters, digits or characters of "!#$%&'*+-.^_\`|~".`,
        namePath,
      );
    }
    const valuePath = at(http ? 'token' : 'value');
    const value = checks.text(entry.value, valuePath, { min: 1, max: MAX_TOKEN });
    if (value !== undefined && !isHeaderValue(value)) {
      checks.add('INVALID_INPUT', `\`${valuePath.join('.')}\` must be printable ASCII.`, valuePath);
    }
    const key = `auth${index + 1}`;
    checked.entries.push({ key, kind: entry.kind, name: entry.name });
    checked.tokens[key] = entry.value;
  }
  return checked;
}

function readEntry(input: AuthenticationInput) {
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
