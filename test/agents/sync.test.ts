import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { agentSync } from '../../src/agents/sync.ts';
import { resyncAgents } from '../../src/sync/jobs.ts';
import { sweepSync } from '../../src/sync/service.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  addTool,
  anyVoice,
  change,
  copiesOf,
  makeRemoteTool,
  read,
  send,
  uuidOf,
} from './support.ts';

let server: TestServer;
let voiceId: string;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  voiceId = await anyVoice(server, server.organizationId);
});
afterEach(() => server.simulator.clearFaults());

const basic = () => ({ name: 'Support', voiceId, systemPrompt: 'Help.' });

const isActive = (id: string) => async () => {
  const agent = await read(server.client, id);
  return agent.status === 'ACTIVE' && agent.isInSync ? agent : null;
};

const eventsOf = async (id: string) => {
  const events = await server.app.db.event.findMany({
    where: { agentId: uuidOf(id) },
    orderBy: { cursor: 'asc' },
  });
  return events.map(({ type }) => type);
};

test('when the answer is lost after Ultravox has made the agent, there is one of it in the end', async () => {
  server.simulator.setFaults([
    { kind: 'dropAfter', method: 'POST', path: '^/api/agents$', count: 1 },
  ]);
  const agent = await change(server.client, 'createAgent', basic());
  expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
  expect(agent.syncError).not.toBeNull();
  const orphan = await copiesOf(server, agent.id);
  expect(orphan).toHaveLength(1);

  const active = await until('the agent to be active', isActive(agent.id));
  expect(active.syncError).toBeNull();
  const copies = await copiesOf(server, agent.id);
  expect(copies.map((copy) => copy.agentId)).toEqual([orphan[0]?.agentId]);
  const row = await server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(agent.id) } });
  expect(row.ultravoxId).toBe(orphan[0]?.agentId);
});

test('an unreachable Ultravox is waited for, and asked at once on request', async () => {
  server.simulator.setFaults([{ kind: 'status', status: 500, path: '^/api/agents' }]);
  const agent = await change(server.client, 'createAgent', basic());
  expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
  expect(await eventsOf(agent.id)).toEqual(['AGENT_CREATED']);
  server.simulator.clearFaults();
  const retried = await change(server.client, 'retryAgentSync', { id: agent.id });
  expect(retried).toMatchObject({ status: 'ACTIVE', syncError: null, isInSync: true });
  expect(await copiesOf(server, agent.id)).toHaveLength(1);
  expect(await eventsOf(agent.id)).toEqual(['AGENT_CREATED', 'AGENT_SYNCED']);

  const calm = await change(server.client, 'retryAgentSync', { id: agent.id });
  expect(calm.isInSync).toBe(true);
  expect(await eventsOf(agent.id)).toEqual(['AGENT_CREATED', 'AGENT_SYNCED']);
});

test('an unreachable Ultravox is waited for without anybody asking', async () => {
  server.simulator.setFaults([{ kind: 'dropBefore', path: '^/api/agents' }]);
  const agent = await change(server.client, 'createAgent', basic());
  expect(agent.status).toBe('DRAFT');
  server.simulator.clearFaults();
  await until('the agent to be active', isActive(agent.id));
  expect(await copiesOf(server, agent.id)).toHaveLength(1);
});

test('an agent that Ultravox refuses is FAILED until it is mended', async () => {
  const { id: _id, ...good } = await server.app.db.voice.findUniqueOrThrow({
    where: { id: uuidOf(voiceId) },
  });
  const unknown = await server.app.db.voice.create({
    data: {
      ...good,
      id: crypto.randomUUID(),
      ultravoxId: crypto.randomUUID(),
      definition: {},
    },
  });
  const agent = await change(server.client, 'createAgent', {
    ...basic(),
    voiceId: `voc_${unknown.id}`,
  });
  expect(agent).toMatchObject({ status: 'FAILED', isInSync: false });
  expect(agent.syncError).toContain('oice');
  expect(await copiesOf(server, agent.id)).toEqual([]);
  const stubborn = await change(server.client, 'retryAgentSync', { id: agent.id });
  expect(stubborn.status).toBe('FAILED');
  const mended = await change(server.client, 'updateAgent', { id: agent.id, voiceId });
  expect(mended).toMatchObject({ status: 'ACTIVE', syncError: null, isInSync: true });
  expect(await eventsOf(agent.id)).toEqual([
    'AGENT_CREATED',
    'AGENT_FAILED',
    'AGENT_FAILED',
    'AGENT_UPDATED',
    'AGENT_SYNCED',
  ]);

  const broken = await change(server.client, 'updateAgent', {
    id: agent.id,
    voiceId: `voc_${unknown.id}`,
  });
  expect(broken).toMatchObject({ status: 'ACTIVE', isInSync: false });
  expect(broken.syncError).not.toBeNull();
  const [copy] = await copiesOf(server, agent.id);
  expect(copy?.callTemplate?.voice).toBe(good.ultravoxId);
});

test('of many edits at once the last is the one at Ultravox', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  server.simulator.setFaults([
    { kind: 'slow', ms: 60, method: 'PATCH', path: '^/api/agents/', probability: 0.5 },
  ]);
  const edits = Array.from({ length: 24 }, (_, index) => index);
  await Promise.all(
    edits.map((index) =>
      change(server.client, 'updateAgent', { id, systemPrompt: `Prompt ${index}` }),
    ),
  );
  await until('the agent to be in step', isActive(id));
  const row = await server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(id) } });
  expect(row.revision).toBe(1 + edits.length);
  const [copy] = await copiesOf(server, id);
  expect(copy?.callTemplate?.systemPrompt).toBe(row.systemPrompt);
  expect(row.systemPrompt).toMatch(/^Prompt \d+$/);
});

test('edits of different members at once all last', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  await Promise.all([
    change(server.client, 'updateAgent', { id, name: 'New name' }),
    change(server.client, 'updateAgent', { id, temperature: 0.9 }),
    change(server.client, 'updateAgent', { id, builtInConfig: { hangUp: true } }),
  ]);
  const agent = await until('the agent to be in step', isActive(id));
  expect(agent).toMatchObject({
    name: 'New name',
    temperature: 0.9,
    builtInConfig: { hangUp: true },
  });
  const [copy] = await copiesOf(server, id);
  expect(copy).toMatchObject({
    name: `New-name_${id}`,
    callTemplate: { temperature: 0.9, selectedTools: [{ toolName: 'hangUp' }] },
  });
});

test('an active agent stays so while a change of it cannot be brought to Ultravox', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  server.simulator.setFaults([{ kind: 'status', status: 503, path: '^/api/agents' }]);
  const changed = await change(server.client, 'updateAgent', { id, systemPrompt: 'New' });
  expect(changed).toMatchObject({ status: 'ACTIVE', isInSync: false, systemPrompt: 'New' });
  expect(changed.syncError).not.toBeNull();
  server.simulator.clearFaults();
  await until('the change to arrive', isActive(id));
  const [copy] = await copiesOf(server, id);
  expect(copy?.callTemplate?.systemPrompt).toBe('New');
});

test('a change whose sender and job are both lost is found by the sweep', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  await server.app.db.$executeRaw`
    UPDATE agents SET revision = revision + 1, system_prompt = 'Swept',
      sync_lease_id = gen_random_uuid(), sync_lease_until = now() - interval '1 second',
      updated_at = now() - interval '1 minute'
    WHERE id = ${uuidOf(id)}::uuid`;
  await sweepSync(server.app, agentSync);
  await until('the change to arrive', isActive(id));
  const [copy] = await copiesOf(server, id);
  expect(copy?.callTemplate?.systemPrompt).toBe('Swept');
});

test('an agent whose copy somebody removed is made again', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  const [copy] = await copiesOf(server, id);
  await server.app.ultravox.agents.delete(copy?.agentId ?? '');
  const after = await change(server.client, 'updateAgent', { id, systemPrompt: 'Back' });
  expect(after).toMatchObject({ status: 'ACTIVE', isInSync: true });
  const copies = await copiesOf(server, id);
  expect(copies).toHaveLength(1);
  expect(copies[0]?.agentId).not.toBe(copy?.agentId);
});

test('a deletion while Ultravox is away is carried out there later', async () => {
  const { id } = await change(server.client, 'createAgent', basic());
  server.simulator.setFaults([{ kind: 'dropBefore', path: '^/api/agents' }]);
  const gone = await change(server.client, 'deleteAgent', { id });
  expect(gone.deletedAt).not.toBeNull();
  expect(await read(server.client, id)).toBeNull();
  server.simulator.clearFaults();
  expect(await copiesOf(server, id)).toHaveLength(1);
  await until('the copy to be gone', async () => (await copiesOf(server, id)).length === 0);
  expect(await eventsOf(id)).toEqual(['AGENT_CREATED', 'AGENT_SYNCED', 'AGENT_DELETED']);
});

test('an agent deleted while nobody knows whether Ultravox has it leaves nothing there', async () => {
  server.simulator.setFaults([
    { kind: 'dropAfter', method: 'POST', path: '^/api/agents$', count: 1 },
  ]);
  const { id } = await change(server.client, 'createAgent', basic());
  expect(await copiesOf(server, id)).toHaveLength(1);
  await change(server.client, 'deleteAgent', { id });
  expect(await copiesOf(server, id)).toEqual([]);
});

test('an agent deleted while it is being made leaves nothing at Ultravox', async () => {
  server.simulator.setFaults([
    { kind: 'slow', ms: 400, method: 'POST', path: '^/api/agents$', count: 1 },
  ]);
  const making = change(server.client, 'createAgent', { ...basic(), name: 'Doomed' });
  const row = await until('the row', () =>
    server.app.db.agent.findFirst({ where: { name: 'Doomed', status: 'CREATING' } }),
  );
  const id = `agt_${row.id}`;
  await change(server.client, 'deleteAgent', { id });
  await making;
  await until('the copy to be gone', async () => {
    const { ultravoxId, remoteAttemptAt } = await server.app.db.agent.findUniqueOrThrow({
      where: { id: row.id },
    });
    return ultravoxId === null && remoteAttemptAt === null;
  });
  expect(await copiesOf(server, id)).toEqual([]);
  expect(await eventsOf(id)).toEqual(['AGENT_CREATED', 'AGENT_DELETED']);
});

test('an agent waits for a tool that is not at Ultravox, and follows it', async () => {
  const toolId = await addTool(server, server.organizationId, 'late_tool', { remote: false });
  const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [toolId] });
  expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
  expect(agent.syncError).toMatch(/^The tool "late_tool".* is not at Ultravox yet/);

  const remoteToolId = await makeRemoteTool(server, uuidOf(toolId), 'late_tool');
  await server.app.db.tool.update({
    where: { id: uuidOf(toolId) },
    data: { status: 'ACTIVE', ultravoxId: remoteToolId, syncedRevision: 1 },
  });
  await server.app.jobs.enqueue(server.app.db, resyncAgents, { kind: 'TOOL', id: uuidOf(toolId) });
  await until('the agent to be active', isActive(agent.id), 4_000);
  const [copy] = await copiesOf(server, agent.id);
  expect(copy?.callTemplate?.selectedTools).toMatchObject([{ toolId: remoteToolId }]);
});

test('a tool deleted in the moment an agent takes it up is either in use or not there', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const toolId = await addTool(server, server.organizationId, `contested_${index}`);
      const [made, deleted] = await Promise.all([
        send(server.client, 'createAgent', { ...basic(), toolIds: [toolId] }),
        server.client.send(
          'mutation ($input: DeleteToolInput!) { deleteTool(input: $input) { userErrors { code } } }',
          { input: { id: toolId } },
        ),
      ]);
      const tool = await server.app.db.tool.findUniqueOrThrow({ where: { id: uuidOf(toolId) } });
      return {
        agent: made.userErrors[0]?.code ?? 'made',
        tool: deleted.data.deleteTool.userErrors[0]?.code ?? 'deleted',
        kept: tool.deletedAt === null,
      };
    }),
  );
  for (const outcome of outcomes) {
    expect([
      { agent: 'made', tool: 'IN_USE', kept: true },
      { agent: 'NOT_FOUND', tool: 'deleted', kept: false },
    ]).toContainEqual(outcome);
  }
});
