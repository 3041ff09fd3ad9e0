/** Agents whose voice, tool or knowledge base is not at Ultravox. */
import { describe, expect, it } from 'vitest';
import { resyncAgents } from '../../../src/sync/jobs.ts';
import { untilRetried } from '../../support/jobs.ts';
import { until } from '../../support/wait.ts';
import { addTool, change, makeRemoteTool, read, remoteAgentsOf, send, uuidOf } from '../support.ts';
import { basic, isActive, server, voiceId } from './server.ts';

async function addVoice() {
  const { data } = await server.client.send(
    `mutation { createVoice(input: { name: "Nora", providerVoiceId: "nora" }) {
      voice { id status } userErrors { message }
    } }`,
  );
  return data.createVoice;
}

async function createTool(): Promise<string> {
  const { data } = await server.client.send(
    `mutation ($name: String!) { createTool(input: {
      name: $name, description: "Looks something up"
      http: { url: "https://example.com", method: GET }
    }) { tool { id } userErrors { message } } }`,
    { name: `lookup_${crypto.randomUUID().slice(0, 8)}` },
  );
  return data.createTool.tool.id;
}

export function referencesSuite(): void {
  describe('sync of an agent', () => {
    it('waits for a tool that is not at Ultravox yet', async () => {
      const toolId = await addTool(server, server.organizationId, 'late_tool', { remote: false });
      const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [toolId] });
      expect(agent).toMatchObject({ status: 'DRAFT', isInSync: false });
      expect(agent.syncError).toMatch(/^The tool "late_tool".* is not at Ultravox yet/);

      const remoteToolId = await makeRemoteTool(server, uuidOf(toolId), 'late_tool');
      await server.app.db.tool.update({
        where: { id: uuidOf(toolId) },
        data: { status: 'ACTIVE', remoteId: remoteToolId, syncedRevision: 1 },
      });
      const resync = { kind: 'TOOL', id: uuidOf(toolId) } as const;
      await server.app.jobs.enqueue(server.app.db, resyncAgents, resync, { group: null });
      await until('the agent to be active', isActive(agent.id));
      const [remote] = await remoteAgentsOf(server, agent.id);
      expect(remote?.callTemplate?.selectedTools).toMatchObject([{ toolId: remoteToolId }]);
    });

    it('reports why a voice that it waits for was refused, until it gets another one', async () => {
      server.simulator.setFaults([{ kind: 'status', status: 503, path: '^/api/voices' }]);
      const { voice } = await addVoice();
      const agent = await change(server.client, 'createAgent', { ...basic(), voiceId: voice.id });
      expect(agent).toMatchObject({
        status: 'DRAFT',
        syncError: `The voice ${voice.id} is not at Ultravox yet.`,
      });
      server.simulator.setFaults([{ kind: 'status', status: 400, path: '^/api/voices' }]);
      const failed = await untilRetried(server, 'the refusal to reach the agent', async () => {
        const now = await read(server.client, agent.id);
        return now.status === 'FAILED' && now;
      });
      expect(failed.syncError).toMatch(`Ultravox refused the voice ${voice.id}: `);
      const test = await server.client.send(
        'mutation ($id: ID!) { startTestCall(input: { agentId: $id }) { userErrors { code message } } }',
        { id: agent.id },
      );
      expect(test.data.startTestCall.userErrors).toEqual([
        {
          code: 'AGENT_NOT_READY',
          message: `The agent is FAILED, not ACTIVE, so it cannot take or place calls yet. Reason: ${failed.syncError}`,
        },
      ]);
      const fixed = await change(server.client, 'updateAgent', { id: agent.id, voiceId });
      expect(fixed).toMatchObject({ status: 'ACTIVE', syncError: null });
    });

    it('becomes ACTIVE once a tool that Ultravox refused has been corrected', async () => {
      const fault = { kind: 'status', status: 503, path: '^/api/tools' } as const;
      server.simulator.setFaults([fault]);
      const toolId = await createTool();
      const agent = await change(server.client, 'createAgent', { ...basic(), toolIds: [toolId] });
      expect(agent.status).toBe('DRAFT');
      server.simulator.setFaults([{ ...fault, status: 400 }]);
      await untilRetried(server, 'the refusal to reach the agent', async () => {
        const { status, syncError } = await read(server.client, agent.id);
        return status === 'FAILED' && /^Ultravox refused the tool "/.test(syncError);
      });
      server.simulator.clearFaults();
      await server.client.send(
        'mutation ($id: ID!) { updateTool(input: { id: $id, description: "Better" }) { tool { id } } }',
        { id: toolId },
      );
      await until('the agent to be active', isActive(agent.id));
    });

    it('cannot be given a voice, tool or knowledge base that Ultravox refused', async () => {
      const fault = { kind: 'status', status: 400, method: 'POST', path: '^/api/' } as const;
      server.simulator.setFaults([fault]);
      const { voice } = await addVoice();
      const toolId = await createTool();
      const { data } = await server.client.send(
        'mutation { createKnowledgeBase(input: { name: "Refused" }) { knowledgeBase { id } } }',
      );
      server.simulator.clearFaults();
      const refused = {
        voiceId: voice.id,
        toolIds: [toolId],
        knowledgeBaseIds: [data.createKnowledgeBase.knowledgeBase.id],
      };
      const problems = [
        { code: 'INVALID_STATE', path: ['voiceId'], message: expect.stringContaining('refused') },
        { code: 'INVALID_STATE', path: ['toolIds', '0'] },
        { code: 'INVALID_STATE', path: ['knowledgeBaseIds', '0'] },
      ];
      const made = await send(server.client, 'createAgent', { ...basic(), ...refused });
      expect(made.userErrors).toMatchObject(problems);
      const agent = await change(server.client, 'createAgent', basic());
      const changed = await send(server.client, 'updateAgent', { id: agent.id, ...refused });
      expect(changed.userErrors).toMatchObject(problems);
    });

    it('reports a tool that is deleted while an agent begins to use it as in use or not found', async () => {
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
          const tool = await server.app.db.tool.findUniqueOrThrow({
            where: { id: uuidOf(toolId) },
          });
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
  });
}
