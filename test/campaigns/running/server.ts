/** The server that the suites in this folder share, and its operator. */
import { afterAll, beforeAll } from 'vitest';
import type { TestServer } from '../../support/servers/server.ts';
import { closeCampaignServer, startCampaignServer } from '../campaign-server.ts';
import type { Operator } from '../support.ts';

export let server: TestServer;
export let operator: Operator;

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useSharedServer(): void {
  beforeAll(async () => {
    ({ server, operator } = await startCampaignServer());
  });
  afterAll(() => closeCampaignServer(server));
}
