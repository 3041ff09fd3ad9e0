/** Documents, fixtures and readers shared by the tests of tools. */
import { expect } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { insertAgent } from '../support/agent-rows.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/servers/server.ts';

const TOOL = `id name modelToolName description http { url method }
  dynamicParameters { name location schema required } staticParameters { name location value }
  automaticParameters { name location knownValue } authentication { kind name }
  timeout precomputable defaultReaction staticResponse status syncError`;

// biome-ignore lint/suspicious/noExplicitAny: its shape is that of the TOOL fragment
export type View = any;

export async function mutate(
  client: GraphQLClient,
  name: 'createTool' | 'updateTool' | 'deleteTool',
  input: unknown,
  headers: Record<string, string> = {},
): Promise<{ tool: View; deletedToolId?: string; userErrors: View[]; text: string }> {
  const payload = name === 'deleteTool' ? 'deletedToolId' : `tool { ${TOOL} }`;
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await client.send(
    `mutation ($input: ${type}!) { result: ${name}(input: $input) { ${payload} userErrors { code message path details } } }`,
    { input },
    { headers },
  );
  expect(answer.errors).toBeUndefined();
  return { ...answer.data.result, text: JSON.stringify(answer.data) };
}

export async function read(client: GraphQLClient, id: string): Promise<View> {
  const answer = await client.send(`query ($id: ID!) { tool(id: $id) { ${TOOL} } }`, { id });
  expect(answer.errors).toBeUndefined();
  return answer.data.tool;
}

export async function list(
  client: GraphQLClient,
  args: Record<string, unknown> = {},
): Promise<View> {
  const answer = await client.send(
    `query ($filter: ToolFilter, $orderBy: ToolOrder, $first: Int) {
      tools(filter: $filter, orderBy: $orderBy, first: $first) { totalCount nodes { id name } }
    }`,
    args,
  );
  expect(answer.errors).toBeUndefined();
  return answer.data.tools;
}

export async function remoteTools(server: TestServer, name: string): Promise<View[]> {
  const found: View[] = [];
  for await (const tool of server.app.ultravox.tools.listAll({ search: name })) found.push(tool);
  return found;
}

export const uuid = (id: string): string => id.slice(4);
export const rowOf = (server: TestServer, id: string) =>
  server.app.db.tool.findUniqueOrThrow({ where: { id: uuid(id) } });

export const MINIMAL = {
  name: 'Look up an order',
  description: 'Finds an order by its number.',
  http: { url: 'https://api.acme.com/orders' },
};

export const FULL = {
  name: 'Bestellung ändern',
  description: 'Changes an order.',
  http: { url: 'https://api.acme.com/orders/{orderId}/{part}', method: 'POST' },
  dynamicParameters: [
    { name: 'orderId', location: 'PATH', schema: { type: 'string', pattern: '^[0-9]{6}$' } },
    { name: 'note', location: 'BODY', schema: { type: 'string' }, required: false },
  ],
  staticParameters: [
    { name: 'part', location: 'PATH', value: 'notes' },
    { name: 'options', location: 'BODY', value: { notify: true } },
  ],
  automaticParameters: [{ name: 'X-Call-Id', location: 'HEADER', knownValue: 'CALL_ID' }],
  authentication: [
    { headerApiKey: { name: 'X-API-Key', value: 'key-very-secret' } },
    { httpAuth: { scheme: 'Bearer', token: 'token-very-secret' } },
  ],
  timeout: '10s',
  precomputable: true,
  defaultReaction: 'LISTENS',
  staticResponse: 'Done.',
};

/** Inserts an agent with this tool directly into the database. */
export async function agentWith(server: TestServer, toolId: string): Promise<string> {
  const { organizationId, id } = await rowOf(server, toolId);
  const agentId = await insertAgent(server.app, { organizationId });
  await server.app.db.agentTool.create({
    data: { organizationId, agentId, toolId: id, position: 0 },
  });
  return publicId('Agent', agentId);
}
