/** Maximum lengths of list inputs: stated in descriptions, enforced before anything runs. */
import {
  type GraphQLArgument,
  type GraphQLInputField,
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
import { statementsOf } from '../../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../../support/servers/server.ts';

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
    const statements = await statementsOf(server.app, async () => {
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
