/** A server that runs campaigns, and checks their invariants when it is closed. */
import { expect } from 'vitest';
import {
  startTestServer,
  type TestServer,
  type TestServerOptions,
} from '../support/servers/server.ts';
import { brokenRules, dialedTwice, type Operator, prepareOperator } from './support.ts';

export interface CampaignServer {
  server: TestServer;
  operator: Operator;
}

/** Calls run at two hundred times the speed and last 20 seconds, unless the options say otherwise. */
export async function startCampaignServer({
  settings,
  simulator,
  ...options
}: TestServerOptions = {}): Promise<CampaignServer> {
  const server = await startTestServer({
    ...options,
    settings: { SIMULATOR_SPEED: '200', ...settings },
    // An unanswered phone rings for 30 seconds.
    simulator: { talkSeconds: 20, ...simulator },
  });
  return { server, operator: await prepareOperator(server.client) };
}

/** Closes the server, if it was started. Fails when the counters of a campaign are wrong, or a call was dialed twice. */
export async function closeCampaignServer(server: TestServer | undefined): Promise<void> {
  if (!server) return;
  const broken = await brokenRules(server);
  const twice = dialedTwice(server);
  await server.close();
  expect(broken).toEqual([]);
  expect(twice).toEqual([]);
}
