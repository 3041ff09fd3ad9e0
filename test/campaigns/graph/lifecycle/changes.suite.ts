/** Changing campaigns, their contacts and their status. */
import { describe, expect, it } from 'vitest';
import { newId } from '../../../../src/infra/ids.ts';
import { uuidOf } from '../../../calls/support.ts';
import { runMutation } from '../../../support/calling.ts';
import { LATER, problemsOf } from '../../campaign-fixture.ts';
import { done, people, run, runWithFile } from '../graph-support.ts';
import {
  caller,
  client,
  contactsOf,
  draft,
  folderId,
  inStatus,
  numberId,
  server,
} from './server.ts';

export function changesSuite(): void {
  describe('updateCampaign', () => {
    it('changes the given fields, and resets a field to its default with null', async () => {
      const { campaign } = await draft({
        contacts: people(1),
        maxCallsPerDay: 5,
        startTime: '08:00',
      });
      const { id } = campaign;
      const updated = await done(client, 'updateCampaign', {
        id,
        name: 'New name',
        maxCallsPerDay: null,
        maxConcurrentCalls: 3,
        phoneNumberIds: [numberId],
        retryDelay: '120s',
      });
      expect(updated.campaign).toEqual({
        ...campaign,
        name: 'New name',
        maxCallsPerDay: null,
        maxConcurrentCalls: 3,
        phoneNumbers: [{ id: numberId }],
        retryDelay: '120s',
      });
      const back = await done(client, 'updateCampaign', {
        id,
        maxConcurrentCalls: null,
        phoneNumberIds: null,
      });
      expect(back.campaign).toMatchObject({ maxConcurrentCalls: 10, phoneNumbers: [] });
    });

    it('plans waiting contacts again when the start changes', async () => {
      const id = await inStatus('SCHEDULED');
      const before = await contactsOf(id);
      await done(client, 'updateCampaign', { id, scheduledAt: '2041-03-05T08:00:00Z' });
      const after = await contactsOf(id);
      expect(before.every(({ scheduledAt }: { scheduledAt: string }) => scheduledAt < '2041')).toBe(
        true,
      );
      expect(after.every(({ scheduledAt }: { scheduledAt: string }) => scheduledAt > '2041')).toBe(
        true,
      );
    });

    it('starts a SCHEDULED campaign now when its start is set to null', async () => {
      const id = await inStatus('SCHEDULED');
      const { campaign } = await done(client, 'updateCampaign', { id, scheduledAt: null });
      await done(client, 'cancelCampaign', { id });
      expect(campaign).toMatchObject({ status: 'ACTIVE', scheduledAt: null });
      const events = await server.app.db.event.findMany({
        where: { campaignId: uuidOf(id), type: { in: ['CAMPAIGN_UPDATED', 'CAMPAIGN_STARTED'] } },
        orderBy: { cursor: 'asc' },
      });
      expect(events.map(({ type }) => type)).toEqual(['CAMPAIGN_UPDATED', 'CAMPAIGN_STARTED']);
    });

    it('announces no change when no field is given', async () => {
      const id = await inStatus('SCHEDULED');
      const read = () => server.app.db.campaign.findUniqueOrThrow({ where: { id: id.slice(4) } });
      const before = await read();
      expect(problemsOf(await run(client, 'updateCampaign', { id }))).toEqual([]);
      expect(await read()).toEqual(before);
      const events = await server.app.db.event.count({
        where: { campaignId: id.slice(4), type: 'CAMPAIGN_UPDATED' },
      });
      expect(events).toBe(0);
    });

    it('reports all problems and changes nothing', async () => {
      const id = await inStatus('SCHEDULED');
      const before = await contactsOf(id);
      const payload = await run(client, 'updateCampaign', {
        id,
        name: null,
        workingDays: [],
        startTime: '10:00',
        endTime: '10:00',
        phoneNumberIds: [`num_${newId()}`],
      });
      expect(problemsOf(payload)).toEqual([
        'INVALID_INPUT endTime',
        'INVALID_INPUT workingDays',
        'NOT_FOUND phoneNumberIds.0',
        'REQUIRED name',
      ]);
      expect(await contactsOf(id)).toEqual(before);
    });
  });

  describe('addCampaignContacts', () => {
    it('appends contacts, and adds none twice when repeated', async () => {
      const { campaign } = await draft({ scheduledAt: LATER, contacts: people(1) });
      const input = { campaignId: campaign.id, contacts: people(2) };
      const first = await done(client, 'addCampaignContacts', input);
      expect(first).toMatchObject({ addedCount: 2, duplicateCount: 0 });
      expect(first.campaign.counts).toMatchObject({ total: 3, pending: 3 });
      const again = await done(client, 'addCampaignContacts', input);
      expect(again).toMatchObject({ addedCount: 0, duplicateCount: 2 });
      expect(again.campaign.counts.total).toBe(3);
      const contacts = await contactsOf(campaign.id);
      expect(contacts.map(({ position }: { position: number }) => position)).toEqual([0, 1, 2]);
      expect(contacts[2]).toMatchObject({ status: 'SCHEDULED', scheduledAt: expect.any(String) });
    });

    it('adds the contacts of a file and of a folder', async () => {
      const { campaign } = await draft();
      const [one] = people(1);
      const added = await runWithFile(
        client,
        'addCampaignContacts',
        { campaignId: campaign.id },
        `phone\n${one!.phoneNumber}\n`,
      );
      expect(added).toMatchObject({ addedCount: 1, userErrors: [] });
      const folder = await done(client, 'addCampaignContacts', {
        campaignId: campaign.id,
        contactFolderId: folderId,
      });
      expect(folder).toMatchObject({ addedCount: 3, campaign: { counts: { total: 4 } } });
    });

    it('rejects an input without a source', async () => {
      const { campaign } = await draft();
      const payload = await run(client, 'addCampaignContacts', { campaignId: campaign.id });
      expect(problemsOf(payload)).toEqual(['REQUIRED']);
    });
  });

  describe('status of a campaign', () => {
    it('changes with scheduleCampaign, pauseCampaign, resumeCampaign and cancelCampaign', async () => {
      const id = await inStatus('DRAFT');
      const scheduled = await done(client, 'scheduleCampaign', {
        id,
        scheduledAt: LATER,
        timezone: 'America/New_York',
      });
      expect(scheduled.campaign).toMatchObject({
        status: 'SCHEDULED',
        scheduledAt: LATER,
        timezone: 'America/New_York',
      });
      const paused = await done(client, 'pauseCampaign', { id });
      expect(paused.campaign).toMatchObject({ status: 'PAUSED', nextDispatchAt: null });
      const resumed = await done(client, 'resumeCampaign', { id });
      expect(resumed.campaign).toMatchObject({ status: 'SCHEDULED', nextDispatchAt: LATER });
      const cancelled = await done(client, 'cancelCampaign', { id });
      expect(cancelled.campaign).toMatchObject({
        status: 'CANCELLED',
        endedAt: expect.any(String),
        counts: { total: 2, pending: 0, cancelled: 2 },
      });
      const contacts = await contactsOf(id);
      expect(contacts.map(({ status }: { status: string }) => status)).toEqual([
        'CANCELLED',
        'CANCELLED',
      ]);
    });

    const REJECTED: [string, string[]][] = [
      ['scheduleCampaign', ['PAUSED', 'COMPLETED', 'CANCELLED']],
      ['pauseCampaign', ['DRAFT', 'COMPLETED', 'CANCELLED']],
      ['resumeCampaign', ['DRAFT', 'COMPLETED', 'CANCELLED']],
      ['cancelCampaign', ['COMPLETED']],
      ['updateCampaign', ['COMPLETED', 'CANCELLED']],
      ['addCampaignContacts', ['COMPLETED', 'CANCELLED']],
      ['deleteCampaigns', ['ACTIVE']],
    ];
    it.each(
      REJECTED.flatMap(([name, states]) => states.map((state) => [name, state] as const)),
    )('rejects %s when %s', async (name, state) => {
      const id = await inStatus(state);
      const input =
        name === 'deleteCampaigns'
          ? { ids: [id] }
          : name === 'addCampaignContacts'
            ? { campaignId: id, contacts: people(1) }
            : { id, ...(name === 'updateCampaign' ? { name: 'Late' } : {}) };
      const payload = await run(client, name, input);
      expect(problemsOf(payload)).toEqual([
        `INVALID_STATE ${{ deleteCampaigns: 'ids.0', addCampaignContacts: 'campaignId' }[name] ?? 'id'}`,
      ]);
      expect(payload.userErrors[0].message).toContain(state);
    });
  });

  describe('scheduleCampaign', () => {
    it('rejects a draft without contacts', async () => {
      const { campaign } = await draft();
      expect(problemsOf(await run(client, 'scheduleCampaign', { id: campaign.id }))).toEqual([
        'EMPTY_CONTACT_SOURCE id',
      ]);
    });

    it('reports only that the agent was deleted, since no phone number would help', async () => {
      const agent = {
        name: 'Gone',
        voiceId: caller.voiceId,
        systemPrompt: 'Be brief.',
      };
      const { id: agentId } = (await runMutation(client, 'createAgent', agent, 'agent { id }'))
        .agent;
      const { campaign } = await draft({ agentId, contacts: people(1) });
      await runMutation(client, 'deleteAgent', { id: agentId }, 'agent { id }');
      const payload = await run(client, 'scheduleCampaign', { id: campaign.id });
      expect(problemsOf(payload)).toEqual(['NOT_FOUND id']);
    });
  });

  describe('deleteCampaigns', () => {
    it('deletes all campaigns, or none if one cannot be deleted', async () => {
      const [one, two] = [await inStatus('DRAFT'), await inStatus('PAUSED')];
      const active = await inStatus('ACTIVE');
      const refused = await run(client, 'deleteCampaigns', {
        ids: [one, active, `cmp_${newId()}`, 'nonsense'],
      });
      expect(problemsOf(refused)).toEqual([
        'INVALID_ID ids.3',
        'INVALID_STATE ids.1',
        'NOT_FOUND ids.2',
      ]);
      const { deletedCampaignIds } = await done(client, 'deleteCampaigns', { ids: [one, two] });
      expect(deletedCampaignIds).toEqual([one, two]);
      const answer = await client.send('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
        ids: [one, two, active],
      });
      expect(answer.data.nodes).toEqual([null, null, { id: active }]);
      expect(problemsOf(await run(client, 'pauseCampaign', { id: two }))).toEqual(['NOT_FOUND id']);
      expect(problemsOf(await run(client, 'deleteCampaigns', { ids: [] }))).toEqual([
        'REQUIRED ids',
      ]);
    });
  });
}
