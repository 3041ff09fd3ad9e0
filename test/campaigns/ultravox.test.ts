/** Campaigns while Ultravox is full, away, or has had enough. Nobody pays for that with an attempt. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { publicId } from '../../src/infra/ids.ts';
import type { FaultInput } from '../../src/simulator/faults.ts';
import { perform } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';
import {
  CREATION,
  callsAtUltravox,
  callsOf,
  decided,
  doNotCall,
  hoursFromNow,
  importNumbers,
  look,
  mostAtOnce,
  start,
  strangers,
} from './engine-support.ts';
import {
  act,
  brokenRules,
  dialledTwice,
  dialsOf,
  ended,
  type Operator,
  prepareOperator,
  showCampaign,
  uuidOf,
} from './support.ts';

let server: TestServer;
let operator: Operator;

beforeAll(async () => {
  server = await startTestServer({
    settings: { SIMULATOR_SPEED: '200' },
    simulator: { talkSeconds: 20 },
  });
  operator = await prepareOperator(server.client);
});
afterAll(() => server?.close());
beforeEach(() => server.simulator.clearFaults());

/** Until all calls that were begun for it have been given back. */
async function allGivenBack(id: string, count: number) {
  return until(`${count} calls of ${id} that wait`, async () => {
    const calls = (await callsOf(server, id)).filter(
      (call) => call.placeNotBefore && !call.placingAt,
    );
    return calls.length === count && calls;
  });
}

describe.each<[string, FaultInput]>([
  ['429', { kind: 'status', status: 429, retryAfterSeconds: 1, count: 3, ...CREATION }],
  ['503', { kind: 'status', status: 503, retryAfterSeconds: 1, count: 3, ...CREATION }],
])('an answer of %s to a creation', (_status, fault) => {
  it('is waited out, and uses up no attempt', async () => {
    server.simulator.setFaults([fault]);
    const id = await start(operator, { contacts: strangers(5) });
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 5 } });
    expect(campaign.contacts.nodes.map(({ attempts }: { attempts: number }) => attempts)).toEqual([
      1, 1, 1, 1, 1,
    ]);
    expect(await callsOf(server, id)).toHaveLength(5);
    expect(dialsOf(server, id)).toHaveLength(5);
    const refused = server.simulator
      .requests()
      .filter(({ path, method, fault }) => method === 'POST' && path.endsWith('/calls') && fault);
    expect(refused).not.toEqual([]);
    expect(await brokenRules(server)).toEqual([]);
  });
});

describe('while Ultravox cannot be reached', () => {
  it('a campaign waits, and goes on once it can', async () => {
    server.simulator.setFaults([{ kind: 'status', status: 503, ...CREATION }]);
    const id = await start(operator, { contacts: strangers(4), maxConcurrentCalls: 4 });
    await allGivenBack(id, 4);
    expect(dialsOf(server, id)).toEqual([]);
    server.simulator.clearFaults();
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 4 } });
    expect(await callsOf(server, id)).toHaveLength(4);
    expect(dialledTwice(server)).toEqual([]);
  });
});

describe('a call that waits for Ultravox', () => {
  it('is not made once its number is on the do-not-call list', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, count: 2, ...CREATION },
    ]);
    const contacts = strangers(2);
    const id = await start(operator, { contacts });
    await allGivenBack(id, 2);
    await doNotCall(operator, [contacts[0]!.phoneNumber]);
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 1, skipped: 1 } });
    expect(campaign.contacts.nodes[0]).toMatchObject({
      status: 'SKIPPED',
      skipReason: 'DO_NOT_CALL',
      attempts: 0,
      calledAt: null,
      endReason: null,
    });
    expect(dialsOf(server, id)).toHaveLength(1);
    expect(await brokenRules(server)).toEqual([]);
  });

  it('can be ended by hand, and is over for its contact', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, count: 2, ...CREATION },
    ]);
    const id = await start(operator, { contacts: strangers(2) });
    const [call] = await allGivenBack(id, 2);
    await perform(operator.client, 'endCall', { id: publicId('cal', call!.id) }, 'call { id }');
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 1, cancelled: 1 } });
    expect(dialsOf(server, id)).toHaveLength(1);
    expect(await brokenRules(server)).toEqual([]);
  });
});

describe('a campaign that is changed while its calls wait for Ultravox', () => {
  const refusals: FaultInput[] = [
    { kind: 'status', status: 429, retryAfterSeconds: 1, ...CREATION },
  ];

  it('takes them back when its window is closed now', async () => {
    server.simulator.setFaults(refusals);
    const id = await start(operator, { contacts: strangers(2), timezone: 'UTC' });
    await allGivenBack(id, 2);
    await act(operator, 'updateCampaign', id, hoursFromNow(2, 4));
    server.simulator.clearFaults();
    const { contacts } = await look(operator, id, ({ counts }) => counts.calling === 0);
    for (const contact of contacts.nodes) {
      expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 0 });
      expect(decided(contact).slice(0, 2).sort()).toEqual(['DIALLED/DUE', 'WAITS/WINDOW_CLOSED']);
    }
    expect(dialsOf(server, id)).toEqual([]);
    await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
    expect(await ended(operator, id)).toMatchObject({ counts: { completed: 2 } });
    expect(await brokenRules(server)).toEqual([]);
  });

  it('takes back those for which it has no line any more', async () => {
    server.simulator.setFaults(refusals);
    const id = await start(operator, { contacts: strangers(4), maxConcurrentCalls: 4 });
    await allGivenBack(id, 4);
    await act(operator, 'updateCampaign', id, { maxConcurrentCalls: 1 });
    await look(operator, id, ({ counts }) => counts.calling === 1);
    server.simulator.clearFaults();
    expect(await ended(operator, id)).toMatchObject({ counts: { completed: 4 } });
    const seen = await callsAtUltravox(server.simulator);
    expect(mostAtOnce(seen.filter(({ campaignId }) => campaignId === id))).toBe(1);
    expect(await brokenRules(server)).toEqual([]);
  });
});

describe('a campaign that is paused while its calls wait for Ultravox', () => {
  it('takes them back, as if they had never been, and makes others when it goes on', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, ...CREATION },
    ]);
    const id = await start(operator, {
      contacts: strangers(5),
      maxConcurrentCalls: 3,
      maxCallsPerDay: 1_000_000,
    });
    await server.app.db.$executeRaw`
      UPDATE campaign_contacts SET next_eligible_at = now()
      WHERE campaign_id = ${uuidOf(id)}::uuid AND next_eligible_at IS NOT NULL`;
    await allGivenBack(id, 3);
    await act(operator, 'pauseCampaign', id);
    const paused = await until('the calls to be taken back', async () => {
      const campaign = await showCampaign(operator, id);
      return campaign.counts.calling === 0 && campaign;
    });
    expect(paused).toMatchObject({ status: 'PAUSED', counts: { pending: 5, called: 0 } });
    for (const contact of paused.contacts.nodes) {
      expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 0, calledAt: null });
    }
    const withdrawn = await callsOf(server, id);
    expect(withdrawn).toHaveLength(3);
    for (const call of withdrawn) {
      expect(call).toMatchObject({ status: 'CANCELLED', attempt: null });
      expect(call.failure).toContain('Nobody was called');
    }
    expect(decided(paused.contacts.nodes[0])).toEqual(['DIALLED/DUE', 'WAITS/CAMPAIGN_PAUSED']);
    const days = await server.app.db.campaignDay.findMany({ where: { campaignId: uuidOf(id) } });
    expect(days.map(({ attempts }) => attempts)).toEqual([0]);
    expect(await brokenRules(server)).toEqual([]);

    server.simulator.clearFaults();
    await act(operator, 'resumeCampaign', id);
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 5, cancelled: 0 } });
    expect(dialsOf(server, id)).toHaveLength(5);
    expect(await brokenRules(server)).toEqual([]);
  });

  it('has another call from the same number, so that all are used as often', async () => {
    const numbers = await importNumbers(operator, 3);
    const id = await start(operator, {
      contacts: strangers(3),
      maxConcurrentCalls: 1,
      phoneRotationStrategy: 'ROUND_ROBIN',
      phoneNumberIds: numbers.map((number) => number.id),
    });
    await until('the first call', () => dialsOf(server, id).length > 0);
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 1, ...CREATION },
    ]);
    await allGivenBack(id, 1);
    await act(operator, 'pauseCampaign', id);
    await look(operator, id, ({ counts }) => counts.calling === 0);
    server.simulator.clearFaults();
    await act(operator, 'resumeCampaign', id);
    await ended(operator, id);
    expect(dialsOf(server, id).map(({ from }) => from)).toEqual(
      numbers.map(({ phoneNumber }) => phoneNumber),
    );
  });

  it('lets them go when it is deleted', async () => {
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 30, ...CREATION },
    ]);
    const id = await start(operator, { contacts: strangers(3) });
    await allGivenBack(id, 3);
    await act(operator, 'pauseCampaign', id);
    const { data } = await operator.client.send(
      `mutation ($ids: [ID!]!) { deleteCampaigns(input: { ids: $ids }) {
        deletedCampaignIds userErrors { code } } }`,
      { ids: [id] },
    );
    expect(data.deleteCampaigns).toEqual({ deletedCampaignIds: [id], userErrors: [] });
    const calls = await until('the calls to be taken back', async () => {
      const all = await callsOf(server, id);
      return all.every(({ endedAt }) => endedAt) && all;
    });
    expect(calls.map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED']);
    expect(await brokenRules(server)).toEqual([]);
  });
});

describe.each([
  ['has no credit', { outOfCredit: true }, { outOfCredit: false }],
  ['may do nothing any more', { keyRevoked: true }, { keyRevoked: false }],
])('when our account at Ultravox %s', (_, trouble, mended) => {
  afterEach(() => void server.simulator.updateSettings(mended));

  it('a campaign is paused and says so; nobody is given up', async () => {
    server.simulator.updateSettings(trouble);
    const id = await start(operator, { contacts: strangers(5), maxConcurrentCalls: 2 });
    const paused = await look(
      operator,
      id,
      ({ status, counts }) => status === 'PAUSED' && counts.calling === 0,
    );
    expect(paused.statusReason).toContain('Ultravox refuses calls');
    expect(paused.counts).toMatchObject({ pending: 5, failed: 0, called: 0 });
    for (const contact of paused.contacts.nodes) {
      expect(contact).toMatchObject({
        status: 'SCHEDULED',
        attempts: 0,
        endReason: null,
        calledAt: null,
      });
    }
    expect(dialsOf(server, id)).toEqual([]);
    expect(await brokenRules(server)).toEqual([]);

    server.simulator.updateSettings(mended);
    await act(operator, 'resumeCampaign', id);
    const campaign = await ended(operator, id);
    expect(campaign).toMatchObject({
      status: 'COMPLETED',
      statusReason: null,
      counts: { completed: 5, failed: 0 },
    });
    expect(dialsOf(server, id)).toHaveLength(5);
    expect(await brokenRules(server)).toEqual([]);
  });
});
