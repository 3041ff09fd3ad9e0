import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { accepted } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/servers/server.ts';
import {
  addKnowledgeBase,
  addTool,
  anyVoice,
  change,
  fullAgent,
  read,
  remoteAgentsOf,
  send,
  uuidOf,
} from './support.ts';

let server: TestServer;
let voiceId: string;

beforeAll(async () => {
  server = await startTestServer();
  voiceId = await anyVoice(server, server.organizationId);
});
afterAll(() => server.close());

const basic = () => ({ name: 'Support', voiceId, systemPrompt: 'Help {{first_name}}.' });

describe('updateAgent', () => {
  it('changes only the fields that were sent', async () => {
    const { input } = await fullAgent(server, voiceId);
    const before = await change(server.client, 'createAgent', input);
    const after = await change(server.client, 'updateAgent', {
      id: before.id,
      temperature: 0.1,
      vadSettings: { turnEndpointDelay: '1s' },
      languageHint: null,
      model: null,
    });
    expect(after).toEqual({
      ...before,
      temperature: 0.1,
      languageHint: null,
      model: 'ultravox-v0.7',
      vadSettings: {
        turnEndpointDelay: '1s',
        minimumTurnDuration: null,
        minimumInterruptionDuration: null,
        frameActivationThreshold: null,
      },
    });
    const [remote] = await remoteAgentsOf(server, before.id);
    expect(remote?.callTemplate).toMatchObject({
      temperature: 0.1,
      vadSettings: { turnEndpointDelay: '1s' },
      systemPrompt: input.systemPrompt,
    });
    expect(remote?.callTemplate).not.toHaveProperty('languageHint');
    expect(remote?.callTemplate?.selectedTools).toHaveLength(4);
  });

  it('resets optional fields and rejects null for required ones', async () => {
    const { input } = await fullAgent(server, voiceId);
    const { id } = await change(server.client, 'createAgent', input);
    const refused = await send(server.client, 'updateAgent', {
      id,
      name: null,
      voiceId: null,
      systemPrompt: null,
    });
    expect(refused.userErrors.map(({ code, path }) => [path[0], code])).toEqual([
      ['name', 'REQUIRED'],
      ['voiceId', 'REQUIRED'],
      ['systemPrompt', 'REQUIRED'],
    ]);
    const cleared = await change(server.client, 'updateAgent', {
      id,
      toolIds: null,
      knowledgeBaseIds: [],
      greetingSettings: null,
      inactivityMessages: null,
      builtInConfig: null,
      extractionSchema: null,
      crmWebhookSecret: null,
    });
    expect(cleared).toMatchObject({
      tools: [],
      knowledgeBases: [],
      greetingSettings: null,
      inactivityMessages: [],
      builtInConfig: null,
      extractionSchema: null,
      hasCrmWebhookSecret: false,
      crmWebhookUrl: input.crmWebhookUrl,
    });
  });

  it('keeps the order of toolIds', async () => {
    const made = await Promise.all(
      ['a_tool', 'b_tool', 'c_tool'].map((name) => addTool(server, server.organizationId, name)),
    );
    const [a, b, c] = made as [string, string, string];
    const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [b, a, c] });
    expect(agent.tools.map((tool: { id: string }) => tool.id)).toEqual([b, a, c]);
    const after = await change(server.client, 'updateAgent', { id: agent.id, toolIds: [c, b] });
    expect(after.tools.map((tool: { id: string }) => tool.id)).toEqual([c, b]);
  });

  it('changes nothing when no field is sent', async () => {
    const agent = await change(server.client, 'createAgent', basic());
    const where = { id: uuidOf(agent.id) };
    const before = await server.app.db.agent.findUniqueOrThrow({ where });
    expect(await change(server.client, 'updateAgent', { id: agent.id })).toEqual(agent);
    expect(await server.app.db.agent.findUniqueOrThrow({ where })).toEqual(before);
  });

  it('reports an unknown agent together with invalid fields', async () => {
    const { userErrors } = await send(server.client, 'updateAgent', {
      id: publicId('Agent', newId()),
      temperature: 2,
    });
    expect(userErrors.map(({ code, path }) => [path[0], code])).toEqual([
      ['temperature', 'INVALID_INPUT'],
      ['id', 'NOT_FOUND'],
    ]);
  });
});

describe('replaceAgent', () => {
  it('resets fields that are not sent to their defaults', async () => {
    const { input } = await fullAgent(server, voiceId);
    const { id } = await change(server.client, 'createAgent', input);
    const plain = await change(server.client, 'createAgent', { ...basic(), name: 'Other' });
    const replaced = await change(server.client, 'replaceAgent', { id, ...basic(), name: 'Other' });
    expect(replaced).toEqual({ ...plain, id });
  });
});

describe('deleteAgent', () => {
  it('returns the id of the deleted agent', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const DELETE = `mutation ($id: ID!) {
      deleteAgent(input: { id: $id }) { deletedAgentId agent { id } userErrors { code } } }`;
    const gone = await server.client.send(DELETE, { id });
    expect(gone.data.deleteAgent).toEqual({ deletedAgentId: id, agent: { id }, userErrors: [] });
    const again = await server.client.send(DELETE, { id });
    expect(again.data.deleteAgent).toMatchObject({ deletedAgentId: null, agent: null });
  });

  it('removes the agent here and at Ultravox and unassigns its numbers', async () => {
    const { input } = await fullAgent(server, voiceId);
    const { id } = await change(server.client, 'createAgent', input);
    const agentId = uuidOf(id);
    const number = await server.app.db.phoneNumber.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        phoneNumber: '+14155550188',
        provider: 'SIP',
        inboundAgentId: agentId,
        outboundAgentId: agentId,
      },
    });
    const gone = await change(server.client, 'deleteAgent', { id });
    expect(gone).toMatchObject({ id, tools: [], deletedAt: expect.any(String) });
    expect(gone).toMatchObject({ status: 'DELETED', isInSync: true });
    expect(await read(server.client, id)).toBeNull();
    expect(await remoteAgentsOf(server, id)).toEqual([]);
    expect(
      await server.app.db.phoneNumber.findUniqueOrThrow({ where: { id: number.id } }),
    ).toMatchObject({ inboundAgentId: null, outboundAgentId: null });
    const again = await send(server.client, 'deleteAgent', { id });
    expect(again.userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    const late = await send(server.client, 'updateAgent', { id, name: 'Late' });
    expect(late.userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    // Calls of the agent still refer to it.
    const NODE = 'query ($id: ID!) { node(id: $id) { ... on Agent { id status isInSync } } }';
    const { data } = await server.client.send(NODE, { id });
    expect(data.node).toEqual({ id, status: 'DELETED', isInSync: true });
  });

  it('rejects an agent with a call that has not ended', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const call = await server.app.db.call.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        agentId: uuidOf(id),
        direction: 'OUTBOUND',
        medium: 'WEBRTC',
        status: 'IN_PROGRESS',
        ...accepted(),
        maxDurationSeconds: 3600,
        joinTimeoutSeconds: 30,
      },
    });
    const refused = await send(server.client, 'deleteAgent', { id });
    expect(refused.userErrors).toMatchObject([
      { code: 'INVALID_STATE', details: { callIds: [publicId('Call', call.id)] } },
    ]);
    await server.app.db.call.update({
      where: { id: call.id },
      data: { status: 'COMPLETED', endedAt: new Date() },
    });
    expect((await change(server.client, 'deleteAgent', { id })).deletedAt).not.toBeNull();
  });

  it('returns the same result when it is repeated under its idempotency key after a crash', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const headers = { 'x-idempotency-key': randomUUID() };
    await send(server.client, 'deleteAgent', { id }, headers);
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseId: null, leaseUntil: null },
    });
    const rerun = await send(server.client, 'deleteAgent', { id }, headers);
    expect(rerun.userErrors).toEqual([]);
    expect(rerun.agent.id).toBe(id);
  });
});

describe('agents', () => {
  it('filters, sorts and counts', async () => {
    const other = await server.newOrganization();
    const voice = await anyVoice(server, other.id);
    for (const name of ['Beta 100%', 'alpha', 'Gamma']) {
      await change(other.client, 'createAgent', { name, voiceId: voice, systemPrompt: 'Hi' });
    }
    const list = async (args: string) => {
      const answer = await other.client.send(
        `{ agents${args} { totalCount nodes { name } pageInfo { hasNextPage } } }`,
      );
      expect(answer.errors).toBeUndefined();
      const { totalCount, nodes } = answer.data.agents;
      return [totalCount, ...nodes.map((node: { name: string }) => node.name)];
    };
    expect(await list('')).toEqual([3, 'Gamma', 'alpha', 'Beta 100%']);
    expect(await list('(first: 1, orderBy: {field: CREATED_AT, direction: ASC})')).toEqual([
      3,
      'Beta 100%',
    ]);
    expect(await list('(filter: {name: "ALP"})')).toEqual([1, 'alpha']);
    expect(await list('(filter: {name: "0%"})')).toEqual([1, 'Beta 100%']);
    expect(await list('(filter: {name: "a%a"})')).toEqual([0]);
    expect(await list('(filter: {status: FAILED})')).toEqual([0]);
    expect(await list('(filter: {status: [FAILED, ACTIVE]}, first: 1)')).toEqual([3, 'Gamma']);
    expect(await list('(filter: {status: []}, first: 1)')).toEqual([3, 'Gamma']);
    expect(await list('(filter: {status: [DELETED]})')).toEqual([0]);
    expect((await list('(orderBy: {field: NAME, direction: DESC}, first: 2)')).length).toBe(3);
  });

  it('filters by voice, tool and knowledge base, which objects in use are found by', async () => {
    const used = await addTool(server, server.organizationId, 'used');
    const unused = await addTool(server, server.organizationId, 'unused');
    const { id: knowledgeBase } = await addKnowledgeBase(server, server.organizationId);
    const name = 'With everything';
    const agent = await change(server.client, 'createAgent', {
      ...basic(),
      name,
      toolIds: [used],
      knowledgeBaseIds: [knowledgeBase],
    });
    const found = async (filter: Record<string, string>) => {
      const { data } = await server.client.send(
        'query ($filter: AgentFilter) { agents(filter: $filter) { totalCount nodes { id } } }',
        { filter },
      );
      return data.agents;
    };
    const one = { totalCount: 1, nodes: [{ id: agent.id }] };
    expect(await found({ toolId: used })).toEqual(one);
    expect(await found({ knowledgeBaseId: knowledgeBase })).toEqual(one);
    expect(await found({ voiceId, name, toolId: used })).toEqual(one);
    const none = { totalCount: 0, nodes: [] };
    expect(await found({ toolId: unused })).toEqual(none);
    expect(await found({ voiceId: publicId('Voice', newId()), name })).toEqual(none);
    const wrong = await server.client.send(
      `{ agents(filter: { toolId: "${agent.id}" }) { totalCount } }`,
    );
    expect(wrong.errors?.[0]).toMatchObject({
      message: expect.stringContaining('expected the ID of a Tool'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
  });

  it('is readable with a READ key, which cannot delete', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const made = await server.client.send(
      'mutation { createApiKey(input: { name: "Reader", scopes: [READ] }) { key } }',
    );
    const reader = createClient(server.url, made.data.createApiKey.key);
    expect(await read(reader, id)).toMatchObject({ id });
    const answer = await reader.send(
      'mutation ($input: DeleteAgentInput!) { deleteAgent(input: $input) { agent { id } } }',
      { input: { id } },
    );
    expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    expect(await read(server.client, id)).not.toBeNull();
  });

  it('hides the agents of another organization and rejects changes to them', async () => {
    const { input } = await fullAgent(server, voiceId);
    const agent = await change(server.client, 'createAgent', input);
    const other = await server.newOrganization();
    expect(await read(other.client, agent.id)).toBeNull();
    const node = await other.client.send('query ($id: ID!) { node(id: $id) { id } }', {
      id: agent.id,
    });
    expect([node.data?.node, node.errors]).toEqual([null, undefined]);
    for (const name of ['updateAgent', 'deleteAgent', 'retryAgentSync'] as const) {
      const { userErrors } = await send(other.client, name, { id: agent.id });
      expect(userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    }
    const borrowed = await send(other.client, 'createAgent', input);
    expect(borrowed.userErrors.map(({ path }) => path[0])).toEqual([
      'voiceId',
      'toolIds',
      'knowledgeBaseIds',
    ]);
    expect(await read(server.client, agent.id)).toEqual(agent);
  });

  it('takes a number of statements that does not grow with the list', async () => {
    const one = await server.newOrganization();
    const many = await server.newOrganization();
    const query = `{ agents { totalCount nodes {
      id voice { id name } tools { id name } knowledgeBases { id name }
    } } }`;
    for (const [organization, size] of [
      [one, 1],
      [many, 6],
    ] as const) {
      const voice = await anyVoice(server, organization.id);
      for (let index = 0; index < size; index += 1) {
        const { id: knowledgeBaseId } = await addKnowledgeBase(server, organization.id);
        await change(organization.client, 'createAgent', {
          name: `Agent ${index}`,
          voiceId: voice,
          systemPrompt: 'Hi',
          toolIds: [await addTool(server, organization.id, `tool_${index}`)],
          knowledgeBaseIds: [knowledgeBaseId],
        });
      }
    }
    const api = await startApiBeside(server);
    const cost = ({ key }: { key: string }) =>
      countQueries(api.app, async () => {
        const answer = await createClient(api.url, key).send(query);
        expect(answer.errors).toBeUndefined();
      });
    const costOfOne = await cost(one);
    expect(costOfOne).toBeGreaterThan(0);
    expect(await cost(many)).toBe(costOfOne);
    await api.close();
  });
});
