/** The server that the suites in this folder share, and another organization. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { decryptTwilio } from '../../../src/phone-numbers/credentials.ts';
import { nullIfNotFound } from '../../../src/sync/null-if-not-found.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { releaseAllNumbers, run, TWILIO } from '../support.ts';

export let server: TestServer;
export let other: { client: GraphQLClient; id: string };

export const ANOTHER = { accountSid: `AC${'f'.repeat(32)}`, authToken: 'by-hand-token' };

export const accounts = () => server.app.ultravox.telephonyConfigs;
export const twilioAtUltravox = () => accounts().get('twilio');

export const NEW_TOKEN = { ...TWILIO, authToken: 'rotated-token-never-to-be-seen' };
export const BAD_TOKEN = { ...TWILIO, authToken: 'bad-token-never-to-be-seen' };

export const update = (id: string, provider: object | null, values: object = {}) =>
  run(server.client, 'updatePhoneNumber', { id, provider, ...values });

export const config = (provider: 'TWILIO' | 'TELNYX' = 'TWILIO') =>
  server.app.db.telephonyConfig.findUniqueOrThrow({ where: { provider } });
export const storedToken = async () => decryptTwilio(server.app, await config()).authToken;

export const prefixAtUltravox = async () => {
  const account = await twilioAtUltravox();
  return account.authTokenPrefix?.prefix;
};

export const failWrites = (fault: object) =>
  server.simulator.setFaults([{ kind: 'status', path: 'telephony_configs', ...fault }]);

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useCredentialsServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ settings: { ULTRAVOX_TIMEOUT_SECONDS: '5' } });
    other = await server.newOrganization();
  });
  afterAll(() => server?.close());
  afterEach(async () => {
    server.simulator.clearFaults();
    await releaseAllNumbers(server, [server.client, other.client]);
    for (const provider of ['twilio', 'telnyx'] as const) {
      await nullIfNotFound(accounts().delete(provider));
    }
  });
}
