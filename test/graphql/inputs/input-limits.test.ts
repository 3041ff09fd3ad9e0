/** Input limits: the limits stated in descriptions are the ones that are enforced. */
import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputObjectType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CALL_EVENT_TYPES } from '../../../src/calls/events.ts';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { schema } from '../../../src/server/schema.ts';
import { createOneOfEach } from '../../support/one-of-each.ts';
import { recordStatements } from '../../support/queries.ts';
import { inputWith, leavesOf, mutations } from '../../support/schema/mutation-inputs.ts';
import { startApiBeside, startTestServer, type TestServer } from '../../support/servers/server.ts';

let main: TestServer;
let server: TestServer;

beforeAll(async () => {
  main = await startTestServer();
  server = await startApiBeside(main);
});
afterAll(async () => {
  await server?.close();
  await main?.close();
});

type InputElement = GraphQLArgument | GraphQLInputField;

function listElements(): [string, InputElement][] {
  const found: [string, InputElement][] = [];
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) {
        if (isListType(getNullableType(field.type))) found.push([`${type}.${field.name}`, field]);
      }
    }
    if (isObjectType(type)) {
      for (const field of Object.values(type.getFields())) {
        for (const arg of field.args) {
          if (isListType(getNullableType(arg.type))) {
            found.push([`${type}.${field.name}(${arg.name}:)`, arg]);
          }
        }
      }
    }
  }
  return found;
}

describe('list arguments', () => {
  it.each(listElements())('state their maximum in the description: %s', (_name, element) => {
    const maxItems = element.extensions.maxItems as number;
    expect(maxItems).toBeGreaterThan(0);
    const numbers = element.description!.match(/\d[\d,]*\d|\d|\bone\b/g) ?? [];
    expect(
      numbers.map((text) => (text === 'one' ? 1 : Number(text.replaceAll(',', '')))),
    ).toContain(maxItems);
  });
});

describe('a list that is too long', () => {
  const ids = (count: number) => Array.from({ length: count }, () => publicId('Call', newId()));
  const NODES = 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }';

  it.each<[string, string, object, string]>([
    ['nodes', NODES, { ids: ids(101) }, '`ids` has 101 items; it may have at most 100.'],
    [
      'an enum list as a variable',
      'query ($s: [CallStatus!]) { calls(filter: { status: $s }) { totalCount } }',
      { s: Array(2_000).fill('') },
      '`status` has 2,000 items; it may have at most 6.',
    ],
    [
      'a field of an input object as a variable',
      'query ($filter: CallFilter) { calls(filter: $filter) { totalCount } }',
      { filter: { status: Array(7).fill('FAILED') } },
      '`status` has 7 items',
    ],
    [
      'a literal',
      `query { calls(filter: { status: [${Array(7).fill('FAILED')}] }) { totalCount } }`,
      {},
      '`status` has 7 items',
    ],
    [
      'a default of a variable',
      `query ($s: [CallStatus!] = [${Array(7).fill('FAILED')}]) { calls(filter: { status: $s }) { totalCount } }`,
      {},
      '`status` has 7 items',
    ],
    [
      'an argument within a fragment',
      'query ($ids: [ID!]!) { ...F } fragment F on Query { nodes(ids: $ids) { id } }',
      { ids: ids(101) },
      '`ids` has 101 items',
    ],
    [
      'the input of a mutation',
      'mutation ($input: DeleteCallsInput!) { deleteCalls(input: $input) { deletedCallIds } }',
      { input: { ids: ids(101) } },
      '`ids` has 101 items',
    ],
    [
      'rows of a mutation',
      'mutation ($input: CreateContactsInput!) { createContacts(input: $input) { createdCount } }',
      { input: { folderId: publicId('ContactFolder', newId()), contacts: Array(1_001).fill({}) } },
      '`contacts` has 1,001 items',
    ],
    [
      'a oneOf member',
      'mutation ($input: DeleteContactsInput!) { deleteContacts(input: $input) { contactCount } }',
      { input: { contacts: { ids: Array(1_001).fill('x') } } },
      '`ids` has 1,001 items',
    ],
    [
      'knowledge bases of an agent',
      'mutation ($input: UpdateAgentInput!) { updateAgent(input: $input) { agent { id } } }',
      { input: { id: publicId('Agent', newId()), knowledgeBaseIds: ['a', 'b'] } },
      '`knowledgeBaseIds` has 2 items; it may have at most 1.',
    ],
  ])('is rejected before any statement: %s', async (_name, document, variables, message) => {
    const statements = await recordStatements(server.app, async () => {
      const answer = await server.client.send(document, variables);
      expect(answer.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
      expect(answer.errors?.[0]?.message).toContain(message);
      expect(answer.data ?? null).toBeNull();
    });
    expect(statements).toEqual([]);
  });

  it('is rejected in a subscription', async () => {
    const max = Object.keys(CALL_EVENT_TYPES).length;
    const answer = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.key}`,
        accept: 'text/event-stream',
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        query: 'subscription ($t: [CallEventType!]) { callEvents(types: $t) { cursor } }',
        variables: { t: Array(max + 1).fill('CREATED') },
      }),
    });
    expect(await answer.text()).toContain(
      `\`types\` has ${max + 1} items; it may have at most ${max}.`,
    );
  });

  it('is accepted up to its maximum', async () => {
    const answer = await server.client.send(NODES, { ids: ids(100) });
    expect(answer.errors).toBeUndefined();
    expect(answer.data.nodes).toHaveLength(100);
  });
});

interface Limit {
  /** Absent where the description names only a maximum. */
  min: string | undefined;
  max: string;
  /** A value right above the maximum. */
  above: unknown;
}

const NUMBER = String.raw`(\d[\d,.]*\d|\d)`;
const LENGTH = RegExp(
  `(?:${NUMBER} to |at most |up to )${NUMBER} (?:printable ASCII )?(?:characters|letters)`,
);
const RANGE = RegExp(`\\b${NUMBER} to ${NUMBER}\\b`);
const DURATION = /(?:`(\d+)s` to |up to )`(\d+)s`/;
const ENTRIES = RegExp(`(?:at most|up to) ${NUMBER}(?: keys|\\.)`);

function limitIn(type: string, description: string): Limit | null {
  const read = (pattern: RegExp, valueAbove: (max: number) => unknown): Limit | null => {
    const match = pattern.exec(description);
    if (!match) return null;
    const [, min, max = ''] = match.map((text) => text?.replaceAll(',', ''));
    return { min, max, above: valueAbove(Number(max)) };
  };
  switch (type) {
    case 'String':
    case 'LanguageTag':
      return read(LENGTH, (max) => 'x'.repeat(max + 1));
    case 'Url':
      return read(LENGTH, (max) => `https://example.com/${'x'.repeat(max)}`);
    case 'Int':
    case 'Float':
      return read(RANGE, (max) => max + 1);
    case 'Duration':
      return read(DURATION, (max) => `${max + 1}s`);
    case 'JSONObject': {
      const entries = ENTRIES.exec(description)?.[1];
      if (!entries) return null;
      const keys = Array.from({ length: Number(entries) + 1 }, (_, index) => [`k${index}`, '']);
      return { min: undefined, max: entries, above: Object.fromEntries(keys) };
    }
    default:
      return null;
  }
}

/** The numbers of a message before what it says of the value, without separators of thousands. */
function statedNumbers(message = ''): string[] {
  const [stated = ''] = message.split('; it ');
  return stated.replaceAll(/(?<=\d),(?=\d{3})/g, '').match(/\d[\d.]*\d|\d/g) ?? [];
}

const limited = mutations.flatMap(({ name, field, input }) =>
  leavesOf(input).flatMap((leaf) => {
    const limit = limitIn(getNamedType(leaf.field.type).name, leaf.field.description ?? '');
    return limit ? [{ name, field, input, path: leaf.path, limit }] : [];
  }),
);

describe('limits of inputs', () => {
  let ids: Record<string, string>;

  beforeAll(async () => {
    ids = await createOneOfEach(main, 'Limits');
  });

  it.each(
    limited.map((one) => [`${one.name} ${one.path.join('.')}`, one] as const),
  )('are as the description states: %s', async (_, { name, field, input, path, limit }) => {
    const sent = inputWith(input, ids, { path, value: limit.above });
    // The mapping of a file is read with the file alone.
    if (path[0] === 'mapping') sent[input.getFields().file ? 'file' : 'contactsFile'] = 'phone\n';
    const variables = { input: sent };
    const answer = await main.client.send(
      `mutation ($input: ${field.args[0]!.type}) { ${name}(input: $input) { userErrors { message path } } }`,
      variables,
    );
    const errors: { message: string; path: (string | number)[] }[] =
      answer.data?.[name]?.userErrors ?? [];
    const found = errors.filter((error) => error.path.join('.') === path.join('.'));
    expect(found, JSON.stringify(answer.errors ?? errors)).toHaveLength(1);
    const numbers = statedNumbers(found[0]?.message);
    expect(numbers).toContain(limit.max);
    if (limit.min !== undefined) expect(numbers).toContain(limit.min);
  });

  const forecast = schema.getType('CampaignForecastInput') as GraphQLInputObjectType;

  it.each(
    leavesOf(forecast).flatMap(({ path, field }) => {
      const limit = limitIn(getNamedType(field.type).name, field.description ?? '');
      return limit && path.length === 1 ? [[path[0], limit] as const] : [];
    }),
  )('are as the description states: campaignForecast %s', async (name, limit) => {
    const input = { campaignId: ids.Campaign, [name!]: limit.above };
    if (name === 'contactCount') delete (input as { campaignId?: string }).campaignId;
    const answer = await main.client.send(
      'query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { __typename } }',
      { input },
    );
    expect(statedNumbers(answer.errors?.[0]?.message)).toEqual([limit.min, limit.max]);
  });

  it('are stated for many fields', () => {
    expect(limited.length).toBeGreaterThan(100);
  });
});
