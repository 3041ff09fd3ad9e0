/** Rules about who may be called when, each tested on a running campaign. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { runMutation } from '../../support/calling.ts';
import { until } from '../../support/wait.ts';
import {
  callsOf,
  decided,
  doNotCall,
  hoursFromNow,
  look,
  makeDue,
  nextTime,
  start,
  strangers,
  timeOf,
  zoneAroundNoon,
} from '../engine-support.ts';
import { act, dialsOf, ENDINGS, ended, showCampaign } from '../support.ts';
import { operator, server } from './server.ts';

/** Waits until the campaign has this hold reason, no active calls, and no dispatch that is still to come before. */
function held(id: string, reason: string) {
  return look(
    operator,
    id,
    ({ holdReason, counts, nextDispatchAt }) =>
      holdReason === reason && counts.calling === 0 && timeOf(nextDispatchAt) > Date.now(),
  );
}

export function rulesSuite(): void {
  // Concurrent, since each test mostly waits.
  describe.concurrent('a running campaign', () => {
    describe('with a number on the do-not-call list', () => {
      it('skips it, even if it was added to the list after the start', async () => {
        // The last ones are added to the list while the others are called.
        // The first call lasts until the test ends it.
        const contacts = [...strangers(1, '0008'), ...strangers(12)];
        const id = await start(operator, { contacts, maxConcurrentCalls: 1 });
        const [first] = await until('the first call', async () => {
          const calls = await callsOf(server, id);
          return calls[0]?.status === 'IN_PROGRESS' && calls;
        });
        const barred = contacts.slice(10).map(({ phoneNumber }) => phoneNumber);
        await doNotCall(operator, barred);
        const call = { id: publicId('Call', first!.id) };
        await runMutation(operator.client, 'endCall', call, 'call { id }');
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 10, skipped: 3 },
        });
        for (const contact of campaign.contacts.nodes.slice(10)) {
          expect(contact).toMatchObject({
            status: 'SKIPPED',
            skipReason: 'DO_NOT_CALL',
            attempts: 0,
            calledAt: null,
          });
          expect(decided(contact)).toEqual(['SKIPPED/DO_NOT_CALL']);
          expect(contact.finishedAt).not.toBeNull();
        }
        const dialed = dialsOf(server, id).map(({ to }) => to);
        expect(
          dialed.filter((to) => barred.some((number) => to.includes(number.slice(1)))),
        ).toEqual([]);
        expect(dialed).toHaveLength(10);
      });

      it('skips it before a retry', async () => {
        const contacts = strangers(1, ENDINGS.busy);
        const id = await start(operator, {
          contacts,
          retryFailed: true,
          maxRetryAttempts: 1,
          retryDelay: '3600s',
        });
        await until('the retry', async () => {
          const [contact] = (await showCampaign(operator, id)).contacts.nodes;
          return contact.attempts === 1 && contact.status === 'SCHEDULED';
        });
        await doNotCall(operator, [contacts[0]!.phoneNumber]);
        await makeDue(server, operator, id);
        const campaign = await ended(operator, id);
        expect(campaign.contacts.nodes[0]).toMatchObject({
          status: 'SKIPPED',
          skipReason: 'DO_NOT_CALL',
          attempts: 1,
          endReason: 'BUSY',
        });
        expect(dialsOf(server, id)).toHaveLength(1);
      });
    });

    describe('with contacts in other time zones', () => {
      it('defers them until the window is open in their zone too', async () => {
        const [near, far] = [strangers(2), strangers(2)];
        const window = hoursFromNow(-2, 6);
        const id = await start(operator, {
          contacts: [
            // UTC+1 and UTC-4, without clock changes.
            ...near.map((row) => ({ ...row, timezone: 'Africa/Lagos' })),
            ...far.map((row) => ({ ...row, timezone: 'America/Puerto_Rico' })),
          ],
          timezone: 'UTC',
          ...window,
        });
        const opening = nextTime(window.startTime, 'America/Puerto_Rico').toString();
        const { contacts } = await look(operator, id, ({ counts }) => counts.completed === 2);
        for (const contact of contacts.nodes.slice(2)) {
          expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 0 });
          expect(timeOf(contact.nextEligibleAt)).toBe(timeOf(opening));
          expect(decided(contact)).toEqual([]);
        }

        // A due contact is checked again before it is dialed.
        await makeDue(server, operator, id);
        const deferred = await until('the decision', async () => {
          const { contacts } = await showCampaign(operator, id);
          const nodes = contacts.nodes.slice(2);
          const later = nodes.every(
            ({ nextEligibleAt }: { nextEligibleAt: string }) => timeOf(nextEligibleAt) > Date.now(),
          );
          return later && nodes;
        });
        for (const contact of deferred) {
          expect(contact).toMatchObject({ status: 'SCHEDULED', attempts: 0 });
          expect(timeOf(contact.nextEligibleAt)).toBe(timeOf(opening));
          expect(decided(contact)).toEqual(['WAITS/CONTACT_WINDOW_CLOSED']);
          expect(timeOf(contact.decisions.nodes[0].until)).toBe(timeOf(opening));
        }
        expect(dialsOf(server, id)).toHaveLength(2);
        await act(operator, 'cancelCampaign', id);
      });

      it('skips them if the window is never open in both zones at once', async () => {
        const [awake, never] = [strangers(1), strangers(1)];
        const id = await start(operator, {
          contacts: [...awake, ...never.map((row) => ({ ...row, timezone: 'Asia/Kolkata' }))],
          timezone: 'UTC',
          ...hoursFromNow(-1, 2),
        });
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({
          status: 'COMPLETED',
          counts: { completed: 1, skipped: 1 },
        });
        expect(campaign.contacts.nodes[1]).toMatchObject({
          status: 'SKIPPED',
          skipReason: 'NEVER_OPEN',
        });
        expect(dialsOf(server, id)).toHaveLength(1);
      });
    });

    describe('outside its calling window', () => {
      it('waits until the window opens or is changed', async () => {
        const window = hoursFromNow(2, 4);
        const id = await start(operator, { contacts: strangers(3), timezone: 'UTC', ...window });
        const waiting = await held(id, 'WINDOW_CLOSED');
        const opening = nextTime(window.startTime).epochMilliseconds;
        expect(waiting).toMatchObject({ status: 'ACTIVE', counts: { pending: 3, called: 0 } });
        expect(timeOf(waiting.nextDispatchAt)).toBe(opening);
        for (const contact of waiting.contacts.nodes) {
          expect(contact).toMatchObject({ status: 'SCHEDULED', waitingFor: 'WINDOW_CLOSED' });
          expect(timeOf(contact.nextEligibleAt)).toBe(opening);
          // The decision is about the whole campaign, and listed by each waiting contact.
          expect(decided(contact)).toEqual(['WAITS/WINDOW_CLOSED']);
        }
        expect(dialsOf(server, id)).toEqual([]);

        await act(operator, 'updateCampaign', id, { startTime: null, endTime: null });
        const campaign = await ended(operator, id);
        expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 3 } });
        expect(decided(campaign.contacts.nodes[0])).toEqual([
          'WAITS/WINDOW_CLOSED',
          'DIALED/DUE',
          'COMPLETED/CALL_ENDED',
        ]);
      });

      it('stops placing calls, and moves retries into the window, when an update closes it', async () => {
        const id = await start(operator, {
          // More than are called until the update, however long that takes.
          contacts: [...strangers(1, ENDINGS.busy), ...strangers(400)],
          maxConcurrentCalls: 1,
          retryFailed: true,
          maxRetryAttempts: 1,
          retryDelay: '3600s',
        });
        await until('the retry', async () => {
          const { contacts } = await showCampaign(operator, id);
          return contacts.nodes[0].attempts === 1 && contacts.nodes[0].status === 'SCHEDULED';
        });
        const window = hoursFromNow(2, 4);
        await act(operator, 'updateCampaign', id, window);
        const before = dialsOf(server, id).length;
        expect(before).toBeLessThan(401);
        const waiting = await held(id, 'WINDOW_CLOSED');
        expect(timeOf(waiting.nextDispatchAt)).toBe(nextTime(window.startTime).epochMilliseconds);
        // One call may have been claimed during the update.
        expect(dialsOf(server, id).length).toBeLessThanOrEqual(before + 1);
        const [retry] = waiting.contacts.nodes;
        expect(retry).toMatchObject({ status: 'SCHEDULED', attempts: 1 });
        expect(timeOf(retry.nextEligibleAt)).toBe(nextTime(window.startTime).epochMilliseconds);
        await act(operator, 'cancelCampaign', id);
      });
    });

    describe('with a daily limit', () => {
      it('waits until the next opening when the limit is reached', async () => {
        const timezone = zoneAroundNoon();
        const id = await start(operator, { contacts: strangers(5), timezone, maxCallsPerDay: 3 });
        // The plan spreads the calls over the rest of the day.
        await until('the first call', () => dialsOf(server, id).length > 0);
        await makeDue(server, operator, id);
        const campaign = await held(id, 'DAILY_CAP_REACHED');
        expect(campaign).toMatchObject({ status: 'ACTIVE', counts: { completed: 3, pending: 2 } });
        const tomorrow = nextTime('00:00', timezone).epochMilliseconds;
        expect(timeOf(campaign.nextDispatchAt)).toBe(tomorrow);
        for (const contact of campaign.contacts.nodes.slice(3)) {
          expect(contact).toMatchObject({ status: 'SCHEDULED', waitingFor: 'DAILY_CAP_REACHED' });
          expect(timeOf(contact.nextEligibleAt)).toBe(tomorrow);
          expect(decided(contact)).toContain('WAITS/DAILY_CAP_REACHED');
        }
        expect(dialsOf(server, id)).toHaveLength(3);

        await act(operator, 'updateCampaign', id, { maxCallsPerDay: 4 });
        await makeDue(server, operator, id);
        await until('the fourth call', () => dialsOf(server, id).length === 4);
        expect((await held(id, 'DAILY_CAP_REACHED')).counts).toMatchObject({
          completed: 4,
          pending: 1,
        });
        await act(operator, 'cancelCampaign', id);
      });

      it('counts retries', async () => {
        const id = await start(operator, {
          contacts: strangers(2, ENDINGS.busy),
          timezone: zoneAroundNoon(),
          maxCallsPerDay: 3,
          retryFailed: true,
          maxRetryAttempts: 3,
          retryDelay: '1s',
        });
        await makeDue(server, operator, id);
        const campaign = await held(id, 'DAILY_CAP_REACHED');
        const attempts = campaign.contacts.nodes.map(
          ({ attempts }: { attempts: number }) => attempts,
        );
        expect(attempts.sort()).toEqual([1, 2]);
        expect(dialsOf(server, id)).toHaveLength(3);
        await act(operator, 'cancelCampaign', id);
      });
    });
  });
}
