/** Races between two senders of the same row, with unanswered requests, and with the sweep. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentSync } from '../../src/agents/sync.ts';
import { newId } from '../../src/infra/ids.ts';
import { runSync, sweepSync } from '../../src/sync/service.ts';
import { anyVoice } from '../agents/support.ts';
import { insertAgent } from '../support/agent-rows.ts';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
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

interface RemoteAgent {
  agentId: string;
  name: string;
  callTemplate: { systemPrompt: string };
}

async function remoteAgentsOf(id: string): Promise<RemoteAgent[]> {
  const url = `${server.simulator.url}/api/agents?pageSize=100&search=${id}`;
  const response = await fetch(url, { headers: { 'X-API-Key': server.simulator.apiKey } });
  return ((await response.json()) as { results: RemoteAgent[] }).results;
}

const rowOf = (id: string) =>
  server.app.db.agent.findUniqueOrThrow({ where: { id: id.slice('agt_'.length) } });

function create(name: string): Promise<{ agent: { id: string; status: string } }> {
  const input = { name, voiceId, systemPrompt: 'Hello.' };
  return runMutation(server.client, 'createAgent', input, 'agent { id status }');
}

describe('sync after a lost lease', () => {
  it('does not leave old content at Ultravox', async () => {
    const { agent } = await create('Contested');
    server.simulator.setFaults([
      { kind: 'slow', ms: 700, count: 1, method: 'PATCH', path: '/agents/' },
    ]);
    const slow = runMutation(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'Old.' },
      'agent { id }',
    );
    await until('the slow sender to hold the lease', async () => {
      const { syncLeaseId, revision } = await rowOf(agent.id);
      return syncLeaseId !== null && revision === 2;
    });
    await until('the slow request to be sent', () =>
      server.simulator.faults().every(({ count }) => count === 0),
    );
    // As if it took longer than its lease: somebody else takes over.
    await server.app.db.agent.update({
      where: { id: agent.id.slice('agt_'.length) },
      data: { syncLeaseId: newId(), syncLeaseUntil: new Date(0) },
    });
    await runMutation(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'New.' },
      'agent { id }',
    );
    await slow;
    await until('the newest content to be the last one sent', async () => {
      const { revision, syncedRevision } = await rowOf(agent.id);
      const [remote] = await remoteAgentsOf(agent.id);
      return revision === syncedRevision && remote?.callTemplate.systemPrompt === 'New.';
    });
  });
});

describe('sync after a creation that Ultravox executes late', () => {
  it('leaves only the remote resource in use', async () => {
    server.simulator.setFaults([{ kind: 'timeout', count: 1, method: 'POST', path: '/agents$' }]);
    const { agent } = await create('Twice');
    expect(agent.status).toBe('DRAFT');
    await until(
      'a second attempt to succeed',
      async () => (await rowOf(agent.id)).status === 'ACTIVE',
    );
    const [remote] = await remoteAgentsOf(agent.id);
    // Executes the first request late.
    await fetch(`${server.simulator.url}/api/agents`, {
      method: 'POST',
      headers: { 'X-API-Key': server.simulator.apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ name: remote?.name, callTemplate: { systemPrompt: 'Hello.' } }),
    });
    expect(await remoteAgentsOf(agent.id)).toHaveLength(2);
    const { id, remoteId } = await rowOf(agent.id);
    // As if the time had passed after which the first attempt must have ended.
    await server.app.db.agent.update({
      where: { id },
      data: { remoteAttemptAt: new Date(Date.now() - 600_000) },
    });
    await runSync(server.app, agentSync, id);
    expect((await remoteAgentsOf(agent.id)).map(({ agentId }) => agentId)).toEqual([remoteId]);
    expect((await rowOf(agent.id)).remoteAttemptAt).toBeNull();
  });
});

describe('sync after a change that Ultravox executes late', () => {
  it('sends the newest content once more', async () => {
    const { agent } = await create('Late');
    server.simulator.setFaults([{ kind: 'timeout', count: 1, method: 'PATCH', path: '/agents/' }]);
    const send = (systemPrompt: string) =>
      runMutation(
        server.client,
        'updateAgent',
        { id: agent.id, systemPrompt },
        'agent { isInSync }',
      );
    expect((await send('Old.')).agent.isInSync).toBe(false);
    expect((await send('New.')).agent.isInSync).toBe(true);
    const [remote] = await remoteAgentsOf(agent.id);
    // Executes the first request late.
    await fetch(`${server.simulator.url}/api/agents/${remote?.agentId}`, {
      method: 'PATCH',
      headers: { 'X-API-Key': server.simulator.apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ callTemplate: { systemPrompt: 'Old.' } }),
    });
    const { id, remoteAttemptAt } = await rowOf(agent.id);
    expect(remoteAttemptAt).not.toBeNull();
    // As if the time had passed after which the first request must have ended.
    await server.app.db.agent.update({
      where: { id },
      data: { remoteAttemptAt: new Date(Date.now() - 600_000) },
    });
    await runSync(server.app, agentSync, id);
    const [now] = await remoteAgentsOf(agent.id);
    expect(now?.callTemplate.systemPrompt).toBe('New.');
    expect((await rowOf(agent.id)).remoteAttemptAt).toBeNull();
  });
});

describe('the sweep', () => {
  it('leaves a row that is not in sync to its next retry', async () => {
    const { app, organizationId } = server;
    const id = await insertAgent(app, { organizationId });
    const sweep = async (retryInSeconds: number): Promise<number> => {
      await app.db.$executeRaw`
        UPDATE agents SET revision = 2, updated_at = now() - interval '10 minutes',
          sync_retry_at = now() + make_interval(secs => ${retryInSeconds})
        WHERE id = ${id}::uuid`;
      await sweepSync(app, agentSync);
      const [jobs] = await app.db.$queryRaw<{ count: number }[]>`
        SELECT count(*)::int FROM pgboss.job WHERE singleton_key = ${`${id}:sweep`}`;
      return jobs!.count;
    };
    expect(await sweep(240)).toBe(0);
    expect(await sweep(-60)).toBe(1);
  });
});

describe('sync of a resource that was deleted at Ultravox', () => {
  it('creates it again once, with the next change', async () => {
    const { agent } = await create('Vanished');
    const [remote] = await remoteAgentsOf(agent.id);
    await fetch(`${server.simulator.url}/api/agents/${remote?.agentId}`, {
      method: 'DELETE',
      headers: { 'X-API-Key': server.simulator.apiKey },
    });
    await runMutation(
      server.client,
      'updateAgent',
      { id: agent.id, systemPrompt: 'Back.' },
      'agent { id }',
    );
    const remotes = await remoteAgentsOf(agent.id);
    expect(remotes.map(({ callTemplate }) => callTemplate.systemPrompt)).toEqual(['Back.']);
    expect((await rowOf(agent.id)).remoteId).toBe(remotes[0]?.agentId);
  });
});
