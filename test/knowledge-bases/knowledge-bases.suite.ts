/** Creating, changing, listing and deleting knowledge bases. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { insertAgent } from '../support/agent-rows.ts';
import { untilRetried } from '../support/jobs.ts';
import { until } from '../support/wait.ts';
import {
  baseRow,
  create,
  document,
  done,
  mutate,
  read,
  server,
  sourceRow,
  uuid,
  type View,
} from './server.ts';

async function corpora(name: string): Promise<View[]> {
  const found: View[] = [];
  for await (const corpus of server.app.ultravox.corpora.listAll()) {
    if (corpus.name === name) found.push(corpus);
  }
  return found;
}

async function agentWith(knowledgeBaseId: string): Promise<string> {
  const { organizationId, id } = await baseRow(knowledgeBaseId);
  const agentId = await insertAgent(server.app, { organizationId });
  await server.app.db.agentKnowledgeBase.create({
    data: { organizationId, agentId, knowledgeBaseId: id, position: 0 },
  });
  return publicId('Agent', agentId);
}

export function knowledgeBasesSuite(): void {
  describe('createKnowledgeBase, updateKnowledgeBase and knowledgeBases', () => {
    it('create an empty knowledge base, which has our id at Ultravox', async () => {
      const base = await create();
      expect(base).toMatchObject({
        name: 'Handbook',
        description: 'How we work',
        status: 'ACTIVE',
        syncError: null,
        indexingStatus: 'EMPTY',
        documentCount: 0,
        sources: { totalCount: 0, nodes: [] },
      });
      expect(await corpora(base.id)).toMatchObject([{ description: 'How we work' }]);
      expect(await read(server.client, base.id)).toEqual(base);
    });

    it('change only the fields that were sent', async () => {
      const { id } = await create();
      const renamed = await done(server.client, 'updateKnowledgeBase', { id, name: 'Manual' });
      expect(renamed).toMatchObject({ name: 'Manual', description: 'How we work' });
      const cleared = await done(server.client, 'updateKnowledgeBase', { id, description: null });
      expect(cleared).toMatchObject({ name: 'Manual', description: null, status: 'ACTIVE' });
      expect(await corpora(id)).toMatchObject([{ description: 'Manual' }]);
    });

    it('send nothing to Ultravox when no field is given', async () => {
      const { id } = await create();
      const row = () =>
        server.app.db.knowledgeBase.findUniqueOrThrow({ where: { id: id.slice(4) } });
      const before = await row();
      await done(server.client, 'updateKnowledgeBase', { id });
      expect(await row()).toEqual(before);
    });

    it('report all invalid fields at once', async () => {
      const made = await mutate(server.client, 'createKnowledgeBase', {
        name: ' ',
        description: 'x'.repeat(1001),
      });
      expect(made.userErrors.map(({ path }) => path[0])).toEqual(['name', 'description']);
      const changed = await mutate(server.client, 'updateKnowledgeBase', {
        id: publicId('KnowledgeBase', newId()),
        name: null,
      });
      expect(changed.userErrors).toMatchObject([
        { code: 'REQUIRED', path: ['name'] },
        { code: 'NOT_FOUND', path: ['id'] },
      ]);
    });

    it('hide the knowledge bases of another organization and reject changes to them', async () => {
      const { id } = await create();
      const source = await done(server.client, 'addDocumentSource', document(id));
      const { client } = await server.newOrganization();
      expect(await read(client, id)).toBeNull();
      const nodes = await client.send('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
        ids: [id, source.id],
      });
      expect(nodes).toMatchObject({ data: { nodes: [null, null] } });
      for (const [name, input] of [
        ['updateKnowledgeBase', { id }],
        ['deleteKnowledgeBase', { id }],
        ['addDocumentSource', document(id)],
        ['addWebSource', { knowledgeBaseId: id, name: 'x', urls: ['https://acme.com'] }],
        ['deleteKnowledgeSource', { id: source.id }],
      ] as const) {
        const { userErrors } = await mutate(client, name, input);
        expect(userErrors, name).toMatchObject([{ code: 'NOT_FOUND' }]);
      }
      const all = await client.send('{ knowledgeBases { totalCount nodes { id } } }');
      expect(all.data.knowledgeBases).toEqual({ totalCount: 0, nodes: [] });
    });

    it('filter by name and sort', async () => {
      const { client } = await server.newOrganization();
      for (const name of ['b_1', 'a', 'bX1']) await create(client, name);
      const names = async (args: string) => {
        const answer = await client.send(`{ knowledgeBases${args} { totalCount nodes { name } } }`);
        return answer.data.knowledgeBases.nodes.map(({ name }: { name: string }) => name);
      };
      expect(await names('')).toEqual(['bX1', 'a', 'b_1']);
      expect(await names('(filter: { name: "B_1" })')).toEqual(['b_1']);
      expect(await names('(orderBy: { field: CREATED_AT, direction: ASC }, first: 2)')).toEqual([
        'b_1',
        'a',
      ]);
    });

    it('adopt the corpus whose creation response was lost', async () => {
      server.simulator.setFaults([
        { kind: 'dropAfter', method: 'POST', path: '^/api/corpora$', count: 1 },
      ]);
      const base = await create();
      expect(base.status).toBe('DRAFT');
      await untilRetried(
        server,
        'the base',
        async () => (await read(server.client, base.id)).status === 'ACTIVE',
      );
      const found = await corpora(base.id);
      expect(found.map(({ corpusId }) => corpusId)).toEqual([(await baseRow(base.id)).remoteId]);
    });

    it('send waiting agents once the knowledge base is at Ultravox', async () => {
      server.simulator.setFaults([
        { kind: 'status', status: 503, method: 'POST', path: '^/api/corpora$' },
      ]);
      const { id, status } = await create();
      expect(status).toBe('DRAFT');
      const agentId = await agentWith(id);
      const revision = async () =>
        (await server.app.db.agent.findUniqueOrThrow({ where: { id: uuid(agentId) } })).revision;
      const before = await revision();
      server.simulator.clearFaults();
      await until('the agent', async () => (await revision()) > before);
      expect((await read(server.client, id)).status).toBe('ACTIVE');
    });

    it('create one knowledge base per idempotency key, even when the first run died', async () => {
      const headers = { 'x-idempotency-key': `base-${newId()}` };
      const input = { name: 'Once' };
      const first = await mutate(server.client, 'createKnowledgeBase', input, headers);
      await server.app.db.idempotencyKey.updateMany({
        data: { response: null, leaseUntil: new Date(0) },
      });
      const second = await mutate(server.client, 'createKnowledgeBase', input, headers);
      expect(second.object.id).toBe(first.object.id);
      expect(await corpora(first.object.id)).toHaveLength(1);
    });
  });

  describe('deleteKnowledgeBase', () => {
    it('removes the knowledge base with its sources, later when Ultravox fails at first', async () => {
      const { id } = await create();
      const source = await done(server.client, 'addDocumentSource', document(id));
      server.simulator.setFaults([
        { kind: 'status', status: 500, method: 'DELETE', path: '^/api/corpora', count: 1 },
      ]);
      expect(await done(server.client, 'deleteKnowledgeBase', { id })).toBe(id);
      expect(await read(server.client, id)).toBeNull();
      expect(await corpora(id)).toHaveLength(1);
      await untilRetried(server, 'the removal', async () => (await corpora(id)).length === 0);
      await untilRetried(server, 'the row of the source', async () => {
        const row = await sourceRow(source.id);
        return row.deletedAt !== null && row.remoteId === null;
      });
    });

    it('rejects a knowledge base that agents use and lists those agents', async () => {
      const { id } = await create();
      const agentId = await agentWith(id);
      const { userErrors } = await mutate(server.client, 'deleteKnowledgeBase', { id });
      expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { agentIds: [agentId] } }]);
      expect(await read(server.client, id)).not.toBeNull();
    });
  });
}
