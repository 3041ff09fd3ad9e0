import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { insertAgent } from '../support/agent-rows.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { untilRetried } from '../support/jobs.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

const SOURCE = `id kind name description urls maxDepth maxDocuments filename contentType sizeBytes
  status syncError indexingStatus documentCount`;
const BASE = `id name description status syncError indexingStatus documentCount chunkCount
  sources { totalCount nodes { ${SOURCE} } }`;

// biome-ignore lint/suspicious/noExplicitAny: as the fragments say
type View = any;

const PAYLOADS = {
  createKnowledgeBase: `object: knowledgeBase { ${BASE} }`,
  updateKnowledgeBase: `object: knowledgeBase { ${BASE} }`,
  deleteKnowledgeBase: 'object: deletedKnowledgeBaseId',
  addDocumentSource: `object: knowledgeSource { ${SOURCE} knowledgeBase { id name } }`,
  addWebSource: `object: knowledgeSource { ${SOURCE} knowledgeBase { id name } }`,
  deleteKnowledgeSource: 'object: deletedKnowledgeSourceId',
};

async function mutate(
  client: GraphQLClient,
  name: keyof typeof PAYLOADS,
  input: unknown,
  headers: Record<string, string> = {},
): Promise<{ object: View; userErrors: View[] }> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { result: ${name}(input: $input) { ${PAYLOADS[name]} userErrors { code message path details } } }`,
    { input },
    { headers },
  );
  expect(answer.errors).toBeUndefined();
  return answer.data.result;
}

async function done(
  client: GraphQLClient,
  name: keyof typeof PAYLOADS,
  input: unknown,
): Promise<View> {
  const { object, userErrors } = await mutate(client, name, input);
  expect(userErrors).toEqual([]);
  return object;
}

async function read(client: GraphQLClient, id: string): Promise<View> {
  const query = `query ($id: ID!) { knowledgeBase(id: $id) { ${BASE} } }`;
  const answer = await client.send(query, { id });
  expect(answer.errors).toBeUndefined();
  return answer.data.knowledgeBase;
}

const ready = (id: string) =>
  until(`${id} to be indexed`, async () => {
    const base = await read(server.client, id);
    return base.indexingStatus === 'READY' && base;
  });

const uuid = (id: string): string => id.slice(4);
const baseRow = (id: string) =>
  server.app.db.knowledgeBase.findUniqueOrThrow({ where: { id: uuid(id) } });
const sourceRow = (id: string) =>
  server.app.db.knowledgeSource.findUniqueOrThrow({ where: { id: uuid(id) } });

async function corpora(name: string): Promise<View[]> {
  const found: View[] = [];
  for await (const corpus of server.app.ultravox.corpora.listAll()) {
    if (corpus.name === name) found.push(corpus);
  }
  return found;
}

async function remoteSources(knowledgeBaseId: string): Promise<View[]> {
  const found: View[] = [];
  const { remoteId } = await baseRow(knowledgeBaseId);
  for await (const source of server.app.ultravox.corpora.listAllSources(remoteId ?? '')) {
    found.push(source);
  }
  return found;
}

const create = (client = server.client, name = 'Handbook'): Promise<View> =>
  done(client, 'createKnowledgeBase', { name, description: 'How we work' });

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const document = (knowledgeBaseId: string, more: object = {}) => ({
  knowledgeBaseId,
  name: 'Opening hours',
  filename: 'hours.md',
  content: base64('# Opening hours\n\nMonday to Friday, nine to five.\n'),
  ...more,
});

async function agentWith(knowledgeBaseId: string): Promise<string> {
  const { organizationId, id } = await baseRow(knowledgeBaseId);
  const agentId = await insertAgent(server.app, { organizationId });
  await server.app.db.agentKnowledgeBase.create({
    data: { organizationId, agentId, knowledgeBaseId: id, position: 0 },
  });
  return publicId('Agent', agentId);
}

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
    const row = () => server.app.db.knowledgeBase.findUniqueOrThrow({ where: { id: id.slice(4) } });
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
