/** The server that the suites in this folder share. */
import { afterAll, beforeAll } from 'vitest';
import { startTestServer, type TestServer } from '../../../support/servers/server.ts';

export let server: TestServer;

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useImportServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server?.close());
}
