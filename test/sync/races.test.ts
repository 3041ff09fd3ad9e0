/** What happens to two senders of one row, and to copies that were made by requests given up. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentSync } from '../../src/agents/sync.ts';
import { newId } from '../../src/infra/ids.ts';
import { runSync } from '../../src/sync/service.ts';
import { anyVoice } from '../agents/support.ts';
import { perform } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
let voiceId: string;
beforeAll(async () => {
  server = await startTestServer({
    settings: { ULTRAVOX_TIMEOUT_SECONDS: '1', LOG_LEVEL: 'silent' },
  });
  voiceId = await anyVoice(server, server.organizationId);
});
afterAll(() => server.close());

interface Copy {
  agentId: string;
  name: string;
  callTemplate: { systemPrompt: string };
}

async function copiesOf(id: string): Promise<Copy[]> {
  const url = `${server.simulator.url}/api/agents?pageSize=100&search=${id}`;
  const response = await fetch(url, { headers: { 'X-API-Key': server.simulator.apiKey } });
  return ((await response.json()) as { results: Copy[] }).results;
}

const rowOf = (id: string) =>
  server.app.db.agent.findUniqueOrThrow({ where: { id: id.slice('agt_'.length) } });

function create(name: string): Promise<{ agent: { id: string; status: string } }> {
  const input = { name, voiceId, systemPrompt: 'Hello.' };
  return perform(server.client, 'createAgent', input, 'agent { id status }');
}

describe('a sender that lost its lease', () => {
  it('does not leave its old content behind at Ultravox', async () => {
    const { agent } = await create('Contested');
    server.simulator.setFaults([
      { kind: 'slow', ms: 700, count: 1, method: 'PATCH', path: '/agents/' },
    ]);
    const slow = perform(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'Old.' },
      'agent { id }',
    );
    await until('the slow sender to be at it', async () => {
      const { syncLeaseId, revision } = await rowOf(agent.id);
      return syncLeaseId !== null && revision === 2;
    });
    await until('the slow request to be on its way', () =>
      server.simulator.faults().every(({ count }) => count === 0),
    );
    // As if it had been held up for longer than its lease: somebody else takes the row over.
    await server.app.db.agent.update({
      where: { id: agent.id.slice('agt_'.length) },
      data: { syncLeaseId: newId(), syncLeaseUntil: new Date(0) },
    });
    await perform(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'New.' },
      'agent { id }',
    );
    await slow;
    await until('the newest content to be the last one sent', async () => {
      const { revision, syncedRevision } = await rowOf(agent.id);
      const [copy] = await copiesOf(agent.id);
      return revision === syncedRevision && copy?.callTemplate.systemPrompt === 'New.';
    });
  });
});

describe('a creation that was given up and carried out later', () => {
  it('leaves one copy in the end, the one in use', async () => {
    server.simulator.setFaults([{ kind: 'timeout', count: 1, method: 'POST', path: '/agents$' }]);
    const { agent } = await create('Twice');
    expect(agent.status).toBe('DRAFT');
    await until(
      'a second attempt to succeed',
      async () => (await rowOf(agent.id)).status === 'ACTIVE',
    );
    const [copy] = await copiesOf(agent.id);
    // What the first request asked for, carried out only now.
    await fetch(`${server.simulator.url}/api/agents`, {
      method: 'POST',
      headers: { 'X-API-Key': server.simulator.apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ name: copy?.name, callTemplate: { systemPrompt: 'Hello.' } }),
    });
    expect(await copiesOf(agent.id)).toHaveLength(2);
    const { id, ultravoxId } = await rowOf(agent.id);
    // As if the time had passed after which the first attempt has surely come to an end.
    await server.app.db.agent.update({
      where: { id },
      data: { remoteAttemptAt: new Date(Date.now() - 600_000) },
    });
    await runSync(server.app, agentSync, id);
    expect((await copiesOf(agent.id)).map(({ agentId }) => agentId)).toEqual([ultravoxId]);
    expect((await rowOf(agent.id)).remoteAttemptAt).toBeNull();
  }, 40_000);
});

describe('a copy that is gone at Ultravox', () => {
  it('is made again by the next change, once', async () => {
    const { agent } = await create('Vanished');
    const [copy] = await copiesOf(agent.id);
    await fetch(`${server.simulator.url}/api/agents/${copy?.agentId}`, {
      method: 'DELETE',
      headers: { 'X-API-Key': server.simulator.apiKey },
    });
    await perform(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'Back.' },
      'agent { id }',
    );
    const copies = await copiesOf(agent.id);
    expect(copies.map(({ callTemplate }) => callTemplate.systemPrompt)).toEqual(['Back.']);
    expect((await rowOf(agent.id)).ultravoxId).toBe(copies[0]?.agentId);
  });
});
