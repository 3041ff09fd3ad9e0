/** Adding and deleting the documents and web pages of a knowledge base. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
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

const ready = (id: string) =>
  until(`${id} to be indexed`, async () => {
    const base = await read(server.client, id);
    return base.indexingStatus === 'READY' && base;
  });

async function remoteSources(knowledgeBaseId: string): Promise<View[]> {
  const found: View[] = [];
  const { remoteId } = await baseRow(knowledgeBaseId);
  for await (const source of server.app.ultravox.corpora.listAllSources(remoteId ?? '')) {
    found.push(source);
  }
  return found;
}

export function sourcesSuite(): void {
  describe('addDocumentSource, addWebSource and deleteKnowledgeSource', () => {
    it('upload a document, remove it here, and index it', async () => {
      const { id } = await create();
      const source = await done(server.client, 'addDocumentSource', document(id));
      expect(source).toMatchObject({
        kind: 'DOCUMENT',
        name: 'Opening hours',
        urls: [],
        filename: 'hours.md',
        contentType: 'text/markdown',
        sizeBytes: 49,
        status: 'ACTIVE',
        syncError: null,
        knowledgeBase: { id, name: 'Handbook' },
      });
      expect((await sourceRow(source.id)).content).toBeNull();
      expect(await remoteSources(id)).toMatchObject([{ name: source.id }]);
      const base = await ready(id);
      expect(base).toMatchObject({ documentCount: 1, chunkCount: 1, sources: { totalCount: 1 } });
      expect(base.sources.nodes).toMatchObject([
        { id: source.id, indexingStatus: 'READY', documentCount: 1 },
      ]);
      await until('rest', async () => (await baseRow(id)).nextCheckAt === null);
    });

    it('read web pages from the given URLs', async () => {
      const { id } = await create();
      const urls = ['https://www.acme.com/help', 'https://www.acme.com/faq'];
      const source = await done(server.client, 'addWebSource', {
        knowledgeBaseId: id,
        name: 'Help pages',
        urls: [...urls, urls[0]],
        maxDepth: 2,
        maxDocuments: 30,
      });
      expect(source).toMatchObject({ kind: 'WEB', urls, maxDepth: 2, maxDocuments: 30 });
      expect(source).toMatchObject({ status: 'ACTIVE', filename: null, sizeBytes: null });
      expect(await remoteSources(id)).toMatchObject([
        { name: source.id, crawl: { startUrls: urls, maxDepth: 2, maxDocuments: 30 } },
      ]);
      expect((await ready(id)).sources.nodes).toMatchObject([{ indexingStatus: 'READY' }]);
    });

    it('report all invalid fields at once', async () => {
      const wrong = await mutate(server.client, 'addDocumentSource', {
        knowledgeBaseId: publicId('KnowledgeBase', newId()),
        name: '',
        filename: 'hours.exe',
        content: 'no base64!',
      });
      expect(wrong.userErrors).toMatchObject([
        { code: 'INVALID_INPUT', path: ['content'] },
        { code: 'INVALID_INPUT', path: ['filename'] },
        { code: 'REQUIRED', path: ['name'] },
        { code: 'NOT_FOUND', path: ['knowledgeBaseId'] },
      ]);
      const web = await mutate(server.client, 'addWebSource', {
        knowledgeBaseId: 'x',
        name: 'x',
        urls: ['https://www.acme.com', 'http://acme.com', 'https://10.0.0.1/', 'acme'],
        maxDepth: 0,
        maxDocuments: 201,
      });
      expect(web.userErrors.map(({ path }) => path.join('.'))).toEqual([
        'urls.1',
        'urls.2',
        'urls.3',
        'maxDepth',
        'maxDocuments',
        'knowledgeBaseId',
      ]);
    });

    it.each([
      ['a PDF that is none', { filename: 'a.pdf' }, 'content'],
      ['text that is not UTF-8', { content: 'gICA' }, 'content'],
      ['nothing', { content: '' }, 'content'],
      ['another type than the name says', { contentType: 'application/pdf' }, 'contentType'],
      ['no ending', { filename: 'hours' }, 'filename'],
      [
        'more than 10 MB',
        { content: Buffer.alloc(10 * 1024 * 1024 + 1, 'a').toString('base64') },
        'content',
      ],
    ])('reject %s', async (_what, more, member) => {
      const { id } = await create();
      const { userErrors } = await mutate(server.client, 'addDocumentSource', document(id, more));
      expect(userErrors.map(({ path }) => path[0])).toEqual([member]);
    });

    it('accept 10 MB, and an alias of the content type', async () => {
      const { id } = await create();
      const source = await done(
        server.client,
        'addDocumentSource',
        document(id, {
          content: Buffer.alloc(10 * 1024 * 1024, 'a').toString('base64'),
          contentType: 'text/plain; charset=utf-8',
        }),
      );
      expect(source).toMatchObject({ status: 'ACTIVE', contentType: 'text/markdown' });
    });

    it('accept at most 20 sources, even when they are added concurrently', async () => {
      const { id } = await create();
      const { organizationId } = await baseRow(id);
      await server.app.db.knowledgeSource.createMany({
        data: Array.from({ length: 18 }, (_, index) => ({
          id: newId(),
          organizationId,
          knowledgeBaseId: uuid(id),
          kind: 'WEB' as const,
          name: `${index}`,
          status: 'ACTIVE' as const,
          syncedRevision: 1,
        })),
      });
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => mutate(server.client, 'addDocumentSource', document(id))),
      );
      expect(answers.filter(({ object }) => object)).toHaveLength(2);
      expect(answers.flatMap(({ userErrors }) => userErrors)).toMatchObject(
        Array.from({ length: 3 }, () => ({ code: 'LIMIT_EXCEEDED', path: ['knowledgeBaseId'] })),
      );
      expect((await read(server.client, id)).sources.totalCount).toBe(20);
    });

    it.each([
      ['the upload', { method: 'PUT', path: '^/(?!api/)' }],
      ['the source', { method: 'POST', path: '/sources$' }],
    ])('create one source when the response to %s was lost', async (_what, where) => {
      const { id } = await create();
      server.simulator.setFaults([{ kind: 'dropAfter', count: 1, ...where }]);
      const source = await done(server.client, 'addDocumentSource', document(id));
      expect(server.simulator.faults()).toMatchObject([{ count: 0 }]);
      expect(source.status).toBe('DRAFT');
      expect((await sourceRow(source.id)).content).not.toBeNull();
      const sent = async () => (await sourceRow(source.id)).status === 'ACTIVE';
      await untilRetried(server, 'the source', sent);
      const base = await ready(id);
      expect(base.sources.nodes).toMatchObject([{ id: source.id, status: 'ACTIVE' }]);
      expect(await remoteSources(id)).toHaveLength(1);
      expect((await sourceRow(source.id)).content).toBeNull();
    });

    it('wait until the knowledge base is at Ultravox', async () => {
      server.simulator.setFaults([
        { kind: 'status', status: 503, method: 'POST', path: '^/api/corpora$' },
      ]);
      const { id } = await create();
      const source = await done(server.client, 'addDocumentSource', document(id));
      expect(source.status).toBe('DRAFT');
      // As after many attempts: the next one by itself would be long in coming.
      await server.app.db.$executeRaw`
      UPDATE pgboss.job SET start_after = now() + interval '1 hour'
      WHERE name = 'syncKnowledgeSource' AND state = 'created'`;
      server.simulator.clearFaults();
      const base = await ready(id);
      expect(base.sources.nodes).toMatchObject([{ status: 'ACTIVE' }]);
    });

    it('return the reason when Ultravox refuses the source', async () => {
      const { id } = await create();
      server.simulator.setFaults([
        { kind: 'status', status: 400, method: 'POST', path: '/sources$', count: 1 },
      ]);
      const source = await done(server.client, 'addDocumentSource', document(id));
      expect(source.status).toBe('FAILED');
      expect(source.syncError).toBeTruthy();
      expect(await done(server.client, 'deleteKnowledgeSource', { id: source.id })).toBe(source.id);
    });

    it('delete the source here and at Ultravox', async () => {
      const { id } = await create();
      const source = await done(server.client, 'addDocumentSource', document(id));
      await ready(id);
      expect(await done(server.client, 'deleteKnowledgeSource', { id: source.id })).toBe(source.id);
      expect(await remoteSources(id)).toEqual([]);
      expect((await read(server.client, id)).sources).toEqual({ totalCount: 0, nodes: [] });
      await until('an empty base', async () => {
        const base = await read(server.client, id);
        return base.indexingStatus === 'EMPTY' && base.documentCount === 0;
      });
      const again = await mutate(server.client, 'deleteKnowledgeSource', { id: source.id });
      expect(again.userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    });

    it('read web pages again when the corpus was removed at Ultravox, but no documents', async () => {
      const { id } = await create();
      const page = await done(server.client, 'addWebSource', {
        knowledgeBaseId: id,
        name: 'Page',
        urls: ['https://www.acme.com/'],
      });
      const file = await done(server.client, 'addDocumentSource', document(id));
      await ready(id);
      const { remoteId } = await baseRow(id);
      await server.app.ultravox.corpora.delete(remoteId!);
      await done(server.client, 'updateKnowledgeBase', { id, name: 'Renamed' });
      expect((await baseRow(id)).remoteId).not.toBe(remoteId);
      const base = await ready(id);
      const find = (source: View) => base.sources.nodes.find((node: View) => node.id === source.id);
      expect(find(page)).toMatchObject({ status: 'ACTIVE', indexingStatus: 'READY' });
      expect(find(file)).toMatchObject({ status: 'FAILED' });
      expect(find(file).syncError).toContain('add the document again');
      expect(await remoteSources(id)).toHaveLength(1);
    });

    it('create the corpus again when a new source finds that it was removed at Ultravox', async () => {
      const { id } = await create();
      const { remoteId } = await baseRow(id);
      await server.app.ultravox.corpora.delete(remoteId!);
      const page = { knowledgeBaseId: id, name: 'Page', urls: ['https://www.acme.com/'] };
      const { syncError } = await done(server.client, 'addWebSource', page);
      expect(syncError).toContain('is created again');
      expect((await ready(id)).sources.nodes).toMatchObject([{ status: 'ACTIVE' }]);
      expect(await remoteSources(id)).toHaveLength(1);
    });
  });
}
