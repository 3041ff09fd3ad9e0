import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crmWebhookSecretOf } from '../../src/agents/service.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { addTool, anyVoice, change, fullAgent, remoteAgentsOf, send, uuidOf } from './support.ts';

let server: TestServer;
let voiceId: string;
let minutesAhead = 0;

beforeAll(async () => {
  server = await startTestServer({ now: () => new Date(Date.now() + minutesAhead * 60_000) });
  voiceId = await anyVoice(server, server.organizationId);
});
afterAll(() => server.close());

const requestsFor = (path: string) =>
  server.simulator.requests().filter((request) => request.path.startsWith(path));

const basic = () => ({ name: 'Support', voiceId, systemPrompt: 'Help {{first_name}}.' });

describe('createAgent', () => {
  it('requires only a name, a voice and a prompt, and sets defaults', async () => {
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
    const [remote, ...more] = await remoteAgentsOf(server, agent.id);
    expect(more).toEqual([]);
    expect(remote?.name).toBe(`Support_${agent.id}`);
    expect(remote?.callTemplate).toMatchObject({ temperature: 0.3, model: 'ultravox-v0.7' });
  });

  it('stores every field and sends those that calls use to Ultravox', async () => {
    const { input, toolId, knowledgeBaseId, corpusId } = await fullAgent(server, voiceId);
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
    const [remote] = await remoteAgentsOf(server, agent.id);
    const row = await server.app.db.agent.findUniqueOrThrow({
      where: { id: uuidOf(agent.id) },
      include: { voice: true, tools: { include: { tool: true } } },
    });
    expect(remote?.callTemplate).toMatchObject({
      systemPrompt: input.systemPrompt,
      voice: row.voice.remoteId,
      languageHint: 'es-MX',
      firstSpeakerSettings: { user: { fallback: { delay: '4s', text: 'Hello?' } } },
      inactivityMessages: [{ endBehavior: 'END_BEHAVIOR_HANG_UP_STRICT' }],
      selectedTools: [
        { toolId: row.tools[0]?.tool.remoteId },
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

  it('takes HANG_UP, as the REST API documents it, for HANG_UP_SOFT', async () => {
    const { agent } = await send(server.client, 'createAgent', {
      name: 'Silence',
      voiceId,
      systemPrompt: 'Be brief.',
      inactivityMessages: [{ duration: '10s', message: 'There?', endBehavior: 'HANG_UP' }],
    });
    expect(agent.inactivityMessages).toMatchObject([{ endBehavior: 'HANG_UP_SOFT' }]);
    const [remote] = await remoteAgentsOf(server, agent.id);
    expect(remote?.callTemplate).toMatchObject({
      inactivityMessages: [{ endBehavior: 'END_BEHAVIOR_HANG_UP_SOFT' }],
    });
  });

  it('reads a placeholder with much space in no time', async () => {
    const systemPrompt = `Hi {{name${' '.repeat(100_000)}there`;
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), systemPrompt });
    expect(userErrors).toEqual([
      expect.objectContaining({ code: 'INVALID_INPUT', path: ['systemPrompt'] }),
    ]);
  }, 10_000);

  it('reports all invalid fields at once', async () => {
    const { userErrors, agent } = await send(server.client, 'createAgent', {
      name: ' ',
      voiceId: 'tol_0198a7c2-0000-7000-8000-000000000001',
      systemPrompt: 'Hi {{#vip}}there',
      model: 'gpt-4',
      toolIds: [publicId('Tool', newId()), 'nonsense'],
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
      // Checked although the other id is invalid.
      ['toolIds.0', 'NOT_FOUND'],
    ]);
  });

  it('accepts a model that Ultravox has added, or cannot be asked about', async () => {
    const create = (model: string) => send(server.client, 'createAgent', { ...basic(), model });
    minutesAhead += 2;
    const lists = () => requestsFor('/api/models').length;
    const before = lists();
    const refused = await Promise.all(['ultravox-v9', 'v10', 'ultravox-v9'].map(create));
    for (const { userErrors } of refused) expect(userErrors).toMatchObject([{ path: ['model'] }]);
    expect((await create('half \ud83d')).userErrors).toMatchObject([{ path: ['model'] }]);
    expect(lists()).toBe(before + 1);
    server.simulator.updateSettings({ moreModels: ['ultravox-v9'] });
    minutesAhead += 2;
    const { agent } = await create('ultravox-v9');
    expect(agent).toMatchObject({ status: 'ACTIVE', model: 'ultravox-v9' });
    minutesAhead += 2;
    server.simulator.setFaults([{ kind: 'status', status: 500 }]);
    const asked = lists();
    const delayed = await create('ultravox-v10').finally(() => server.simulator.clearFaults());
    expect(delayed.agent).toMatchObject({ status: 'DRAFT', model: 'ultravox-v10' });
    expect(lists()).toBe(asked + 1);
  });

  it.each([
    ['name', { name: 'Half \ud83d' }],
    ['systemPrompt', { systemPrompt: 'Half \ud83d' }],
    ['greetingSettings.text', { greetingSettings: { text: '\ude00 half' } }],
  ])('rejects a lone surrogate in %s', async (path, input) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), ...input });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: path.split('.') }]);
  });

  it('reports unknown references together with invalid fields', async () => {
    const { userErrors } = await send(server.client, 'createAgent', {
      name: '',
      voiceId: publicId('Voice', newId()),
      systemPrompt: 'Hi',
      toolIds: [publicId('Tool', newId())],
      knowledgeBaseIds: [publicId('KnowledgeBase', newId())],
    });
    expect(userErrors.map(({ code, path }) => [path.join('.'), code])).toEqual([
      ['name', 'REQUIRED'],
      ['voiceId', 'NOT_FOUND'],
      ['toolIds.0', 'NOT_FOUND'],
      ['knowledgeBaseIds.0', 'NOT_FOUND'],
    ]);
  });

  it.each([
    [{ transfer: { warm: true, target: '+14155550123' } }, 'of a warm transfer must be a SIP URI'],
    [{ transfer: { cold: true, target: 'reception' } }, 'must be a SIP URI'],
    [{ transfer: { cold: true, target: '+999' } }, 'not a valid phone number'],
  ])('rejects the transfer %j, which Ultravox cannot make', async (builtInConfig, message) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), builtInConfig });
    expect(userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['builtInConfig', 'transfer', 'target'] },
    ]);
    expect(userErrors[0]?.message).toContain(message);
  });

  it.each([
    [{ type: 'array' }, 'whose `type` is "object"'],
    [{ type: 'object', properties: { a: { $ref: '#/$defs/none' } } }, "can't resolve reference"],
    [{ type: 'object', properties: { a: { pattern: '(' } } }, 'is not a regular expression'],
    [{ type: 'object', properties: { a: { type: 'text' } } }, 'must be equal to one of'],
  ])('rejects the extraction schema %j', async (extractionSchema, message) => {
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      extractionSchema,
    });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['extractionSchema'] }]);
    expect(userErrors[0]?.message).toContain(message);
  });

  it.each([
    ['references', 'has more than 200 references', { r: { $ref: '#' } }, 201],
    ['objects', 'has more than 1,000 objects and lists', { p: { type: 'string' } }, 1_000],
  ])('rejects an extraction schema with too many %s', async (_, message, property, count) => {
    const [[name, schema]] = Object.entries(property) as [[string, object]];
    const properties = Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`${name}${index}`, schema]),
    );
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      extractionSchema: { type: 'object', properties },
    });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['extractionSchema'] }]);
    expect(userErrors[0]?.message).toContain(message);
  });

  it.each([
    'https://127.0.0.1/crm',
    'https://[::1]/crm',
    'https://crm.internal/hook',
    'https://user:secret@example.com/',
    'ftp://example.com/',
  ])('rejects %s as a CRM webhook', async (crmWebhookUrl) => {
    const { userErrors } = await send(server.client, 'createAgent', { ...basic(), crmWebhookUrl });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', path: ['crmWebhookUrl'] }]);
  });

  it('rejects two tools of the same name, including built-in ones', async () => {
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

  it('rejects a tool listed twice and a withdrawn voice', async () => {
    const toolId = await addTool(server, server.organizationId, 'only_once');
    const { id } = await server.app.db.voice.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        type: 'SYSTEM',
        name: 'Gone',
        status: 'ACTIVE',
        remoteId: randomUUID(),
        withdrawnAt: new Date(),
      },
    });
    const { userErrors } = await send(server.client, 'createAgent', {
      ...basic(),
      voiceId: publicId('Voice', id),
      toolIds: [toolId, toolId],
    });
    expect(userErrors).toMatchObject([
      { code: 'INVALID_INPUT', path: ['toolIds', '1'] },
      { code: 'INVALID_STATE', path: ['voiceId'] },
    ]);
  });

  it('creates one agent per idempotency key, even when the first run died after its commit', async () => {
    const headers = { 'x-idempotency-key': randomUUID() };
    const first = await send(server.client, 'createAgent', basic(), headers);
    const again = await send(server.client, 'createAgent', basic(), headers);
    expect(again.agent.id).toBe(first.agent.id);
    // The state that a run leaves that died before it stored its result.
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseId: null, leaseUntil: null },
    });
    const rerun = await send(server.client, 'createAgent', basic(), headers);
    expect(rerun.agent).toMatchObject({ id: first.agent.id, status: 'ACTIVE' });
    expect(await remoteAgentsOf(server, first.agent.id)).toHaveLength(1);
  });
});
