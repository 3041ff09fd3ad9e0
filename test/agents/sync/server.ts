/** The server that the suites in this folder share. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { anyVoice, read } from '../support.ts';

export let server: TestServer;
export let voiceId: string;

export const basic = () => ({ name: 'Support', voiceId, systemPrompt: 'Help.' });

export const isActive = (id: string) => async () => {
  const agent = await read(server.client, id);
  return agent.status === 'ACTIVE' && agent.isInSync ? agent : null;
};

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useSyncServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    voiceId = await anyVoice(server, server.organizationId);
  });
  afterEach(() => server.simulator.clearFaults());
}
