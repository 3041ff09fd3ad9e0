/** Number rotation and claims across restarts, and campaigns while Ultravox is unavailable. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { placeClaimedCalls } from '../../src/calls/placement/placement.ts';
import { dispatchCalls } from '../../src/campaigns/dispatch/dispatch-cycle.ts';
import { runCampaigns } from '../../src/campaigns/dispatch/run-campaigns.ts';
import { publicId } from '../../src/ids.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { runMutation } from '../support/calling.ts';
import { createClient } from '../support/graphql.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { freePort } from '../support/servers/redis.ts';
import {
  startTestServer,
  type TestServer,
  type TestServerOptions,
} from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { callsOf, hoursFromNow, importNumbers, start, strangers } from './engine-support.ts';
import {
  act,
  brokenRules,
  dialedTwice,
  dialsOf,
  ended,
  glance,
  type Operator,
  prepareOperator,
  showCampaign,
  uuidOf,
} from './support.ts';

let directory: string;
let database: TestDatabase;
let port: number;
let simulator: Simulator;
let server: TestServer;
let operator: Operator;
let numbers: { id: string; phoneNumber: string }[];

async function startUltravox(at?: number): Promise<Simulator> {
  return startSimulator({
    ...(at ? { port: at } : {}),
    speed: 200,
    databasePath: path.join(directory, 'simulator.db'),
    settings: { talkSeconds: 20 },
  });
}

/** Restarts the server at the same address, to which Ultravox sends its webhooks. */
async function serve(settings: TestServerOptions['settings'] = {}): Promise<void> {
  server = await startTestServer({
    database,
    ultravox: simulator,
    settings: { PORT: String(port), CALL_CHECK_SECONDS: '1', ...settings },
  });
  if (operator) operator = { ...operator, client: createClient(server.url, operator.client.key) };
}

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-restarts-'));
  database = await createTestDatabase();
  port = await freePort();
  simulator = await startUltravox();
  await serve();
  operator = await prepareOperator(server.client);
  numbers = await importNumbers(operator, 3);
});

afterAll(async () => {
  const broken = server ? await brokenRules(server) : [];
  await server?.close();
  await simulator?.close();
  await database?.drop();
  await rm(directory, { recursive: true, force: true });
  expect(broken).toEqual([]);
});

/** The numbers that the campaign called from, in the order of its calls. */
async function calledFrom(id: string): Promise<number[]> {
  return (await callsOf(server, id)).map(indexOfNumber);
}

function indexOfNumber({ ownNumber }: { ownNumber: string | null }): number {
  return numbers.findIndex(({ phoneNumber }) => phoneNumber === ownNumber);
}

function pool(strategy: string) {
  return {
    phoneRotationStrategy: strategy,
    phoneNumberIds: numbers.map(({ id }) => id),
  };
}

const dials = (id: string) => dialsOf({ simulator }, id);

describe('the phone numbers of a campaign', () => {
  it('are used in turn with ROUND_ROBIN, over restarts of the server and pauses of the campaign', async () => {
    simulator.updateSettings({ talkSeconds: 60 });
    const id = await start(operator, {
      contacts: strangers(60),
      maxConcurrentCalls: 3,
      ...pool('ROUND_ROBIN'),
    });
    for (const stop of [10, 20]) {
      await until(`${stop} calls`, () => dials(id).length >= stop);
      // The campaign must not end before it was paused.
      if (stop === 20) simulator.updateSettings({ talkSeconds: 300 });
      await server.close();
      await serve();
    }
    for (const stop of [26, 30, 34]) {
      await until(`${stop} calls`, () => dials(id).length >= stop);
      if ((await glance(operator, id)).status === 'COMPLETED') break;
      await act(operator, 'pauseCampaign', id);
      await act(operator, 'resumeCampaign', id);
    }
    simulator.updateSettings({ talkSeconds: 10 });
    const campaign = await ended(operator, id, 120_000);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 60 } });
    expect(dials(id)).toHaveLength(60);
    expect(dialedTwice({ simulator })).toEqual([]);
    const each = numbers.map(
      ({ phoneNumber }) => dials(id).filter(({ from }) => from === phoneNumber).length,
    );
    expect(each).toEqual([20, 20, 20]);
    // Not only in the end: the first is always followed by the second. A call that was withdrawn
    // when it was paused has another one of the same number later.
    const firsts = (await callsOf(server, id)).filter(
      (call, index, all) =>
        all.findIndex((one) => one.campaignContactId === call.campaignContactId) === index,
    );
    expect(firsts.map(indexOfNumber)).toEqual(Array.from({ length: 60 }, (_, index) => index % 3));
  });

  it('each call one block of contacts with SEQUENTIAL', async () => {
    const id = await start(operator, { contacts: strangers(8), ...pool('SEQUENTIAL') });
    await ended(operator, id);
    const byPosition = await server.app.db.call.findMany({
      where: { id: { in: (await callsOf(server, id)).map((call) => call.id) } },
      orderBy: { campaignContact: { position: 'asc' } },
    });
    const used = byPosition.map(({ phoneNumberId }) => phoneNumberId);
    expect(used).toEqual(used.toSorted((a, b) => used.indexOf(a) - used.indexOf(b)));
    const sizes = [...Map.groupBy(used, (number) => number).values()].map(({ length }) => length);
    expect(sizes.toSorted()).toEqual([2, 3, 3]);
  });

  it('are all used with RANDOM', async () => {
    const id = await start(operator, {
      contacts: strangers(30),
      maxConcurrentCalls: 20,
      ...pool('RANDOM'),
    });
    await ended(operator, id);
    const used = await calledFrom(id);
    expect(new Set(used).size).toBe(3);
    expect(used).not.toEqual(used.map((_, index) => (used[0]! + index) % 3));
  });

  it('can be replaced while the campaign runs', async () => {
    const id = await start(operator, {
      // The fourth call lasts until the test ends it, so that the fifth follows the update.
      contacts: [...strangers(3), ...strangers(1, '0008'), ...strangers(6)],
      maxConcurrentCalls: 1,
      ...pool('ROUND_ROBIN'),
      phoneNumberIds: [numbers[0]!.id],
    });
    const call = await until('the fourth call', async () => {
      const fourth = (await callsOf(server, id))[3];
      return fourth?.status === 'IN_PROGRESS' && fourth;
    });
    await act(operator, 'updateCampaign', id, { phoneNumberIds: [numbers[2]!.id] });
    await runMutation(operator.client, 'endCall', { id: publicId('Call', call.id) }, 'call { id }');
    await ended(operator, id);
    expect(await calledFrom(id)).toEqual([0, 0, 0, 0, 2, 2, 2, 2, 2, 2]);
  });
});

describe('a campaign while nothing listens at the address of Ultravox', () => {
  it('waits without losing attempts, and continues afterwards', async () => {
    const address = new URL(simulator.url);
    await simulator.close();
    const id = await start(operator, { contacts: strangers(3), maxConcurrentCalls: 3 });
    await until('the calls to wait', async () => {
      const calls = await callsOf(server, id);
      return calls.filter((call) => call.placement === 'QUEUED').length === 3;
    });
    simulator = await startUltravox(Number(address.port));
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 3 } });
    for (const contact of campaign.contacts.nodes) expect(contact.attempts).toBe(1);
    expect(await callsOf(server, id)).toHaveLength(3);
    expect(dials(id)).toHaveLength(3);
  });
});

describe('calls that are claimed but not sent', () => {
  // Without a worker, the test runs each step.
  beforeAll(async () => {
    await server.close();
    await serve({ ROLE: 'api', ORGANIZATION_MAX_CONCURRENT_CALLS: '2' });
  });

  it.each([
    ['paused', 'pauseCampaign', {}],
    ['cancelled', 'cancelCampaign', {}],
    ['outside its window', 'updateCampaign', hoursFromNow(2, 4)],
  ])('are not sent after their campaign is %s', async (_, action, input) => {
    const id = await start(operator, { contacts: strangers(2) });
    const { callIds } = await dispatchCalls(server.app);
    expect(callIds).toHaveLength(2);
    await act(operator, action, id, input);
    await placeClaimedCalls(server.app, callIds);
    expect(dials(id)).toEqual([]);
    await runCampaigns(server.app);
    const { counts, contacts } = await showCampaign(operator, id);
    expect(counts).toMatchObject({ called: 0, calling: 0 });
    for (const contact of contacts.nodes) {
      expect(contact).toMatchObject({ attempts: 0, calledAt: null });
    }
    if (action !== 'cancelCampaign') await act(operator, 'cancelCampaign', id);
  });

  it('are those of createCall while these wait for a slot', async () => {
    const asked = [];
    for (const { phoneNumber } of strangers(3, '0008')) {
      asked.push(await operator.caller.call(phoneNumber));
    }
    const id = await start(operator, { contacts: strangers(2) });
    // One more slot, for the third of these calls.
    const other = await startTestServer({
      database,
      ultravox: simulator,
      settings: { ROLE: 'api', ORGANIZATION_MAX_CONCURRENT_CALLS: '3', PUBLIC_URL: server.url },
    });
    try {
      const { callIds } = await dispatchCalls(other.app);
      expect(callIds).toEqual([uuidOf(asked[2]?.id ?? '')]);
      await placeClaimedCalls(other.app, callIds);
      expect((await dispatchCalls(other.app)).callIds).toEqual([]);
    } finally {
      await other.close();
    }
    await act(operator, 'cancelCampaign', id);
    for (const call of asked) {
      await runMutation(operator.client, 'endCall', { id: call.id }, 'call { id }');
    }
  });
});
