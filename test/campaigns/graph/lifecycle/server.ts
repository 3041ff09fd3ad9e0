/** The server that the suites in this folder share, and what a campaign needs. */
import { afterAll, beforeAll } from 'vitest';
import type { Caller } from '../../../support/calling.ts';
import type { GraphQLClient } from '../../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../../support/servers/server.ts';
import { type CampaignFixture, createCampaignFixture } from '../../campaign-fixture.ts';

export let server: TestServer;
export let client: GraphQLClient;
export let caller: Caller;
export let numberId: string;
export let folderId: string;
export let contactIds: string[];
export let draft: CampaignFixture['draft'];
export let inStatus: CampaignFixture['inStatus'];
export let contactsOf: CampaignFixture['contactsOf'];

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useLifecycleServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
    client = server.client;
    ({ caller, numberId, folderId, contactIds, draft, inStatus, contactsOf } =
      await createCampaignFixture(server));
  });
  afterAll(() => server.close());
}
