/** The server that the suites in this folder share, and another organization. */
import { afterAll, beforeAll } from 'vitest';
import { parsePublicId } from '../../../src/ids.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { done, newNumber, TRUNK } from '../support.ts';

export let server: TestServer;
export let other: { client: GraphQLClient; id: string };

export const importSip = (client = server.client, values: object = {}) =>
  done(client, 'importPhoneNumber', {
    phoneNumber: newNumber(),
    provider: { sip: TRUNK },
    ...values,
  });
export const uuidOf = (id: string) => parsePublicId(id)!.uuid;

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useNumbersServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
    other = await server.newOrganization();
  });
  afterAll(() => server?.close());
}
