/** The server that the suites in this folder share, another organization, and all that both are answered. */
import { afterAll, afterEach, beforeAll, vi } from 'vitest';
import type { GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { releaseAllNumbers } from '../support.ts';

export let server: TestServer;
export let other: { client: GraphQLClient; id: string };

/** All responses to both organizations, and all log lines. */
export const seen: string[] = [];

export const config = (provider: 'TWILIO' | 'TELNYX' = 'TWILIO') =>
  server.app.db.telephonyConfig.findUniqueOrThrow({ where: { provider } });
export const atUltravox = () => server.app.ultravox.telephonyConfigs.get('twilio');

export const failWrites = (fault: object) =>
  server.simulator.setFaults([{ kind: 'status', path: 'telephony_configs', ...fault }]);

/** Includes properties of errors that are not enumerable, such as messages. */
export function inspectAll(value: unknown): string {
  return JSON.stringify(value, (_key, item) =>
    item instanceof Error
      ? { ...item, message: item.message, stack: item.stack, cause: item.cause }
      : item,
  );
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useCarriersServer(): void {
  beforeAll(async () => {
    server = await startTestServer({ settings: { ULTRAVOX_TIMEOUT_SECONDS: '5' } });
    other = await server.newOrganization();
    for (const client of [server.client, other.client]) {
      const send = client.send;
      client.send = async (...sent) => {
        const answer = await send(...sent);
        seen.push(JSON.stringify(answer));
        return answer;
      };
    }
    for (const level of ['debug', 'info', 'warn', 'error'] as const) {
      vi.spyOn(server.app.log, level).mockImplementation((...said: unknown[]) => {
        seen.push(said.map((one) => `${inspectAll(one)}`).join(' '));
      });
    }
  });
  afterAll(() => server?.close());
  afterEach(async () => {
    server.simulator.clearFaults();
    await releaseAllNumbers(server, [server.client, other.client]);
  });
}
