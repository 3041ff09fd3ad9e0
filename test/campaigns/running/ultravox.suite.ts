/** Campaigns while Ultravox has no capacity, is unreachable or rejects all calls. No attempt is lost. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endUnwantedCalls } from '../../../src/calls/placement/unwanted-calls.ts';
import { runCampaigns } from '../../../src/campaigns/dispatch/run-campaigns.ts';
import type { Call } from '../../../src/generated/prisma/client.ts';
import { publicId } from '../../../src/ids.ts';
import type { FaultInput } from '../../../src/simulator/faults.ts';
import { prepareCaller, runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
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
  zoneAroundNoon,
} from '../engine-support.ts';
import {
  act,
  brokenRules,
  dialedTwice,
  dialsOf,
  ENDINGS,
  ended,
  showCampaign,
  uuidOf,
} from '../support.ts';
import { operator, server } from './server.ts';

/** Has Ultravox accept calls again, and ends the pause that it has asked for. */
async function acceptCalls(): Promise<void> {
  server.simulator.clearFaults();
  await server.app.db.creationRefusal.deleteMany();
}

/** Waits until `count` calls of the campaign are released. */
async function releasedCalls(id: string, count: number) {
  return until(`${count} released calls of ${id}`, async () => {
    const calls = (await callsOf(server, id)).filter((call) => call.placement === 'QUEUED');
    return calls.length === count && calls;
  });
}

export function ultravoxSuite(): void {
  describe('trouble at Ultravox', () => {
    // The last test may have had Ultravox ask for a pause.
    beforeEach(acceptCalls);

    describe.each<[string, FaultInput]>([
      ['429', { kind: 'status', status: 429, retryAfterSeconds: 1, count: 3, ...CREATION }],
      ['503', { kind: 'status', status: 503, retryAfterSeconds: 1, count: 3, ...CREATION }],
    ])('a campaign whose calls Ultravox rejects with %s', (_status, fault) => {
      it('places them later, without losing an attempt', async () => {
        server.simulator.setFaults([fault]);
        const id = await start(operator, { contacts: strangers(5) });
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 5 } });
        expect(
          campaign.contacts.nodes.map(({ attempts }: { attempts: number }) => attempts),
        ).toEqual([1, 1, 1, 1, 1]);
        expect(await callsOf(server, id)).toHaveLength(5);
        expect(dialsOf(server, id)).toHaveLength(5);
        const refused = server.simulator
          .requests()
          .filter(
            ({ path, method, fault }) => method === 'POST' && path.endsWith('/calls') && fault,
          );
        expect(refused).not.toEqual([]);
        expect(await brokenRules(server)).toEqual([]);
      });
    });

    describe('a campaign while Ultravox is unreachable', () => {
      it('waits, and continues afterwards', async () => {
        server.simulator.setFaults([{ kind: 'status', status: 503, ...CREATION }]);
        const id = await start(operator, { contacts: strangers(4), maxConcurrentCalls: 4 });
        // Some may wait to be sent again while others are still looked up.
        await until('four calls, and a request that was refused', async () => {
          const refused = server.simulator.requests().some(({ fault }) => fault);
          return refused && (await callsOf(server, id)).length === 4;
        });
        expect(dialsOf(server, id)).toEqual([]);
        server.simulator.clearFaults();
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 4 } });
        expect(await callsOf(server, id)).toHaveLength(4);
        expect(dialedTwice(server)).toEqual([]);
      });
    });

    describe('a released call', () => {
      const refusals: FaultInput[] = [
        { kind: 'status', status: 429, retryAfterSeconds: 60, ...CREATION },
      ];

      it('is not placed after its number was added to the do-not-call list', async () => {
        server.simulator.setFaults(refusals);
        const contacts = strangers(2);
        const id = await start(operator, { contacts });
        await releasedCalls(id, 2);
        await doNotCall(operator, [contacts[0]!.phoneNumber]);
        await acceptCalls();
        await runCampaigns(server.app);
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 1, skipped: 1 },
        });
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

      it('can be ended with endCall, which cancels its contact', async () => {
        server.simulator.setFaults(refusals);
        const id = await start(operator, { contacts: strangers(2) });
        const [call] = await releasedCalls(id, 2);
        await runMutation(
          operator.client,
          'endCall',
          { id: publicId('Call', call!.id) },
          'call { id }',
        );
        await acceptCalls();
        await runCampaigns(server.app);
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 1, cancelled: 1 },
        });
        expect(dialsOf(server, id)).toHaveLength(1);
        expect(await brokenRules(server)).toEqual([]);
      });
    });

    describe('a released call whose number was taken from its agent', () => {
      /** A campaign of one contact whose call is released, with an agent that has this many other numbers. */
      async function releasedWith(others: number, limit: object) {
        server.simulator.setFaults([
          { kind: 'status', status: 429, retryAfterSeconds: 60, ...CREATION },
        ]);
        const { agentId } = await prepareCaller(operator.client);
        for (const { id } of await importNumbers(operator, others)) await assign(id, agentId);
        const id = await start(operator, { agentId, contacts: strangers(1), ...limit });
        const [call] = await releasedCalls(id, 1);
        const numberId = publicId('PhoneNumber', call!.phoneNumberId!);
        const taken = { id: numberId, direction: 'OUTBOUND' };
        await runMutation(operator.client, 'unassignPhoneNumber', taken, 'phoneNumber { id }');
        await acceptCalls();
        await runCampaigns(server.app);
        return { id, agentId, number: call!.ownNumber, numberId };
      }

      async function assign(id: string, agentId: string): Promise<void> {
        const input = { id, agentId, direction: 'OUTBOUND' };
        await runMutation(operator.client, 'assignPhoneNumber', input, 'phoneNumber { id }');
      }

      it.each([
        ['its only slot', { maxConcurrentCalls: 1 }],
        ['the last attempt of the day', { maxCallsPerDay: 1, timezone: zoneAroundNoon() }],
      ])('leaves %s to a call from another number', async (_, limit) => {
        const { id, number } = await releasedWith(1, limit);
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 1 } });
        expect(decided(campaign.contacts.nodes[0]).sort()).toEqual([
          'COMPLETED/CALL_ENDED',
          'DIALED/DUE',
          'DIALED/DUE',
          'WAITS/NO_PHONE_NUMBER',
        ]);
        expect(dialsOf(server, id)).toHaveLength(1);
        expect(dialsOf(server, id)[0]!.from).not.toBe(number);
      });

      it('pauses the campaign if that was the last number', async () => {
        const { id, agentId, numberId } = await releasedWith(0, {});
        const paused = await look(operator, id, ({ status }) => status === 'PAUSED');
        expect(paused.statusReason).toContain('Assign an outbound number');
        expect(paused.contacts.nodes[0]).toMatchObject({ status: 'SCHEDULED', attempts: 0 });
        await assign(numberId, agentId);
        await act(operator, 'resumeCampaign', id);
        expect(await ended(operator, id)).toMatchObject({ counts: { completed: 1 } });
      });
    });

    describe('a call whose end is requested', () => {
      afterEach(() => void server.simulator.updateSettings({ outOfCredit: false }));

      /** Ends the only call of a campaign with endCall once it is as far as that. */
      async function endOnce(id: string, isSoFar: (call: Call) => boolean): Promise<void> {
        const [call] = await until('the call', async () => {
          const calls = await callsOf(server, id);
          return calls.length === 1 && isSoFar(calls[0]!) && calls;
        });
        const input = { id: publicId('Call', call!.id) };
        const asked = await runMutation(
          operator.client,
          'endCall',
          input,
          'call { endRequestedAt }',
        );
        expect(asked.call.endRequestedAt).not.toBeNull();
      }

      it('while it rings is not retried when the line is busy', async () => {
        server.simulator.setFaults([{ kind: 'webhookDelay', event: 'call.ended', ms: 2_000 }]);
        const contacts = strangers(1, ENDINGS.busy);
        const retries = { retryFailed: true, maxRetryAttempts: 2, retryDelay: '1s' };
        const id = await start(operator, { contacts, ...retries });
        await endOnce(id, ({ status }) => status === 'RINGING');
        const [contact] = (await ended(operator, id)).contacts.nodes;
        expect(contact).toMatchObject({ status: 'FAILED', attempts: 1, endReason: 'BUSY' });
        expect(decided(contact)).toEqual(['DIALED/DUE', 'FAILED/NOT_RETRIED']);
        expect(dialsOf(server, id)).toHaveLength(1);
      });

      it('while it is sent is not sent again when Ultravox refuses it for lack of credit', async () => {
        server.simulator.updateSettings({ outOfCredit: true });
        server.simulator.setFaults([{ kind: 'slow', ms: 1_000, ...CREATION }]);
        const id = await start(operator, { contacts: strangers(1) });
        await endOnce(id, ({ placement }) => placement === 'SENDING');
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { cancelled: 1 } });
        const [call] = await callsOf(server, id);
        expect(call).toMatchObject({
          status: 'CANCELLED',
          placement: 'REFUSED',
          failureCode: null,
        });
      });

      it('while it is sent, by the do-not-call list, leaves its contact skipped for that reason', async () => {
        server.simulator.setFaults([
          { kind: 'slow', ms: 1_000, ...CREATION },
          { kind: 'status', status: 429, retryAfterSeconds: 1, ...CREATION },
        ]);
        const contacts = strangers(1);
        const id = await start(operator, { contacts });
        await until('the call to be sent', async () => {
          const [call] = await callsOf(server, id);
          return call?.placement === 'SENDING';
        });
        await doNotCall(operator, [contacts[0]!.phoneNumber]);
        await endUnwantedCalls(server.app);
        const campaign = await ended(operator, id);
        expect(campaign.contacts.nodes).toMatchObject([
          { status: 'SKIPPED', skipReason: 'DO_NOT_CALL' },
        ]);
        const [call] = await callsOf(server, id);
        expect(call).toMatchObject({ placement: 'REFUSED', failureCode: 'DO_NOT_CALL' });
        expect(call!.endRequestedAt).not.toBeNull();
      });
    });

    describe('updating a campaign with released calls', () => {
      const refusals: FaultInput[] = [
        { kind: 'status', status: 429, retryAfterSeconds: 1, ...CREATION },
      ];

      it('withdraws them if the window is closed', async () => {
        server.simulator.setFaults(refusals);
        const id = await start(operator, { contacts: strangers(2), timezone: 'UTC' });
        await releasedCalls(id, 2);
        await act(operator, 'updateCampaign', id, hoursFromNow(2, 4));
        const { contacts } = await look(operator, id, ({ counts }) => counts.calling === 0);
        // Not before: a request on its way would be carried out.
        server.simulator.clearFaults();
        for (const call of await callsOf(server, id)) {
          expect(call).toMatchObject({
            ...{ status: 'CANCELLED', placement: 'WITHDRAWN' },
            ...{ billingStatus: 'FREE', billedDurationSeconds: 0 },
          });
        }
        for (const contact of contacts.nodes) {
          expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 0 });
          expect(decided(contact).slice(0, 2).sort()).toEqual([
            'DIALED/DUE',
            'WAITS/WINDOW_CLOSED',
          ]);
        }
        expect(dialsOf(server, id)).toEqual([]);
        await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
        expect(await ended(operator, id)).toMatchObject({ counts: { completed: 2 } });
        expect(await brokenRules(server)).toEqual([]);
      });

      it('withdraws those beyond a lower maxConcurrentCalls', async () => {
        server.simulator.setFaults(refusals);
        const id = await start(operator, { contacts: strangers(4), maxConcurrentCalls: 4 });
        await releasedCalls(id, 4);
        await act(operator, 'updateCampaign', id, { maxConcurrentCalls: 1 });
        await look(operator, id, ({ counts }) => counts.calling === 1);
        server.simulator.clearFaults();
        expect(await ended(operator, id)).toMatchObject({ counts: { completed: 4 } });
        const seen = await callsAtUltravox(server.simulator);
        expect(mostAtOnce(seen.filter(({ campaignId }) => campaignId === id))).toBe(1);
        expect(await brokenRules(server)).toEqual([]);
      });
    });

    describe('pausing a campaign with released calls', () => {
      it('withdraws them without a trace in counters, and places others on resume', async () => {
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
        await releasedCalls(id, 3);
        await act(operator, 'pauseCampaign', id);
        const paused = await until('the calls to be withdrawn', async () => {
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
          expect(call).toMatchObject({ status: 'CANCELLED', campaignAttempt: { attempt: null } });
          expect(call.failure).toContain('Nobody was called');
        }
        expect(decided(paused.contacts.nodes[0])).toEqual(['DIALED/DUE', 'WAITS/CAMPAIGN_PAUSED']);
        const days = await server.app.db.campaignDay.findMany({
          where: { campaignId: uuidOf(id) },
        });
        expect(days.map(({ attempts }) => attempts)).toEqual([0]);
        expect(await brokenRules(server)).toEqual([]);

        server.simulator.clearFaults();
        await act(operator, 'resumeCampaign', id);
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 5, cancelled: 0 },
        });
        expect(dialsOf(server, id)).toHaveLength(5);
        expect(await brokenRules(server)).toEqual([]);
      });

      it('keeps the phone number of a withdrawn call for the next call', async () => {
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
        await releasedCalls(id, 1);
        await act(operator, 'pauseCampaign', id);
        await look(operator, id, ({ counts }) => counts.calling === 0);
        server.simulator.clearFaults();
        await act(operator, 'resumeCampaign', id);
        await ended(operator, id);
        expect(dialsOf(server, id).map(({ from }) => from)).toEqual(
          numbers.map(({ phoneNumber }) => phoneNumber),
        );
      });

      it('withdraws them when the campaign is deleted', async () => {
        server.simulator.setFaults([
          { kind: 'status', status: 429, retryAfterSeconds: 30, ...CREATION },
        ]);
        const id = await start(operator, { contacts: strangers(3) });
        await releasedCalls(id, 3);
        await act(operator, 'pauseCampaign', id);
        const { data } = await operator.client.send(
          `mutation ($ids: [ID!]!) { deleteCampaigns(input: { ids: $ids }) {
        deletedCampaignIds userErrors { code } } }`,
          { ids: [id] },
        );
        expect(data.deleteCampaigns).toEqual({ deletedCampaignIds: [id], userErrors: [] });
        const calls = await until('the calls to be withdrawn', async () => {
          const all = await callsOf(server, id);
          return all.every(({ endedAt }) => endedAt) && all;
        });
        expect(calls.map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED']);
        expect(await brokenRules(server)).toEqual([]);
      });
    });

    const set = (settings: object) => () => void server.simulator.updateSettings(settings);
    describe.each([
      ['has no credit', set({ outOfCredit: true }), set({ outOfCredit: false })],
      ['has a revoked key', set({ keyRevoked: true }), set({ keyRevoked: false })],
      [
        'never has the agent',
        () => server.simulator.setFaults([{ kind: 'status', status: 404, ...CREATION }]),
        () => server.simulator.clearFaults(),
      ],
    ])('a campaign while the Ultravox account %s', (_, breakAccount, repair) => {
      afterEach(repair);

      it('is paused with a statusReason, and no contact fails', async () => {
        breakAccount();
        const id = await start(operator, { contacts: strangers(5), maxConcurrentCalls: 2 });
        const paused = await look(
          operator,
          id,
          ({ status, counts }) => status === 'PAUSED' && counts.calling === 0,
        );
        expect(paused.statusReason).toContain('Ultravox rejects calls');
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

        repair();
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
  });
}
