/** Lists of the agents that use a voice, a tool or a knowledge base. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { createClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';
import { addKnowledgeBase, addTool, anyVoice, change, uuidOf } from './support.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Organization = Awaited<ReturnType<TestServer['newOrganization']>>;

/** Another object each time, and the input of an agent that uses it. */
const USED: Record<string, (organization: Organization) => Promise<Record<string, unknown>>> = {
  async Voice({ id: organizationId }) {
    const any = await anyVoice(server, organizationId);
    const { id } = await server.app.db.voice.findFirstOrThrow({
      where: { organizationId, id: { not: uuidOf(any) }, agents: { none: {} } },
    });
    return { voiceId: publicId('Voice', id) };
  },
  async Tool({ id }) {
    return { toolIds: [await addTool(server, id, 'lookUp')] };
  },
  async KnowledgeBase({ id }) {
    return { knowledgeBaseIds: [(await addKnowledgeBase(server, id)).id] };
  },
};

const idOf = (input: Record<string, unknown>) => Object.values(input).flat()[0] as string;

describe.each(Object.keys(USED))('%s.agents', (type) => {
  const AGENTS = `query ($ids: [ID!]!, $filter: AgentFilter, $orderBy: AgentOrder) {
    nodes(ids: $ids) { ... on ${type} { agents(filter: $filter, orderBy: $orderBy) {
      totalCount nodes { name voice { id } } pageInfo { hasPreviousPage endCursor }
    } } }
  }`;

  /** The id of an object that agents with these names use, and one that was deleted. */
  async function usedBy(organization: Organization, names: readonly string[]): Promise<string> {
    const voiceId = await anyVoice(server, organization.id);
    const use = await USED[type]!(organization);
    for (const name of ['Deleted', ...names]) {
      const input = { name, voiceId, systemPrompt: 'Hi', ...use };
      const { id } = await change(organization.client, 'createAgent', input);
      if (name === 'Deleted') await change(organization.client, 'deleteAgent', { id });
    }
    return idOf(use);
  }

  it('lists, filters, sorts and counts the agents that use the object', async () => {
    const organization = await server.newOrganization();
    const ids = [
      await usedBy(organization, ['Beta', 'Alpha', 'Gamma']),
      await usedBy(organization, ['Alpha']),
    ];
    const list = async (variables: object = {}) => {
      const { errors, data } = await organization.client.send(AGENTS, { ids, ...variables });
      expect(errors).toBeUndefined();
      return data.nodes.map(({ agents }: { agents: { totalCount: number; nodes: [] } }) => [
        agents.totalCount,
        ...agents.nodes.map(({ name }) => name),
      ]);
    };
    expect(await list()).toEqual([
      [3, 'Gamma', 'Alpha', 'Beta'],
      [1, 'Alpha'],
    ]);
    expect(await list({ orderBy: { field: 'NAME', direction: 'ASC' } })).toEqual([
      [3, 'Alpha', 'Beta', 'Gamma'],
      [1, 'Alpha'],
    ]);
    expect(await list({ filter: { name: 'beta' } })).toEqual([[1, 'Beta'], [0]]);
    expect(await list({ filter: { status: ['FAILED'] } })).toEqual([[0], [0]]);
  });

  it('takes a number of statements that does not grow with the objects', async () => {
    const organization = await server.newOrganization();
    const ids: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      ids.push(await usedBy(organization, ['First', 'Second', 'Third'].slice(0, index)));
    }
    const api = await startApiBeside(server);
    const client = createClient(api.url, organization.key);
    const costOf = (some: string[]) =>
      countQueries(api.app, async () => {
        const answer = await client.send(AGENTS, { ids: some, filter: { name: 'r' } });
        expect(answer.errors).toBeUndefined();
      });
    const costOfOne = await costOf(ids.slice(1, 2));
    expect(costOfOne).toBeGreaterThan(0);
    expect(await costOf(ids)).toBe(costOfOne);
    await api.close();
  });

  it('has the cost of a list', async () => {
    const organization = await server.newOrganization();
    const id = await usedBy(organization, []);
    const read = async (first: number, fields: string) => {
      const node = `... on ${type} { agents(first: ${first}) { nodes { ${fields} } } }`;
      const { errors } = await organization.client.send(`{ node(id: "${id}") { ${node} } }`);
      return errors?.[0]?.extensions.code;
    };
    const calls = 'campaigns(first: 100) { nodes { calls(first: 100) { nodes { id } } } }';
    expect(await read(1, calls)).toBeUndefined();
    expect(await read(100, calls)).toBe('QUERY_TOO_COSTLY');
    expect(await read(101, 'id')).toBe('BAD_USER_INPUT');
  });
});
