/** Creates contacts through GraphQL. */
import { expect } from 'vitest';
import type { PersonField } from '../../src/contacts/person-columns.ts';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';

/** A value of every field about a person, as it is stored. */
export const ADA = {
  phoneNumber: '+14155550199',
  firstName: 'Ada',
  lastName: 'Lovelace',
  email: 'ada@example.com',
  companyName: 'Analytical Engines',
  industry: 'Computing',
  location: 'London',
  pinCode: 'W1',
  keywords: 'first, poet',
  timezone: 'Europe/London',
  metadata: { plan: 'gold' },
} as const satisfies Record<PersonField, unknown>;

export interface Refusal {
  code: string;
  message: string;
  path: (string | number)[];
  retryAt?: string | null;
  details?: Record<string, unknown>;
}

export async function createFolder(client: GraphQLClient, name = 'Leads'): Promise<string> {
  const payload = await runMutation(
    client,
    'createContactFolder',
    { name },
    'contactFolder { id }',
  );
  return payload.contactFolder.id;
}

export async function createContact(
  client: GraphQLClient,
  input: Record<string, unknown>,
  fields = 'id',
) {
  return (await runMutation(client, 'createContact', input, `contact { ${fields} }`)).contact;
}

/** The payload of a mutation, with its `userErrors`. `selection` is the fields, also with headers to send. */
export async function attempt(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  selection: string | { fields: string; headers: Record<string, string> } = '__typename',
) {
  const { fields, headers } =
    typeof selection === 'string' ? { fields: selection, headers: {} } : selection;
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} userErrors { code message path retryAt details } } }`,
    { input },
    { headers },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data[name];
}

/** The `userErrors` of a mutation. */
export async function refusals(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
): Promise<Refusal[]> {
  return (await attempt(client, name, input)).userErrors;
}

/** Code and path of each error. */
export function brief(errors: readonly Refusal[]): string[] {
  return errors.map(({ code, path }) => `${code} ${path.join('.')}`);
}

/** Number of contacts in a folder, as counted and as stored. */
export async function countOf(client: GraphQLClient, id: string): Promise<number> {
  const { data } = await client.send(
    'query ($id: ID!) { contactFolder(id: $id) { contactCount contacts { totalCount } } }',
    { id },
  );
  expect(data.contactFolder.contacts.totalCount).toBe(data.contactFolder.contactCount);
  return data.contactFolder.contactCount;
}

/** Contacts with consecutive phone numbers. */
export function rows(count: number, from = 0) {
  return Array.from({ length: count }, (_, index) => ({
    phoneNumber: `+1415${5_550_000 + from + index}`,
    firstName: `Row ${from + index}`,
  }));
}
