/** The recipe of docs/live.md for the normalized cache of Apollo Client. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type ApolloClient, gql } from '@apollo/client';
import { buildSchema, isObjectType } from 'graphql';
import { describe, expect, it } from 'vitest';
import { createApolloClient } from '../../docs/live/apollo.ts';
import { createCache, removeFromCache, typePolicies } from '../../docs/live/apollo-cache.ts';
import { possibleTypesOf } from '../../docs/live/possible-types.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { recordStatements } from '../support/queries.ts';
import { until } from '../support/wait.ts';
import { caller, eventCursor, me, server, useLiveServer, wholeCall } from './support.ts';

const root = path.resolve(import.meta.dirname, '../..');
const schemaText = await readFile(path.join(root, 'schema.graphql'), 'utf8');

useLiveServer();

const CALLS = gql`
  query Calls($first: Int, $after: String, $filter: CallFilter) {
    calls(first: $first, after: $after, filter: $filter) {
      edges { cursor node { id status } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;
const CALL = gql`query Call($id: ID!) { call(id: $id) { id status } }`;
const NODE = gql`query Node($id: ID!) { node(id: $id) { id ... on Call { status } } }`;
const FOLLOW = gql`
  subscription Follow($after: Cursor) {
    callEvents(after: $after) { cursor type callId call { id status } }
  }
`;

type FieldEntry = [string, { keyArgs?: string[] }];

function newClient(key = me.key): ApolloClient {
  return createApolloClient({
    url: `${me.url}/graphql`,
    getToken: async () => key,
    cache: createCache(possibleTypesOf(schemaText)),
  });
}

interface Listed {
  calls: { edges: { node: { id: string; status: string } }[]; pageInfo: { endCursor: string } };
}

function listed(client: ApolloClient, variables: object): { id: string; status: string }[] {
  const data = client.readQuery<Listed>({ query: CALLS, variables });
  return data!.calls.edges.map(({ node }) => node);
}

describe('the recipe for a normalized cache', () => {
  it('joins the pages of a list, and keeps lists with other filters apart', async () => {
    const organization = await server.newOrganization();
    const from = await prepareCaller(organization.client);
    const ids: string[] = [];
    for (let made = 0; made < 3; made += 1) ids.unshift((await from.call()).id);
    const client = newClient(organization.client.key!);
    const query = client.watchQuery<Listed>({ query: CALLS, variables: { first: 2 } });
    let shown: Listed['calls'] | undefined;
    const showing = query.subscribe(({ data }) => {
      shown = (data as Listed | undefined)?.calls;
    });
    const { pageInfo } = await until('the first page', () => shown);
    expect(shown?.edges).toHaveLength(2);
    const failed = { first: 2, filter: { status: ['FAILED'] } };
    await client.query({ query: CALLS, variables: failed });
    await query.fetchMore({ variables: { after: pageInfo.endCursor } });
    expect(listed(client, { first: 2 }).map(({ id }) => id)).toEqual(ids);
    await until('both pages', () => shown?.edges.length === 3);
    expect(listed(client, failed)).toEqual([]);
    showing.unsubscribe();
    client.stop();
  });

  it('answers for an object that a list has read, by call and by node', async () => {
    const id = await wholeCall();
    const client = newClient();
    await client.query({ query: CALLS, variables: { first: 2 } });
    const statements = await recordStatements(server.app, async () => {
      for (const [query, field] of [
        [CALL, 'call'],
        [NODE, 'node'],
      ] as const) {
        const { data } = await client.query<Record<string, object>>({ query, variables: { id } });
        expect(data?.[field]).toMatchObject({ __typename: 'Call', id, status: 'COMPLETED' });
      }
    });
    expect(statements.filter((statement) => /\bcalls\b/.test(statement))).toEqual([]);
    const unknown = await client.query<{ call: null }>({
      query: CALL,
      variables: { id: `cal_${crypto.randomUUID()}` },
    });
    expect(unknown.data).toEqual({ call: null });
    client.stop();
  });

  it('updates what is shown by events, and drops what was deleted', async () => {
    const client = newClient();
    const after = await eventCursor();
    const { id } = await caller.call();
    await client.query({ query: CALLS, variables: { first: 1 } });
    const types: string[] = [];
    const following = client
      .subscribe<{ callEvents: { type: string; callId: string } }>({
        query: FOLLOW,
        variables: { after },
      })
      .subscribe(({ data }) => {
        if (!data || data.callEvents.callId !== id) return;
        const { type } = data.callEvents;
        types.push(type);
        if (type === 'DELETED') removeFromCache(client.cache, [id]);
      });
    await until('the end in the list', () =>
      listed(client, { first: 1 }).some((call) => call.id === id && call.status === 'COMPLETED'),
    );
    await until('the bill', () => types.includes('BILLED'));
    await runMutation(server.client, 'deleteCalls', { ids: [id] }, 'deletedCallIds');
    await until('the deletion in the list', () => types.includes('DELETED'));
    expect(listed(client, { first: 1 })).toEqual([]);
    following.unsubscribe();
    client.stop();
  });

  it('names types and fields of the schema', () => {
    const schema = buildSchema(schemaText);
    for (const [name, policy] of Object.entries(typePolicies)) {
      const type = schema.getType(name);
      if (!isObjectType(type)) throw new Error(`${name} is no type`);
      const fields = type.getFields();
      for (const [field, { keyArgs }] of Object.entries(policy.fields ?? {}) as FieldEntry[]) {
        const args = fields[field]?.args.map((argument) => argument.name);
        expect(args, `${name}.${field}`).toEqual(
          expect.arrayContaining(keyArgs === undefined ? ['id'] : [...keyArgs, 'after', 'before']),
        );
      }
      for (const key of (policy.keyFields ?? []) as string[]) expect(fields).toHaveProperty(key);
    }
    expect(possibleTypesOf(schemaText)).toEqual({
      Node: expect.arrayContaining(['Agent', 'Call', 'Campaign', 'Contact']),
    });
  });

  it('stands in the guide as it is tested', async () => {
    const guide = await readFile(path.join(root, 'docs/live.md'), 'utf8');
    for (const name of ['possible-types', 'apollo-cache']) {
      const code = await readFile(path.join(root, 'docs/live', `${name}.ts`), 'utf8');
      expect(guide).toContain(`\`\`\`ts\n// ${name}.ts\n${code}\`\`\`\n`);
    }
  });
});
