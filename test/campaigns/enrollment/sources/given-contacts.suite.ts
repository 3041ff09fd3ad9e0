/** Contacts that are copied from folders or given in the request. */
import { describe, expect, it } from 'vitest';
import { PERSON_COLUMNS } from '../../../../src/contacts/person-columns.ts';
import { newId } from '../../../../src/infra/ids.ts';
import { ADA, brief, createContact, createFolder, refusals } from '../../../contacts/support.ts';
import { runMutation } from '../../../support/calling.ts';
import { miscounted, numbers } from '../../lists.ts';
import { addTo, contactsOf, desk, draft, server } from './server.ts';

export function givenContactsSuite(): void {
  describe('contactFolderId', () => {
    it('copies the contacts of the folder in the order of their creation', async () => {
      const folderId = await createFolder(server.client);
      const adaId = (await createContact(server.client, { folderId, ...ADA })).id;
      await createContact(server.client, { folderId, phoneNumber: '+14155550101' });
      const id = await draft({ contactFolderId: folderId });
      const fields = `contact { id } clientId status scheduledAt ${Object.keys(ADA).join(' ')}`;
      const before = await contactsOf(id, fields);
      expect(before.contactSource).toBe('FOLDER');
      expect(before.counts).toEqual({ total: 2, pending: 2 });
      expect(before.contacts[0]).toEqual({
        position: 0,
        contact: { id: adaId },
        clientId: null,
        status: 'PENDING',
        scheduledAt: null,
        ...ADA,
      });
      expect(before.contacts[1].phoneNumber).toBe('+14155550101');

      // Later changes to the contacts do not affect the campaign.
      await runMutation(
        server.client,
        'updateContact',
        { id: adaId, firstName: 'Augusta' },
        'contact { id }',
      );
      await runMutation(server.client, 'deleteContactFolder', { id: folderId }, '__typename');
      const after = await contactsOf(id, fields);
      expect(after.contacts[0]).toEqual({ ...before.contacts[0], contact: null });
    });

    it('rejects an unknown folder, one of another organization and an empty one', async () => {
      const empty = await createFolder(server.client);
      const other = await server.newOrganization();
      const theirs = await createFolder(other.client);
      await createContact(other.client, { folderId: theirs, phoneNumber: '+14155550101' });
      const input = { name: 'Autumn', agentId: desk.caller.agentId };
      const refused = async (contactFolderId: string) =>
        brief(await refusals(server.client, 'createCampaign', { ...input, contactFolderId }));
      expect(await refused(empty)).toEqual(['EMPTY_CONTACT_SOURCE contactFolderId']);
      expect(await refused(theirs)).toEqual(['NOT_FOUND contactFolderId']);
      expect(await refused(`ctc_${newId()}`)).toEqual(['INVALID_ID contactFolderId']);
      expect(await refused('')).toEqual(['INVALID_ID contactFolderId']);
    });
  });

  describe('contactIds', () => {
    it('copies contacts in the given order, each number once', async () => {
      const folders = [await createFolder(server.client), await createFolder(server.client)];
      const make = async (folder: number, phoneNumber: string) =>
        (await createContact(server.client, { folderId: folders[folder], phoneNumber })).id;
      const first = await make(0, '+14155550111');
      const second = await make(0, '+14155550112');
      const third = await make(0, '+14155550113');
      const again = await make(1, '+14155550112');
      const id = await draft();
      const added = await addTo(id, { contactIds: [second, third, first, again, second] });
      expect(added).toMatchObject({ addedCount: 3, duplicateCount: 2 });
      const campaign = await contactsOf(id, 'contact { id }');
      expect(campaign.contactSource).toBe('MANUAL');
      expect(
        campaign.contacts.map(({ contact }: { contact: { id: string } }) => contact.id),
      ).toEqual([second, third, first]);
    });

    it('reports each unknown contact', async () => {
      const other = await server.newOrganization();
      const folderId = await createFolder(other.client);
      const theirs = await createContact(other.client, { folderId, phoneNumber: '+14155550101' });
      const mine = await createContact(server.client, {
        folderId: await createFolder(server.client),
        phoneNumber: '+14155550101',
      });
      const campaignId = await draft();
      const refused = async (contactIds: string[]) =>
        brief(await refusals(server.client, 'addCampaignContacts', { campaignId, contactIds }));
      expect(await refused([mine.id, theirs.id, 'nobody', `ctc_${newId()}`])).toEqual([
        'INVALID_ID contactIds.2',
        'NOT_FOUND contactIds.1',
        'NOT_FOUND contactIds.3',
      ]);
      expect(await refused([])).toEqual(['EMPTY_CONTACT_SOURCE contactIds']);
      expect((await contactsOf(campaignId)).counts.total).toBe(0);
    });
  });

  describe('contacts', () => {
    it.each(['createCampaign', 'addCampaignContacts'])('of %s keep every field', async (how) => {
      const contacts = [ADA];
      const id = await draft(how === 'createCampaign' ? { contacts } : {});
      if (how === 'addCampaignContacts') await addTo(id, { contacts });
      const fields = PERSON_COLUMNS.map(({ field }) => field).join(' ');
      expect((await contactsOf(id, fields)).contacts).toEqual([{ position: 0, ...ADA }]);
    });

    it('adds each row once, by clientId or phone number', async () => {
      const rows = [
        { phoneNumber: '(415) 555-0121', firstName: 'First', metadata: { a: '1' } },
        { phoneNumber: '+14155550121', firstName: 'Second' },
        { phoneNumber: '+14155550121', clientId: 'a', firstName: 'Third' },
        { phoneNumber: '+14155550122', clientId: ' a ', firstName: 'Fourth' },
        { phoneNumber: '+14155550121', clientId: 'b', firstName: 'Fifth', timezone: 'EST5EDT' },
      ];
      const id = await draft();
      const input = { contacts: rows, defaultCountry: 'us' };
      expect(await addTo(id, input)).toMatchObject({ addedCount: 3, duplicateCount: 2 });
      expect(await addTo(id, input)).toMatchObject({ addedCount: 0, duplicateCount: 5 });
      const more = [...numbers(2, 1), ...rows];
      expect(await addTo(id, { ...input, contacts: more })).toMatchObject({
        addedCount: 2,
        duplicateCount: 5,
      });
      const { contacts } = await contactsOf(id, 'phoneNumber clientId firstName timezone metadata');
      expect(contacts.slice(0, 3)).toMatchObject([
        { phoneNumber: '+14155550121', clientId: null, firstName: 'First', metadata: { a: '1' } },
        { phoneNumber: '+14155550121', clientId: 'a', firstName: 'Third', metadata: {} },
        // PostgreSQL may interpret the short name as a fixed offset.
        { clientId: 'b', firstName: 'Fifth', timezone: 'America/New_York' },
      ]);
      expect(contacts).toHaveLength(5);
      expect(await miscounted(desk)).toEqual([]);
    });

    it('adds no row without a clientId whose number has one, in the campaign or earlier in the list', async () => {
      const id = await draft();
      const add = async (...contacts: object[]) => {
        const { addedCount, duplicateCount } = await addTo(id, { contacts });
        return [addedCount, duplicateCount];
      };
      expect(
        await add(
          { phoneNumber: '+5491123456789', clientId: 'a' },
          { phoneNumber: '+541123456789' },
          // The first row with this `clientId` stays, so the number of the second is still free.
          { phoneNumber: '+14155550151', clientId: 'a' },
          { phoneNumber: '+14155550151' },
        ),
      ).toEqual([2, 2]);
      const again = { phoneNumber: '+541123456789' };
      expect(await add(again)).toEqual([0, 1]);
      expect(await add({ ...again, clientId: 'b' })).toEqual([1, 0]);
      const folderId = await createFolder(server.client);
      await createContact(server.client, { folderId, ...again });
      expect(await addTo(id, { contactFolderId: folderId })).toMatchObject({
        addedCount: 0,
        duplicateCount: 1,
      });
      expect(await miscounted(desk)).toEqual([]);
    });

    it('adds all rows, or none with all problems', async () => {
      const campaignId = await draft();
      const contacts = [
        { phoneNumber: '+14155550131' },
        { phoneNumber: '4155550132', email: 'nobody' },
        { phoneNumber: '+14155550133', clientId: ' ' },
        { phoneNumber: '+14155550134', clientId: 'x'.repeat(201), timezone: 'Mars/Olympus' },
      ];
      const refused = await refusals(server.client, 'addCampaignContacts', {
        campaignId,
        contacts,
        defaultCountry: 'XX',
        mapping: [],
      });
      expect(brief(refused).sort()).toEqual([
        'INVALID_INPUT contacts.1.email',
        'INVALID_INPUT contacts.1.phoneNumber',
        'INVALID_INPUT contacts.3.clientId',
        'INVALID_INPUT contacts.3.timezone',
        'INVALID_INPUT defaultCountry',
        'INVALID_INPUT mapping',
        'REQUIRED contacts.2.clientId',
      ]);
      expect((await contactsOf(campaignId)).counts.total).toBe(0);
      expect(
        brief(await refusals(server.client, 'addCampaignContacts', { campaignId, contacts: [] })),
      ).toEqual(['EMPTY_CONTACT_SOURCE contacts']);
    });

    it('adds a few rows while a large addition of another organization is analyzed', async () => {
      const id = await draft();
      await server.app.db.$transaction(async (tx) => {
        // The lock of ANALYZE.
        await tx.$executeRaw`LOCK TABLE campaign_enrollment_rows IN SHARE UPDATE EXCLUSIVE MODE`;
        expect(await addTo(id, { contacts: numbers(2) })).toMatchObject({ addedCount: 2 });
      });
    });

    it('adds each row of concurrent requests once, without gaps in the positions', async () => {
      const id = await draft();
      const rows = numbers(60, 2);
      const answers = await Promise.all(
        [0, 10, 20, 30, 40].map((from) => addTo(id, { contacts: rows.slice(from, from + 20) })),
      );
      expect(answers.reduce((sum, { addedCount }) => sum + addedCount, 0)).toBe(60);
      const { contacts, counts } = await contactsOf(id);
      expect(counts.total).toBe(60);
      expect(contacts).toHaveLength(60);
      expect(await miscounted(desk)).toEqual([]);
    });
  });
}
