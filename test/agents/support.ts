/** Helpers shared by the agent tests: documents, and objects for agents to refer to. */
import { randomUUID } from 'node:crypto';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import type { Agent as RemoteAgent } from '../../src/ultravox/wire.ts';
import { ensureVoices } from '../../src/voices/service.ts';
import type { Answer, GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/servers/server.ts';

export const AGENT = `fragment AgentFields on Agent {
  id name description systemPrompt model temperature recordingEnabled languageHint joinTimeout
  maxDuration timeExceededMessage successCriteria extractionSchema crmWebhookUrl hasCrmWebhookSecret
  status syncError isInSync deletedAt
  voice { id } tools { id modelToolName } knowledgeBases { id }
  greetingSettings { firstSpeaker text delay uninterruptible }
  inactivityMessages { duration message endBehavior }
  vadSettings { turnEndpointDelay minimumTurnDuration minimumInterruptionDuration frameActivationThreshold }
  builtInConfig { transfer { cold warm target } hangUp leaveVoicemail }
}`;

const ERRORS = 'userErrors { code message path details }';

const mutationOf = (name: string): string => {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  return `mutation ($input: ${type}!) { result: ${name}(input: $input) { agent { ...AgentFields } ${ERRORS} } } ${AGENT}`;
};

export interface Problem {
  code: string;
  message: string;
  path: string[];
  details: Record<string, unknown> | null;
}

// biome-ignore lint/suspicious/noExplicitAny: as the fragment says
export type AgentView = any;

type Name = 'createAgent' | 'updateAgent' | 'replaceAgent' | 'deleteAgent' | 'retryAgentSync';

/** The payload of a mutation, with its user errors. */
export async function send(
  client: GraphQLClient,
  name: Name,
  input: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<{ agent: AgentView; userErrors: Problem[]; answer: Answer }> {
  const answer = await client.send(mutationOf(name), { input }, { headers });
  if (answer.errors) throw new Error(JSON.stringify(answer.errors, null, 2));
  return { ...answer.data.result, answer };
}

/** The agent that a mutation returned. Throws on user errors. */
export async function change(
  client: GraphQLClient,
  name: Name,
  input: Record<string, unknown>,
): Promise<AgentView> {
  const { agent, userErrors } = await send(client, name, input);
  if (userErrors.length > 0) throw new Error(JSON.stringify(userErrors, null, 2));
  return agent;
}

export async function read(client: GraphQLClient, id: string): Promise<AgentView> {
  const answer = await client.send(
    `query ($id: ID!) { agent(id: $id) { ...AgentFields } } ${AGENT}`,
    { id },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors, null, 2));
  return answer.data.agent;
}

export const uuidOf = (id: string): string => id.slice(4);

/** ID of a voice that is at Ultravox. */
export async function anyVoice(server: TestServer, organizationId: string): Promise<string> {
  await ensureVoices(server.app, organizationId);
  const voice = await server.app.db.voice.findFirstOrThrow({
    where: { organizationId, withdrawnAt: null },
    orderBy: { name: 'asc' },
  });
  return publicId('Voice', voice.id);
}

/** Adds a tool, with `remote: false` one that is not at Ultravox. */
export async function addTool(
  server: TestServer,
  organizationId: string,
  modelToolName: string,
  { remote = true } = {},
): Promise<string> {
  const id = newId();
  const remoteId = remote ? await makeRemoteTool(server, id, modelToolName) : null;
  await server.app.db.tool.create({
    data: {
      id,
      organizationId,
      name: modelToolName,
      modelToolName,
      description: 'Looks something up',
      definition: { authenticationRevision: 1 },
      status: remoteId ? 'ACTIVE' : 'DRAFT',
      remoteId,
      syncedRevision: remoteId ? 1 : null,
    },
  });
  return publicId('Tool', id);
}

export async function makeRemoteTool(
  server: TestServer,
  id: string,
  modelToolName: string,
): Promise<string> {
  const tool = await server.app.ultravox.tools.create({
    name: publicId('Tool', id),
    definition: {
      modelToolName,
      description: 'Looks something up',
      http: { baseUrlPattern: 'https://example.com/tool', httpMethod: 'GET' },
    },
  });
  return tool.toolId;
}

export async function addKnowledgeBase(
  server: TestServer,
  organizationId: string,
): Promise<{ id: string; corpusId: string }> {
  const id = newId();
  const corpusId = randomUUID();
  await server.app.db.knowledgeBase.create({
    data: {
      id,
      organizationId,
      name: 'Handbook',
      status: 'ACTIVE',
      remoteId: corpusId,
      syncedRevision: 1,
    },
  });
  return { id: publicId('KnowledgeBase', id), corpusId };
}

/** All remote agents that belong to one agent. */
export async function remoteAgentsOf(server: TestServer, id: string): Promise<RemoteAgent[]> {
  const remotes: RemoteAgent[] = [];
  for await (const agent of server.app.ultravox.agents.listAll({ search: id })) {
    if (agent.name.endsWith(id)) remotes.push(agent);
  }
  return remotes;
}

/** Input for an agent with every field set, and what it refers to. */
export async function fullAgent(server: TestServer, voiceId: string) {
  const toolId = await addTool(server, server.organizationId, `lookUp_${newId().slice(-8)}`);
  const { id: knowledgeBaseId, corpusId } = await addKnowledgeBase(server, server.organizationId);
  const input = {
    name: 'Support',
    voiceId,
    systemPrompt: 'Help {{first_name}}.',
    description: 'For tests',
    model: 'ultravox-v0.6',
    toolIds: [toolId],
    knowledgeBaseIds: [knowledgeBaseId],
    temperature: 0.7,
    recordingEnabled: true,
    languageHint: 'es-MX',
    joinTimeout: '20s',
    maxDuration: '900s',
    timeExceededMessage: 'Time is up, {{first_name}}.',
    greetingSettings: { firstSpeaker: 'USER', text: 'Hello?', delay: '4s', uninterruptible: false },
    inactivityMessages: [{ duration: '10s', message: 'There?', endBehavior: 'HANG_UP_STRICT' }],
    vadSettings: {
      turnEndpointDelay: '0.5s',
      minimumTurnDuration: '0s',
      minimumInterruptionDuration: '0.2s',
      frameActivationThreshold: 0.2,
    },
    builtInConfig: {
      transfer: { cold: true, warm: false, target: '+14155550123' },
      hangUp: true,
      leaveVoicemail: false,
    },
    successCriteria: 'The caller is happy.',
    extractionSchema: { type: 'object', properties: { day: { type: 'string' } } },
    crmWebhookUrl: 'https://example.com/crm',
    crmWebhookSecret: 'a secret for the webhook',
  };
  return { input, toolId, knowledgeBaseId, corpusId };
}
