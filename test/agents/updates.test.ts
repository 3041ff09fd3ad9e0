import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { anyVoice, change } from './support.ts';

let server: TestServer;
let voiceId: string;

beforeAll(async () => {
  server = await startTestServer();
  voiceId = await anyVoice(server, server.organizationId);
});
afterAll(() => server.close());

const basic = () => ({ name: 'Support', voiceId, systemPrompt: 'Help.' });

interface Update {
  type: string;
  agentId: string;
  cursor: string;
  occurredAt: string;
  agent: { name: string; status: string; syncError: string | null; voice: { id: string } } | null;
}

function watch(variables: Record<string, unknown> = {}, key = server.key) {
  const client = createClient({
    url: `${server.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { Authorization: `Bearer ${key}` },
    retryAttempts: 0,
  });
  const seen: Update[] = [];
  const errors: unknown[] = [];
  const stop = client.subscribe<{ agentUpdated: Update }>(
    {
      query: `subscription ($agentId: ID, $after: Cursor) {
        agentUpdated(agentId: $agentId, after: $after) {
          type agentId cursor occurredAt agent { name status syncError voice { id } }
        }
      }`,
      variables,
    },
    {
      next: ({ data, errors: problems }) => {
        if (data) seen.push(data.agentUpdated);
        if (problems) errors.push(...problems);
      },
      error: (error) => errors.push(error),
      complete: () => undefined,
    },
  );
  return {
    seen,
    errors,
    types: () => seen.map(({ type }) => type),
    async end() {
      stop();
      await client.dispose();
    },
  };
}

describe('agentUpdated', () => {
  it('delivers all changes of an agent in order, and again from a cursor', async () => {
    const all = watch({ after: '0' });
    const agent = await change(server.client, 'createAgent', basic());
    const one = watch({ agentId: agent.id, after: '0' });
    await change(server.client, 'createAgent', { ...basic(), name: 'Another' });
    await change(server.client, 'updateAgent', { id: agent.id, name: 'Renamed' });
    await until('the change', () => one.types().includes('UPDATED') && one.seen.length === 4);
    await change(server.client, 'deleteAgent', { id: agent.id });
    await until('the deletion', () => one.types().includes('DELETED'));
    expect(one.types()).toEqual(['CREATED', 'SYNCED', 'UPDATED', 'SYNCED', 'DELETED']);
    expect(one.seen.at(3)?.agent).toEqual({
      name: 'Renamed',
      status: 'ACTIVE',
      syncError: null,
      voice: { id: voiceId },
    });
    expect(one.seen.at(-1)).toMatchObject({ agentId: agent.id, agent: null });
    const cursors = one.seen.map(({ cursor }) => BigInt(cursor));
    expect(cursors.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(cursors);
    await until('all of it', () => all.seen.length === 7);
    expect(new Set(all.seen.map(({ agentId }) => agentId)).size).toBe(2);

    // What was missed is caught up from the cursor, and nothing comes twice.
    const later = watch({ agentId: agent.id, after: one.seen[1]?.cursor });
    await until('what was missed', () => later.seen.length === 3);
    expect(later.types()).toEqual(['UPDATED', 'SYNCED', 'DELETED']);
    expect([...one.errors, ...all.errors, ...later.errors]).toEqual([]);
    await Promise.all([one.end(), all.end(), later.end()]);
  });

  it('reports that a change cannot be sent to Ultravox, but not each retry', async () => {
    const all = watch({ after: '0' });
    server.simulator.setFaults([{ kind: 'status', status: 500, path: '^/api/agents' }]);
    const { id } = await change(server.client, 'createAgent', { ...basic(), name: 'Delayed' });
    const own = () => all.seen.filter(({ agentId }) => agentId === id);
    await until('the delay', () => own().length === 2);
    expect(own().at(-1)).toMatchObject({
      type: 'SYNC_DELAYED',
      agent: { status: 'DRAFT', syncError: expect.any(String) },
    });
    await change(server.client, 'retryAgentSync', { id });
    await change(server.client, 'updateAgent', { id, name: 'Still delayed' });
    server.simulator.clearFaults();
    await change(server.client, 'retryAgentSync', { id });
    await until('the sync', () => own().at(-1)?.type === 'SYNCED');
    const types = own().map(({ type }) => type);
    expect(types).toEqual(['CREATED', 'SYNC_DELAYED', 'UPDATED', 'SYNC_DELAYED', 'SYNCED']);
    expect(own().at(-1)?.agent).toMatchObject({ status: 'ACTIVE', syncError: null });
    await all.end();
  });

  it('delivers only the agents of the own organization', async () => {
    const other = await server.newOrganization();
    const voice = await anyVoice(server, other.id);
    const theirs = watch({ after: '0' }, other.key);
    await change(server.client, 'createAgent', basic());
    await change(other.client, 'createAgent', { ...basic(), voiceId: voice, name: 'Theirs' });
    await until('their own', () => theirs.seen.length === 2);
    expect(theirs.seen.map(({ agent }) => agent?.name)).toEqual(['Theirs', 'Theirs']);
    await theirs.end();
  });

  it.each([
    [{ after: 'yesterday' }, 'is not a cursor'],
    [{ after: '999999' }, 'is ahead of the event log'],
    [{ agentId: 'voc_0198a7c2-0000-7000-8000-000000000001' }, 'is the ID of a Voice'],
  ])('rejects the arguments %j', async (variables, message) => {
    const watcher = watch(variables);
    await until('the refusal', () => watcher.errors.length > 0);
    expect(JSON.stringify(watcher.errors)).toContain(message);
    await watcher.end();
  });
});
