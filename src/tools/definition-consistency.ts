/** Checks the parts of a tool definition against each other, whichever of them were sent. */
import type { Checks } from '../infra/checks.ts';
import type { ToolAuthentication, ToolDefinition } from './definition.ts';
import { type NamedParameter, nameAndLocation } from './parameter-input.ts';

/** A placeholder such as `{orderId}` in a URL. */
export const PLACEHOLDER = /\{([^{}]*)\}/g;

const PARAMETER_LISTS = ['dynamicParameters', 'staticParameters', 'automaticParameters'] as const;

interface ListedParameter extends NamedParameter {
  member: (typeof PARAMETER_LISTS)[number];
  index: number;
}

/** @param hasUrl false if the URL and method are unknown, so that nothing is checked against them. */
export function checkConsistency(
  checks: Checks,
  definition: ToolDefinition,
  hasUrl: boolean,
): void {
  const parameters: ListedParameter[] = PARAMETER_LISTS.flatMap((member) =>
    definition[member].map((parameter, index) => ({
      ...nameAndLocation(parameter),
      member,
      index,
    })),
  );
  const seen = new Set<string>();
  for (const parameter of parameters) {
    const { name, location, member, index } = parameter;
    if (seen.has(name)) {
      checks.add(
        'INVALID_INPUT',
        `Another parameter is also named "${name}". Names must be unique across all kinds and locations.`,
        [member, index, 'name'],
      );
    }
    seen.add(name);
    if (location === 'BODY' && definition.http.method === 'GET' && hasUrl) {
      checks.add(
        'INVALID_INPUT',
        `A GET request has no body. Give "${name}" another location, or use another method.`,
        [member, index, 'location'],
      );
    }
    if (definition.authentication.some((entry) => occupies(entry, parameter))) {
      checks.add(
        'INVALID_INPUT',
        `"${name}" is already sent by \`authentication\`. Remove the parameter.`,
        [member, index, 'name'],
      );
    }
  }
  checkAuthenticationPlaces(checks, definition.authentication);
  if (hasUrl) checkPlaceholders(checks, definition.http.url, parameters);
}

/** Whether the authentication sends the header or query parameter that the parameter would set. */
function occupies(entry: ToolAuthentication, { location, name }: NamedParameter): boolean {
  if (entry.kind === 'QUERY_API_KEY') return location === 'QUERY' && entry.name === name;
  const header = entry.kind === 'HTTP_AUTH' ? 'authorization' : entry.name.toLowerCase();
  return location === 'HEADER' && header === name.toLowerCase();
}

function checkAuthenticationPlaces(checks: Checks, entries: readonly ToolAuthentication[]): void {
  const places = entries.map((entry) =>
    entry.kind === 'HTTP_AUTH'
      ? 'HEADER_API_KEY authorization'
      : `${entry.kind} ${entry.name.toLowerCase()}`,
  );
  if (new Set(places).size === places.length) return;
  checks.add('INVALID_INPUT', '`authentication` sets the same header or query parameter twice.', [
    'authentication',
  ]);
}

function checkPlaceholders(
  checks: Checks,
  url: string,
  parameters: readonly ListedParameter[],
): void {
  const placeholders = new Set([...url.matchAll(PLACEHOLDER)].map((match) => match[1] ?? ''));
  const inPath = parameters.filter(({ location }) => location === 'PATH');
  for (const name of placeholders) {
    if (inPath.some((parameter) => parameter.name === name)) continue;
    checks.add(
      'INVALID_INPUT',
      `\`http.url\` has the placeholder {${name}}, but no parameter of that name has the location PATH.`,
      ['http', 'url'],
    );
  }
  for (const { name, member, index } of inPath) {
    if (placeholders.has(name)) continue;
    checks.add(
      'INVALID_INPUT',
      `\`http.url\` has no placeholder for the PATH parameter "${name}". Add {${name}} to its path.`,
      [member, index, 'location'],
    );
  }
}
