/** The server that the suites in this folder share, without a worker for the queries. */
import { afterAll, beforeAll } from 'vitest';
import { publicId } from '../../../../src/ids.ts';
import { dataOf } from '../../../calls/support.ts';
import { newAgent } from '../../../phone-numbers/support.ts';
import {
  startApiBeside,
  startTestServer,
  type TestServer,
} from '../../../support/servers/server.ts';

export let server: TestServer;
export let api: TestServer;
export let agentId: string;

export const cmp = (id: string) => publicId('Campaign', id);

export async function read(document: string, variables: object = {}, client = server.client) {
  return dataOf(await client.send(document, variables));
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useQueryServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
    api = await startApiBeside(server);
    agentId = (await newAgent(server, server.organizationId)).uuid;
  });
  afterAll(async () => {
    await api.close();
    await server.close();
  });
}
