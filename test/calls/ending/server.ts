/** The server that the suites in this folder share: its calls talk until they are hung up. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { type Caller, isEnded, newCaller, resumeCreations, waitForCall } from '../support.ts';

/** Until somebody ends the call: so a slow test still finds it live. */
export const LONG = { talkSeconds: 100_000 };

export let server: TestServer;
export let caller: Caller;
export const ended = (id: string) => waitForCall(caller.client, id, 'ended', isEnded);

export const reaching = (id: string, status: string) =>
  waitForCall(caller.client, id, status, (call) => call.status === status);

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useEndingServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ simulator: LONG });
    caller = await newCaller(server);
  });
  afterAll(() => server.close());
  beforeEach(() => resumeCreations(server));
}
