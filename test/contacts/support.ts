/** Contacts made through GraphQL. */

import { perform } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';

export interface Refusal {
  code: string;
  message: string;
  path: (string | number)[];
  details?: Record<string, unknown>;
}

export async function createFolder(client: GraphQLClient, name = 'Leads'): Promise<string> {
  const payload = await perform(client, 'createContactFolder', { name }, 'contactFolder { id }');
  return payload.contactFolder.id;
}

export async function createContact(
  client: GraphQLClient,
  input: Record<string, unknown>,
  fields = 'id',
) {
  return (await perform(client, 'createContact', input, `contact { ${fields} }`)).contact;
}

/** The payload of a mutation, errors included. */
export async function attempt(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  fields = '__typename',
  headers: Record<string, string> = {},
) {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} userErrors { code message path details } } }`,
    { input },
    { headers },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data[name];
}

/** What a mutation is refused for. */
export async function refusals(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
): Promise<Refusal[]> {
  return (await attempt(client, name, input)).userErrors;
}

/** Code and path of each, to compare whole lists. */
export function brief(errors: readonly Refusal[]): string[] {
  return errors.map(({ code, path }) => `${code} ${path.join('.')}`);
}
