/** Running campaigns, from their start to the end of their last call. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { runMutation } from '../../support/calling.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import {
  callsAtUltravox,
  callsOf,
  decided,
  importNumbers,
  look,
  makeDue,
  mostAtOnce,
  start,
  strangers,
  timeOf,
} from '../engine-support.ts';
import {
  act,
  createCampaign,
  dialsOf,
  ENDINGS,
  ended,
  glance,
  prepareOperator,
  uuidOf,
} from '../support.ts';
import { operator, server } from './server.ts';

export function engineSuite(): void {
  describe('a running campaign with one slot', () => {
    it('places the next call when one ends, and completes with the last one', async () => {
      const id = await start(operator, { contacts: strangers(6), maxConcurrentCalls: 1 });
      await ended(operator, id);
      const { endedAt } = await server.app.db.campaign.findUniqueOrThrow({
        where: { id: uuidOf(id) },
      });
      const seen = await callsAtUltravox(server.simulator);
      const calls = seen.filter(({ campaignId }) => campaignId === id);
      expect(calls).toHaveLength(6);
      const gaps = calls.slice(1).map(({ from }, index) => from - calls[index]!.to);
      expect(Math.min(...gaps)).toBeGreaterThan(0);
      // The fallback timer of a run fires after two seconds at the earliest. A busy machine may delay some.
      expect(gaps.sort((a, b) => a - b)[2]).toBeLessThan(1_500);
      // Nothing is due any more, so that only the periodic run is left as a fallback.
      expect(endedAt!.getTime() - calls.at(-1)!.to).toBeLessThan(20_000);
    });
  });

  // Concurrent, since each test mostly waits.
  describe.concurrent('a running campaign', () => {
    it('calls every contact once, with at most maxConcurrentCalls concurrent calls', async () => {
      const id = await start(operator, { contacts: strangers(40), maxConcurrentCalls: 4 });
      const campaign = await ended(operator, id);
      expect(campaign).toMatchObject({
        status: 'COMPLETED',
        counts: { total: 40, pending: 0, calling: 0, completed: 40 },
      });
      expect(new Set(dialsOf(server, id).map(({ to }) => to)).size).toBe(40);
      expect(dialsOf(server, id)).toHaveLength(40);
      const seen = await callsAtUltravox(server.simulator);
      const calls = seen.filter(({ campaignId }) => campaignId === id);
      const most = mostAtOnce(calls);
      expect(most).toBeLessThanOrEqual(4);
      expect(most).toBeGreaterThan(1);
    });

    it('starts at scheduledAt', async () => {
      const at = new Date(Date.now() + 3_000).toISOString();
      const { id, status } = await createCampaign(operator, {
        contacts: strangers(3),
        scheduledAt: at,
      });
      expect(status).toBe('SCHEDULED');
      const campaign = await ended(operator, id);
      expect(campaign).toMatchObject({ status: 'COMPLETED', counts: { completed: 3 } });
      const [first] = dialsOf(server, id);
      expect(timeOf(first!.at)).toBeGreaterThanOrEqual(timeOf(at));
      // Long before the periodic run.
      expect(timeOf(first!.at) - timeOf(at)).toBeLessThan(20_000);
    });

    it('starts on resume if it was paused at scheduledAt', async () => {
      const at = new Date(Date.now() + 3_000).toISOString();
      const { id } = await createCampaign(operator, { contacts: strangers(2), scheduledAt: at });
      await act(operator, 'pauseCampaign', id);
      await until('its time', () => Date.now() > timeOf(at) + 300);
      expect(dialsOf(server, id)).toEqual([]);
      expect(await act(operator, 'resumeCampaign', id)).toMatchObject({ status: 'ACTIVE' });
      expect(await ended(operator, id)).toMatchObject({ status: 'COMPLETED' });
    });

    it('calls contacts that are added while it runs, each once', async () => {
      const row = (index: number, ending?: string) => ({
        ...strangers(1, ending)[0],
        clientId: `row-${index}`,
      });
      // The first call lasts until the test ends it, so that the campaign runs until then.
      const first = [row(1, '0008'), row(2), row(3)];
      const id = await start(operator, { contacts: first, maxConcurrentCalls: 1 });
      const second = [row(4), row(5)];
      const add = (contacts: object[]) =>
        runMutation(
          operator.client,
          'addCampaignContacts',
          { campaignId: id, contacts },
          'addedCount duplicateCount',
        );
      expect(await add(second)).toMatchObject({ addedCount: 2, duplicateCount: 0 });
      expect(await add([...first, ...second])).toMatchObject({ addedCount: 0, duplicateCount: 5 });
      const call = await until('the first call', async () => {
        const [row] = await callsOf(server, id);
        return row?.status === 'IN_PROGRESS' && row;
      });
      await runMutation(
        operator.client,
        'endCall',
        { id: publicId('Call', call.id) },
        'call { id }',
      );
      const campaign = await ended(operator, id);
      expect(campaign).toMatchObject({
        status: 'COMPLETED',
        counts: { total: 5, completed: 5 },
      });
      expect(dialsOf(server, id)).toHaveLength(5);
      const { data } = await operator.client.send(
        `mutation ($input: AddCampaignContactsInput!) {
        addCampaignContacts(input: $input) { addedCount userErrors { code } } }`,
        { input: { campaignId: id, contacts: strangers(1) } },
      );
      expect(data.addCampaignContacts.userErrors).toEqual([{ code: 'INVALID_STATE' }]);
    });

    it('calls added contacts at once while it waits only for the end of a call', async () => {
      const id = await start(operator, { contacts: strangers(1, '0008') });
      await until('the call', () => dialsOf(server, id).length === 1);
      const [call] = await callsOf(server, id);
      await runMutation(
        operator.client,
        'addCampaignContacts',
        { campaignId: id, contacts: strangers(1) },
        'addedCount',
      );
      await until('the second call', () => dialsOf(server, id).length === 2);
      await runMutation(
        operator.client,
        'endCall',
        { id: publicId('Call', call!.id) },
        'call { id }',
      );
      expect(await ended(operator, id)).toMatchObject({ counts: { completed: 2 } });
    });
  });

  describe.concurrent('an ACTIVE campaign', () => {
    it('fails when its agent is deleted', async () => {
      const own = await prepareOperator((await server.newOrganization()).client);
      const id = await start(own, {
        contacts: [...strangers(2, ENDINGS.busy)],
        retryFailed: true,
        maxRetryAttempts: 1,
        retryDelay: '3600s',
      });
      await until('the calls', () => dialsOf(server, id).length === 2);
      await look(own, id, ({ counts }) => counts.calling === 0);
      const { data } = await own.client.send(
        `mutation ($id: ID!) { deleteAgent(input: { id: $id }) { userErrors { code details } } }`,
        { id: own.caller.agentId },
      );
      expect(data.deleteAgent.userErrors).toEqual([
        { code: 'IN_USE', details: { campaignIds: [id] } },
      ]);
      // `deleteAgent` prevents this, so it is done in the database.
      await server.app.db.agent.update({
        where: { id: uuidOf(own.caller.agentId) },
        data: { deletedAt: new Date() },
      });
      await makeDue(server, own, id);
      const campaign = await ended(own, id);
      expect(campaign).toMatchObject({
        status: 'FAILED',
        statusReason: 'The agent of the campaign was deleted.',
        counts: { cancelled: 2, pending: 0 },
      });
      expect(dialsOf(server, id)).toHaveLength(2);
      expect(decided(campaign.contacts.nodes[0])).toEqual([
        'DIALED/DUE',
        'RETRIES/CALL_ENDED',
        'CANCELLED/CAMPAIGN_OVER',
      ]);
    });

    it('never has a phone number call itself', async () => {
      const own = await prepareOperator((await server.newOrganization()).client);
      const numbers = await importNumbers(own, 2);
      const contacts = [{ phoneNumber: numbers[0]!.phoneNumber }];
      const [alone, both] = [[numbers[0]!], numbers].map((pool) =>
        start(own, { contacts, phoneNumberIds: pool.map(({ id }) => id) }),
      );
      const failed = await ended(own, await alone!);
      expect(failed.contacts.nodes[0]).toMatchObject({
        status: 'FAILED',
        endReason: 'INVALID_NUMBER',
      });
      expect(dialsOf(server, failed.id)).toEqual([]);
      const completed = await ended(own, await both!);
      expect(completed.counts).toMatchObject({ completed: 1 });
      const [call] = await callsOf(server, completed.id);
      expect(call).toMatchObject({ ownNumber: numbers[1]!.phoneNumber });
    });

    it('is paused when it has no phone number, and resumes with another', async () => {
      const own = await prepareOperator((await server.newOrganization()).client);
      const [number, other] = await importNumbers(own, 2);
      const id = await start(own, {
        contacts: strangers(1, ENDINGS.busy),
        phoneNumberIds: [number!.id],
        retryFailed: true,
        maxRetryAttempts: 1,
        retryDelay: '3600s',
      });
      await until('the call', () => dialsOf(server, id).length === 1);
      await look(own, id, ({ counts }) => counts.calling === 0);
      await runMutation(own.client, 'releasePhoneNumber', { id: number!.id }, 'phoneNumber { id }');
      await makeDue(server, own, id);
      const paused = await look(own, id, ({ status }) => status === 'PAUSED');
      expect(paused.statusReason).toContain('to null to use the outbound numbers of its agent');
      expect(paused.contacts.nodes[0]).toMatchObject({ status: 'SCHEDULED', attempts: 1 });

      const input = { id };
      const refused = await own.client.send(
        `mutation ($input: ResumeCampaignInput!) {
        resumeCampaign(input: $input) { userErrors { code } } }`,
        { input },
      );
      expect(refused.data.resumeCampaign.userErrors).toEqual([
        { code: 'NO_PHONE_NUMBER_CONFIGURED' },
      ]);
      await act(own, 'updateCampaign', id, { phoneNumberIds: [other!.id] });
      await act(own, 'resumeCampaign', id);
      expect(await ended(own, id)).toMatchObject({ status: 'COMPLETED', counts: { failed: 1 } });
      expect(dialsOf(server, id).map(({ from }) => from)).toEqual([
        number!.phoneNumber,
        other!.phoneNumber,
      ]);
    });
  });

  describe.concurrent('ending a campaign', () => {
    /**
     * How many of so many calls were dialed. No others may exist. One that was only claimed when the campaign
     * was stopped has been withdrawn.
     */
    async function dialedOf(id: string, count: number): Promise<number> {
      const calls = await callsOf(server, id);
      expect(calls).toHaveLength(count);
      return calls.filter(({ placement }) => placement !== 'WITHDRAWN').length;
    }

    it('with cancelCampaign lets active calls continue and places no others', async () => {
      const id = await start(operator, { contacts: strangers(40), maxConcurrentCalls: 2 });
      await until('the calls', () => dialsOf(server, id).length >= 2);
      const cancelled = await act(operator, 'cancelCampaign', id);
      expect(cancelled.counts.pending).toBe(0);
      const calls = await callsOf(server, id);
      const campaign = await ended(operator, id);
      const dialed = await dialedOf(id, calls.length);
      expect(campaign).toMatchObject({
        status: 'CANCELLED',
        counts: { completed: dialed, cancelled: 40 - dialed, calling: 0 },
      });
      expect(dialsOf(server, id)).toHaveLength(dialed);
      expect(decided(campaign.contacts.nodes[39])).toEqual(['CANCELLED/CAMPAIGN_OVER']);
    });

    it('with deleteCampaigns lets active calls continue and places no others', async () => {
      const id = await start(operator, { contacts: strangers(20), maxConcurrentCalls: 1 });
      await until('the first call', () => dialsOf(server, id).length > 0);
      await act(operator, 'pauseCampaign', id);
      const calls = await callsOf(server, id);
      await runMutation(operator.client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');
      const rows = await until('the end of its calls', async () => {
        const contacts = await server.app.db.campaignContact.findMany({
          where: { campaignId: uuidOf(id) },
          orderBy: { position: 'asc' },
        });
        return contacts.every(({ finishedAt }) => finishedAt) && contacts;
      });
      const dialed = await dialedOf(id, calls.length);
      const completed = rows.filter(({ status }) => status === 'COMPLETED');
      expect(completed).toHaveLength(dialed);
      expect(rows.filter(({ status }) => status === 'CANCELLED')).toHaveLength(20 - dialed);
      expect(dialsOf(server, id)).toHaveLength(dialed);
      expect(await glance(operator, id)).toBeNull();
      await until('the contacts to be erased', async () => {
        const named = { campaignId: uuidOf(id), phoneNumber: { not: '' } };
        return (await server.app.db.campaignContact.count({ where: named })) === 0;
      });
    });
  });

  describe.concurrent('callEvents and campaignProgress of a campaign', () => {
    it('deliver the events of its calls only, and end with the final snapshot', async () => {
      const other = await start(operator, { contacts: strangers(2), maxConcurrentCalls: 1 });
      const { id } = await createCampaign(operator, { contacts: strangers(3) });
      const socket = openSocket(server.url, server.key);
      const events: { type: string; callId: string }[] = [];
      const snapshots: { status: string; counts: Record<string, number> }[] = [];
      const watching = Promise.all([
        (async () => {
          const query = `subscription ($id: ID!) { callEvents(campaignId: $id, after: "0") { type callId } }`;
          for await (const { data } of socket.iterate({ query, variables: { id } })) {
            events.push((data as { callEvents: (typeof events)[0] }).callEvents);
          }
        })().catch(() => undefined),
        (async () => {
          const query = `subscription ($id: ID!) {
          campaignProgress(campaignId: $id) { status counts { pending calling completed } } }`;
          for await (const { data } of socket.iterate({ query, variables: { id } })) {
            snapshots.push((data as { campaignProgress: (typeof snapshots)[0] }).campaignProgress);
          }
          return 'it ended by itself';
        })(),
      ]);
      await until('the first snapshot', () => snapshots.length === 1);
      expect(snapshots[0]).toMatchObject({ status: 'DRAFT', counts: { pending: 3, calling: 0 } });
      await act(operator, 'scheduleCampaign', id);
      await ended(operator, id);
      await ended(operator, other);
      const calls = await callsOf(server, id);
      const types = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];
      await until('all events', () => events.length >= types.length * 3);
      await until('the last snapshot', () => snapshots.at(-1)?.status === 'COMPLETED');
      expect(snapshots.at(-1)).toEqual({
        status: 'COMPLETED',
        counts: { pending: 0, calling: 0, completed: 3 },
      });
      for (const { id: uuid } of calls) {
        const own = events.filter(({ callId }) => uuidOf(callId) === uuid);
        expect(own.map(({ type }) => type)).toEqual(types);
      }
      expect(events).toHaveLength(types.length * 3);
      await socket.dispose();
      expect((await watching)[1]).toBe('it ended by itself');
    });
  });
}
