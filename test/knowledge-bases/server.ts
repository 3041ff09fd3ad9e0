/** The server that the suites of knowledge bases share, and helpers to change and read them. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

export let server: TestServer;

export const SOURCE = `id kind name description urls maxDepth maxDocuments filename contentType sizeBytes
  status syncError indexingStatus documentCount`;

export const BASE = `id name description status syncError indexingStatus documentCount chunkCount
  sources { totalCount nodes { ${SOURCE} } }`;

// biome-ignore lint/suspicious/noExplicitAny: as the fragments say
export type View = any;

export const PAYLOADS = {
  createKnowledgeBase: `object: knowledgeBase { ${BASE} }`,
  updateKnowledgeBase: `object: knowledgeBase { ${BASE} }`,
  deleteKnowledgeBase: 'object: deletedKnowledgeBaseId',
  addDocumentSource: `object: knowledgeSource { ${SOURCE} knowledgeBase { id name } }`,
  addWebSource: `object: knowledgeSource { ${SOURCE} knowledgeBase { id name } }`,
  deleteKnowledgeSource: 'object: deletedKnowledgeSourceId',
};

export async function mutate(
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

export async function done(
  client: GraphQLClient,
  name: keyof typeof PAYLOADS,
  input: unknown,
): Promise<View> {
  const { object, userErrors } = await mutate(client, name, input);
  expect(userErrors).toEqual([]);
  return object;
}

export async function read(client: GraphQLClient, id: string): Promise<View> {
  const query = `query ($id: ID!) { knowledgeBase(id: $id) { ${BASE} } }`;
  const answer = await client.send(query, { id });
  expect(answer.errors).toBeUndefined();
  return answer.data.knowledgeBase;
}

export const uuid = (id: string): string => id.slice(4);

export const baseRow = (id: string) =>
  server.app.db.knowledgeBase.findUniqueOrThrow({ where: { id: uuid(id) } });

export const sourceRow = (id: string) =>
  server.app.db.knowledgeSource.findUniqueOrThrow({ where: { id: uuid(id) } });

export const create = (client = server.client, name = 'Handbook'): Promise<View> =>
  done(client, 'createKnowledgeBase', { name, description: 'How we work' });

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

export const document = (knowledgeBaseId: string, more: object = {}) => ({
  knowledgeBaseId,
  name: 'Opening hours',
  filename: 'hours.md',
  content: base64('# Opening hours\n\nMonday to Friday, nine to five.\n'),
  ...more,
});

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useKnowledgeServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server?.close());
  afterEach(() => server.simulator.clearFaults());
}
