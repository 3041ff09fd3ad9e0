/** The server that the suites in this folder share, and clients with few rights. */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll } from 'vitest';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

export let server: TestServer;
export let anonymous: GraphQLClient;
export let reader: GraphQLClient;

export function rawSocket(): Socket {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  return socket;
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useAttackedServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
    anonymous = createClient(server.url, null);
    const { data } = await server.client.send(
      'mutation { createApiKey(input: { name: "reader", scopes: [READ] }) { key } }',
    );
    reader = createClient(server.url, data.createApiKey.key);
  });
  afterAll(() => server?.close());
}
