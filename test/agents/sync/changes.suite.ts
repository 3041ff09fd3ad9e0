/** Agents that are created, changed or deleted while Ultravox fails. */
import { describe, expect, it } from 'vitest';
import { agentSync } from '../../../src/agents/sync.ts';
import { sweepSync } from '../../../src/sync/service.ts';
import { untilRetried } from '../../support/jobs.ts';
import { until } from '../../support/wait.ts';
import { change, read, remoteAgentsOf, uuidOf } from '../support.ts';
import { basic, isActive, server, voiceId } from './server.ts';

const eventsOf = async (id: string) => {
  const events = await server.app.db.event.findMany({
    where: { agentId: uuidOf(id) },
    orderBy: { cursor: 'asc' },
  });
  return events.map(({ type }) => type);
};

export function changesSuite(): void {
  describe('sync of an agent', () => {
    it('adopts the remote agent whose creation response was lost', async () => {
      server.simulator.setFaults([
        { kind: 'dropAfter', method: 'POST', path: '^/api/agents$', count: 1 },
      ]);
      const agent = await change(server.client, 'createAgent', basic());
      expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
      expect(agent.syncError).not.toBeNull();
      const orphan = await remoteAgentsOf(server, agent.id);
      expect(orphan).toHaveLength(1);

      const active = await untilRetried(server, 'the agent to be active', isActive(agent.id));
      expect(active.syncError).toBeNull();
      const remotes = await remoteAgentsOf(server, agent.id);
      expect(remotes.map((remote) => remote.agentId)).toEqual([orphan[0]?.agentId]);
      const row = await server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(agent.id) } });
      expect(row.remoteId).toBe(orphan[0]?.agentId);
    });

    it('is sent immediately by retryAgentSync once Ultravox is reachable', async () => {
      server.simulator.setFaults([{ kind: 'status', status: 500, path: '^/api/agents' }]);
      const agent = await change(server.client, 'createAgent', basic());
      expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
      expect(await eventsOf(agent.id)).toEqual(['AGENT_CREATED', 'AGENT_SYNC_DELAYED']);
      server.simulator.clearFaults();
      const retried = await change(server.client, 'retryAgentSync', { id: agent.id });
      expect(retried).toMatchObject({ status: 'ACTIVE', syncError: null, isInSync: true });
      expect(await remoteAgentsOf(server, agent.id)).toHaveLength(1);
      const events = ['AGENT_CREATED', 'AGENT_SYNC_DELAYED', 'AGENT_SYNCED'];
      expect(await eventsOf(agent.id)).toEqual(events);

      const calm = await change(server.client, 'retryAgentSync', { id: agent.id });
      expect(calm.isInSync).toBe(true);
      expect(await eventsOf(agent.id)).toEqual(events);
    });

    it('retries by itself until Ultravox is reachable', async () => {
      server.simulator.setFaults([{ kind: 'dropBefore', path: '^/api/agents' }]);
      const agent = await change(server.client, 'createAgent', basic());
      expect(agent.status).toBe('DRAFT');
      server.simulator.clearFaults();
      await untilRetried(server, 'the agent to be active', isActive(agent.id));
      expect(await remoteAgentsOf(server, agent.id)).toHaveLength(1);
    });

    it('marks an agent that Ultravox refuses as FAILED until it is changed', async () => {
      const { id: _id, ...good } = await server.app.db.voice.findUniqueOrThrow({
        where: { id: uuidOf(voiceId) },
      });
      const unknown = await server.app.db.voice.create({
        data: {
          ...good,
          id: crypto.randomUUID(),
          remoteId: crypto.randomUUID(),
          definition: {},
        },
      });
      const agent = await change(server.client, 'createAgent', {
        ...basic(),
        voiceId: `voc_${unknown.id}`,
      });
      expect(agent).toMatchObject({ status: 'FAILED', isInSync: false });
      expect(agent.syncError).toContain('oice');
      expect(await remoteAgentsOf(server, agent.id)).toEqual([]);
      const stubborn = await change(server.client, 'retryAgentSync', { id: agent.id });
      expect(stubborn.status).toBe('FAILED');
      const fixed = await change(server.client, 'updateAgent', { id: agent.id, voiceId });
      expect(fixed).toMatchObject({ status: 'ACTIVE', syncError: null, isInSync: true });
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
      const [remote] = await remoteAgentsOf(server, agent.id);
      expect(remote?.callTemplate?.voice).toBe(good.remoteId);
    });

    it('sends the last of many concurrent edits last', async () => {
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
      await until('the agent to be in sync', isActive(id));
      const row = await server.app.db.agent.findUniqueOrThrow({ where: { id: uuidOf(id) } });
      expect(row.revision).toBe(1 + edits.length);
      const [remote] = await remoteAgentsOf(server, id);
      expect(remote?.callTemplate?.systemPrompt).toBe(row.systemPrompt);
      expect(row.systemPrompt).toMatch(/^Prompt \d+$/);
    });

    it('keeps concurrent edits of different fields', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      await Promise.all([
        change(server.client, 'updateAgent', { id, name: 'New name' }),
        change(server.client, 'updateAgent', { id, temperature: 0.9 }),
        change(server.client, 'updateAgent', { id, builtInConfig: { hangUp: true } }),
      ]);
      const agent = await until('the agent to be in sync', isActive(id));
      expect(agent).toMatchObject({
        name: 'New name',
        temperature: 0.9,
        builtInConfig: { hangUp: true },
      });
      const [remote] = await remoteAgentsOf(server, id);
      expect(remote).toMatchObject({
        name: `New-name_${id}`,
        callTemplate: { temperature: 0.9, selectedTools: [{ toolName: 'hangUp' }] },
      });
    });

    it('keeps an ACTIVE agent ACTIVE while a change cannot be sent', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      server.simulator.setFaults([{ kind: 'status', status: 503, path: '^/api/agents' }]);
      const changed = await change(server.client, 'updateAgent', { id, systemPrompt: 'New' });
      expect(changed).toMatchObject({ status: 'ACTIVE', isInSync: false, systemPrompt: 'New' });
      expect(changed.syncError).not.toBeNull();
      server.simulator.clearFaults();
      await until('the change to arrive', isActive(id));
      const [remote] = await remoteAgentsOf(server, id);
      expect(remote?.callTemplate?.systemPrompt).toBe('New');
    });

    it('sends a change whose sender and job are both lost, by the sweep', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      await server.app.db.$executeRaw`
    UPDATE agents SET revision = revision + 1, system_prompt = 'Swept',
      sync_lease_id = gen_random_uuid(), sync_lease_until = now() - interval '1 second',
      updated_at = now() - interval '1 minute'
    WHERE id = ${uuidOf(id)}::uuid`;
      await sweepSync(server.app, agentSync);
      await until('the change to arrive', isActive(id));
      const [remote] = await remoteAgentsOf(server, id);
      expect(remote?.callTemplate?.systemPrompt).toBe('Swept');
    });

    it('creates an agent again that was removed at Ultravox', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      const [remote] = await remoteAgentsOf(server, id);
      await server.app.ultravox.agents.delete(remote?.agentId ?? '');
      const after = await change(server.client, 'updateAgent', { id, systemPrompt: 'Back' });
      expect(after).toMatchObject({ status: 'ACTIVE', isInSync: true });
      const remotes = await remoteAgentsOf(server, id);
      expect(remotes).toHaveLength(1);
      expect(remotes[0]?.agentId).not.toBe(remote?.agentId);
    });

    it('says that an agent is not at Ultravox while it cannot be created there again', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      const [remote] = await remoteAgentsOf(server, id);
      await server.app.ultravox.agents.delete(remote?.agentId ?? '');
      server.simulator.setFaults([
        { kind: 'status', status: 500, method: 'POST', path: '^/api/agents$' },
      ]);
      const after = await change(server.client, 'updateAgent', { id, systemPrompt: 'Back' });
      expect(after).toMatchObject({ status: 'DRAFT', isInSync: false });
      const input = { agentId: id, phoneNumber: '+14155550123' };
      const { data } = await server.client.send(
        `mutation ($input: CreateCallInput!) {
        createCall(input: $input) { userErrors { code message } } }`,
        { input },
      );
      expect(data.createCall.userErrors).toMatchObject([
        { code: 'AGENT_NOT_READY', message: expect.stringContaining('is DRAFT, not ACTIVE') },
      ]);
      server.simulator.clearFaults();
      await untilRetried(server, 'the agent to be active', isActive(id));
    });

    it('removes a deleted agent once Ultravox is reachable', async () => {
      const { id } = await change(server.client, 'createAgent', basic());
      server.simulator.setFaults([{ kind: 'dropBefore', path: '^/api/agents' }]);
      const gone = await change(server.client, 'deleteAgent', { id });
      expect(gone).toMatchObject({ status: 'DELETED', isInSync: false });
      expect(gone.deletedAt).not.toBeNull();
      expect(await read(server.client, id)).toBeNull();
      server.simulator.clearFaults();
      expect(await remoteAgentsOf(server, id)).toHaveLength(1);
      await untilRetried(
        server,
        'the remote agent to be removed',
        async () => (await remoteAgentsOf(server, id)).length === 0,
      );
      expect(await eventsOf(id)).toEqual(['AGENT_CREATED', 'AGENT_SYNCED', 'AGENT_DELETED']);
    });

    it('removes the remote agent of a lost creation response when the agent is deleted', async () => {
      server.simulator.setFaults([
        { kind: 'dropAfter', method: 'POST', path: '^/api/agents$', count: 1 },
      ]);
      const { id } = await change(server.client, 'createAgent', basic());
      expect(await remoteAgentsOf(server, id)).toHaveLength(1);
      await change(server.client, 'deleteAgent', { id });
      expect(await remoteAgentsOf(server, id)).toEqual([]);
    });

    it('removes an agent that was deleted while it was being created', async () => {
      server.simulator.setFaults([
        { kind: 'slow', ms: 2_000, method: 'POST', path: '^/api/agents$', count: 1 },
      ]);
      const creating = change(server.client, 'createAgent', { ...basic(), name: 'Doomed' });
      const row = await until('the row', () =>
        server.app.db.agent.findFirst({ where: { name: 'Doomed', status: 'CREATING' } }),
      );
      const id = `agt_${row.id}`;
      await change(server.client, 'deleteAgent', { id });
      await creating;
      await until('the remote agent to be removed', async () => {
        const { remoteId, remoteAttemptAt } = await server.app.db.agent.findUniqueOrThrow({
          where: { id: row.id },
        });
        return remoteId === null && remoteAttemptAt === null;
      });
      expect(await remoteAgentsOf(server, id)).toEqual([]);
      expect(await eventsOf(id)).toEqual(['AGENT_CREATED', 'AGENT_DELETED']);
    });
  });
}
