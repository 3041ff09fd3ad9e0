/** The server that the suites in this folder share: it claims calls only when a test tells it to. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { placeClaimedCalls } from '../../../../src/calls/placement/placement.ts';
import { runCampaigns } from '../../../../src/campaigns/dispatch/run-campaigns.ts';
import { type Simulator, startSimulator } from '../../../../src/simulator/simulator.ts';
import { prepareCaller } from '../../../support/calling.ts';
import { createClient } from '../../../support/graphql.ts';
import { createTestDatabase, type TestDatabase } from '../../../support/servers/database.ts';
import { startTestServer, type TestServer } from '../../../support/servers/server.ts';
import { until } from '../../../support/wait.ts';
import { brokenRules, type Operator, showCampaign } from '../../support.ts';

export let database: TestDatabase;
export let simulator: Simulator;
export let server: TestServer;
export let operator: Operator;

/** Runs campaigns, and cancels the timer for the next run, which would dispatch calls that a test does. */
export async function runOnce(): Promise<void> {
  const over = new AbortController();
  await runCampaigns({ ...server.app, closing: over.signal });
  over.abort();
}

/** Places the claimed calls and runs the campaign to its end, as a worker does. */
export async function finish(id: string, callIds: readonly string[]) {
  await placeClaimedCalls(server.app, callIds);
  return until('the calls to be over', async () => {
    await runOnce();
    const campaign = await showCampaign(operator, id);
    return campaign.counts.calling === 0 ? campaign : null;
  });
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useClaimServer(): void {
  beforeAll(async () => {
    database = await createTestDatabase();
    simulator = await startSimulator({ speed: 100, settings: { talkSeconds: 5 } });
    const first = await startTestServer({ database, ultravox: simulator });
    const caller = await prepareCaller(first.client);
    await first.close();
    // Serves requests only.
    server = await startTestServer({ database, ultravox: simulator, settings: { ROLE: 'api' } });
    operator = { client: createClient(server.url, first.key), caller };
  });
  afterAll(async () => {
    await server?.close();
    await simulator?.close();
    await database?.drop();
  });
  afterEach(async () => {
    expect(await brokenRules(server)).toEqual([]);
  });
}
