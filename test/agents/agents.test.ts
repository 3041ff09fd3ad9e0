import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crmWebhookSecretOf } from '../../src/agents/service.ts';
import { newId, publicId } from '../../src/infra/ids.ts';
import { createClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startApiBeside, startTestServer, type TestServer } from '../support/server.ts';
import {
  addKnowledgeBase,
  addTool,
  anyVoice,
  change,
  copiesOf,
  read,
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

async function everything() {
  const toolId = await addTool(server, server.organizationId, `lookUp_${newId().slice(-8)}`);
  const { id: knowledgeBaseId, corpusId } = await addKnowledgeBase(server, server.organizationId);
  const input = {
    ...basic(),
    description: 'For tests',
    model: 'ultravox-v0.6',
    toolIds: [toolId],
    knowledgeBaseIds: [knowledgeBaseId],
    temperature: 0.7,
    recordingEnabled: true,
    languageHint: 'es-MX',
    joinTimeout: '20s',
    maxDuration: '900s',
    timeExceededMessage: 'Time is up, {{first_name}}.',
    greetingSettings: { firstSpeaker: 'USER', text: 'Hello?', delay: '4s', uninterruptible: false },
    inactivityMessages: [{ duration: '10s', message: 'There?', endBehavior: 'HANG_UP_STRICT' }],
    vadSettings: {
      turnEndpointDelay: '0.5s',
      minimumTurnDuration: '0s',
      minimumInterruptionDuration: '0.2s',
      frameActivationThreshold: 0.2,
    },
    builtInConfig: {
      transfer: { cold: true, warm: false, target: '+14155550123' },
      hangUp: true,
      leaveVoicemail: false,
    },
    successCriteria: 'The caller is happy.',
    extractionSchema: { type: 'object', properties: { day: { type: 'string' } } },
    crmWebhookUrl: 'https://example.com/crm',
    crmWebhookSecret: 'a secret for the webhook',
  };
  return { input, toolId, knowledgeBaseId, corpusId };
}

describe('createAgent', () => {
  test('needs a name, a voice and a prompt, and fills in the defaults', async () => {
    const agent = await change(server.client, 'createAgent', basic());
    expect(agent).toMatchObject({
      id: expect.stringMatching(/^agt_/),
      name: 'Support',
      systemPrompt: 'Help {{first_name}}.',
      model: 'ultravox-v0.7',
      temperature: 0.3,
      recordingEnabled: false,
      description: null,
      joinTimeout: null,
      greetingSettings: null,
      inactivityMessages: [],
      builtInConfig: null,
      hasCrmWebhookSecret: false,
      tools: [],
      knowledgeBases: [],
      voice: { id: voiceId },
      status: 'ACTIVE',
      syncError: null,
      isInSync: true,
      deletedAt: null,
    });
    const [copy, ...more] = await copiesOf(server, agent.id);
    expect(more).toEqual([]);
    expect(copy?.name).toBe(`Support_${agent.id}`);
    expect(copy?.callTemplate).toMatchObject({ temperature: 0.3, model: 'ultravox-v0.7' });
  });

  test('keeps every field, and brings those that matter in calls to Ultravox', async () => {
    const { input, toolId, knowledgeBaseId, corpusId } = await everything();
    const agent = await change(server.client, 'createAgent', input);
    const { voiceId: _v, toolIds: _t, knowledgeBaseIds: _k, crmWebhookSecret, ...rest } = input;
    expect(agent).toMatchObject({
      ...rest,
      hasCrmWebhookSecret: true,
      syncError: null,
      status: 'ACTIVE',
      voice: { id: voiceId },
      tools: [{ id: toolId }],
      knowledgeBases: [{ id: knowledgeBaseId }],
    });
    const [copy] = await copiesOf(server, agent.id);
    const row = await server.app.db.agent.findUniqueOrThrow({
      where: { id: uuidOf(agent.id) },
      include: { voice: true, tools: { include: { tool: true } } },
    });
    expect(copy?.callTemplate).toMatchObject({
      systemPrompt: input.systemPrompt,
      voice: row.voice.ultravoxId,
      languageHint: 'es-MX',
      firstSpeakerSettings: { user: { fallback: { delay: '4s', text: 'Hello?' } } },
      inactivityMessages: [{ endBehavior: 'END_BEHAVIOR_HANG_UP_STRICT' }],
      selectedTools: [
        { toolId: row.tools[0]?.tool.ultravoxId },
        { toolName: 'queryCorpus', parameterOverrides: { corpus_id: corpusId } },
        { toolName: 'hangUp' },
        { toolName: 'coldTransfer', parameterOverrides: { target: '+14155550123' } },
      ],
    });
    expect(row.crmWebhookSecret).not.toContain(crmWebhookSecret);
    expect(crmWebhookSecretOf(server.app, row)).toBe(crmWebhookSecret);
    const asked = server.simulator.requests().filter(({ path }) => path === '/api/agents');
    expect(asked.flatMap(({ ignoredMembers }) => ignoredMembers)).toEqual([]);
  });

  test('names everything that is wrong in one answer', async () => {
    const { userErrors, agent } = await send(server.client, 'createAgent', {
      name: ' ',
      voiceId: 'tol_0198a7c2-0000-7000-8000-000000000001',
      systemPrompt: 'Hi {{#vip}}there',
      model: 'gpt-4',
      toolIds: [publicId('tol', newId()), 'nonsense'],
      knowledgeBaseIds: [publicId('knb', newId()), publicId('knb', newId())],
      temperature: 1.1,
      languageHint: 'not a language',
      joinTimeout: '0s',
      maxDuration: '1h',
      greetingSettings: { firstSpeaker: 'USER', text: 'Hello', uninterruptible: true },
      inactivityMessages: [{ duration: '10', message: '' }],
      vadSettings: { frameActivationThreshold: 0.05 },
      builtInConfig: { transfer: { cold: true } },
      extractionSchema: { type: 'object', properties: { a: { type: 'no such type' } } },
      crmWebhookUrl: 'http://example.com/crm',
      crmWebhookSecret: 'short',
    });
    expect(agent).toBeNull();
    expect(userErrors.map(({ code, path }) => [path.join('.'), code])).toEqual([
      ['name', 'REQUIRED'],
      ['voiceId', 'INVALID_ID'],
      ['systemPrompt', 'INVALID_INPUT'],
      ['model', 'INVALID_INPUT'],
      ['toolIds.1', 'INVALID_ID'],
      ['knowledgeBaseIds', 'LIMIT_EXCEEDED'],
      ['temperature', 'INVALID_INPUT'],
      ['languageHint', 'INVALID_INPUT'],
      ['joinTimeout', 'INVALID_INPUT'],
      ['maxDuration', 'INVALID_INPUT'],
      ['greetingSettings.delay', 'REQUIRED'],
      ['greetingSettings.uninterruptible', 'INVALID_INPUT'],
      ['inactivityMessages.0.duration', 'INVALID_INPUT'],
      ['inactivityMessages.0.message', 'REQUIRED'],
      ['vadSettings.frameActivationThreshold', 'INVALID_INPUT'],
      ['builtInConfig.transfer.target', 'REQUIRED'],
      ['extractionSchema', 'INVALID_INPUT'],
      ['crmWebhookUrl', 'INVALID_INPUT'],
      ['crmWebhookSecret', 'INVALID_INPUT'],
      // Looked up although the id beside it is none.
      ['toolIds.0', 'NOT_FOUND'],
    ]);
  });

  test.each([
    ['name', { name: 'Half \ud83d' }],
    ['systemPrompt', { systemPrompt: 'Half \ud83d' }],
    ['greetingSettings.text', { greetingSettings: { text: '\ude00 half' } }],
  ])('refuses half of a surrogate pair in %s, which could not be kept', async (path, input) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), ...input });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: path.split('.') }]);
  });

  test('names references that are not there beside what is wrong in itself', async () => {
    const { userErrors } = await send(server.client, 'createAgent', {
      name: '',
      voiceId: publicId('voc', newId()),
      systemPrompt: 'Hi',
      toolIds: [publicId('tol', newId())],
      knowledgeBaseIds: [publicId('knb', newId())],
    });
    expect(userErrors.map(({ code, path }) => [path.join('.'), code])).toEqual([
      ['name', 'REQUIRED'],
      ['voiceId', 'NOT_FOUND'],
      ['toolIds.0', 'NOT_FOUND'],
      ['knowledgeBaseIds.0', 'NOT_FOUND'],
    ]);
  });

  test.each([
    [{ transfer: { warm: true, target: '+14155550123' } }, 'A warm transfer needs a SIP URI'],
    [{ transfer: { cold: true, target: 'reception' } }, 'must be a SIP URI'],
    [{ transfer: { cold: true, target: '+999' } }, 'not a possible phone number'],
  ])('refuses a transfer Ultravox cannot make: %j', async (builtInConfig, message) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), builtInConfig });
    expect(userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['builtInConfig', 'transfer', 'target'] },
    ]);
    expect(userErrors[0]?.message).toContain(message);
  });

  test.each([
    [{ type: 'array' }, 'whose `type` is "object"'],
    [{ type: 'object', properties: { a: { $ref: '#/$defs/none' } } }, "can't resolve reference"],
    [{ type: 'object', description: 'nul \u0000' }, 'null characters'],
    [{ type: 'object', description: 'half \ud800' }, 'broken Unicode'],
  ])('refuses an extraction schema that is none: %j', async (extractionSchema, message) => {
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      extractionSchema,
    });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['extractionSchema'] }]);
    expect(userErrors[0]?.message).toContain(message);
  });

  test.each([
    'https://127.0.0.1/crm',
    'https://[::1]/crm',
    'https://crm.internal/hook',
    'https://user:secret@example.com/',
    'ftp://example.com/',
  ])('refuses %s as a CRM webhook', async (crmWebhookUrl) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), crmWebhookUrl });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['crmWebhookUrl'] }]);
  });

  test('refuses two tools of one name, built-in ones included', async () => {
    const twin = await addTool(server, server.organizationId, 'twin');
    const other = await addTool(server, server.organizationId, 'twin');
    const shadow = await addTool(server, server.organizationId, 'hangUp');
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      toolIds: [twin, other, shadow],
      builtInConfig: { hangUp: true },
    });
    expect(userErrors).toMatchObject([
      { path: ['toolIds', '1'], details: { modelToolName: 'twin', toolId: other } },
      { path: ['toolIds', '2'], details: { modelToolName: 'hangUp', toolId: shadow } },
    ]);
    const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [shadow] });
    const later = await send(server.client, 'updateAgent', {
      id: agent.id,
      builtInConfig: { hangUp: true },
    });
    expect(later.userErrors).toMatchObject([{ path: ['builtInConfig'] }]);
  });

  test('refuses the same tool twice, and a voice that Ultravox has withdrawn', async () => {
    const toolId = await addTool(server, server.organizationId, 'only_once');
    const { id } = await server.app.db.voice.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        type: 'SYSTEM',
        name: 'Gone',
        status: 'ACTIVE',
        ultravoxId: randomUUID(),
        withdrawnAt: new Date(),
      },
    });
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      voiceId: publicId('voc', id),
      toolIds: [toolId, toolId],
    });
    expect(userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['toolIds', '1'] },
      { code: 'INVALID_STATE', path: ['voiceId'] },
    ]);
  });

  test('is done once under an idempotency key, also when the first run died after its commit', async () => {
    const headers = { 'x-idempotency-key': randomUUID() };
    const first = await send(server.client, 'createAgent', basic(), headers);
    const again = await send(server.client, 'createAgent', basic(), headers);
    expect(again.agent.id).toBe(first.agent.id);
    // As a run leaves it that died before it could store its result.
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseId: null, leaseUntil: null },
    });
    const rerun = await send(server.client, 'createAgent', basic(), headers);
    expect(rerun.agent).toMatchObject({ id: first.agent.id, status: 'ACTIVE' });
    expect(await copiesOf(server, first.agent.id)).toHaveLength(1);
  });
});

describe('updateAgent and replaceAgent', () => {
  test('an update changes what was sent and nothing else', async () => {
    const { input } = await everything();
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
    const [copy] = await copiesOf(server, before.id);
    expect(copy?.callTemplate).toMatchObject({
      temperature: 0.1,
      vadSettings: { turnEndpointDelay: '1s' },
      systemPrompt: input.systemPrompt,
    });
    expect(copy?.callTemplate).not.toHaveProperty('languageHint');
    expect(copy?.callTemplate?.selectedTools).toHaveLength(4);
  });

  test('null clears what can be empty and is refused where it cannot', async () => {
    const { input } = await everything();
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

  test('the order of the tools is the one given', async () => {
    const made = await Promise.all(
      ['a_tool', 'b_tool', 'c_tool'].map((name) => addTool(server, server.organizationId, name)),
    );
    const [a, b, c] = made as [string, string, string];
    const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [b, a, c] });
    expect(agent.tools.map((tool: { id: string }) => tool.id)).toEqual([b, a, c]);
    const after = await change(server.client, 'updateAgent', { id: agent.id, toolIds: [c, b] });
    expect(after.tools.map((tool: { id: string }) => tool.id)).toEqual([c, b]);
  });

  test('a replacement puts what is not given back to its default', async () => {
    const { input } = await everything();
    const { id } = await change(server.client, 'createAgent', input);
    const plain = await change(server.client, 'createAgent', { ...basic(), name: 'Other' });
    const replaced = await change(server.client, 'replaceAgent', { id, ...basic(), name: 'Other' });
    expect(replaced).toEqual({ ...plain, id });
  });

  test('an update that says nothing changes nothing', async () => {
    const agent = await change(server.client, 'createAgent', basic());
    const where = { id: uuidOf(agent.id) };
    const before = await server.app.db.agent.findUniqueOrThrow({ where });
    expect(await change(server.client, 'updateAgent', { id: agent.id })).toEqual(agent);
    expect(await server.app.db.agent.findUniqueOrThrow({ where })).toEqual(before);
  });

  test('an unknown agent is named beside the rest', async () => {
    const { userErrors } = await send(server.client, 'updateAgent', {
      id: publicId('agt', newId()),
      temperature: 2,
    });
    expect(userErrors.map(({ code, path }) => [path[0], code])).toEqual([
      ['temperature', 'INVALID_INPUT'],
      ['id', 'NOT_FOUND'],
    ]);
  });
});

describe('deleteAgent', () => {
  test('gives the id of what is gone, as every deletion does', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const DELETE = `mutation ($id: ID!) {
      deleteAgent(input: { id: $id }) { deletedAgentId agent { id } userErrors { code } } }`;
    const gone = await server.client.send(DELETE, { id });
    expect(gone.data.deleteAgent).toEqual({ deletedAgentId: id, agent: { id }, userErrors: [] });
    const again = await server.client.send(DELETE, { id });
    expect(again.data.deleteAgent).toMatchObject({ deletedAgentId: null, agent: null });
  });

  test('removes it here and at Ultravox, and frees its numbers', async () => {
    const { input } = await everything();
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
    expect(await read(server.client, id)).toBeNull();
    expect(await copiesOf(server, id)).toEqual([]);
    expect(
      await server.app.db.phoneNumber.findUniqueOrThrow({ where: { id: number.id } }),
    ).toMatchObject({ inboundAgentId: null, outboundAgentId: null });
    const again = await send(server.client, 'deleteAgent', { id });
    expect(again.userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    const late = await send(server.client, 'updateAgent', { id, name: 'Late' });
    expect(late.userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    // Old calls still lead to it.
    const node = await server.client.send('query ($id: ID!) { node(id: $id) { id } }', { id });
    expect(node.data.node).toEqual({ id });
  });

  test('is refused while a call has not ended', async () => {
    const { id } = await change(server.client, 'createAgent', basic());
    const call = await server.app.db.call.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        agentId: uuidOf(id),
        direction: 'OUTBOUND',
        medium: 'WEBRTC',
        status: 'IN_PROGRESS',
        maxDurationSeconds: 3600,
        joinTimeoutSeconds: 30,
      },
    });
    const refused = await send(server.client, 'deleteAgent', { id });
    expect(refused.userErrors).toMatchObject([
      { code: 'INVALID_STATE', details: { callIds: [publicId('cal', call.id)] } },
    ]);
    await server.app.db.call.update({
      where: { id: call.id },
      data: { status: 'COMPLETED', endedAt: new Date() },
    });
    expect((await change(server.client, 'deleteAgent', { id })).deletedAt).not.toBeNull();
  });

  test('answers the same when it is run again after a crash under its key', async () => {
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

describe('reading', () => {
  test('filters, orders and counts', async () => {
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
    expect((await list('(orderBy: {field: NAME, direction: DESC}, first: 2)')).length).toBe(3);
  });

  test('a voice knows the agents that speak with it', async () => {
    const other = await server.newOrganization();
    const voice = await anyVoice(server, other.id);
    const input = { name: 'Kept', voiceId: voice, systemPrompt: 'Hi' };
    const kept = await change(other.client, 'createAgent', input);
    const { id } = await change(other.client, 'createAgent', input);
    await change(other.client, 'deleteAgent', { id });
    const answer = await other.client.send(
      'query ($id: ID!) { node(id: $id) { ... on Voice { agents { totalCount nodes { id } } } } }',
      { id: voice },
    );
    expect(answer.errors).toBeUndefined();
    expect(answer.data.node.agents).toEqual({ totalCount: 1, nodes: [{ id: kept.id }] });
  });

  test('a key that may only read changes nothing', async () => {
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

  test('another organization sees nothing and changes nothing', async () => {
    const { input } = await everything();
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

  test('a list with all its relations takes the same number of statements however long', async () => {
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
