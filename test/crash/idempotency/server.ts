/** The server that the suites in this folder share, and mutations to repeat. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { type Caller, prepareCaller } from '../../support/calling.ts';
import type { Answer, GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

export let server: TestServer;
export let caller: Caller;

export const CREATE_AGENT = `mutation ($input: CreateAgentInput!) {
  createAgent(input: $input) { agent { id name } userErrors { code path } } }`;

export const CREATE_KEY = `mutation ($input: CreateApiKeyInput!) {
  createApiKey(input: $input) { key apiKey { id } userErrors { code } } }`;

export const agentInput = (name: string, voiceId = caller.voiceId) => ({
  input: { name, systemPrompt: 'Be brief.', voiceId },
});

export function withKey(
  key: string,
  document: string,
  variables: object,
  client: GraphQLClient = server.client,
): Promise<Answer> {
  return client.send(document, variables, { headers: { 'x-idempotency-key': key } });
}

export const agentsNamed = (name: string): Promise<number> =>
  server.app.db.agent.count({ where: { name } });

export const record = (key: string, organizationId = server.organizationId) =>
  server.app.db.idempotencyKey.findUnique({
    where: { organizationId_key: { organizationId, key } },
  });

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useIdempotencyServer(): void {
  beforeAll(async () => {
    server = await startTestServer({
      // So many that an organization may delete two folders at the same time.
      settings: { LOG_LEVEL: 'silent', DATABASE_CONNECTIONS: '30' },
    });
    caller = await prepareCaller(server.client);
  });
  afterAll(() => server?.close());
  afterEach(() => server.simulator.clearFaults());
}
