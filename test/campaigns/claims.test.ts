/**
 * What becomes of a decision to dial that has been committed and not sent yet: as between the commit
 * and the request, here with nothing going on by itself, so that each step can be taken by hand.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { giveBackDeadClaims, placeClaimedCalls } from '../../src/calls/placement.ts';
import { dispatchCalls } from '../../src/campaigns/dispatch.ts';
import { runCampaigns } from '../../src/campaigns/engine.ts';
import { settleEndedCalls } from '../../src/campaigns/settle.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { perform, prepareCaller } from '../support/calling.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  act,
  brokenRules,
  createCampaign,
  dialsOf,
  type Operator,
  people,
  showCampaign,
  uuidOf,
} from './support.ts';

let database: TestDatabase;
let simulator: Simulator;
let server: TestServer;
let operator: Operator;

beforeAll(async () => {
  database = await createTestDatabase();
  simulator = await startSimulator({ speed: 100, settings: { talkSeconds: 5 } });
  const first = await startTestServer({ database, ultravox: simulator });
  const caller = await prepareCaller(first.client);
  await first.close();
  // Serves requests and does nothing else.
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

/** A campaign with two people whose calls are claimed and not sent. */
async function claimedCampaign(input: Record<string, unknown> = {}) {
  const { id } = await createCampaign(operator, {
    contacts: people(2),
    scheduleType: 'IMMEDIATE',
    ...input,
  });
  const { callIds } = await dispatchCalls(server.app);
  expect(callIds).toHaveLength(2);
  return { id, callIds };
}

/** As a worker does it, from the claims on to the end. */
async function finish(id: string, callIds: readonly string[]) {
  await placeClaimedCalls(server.app, callIds);
  return until('the calls to be over', async () => {
    await runCampaigns(server.app);
    const campaign = await showCampaign(operator, id);
    return campaign.counts.calling === 0 ? campaign : null;
  });
}

describe('a claim that is not sent yet', () => {
  it('is sent when nothing has changed', async () => {
    const { id, callIds } = await claimedCampaign();
    expect(await finish(id, callIds)).toMatchObject({ status: 'COMPLETED' });
    expect(dialsOf(server, id)).toHaveLength(2);
  });

  it.each([
    ['pauseCampaign', 'PAUSED', 'SCHEDULED'],
    ['cancelCampaign', 'CANCELLED', 'CANCELLED'],
  ])('is not sent once %s is answered', async (mutation, status, contact) => {
    const { id, callIds } = await claimedCampaign();
    await act(operator, mutation, id);
    const campaign = await finish(id, callIds);
    expect(dialsOf(server, id)).toEqual([]);
    expect(campaign.status).toBe(status);
    for (const one of campaign.contacts.nodes) {
      expect(one).toMatchObject({ status: contact, attempts: 0 });
    }
  });

  it('is not sent into a window that has been moved, and is sent when that opens', async () => {
    const { id, callIds } = await claimedCampaign();
    const hour = (ahead: number) =>
      `${String((new Date().getUTCHours() + ahead) % 24).padStart(2, '0')}:00`;
    await act(operator, 'updateCampaign', id, { startTime: hour(4), endTime: hour(6) });
    const held = await finish(id, callIds);
    expect(dialsOf(server, id)).toEqual([]);
    expect(held).toMatchObject({ status: 'ACTIVE', holdReason: 'WINDOW_CLOSED' });
    await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
    await until('the end', async () => {
      await runCampaigns(server.app);
      return (await showCampaign(operator, id)).status === 'COMPLETED';
    });
    expect(dialsOf(server, id)).toHaveLength(2);
  });

  it('is not sent to a number that has been put on the do-not-call list', async () => {
    const { id, callIds } = await claimedCampaign({ contacts: people(2, { series: 40 }) });
    const phoneNumber = people(1, { series: 40 })[0]!.phoneNumber;
    await perform(operator.client, 'addToDoNotCall', { entries: [{ phoneNumber }] }, 'addedCount');
    const campaign = await finish(id, callIds);
    expect(dialsOf(server, id).map(({ to }) => to)).not.toContain(phoneNumber);
    expect(campaign.counts).toMatchObject({ skipped: 1, completed: 1 });
  });

  it('of a process that died is given back and sent, with one attempt used', async () => {
    const { id } = await claimedCampaign();
    await server.app.db.$executeRaw`
      UPDATE calls SET placing_at = placing_at - interval '1 minute'
      WHERE campaign_id = ${uuidOf(id)}::uuid`;
    await giveBackDeadClaims(server.app);
    const campaign = await finish(id, []);
    const done = await until('the end', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.status === 'COMPLETED' ? shown : null;
    });
    expect(campaign.counts.total).toBe(2);
    expect(done.contacts.nodes.map(({ attempts }: { attempts: number }) => attempts)).toEqual([
      1, 1,
    ]);
    expect(dialsOf(server, id)).toHaveLength(2);
  });

  it('of a process that died is cancelled if somebody has ended the call', async () => {
    const { id, callIds } = await claimedCampaign();
    await perform(operator.client, 'endCall', { id: `cal_${callIds[0]}` }, 'call { id }');
    await server.app.db.$executeRaw`
      UPDATE calls SET placing_at = placing_at - interval '1 minute'
      WHERE campaign_id = ${uuidOf(id)}::uuid`;
    await giveBackDeadClaims(server.app);
    const campaign = await until('the end', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.status === 'COMPLETED' ? shown : null;
    });
    expect(campaign.counts).toMatchObject({ completed: 1, cancelled: 1 });
    expect(dialsOf(server, id)).toHaveLength(1);
  });

  it('is taken back when fewer calls may be made at once', async () => {
    const { id, callIds } = await claimedCampaign();
    simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, method: 'POST', path: '/calls$' },
    ]);
    await placeClaimedCalls(server.app, callIds);
    simulator.clearFaults();
    await act(operator, 'updateCampaign', id, { maxConcurrentCalls: 1 });
    const campaign = await until('one to be taken back', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.counts.calling < 2 ? shown : null;
    });
    expect(
      campaign.contacts.nodes.flatMap((one: { decisions: { nodes: { reason: string }[] } }) =>
        one.decisions.nodes.map(({ reason }) => reason),
      ),
    ).toContain('CONCURRENCY_REACHED');
    await until('the end', async () => {
      await runCampaigns(server.app);
      return (await showCampaign(operator, id)).status === 'COMPLETED';
    });
    expect(dialsOf(server, id)).toHaveLength(2);
  });
});

describe('who is next', () => {
  it('is somebody whose campaign has waited longest, also with one line for many', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      const { id } = await createCampaign(operator, {
        contacts: people(10, { series: 50 + index }),
        scheduleType: 'IMMEDIATE',
        maxConcurrentCalls: 1,
      });
      ids.push(id);
    }
    const { config } = server.app;
    const one = { ...server.app, config: { ...config, ULTRAVOX_MAX_CONCURRENT_CALLS: 1 } };
    for (let call = 0; call < 12; call += 1) {
      const { callIds } = await dispatchCalls(one);
      expect(callIds).toHaveLength(1);
      await placeClaimedCalls(server.app, callIds);
      await until('the end of the call', async () => {
        const row = await server.app.db.call.findUniqueOrThrow({ where: { id: callIds[0]! } });
        return row.endedAt !== null;
      });
      await settleEndedCalls(server.app);
    }
    expect(ids.map((id) => dialsOf(server, id).length)).toEqual([3, 3, 3, 3]);
    for (const id of ids) await act(operator, 'cancelCampaign', id);
  });

  it('is nobody whose own zone never allows the hour, after the window was moved', async () => {
    const { id } = await createCampaign(operator, {
      contacts: [{ ...people(1, { ending: '0003' })[0], timezone: 'Asia/Calcutta' }],
      retryFailed: true,
      maxRetryAttempts: 1,
      retryDelay: '1s',
      scheduleType: 'IMMEDIATE',
    });
    const { callIds } = await dispatchCalls(server.app);
    await placeClaimedCalls(server.app, callIds);
    await until('the retry', async () => {
      await settleEndedCalls(server.app);
      const [row] = await server.app.db.campaignContact.findMany({
        where: { campaignId: uuidOf(id) },
      });
      return row?.status === 'SCHEDULED';
    });
    // Two hours of London are never the same two hours in India.
    const hour = (ahead: number) =>
      `${String((new Date().getUTCHours() + ahead + 24) % 24).padStart(2, '0')}:00`;
    await act(operator, 'updateCampaign', id, { startTime: hour(-1), endTime: hour(1) });
    const campaign = await until('the end', async () => {
      await runCampaigns(server.app);
      const shown = await showCampaign(operator, id);
      return shown.status === 'COMPLETED' ? shown : null;
    });
    expect(campaign.contacts.nodes[0]).toMatchObject({
      status: 'SKIPPED',
      skipReason: 'NEVER_OPEN',
      attempts: 1,
    });
  });
});

describe('an edit of the schedule', () => {
  it('takes back in whom no time suited before', async () => {
    const { id } = await createCampaign(operator, {
      contacts: [{ ...people(1)[0], timezone: 'Asia/Tokyo' }, people(2)[1]],
      timezone: 'America/New_York',
      startTime: '09:00',
      endTime: '22:00',
      scheduledAt: '2040-01-02T00:00:00Z',
    });
    await act(operator, 'updateCampaign', id, { endTime: '12:00' });
    expect((await showCampaign(operator, id)).counts).toMatchObject({ pending: 1, skipped: 1 });
    await act(operator, 'updateCampaign', id, { endTime: '22:00' });
    const campaign = await showCampaign(operator, id);
    expect(campaign.counts).toMatchObject({ pending: 2, skipped: 0 });
    expect(campaign.contacts.nodes[0]).toMatchObject({ status: 'SCHEDULED', skipReason: null });
    await act(operator, 'cancelCampaign', id);
  });

  it('opens the window for retries that were put off by it', async () => {
    const hour = (ahead: number) =>
      `${String((new Date().getUTCHours() + ahead) % 24).padStart(2, '0')}:00`;
    const { id } = await createCampaign(operator, {
      contacts: people(1, { ending: '0003' }),
      retryFailed: true,
      maxRetryAttempts: 1,
      retryDelay: '1s',
      scheduleType: 'IMMEDIATE',
    });
    const { callIds } = await dispatchCalls(server.app);
    await placeClaimedCalls(server.app, callIds);
    await act(operator, 'updateCampaign', id, { startTime: hour(4), endTime: hour(6) });
    await until('the retry', async () => {
      await settleEndedCalls(server.app);
      const [one] = (await showCampaign(operator, id)).contacts.nodes;
      return one.status === 'SCHEDULED' && Date.parse(one.nextEligibleAt) > Date.now() + 3_600_000;
    });
    await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
    await until('the end', async () => {
      await runCampaigns(server.app);
      return (await showCampaign(operator, id)).status === 'COMPLETED';
    });
    expect(dialsOf(server, id)).toHaveLength(2);
  });
});
