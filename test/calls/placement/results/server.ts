/** The server that the suites in this folder share: it gives a creation request two seconds. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { startTestServer, type TestServer } from '../../../support/servers/server.ts';
import { atSimulator, type Caller, newCaller, resumeCreations } from '../../support.ts';

export const FREE = { billingStatus: 'FREE', billedDurationSeconds: 0, cost: { amount: '0' } };
export const CREATION = { method: 'POST', path: '/calls$' };
export const TALKED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

export async function creationsOf(server: TestServer): Promise<{ status: number; at: string }[]> {
  const { body } = await atSimulator(server, 'GET', '/simulator/requests?method=POST');
  return body.results.filter(({ path: at }: { path: string }) => at.endsWith('/calls'));
}

export let server: TestServer;
export let caller: Caller;

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function usePlacementServer(): void {
  beforeAll(async () => {
    server = await startTestServer({
      settings: {
        ULTRAVOX_TIMEOUT_SECONDS: '2',
        CALL_CHECK_SECONDS: '0.5',
        SIMULATOR_SPEED: '200',
        LOG_LEVEL: 'silent',
      },
    });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());
  beforeEach(() => resumeCreations(server));
}
