/** Contacts of a file, and the limits of all sources. */
import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import {
  attempt,
  brief,
  createContact,
  createFolder,
  refusals,
} from '../../../contacts/support.ts';
import type { Answer } from '../../../support/graphql.ts';
import { recordStatements } from '../../../support/queries.ts';
import { until } from '../../../support/wait.ts';
import { numbers } from '../../lists.ts';
import { ADDED, addTo, contactsOf, draft, server } from './server.ts';

/** The payload of `addCampaignContacts` with a file. */
async function sendTo(
  campaignId: string,
  content: string | Uint8Array,
  input: Record<string, unknown> = {},
) {
  const form = new FormData();
  const query = `mutation ($input: AddCampaignContactsInput!) {
    addCampaignContacts(input: $input) { ${ADDED} userErrors { code message path } } }`;
  const variables = { input: { campaignId, ...input, contactsFile: null } };
  form.set('operations', JSON.stringify({ query, variables }));
  form.set('map', JSON.stringify({ 0: ['variables.input.contactsFile'] }));
  form.set('0', new Blob([content as BlobPart]), 'contacts.csv');
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.key}` },
    body: form,
  });
  const answer = (await response.json()) as Answer;
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.addCampaignContacts;
}

export function filesSuite(): void {
  describe('contactsFile', () => {
    it('adds the valid rows and reports the others', async () => {
      const id = await draft();
      const csv = [
        'Client_ID;Mobile;Full name;Plan;tz',
        'a;+14155550141;Ada Lovelace;gold;Europe/London',
        ';+14155550142;Grace Hopper;;IST',
        'a;+14155550143;Twice;;',
        ';not a number;Nobody;;',
        `${'y'.repeat(201)};+14155550144;Long;;`,
        ';+14155550142;Twice;;',
        ';+14155550145;"Broken"x;;',
        `;+14155550146;${'z'.repeat(300_000)};;`,
        '"\'=b";+14155550147;Formula;;',
      ].join('\n');
      const added = await sendTo(id, csv);
      expect(added).toMatchObject({ addedCount: 3, duplicateCount: 2, problemCount: 4 });
      expect(
        added.problems.map(({ row, phoneNumber }: { row: number; phoneNumber: string }) => [
          row,
          phoneNumber,
        ]),
      ).toEqual([
        [4, 'not a number'],
        [5, '+14155550144'],
        [7, null],
        [8, null],
      ]);
      expect(added).toMatchObject({
        rowWarningCount: 1,
        rowWarnings: [
          {
            row: 2,
            phoneNumber: '+14155550142',
            reason: expect.stringContaining('"tz": `timezone` is ambiguous: "IST" can mean'),
          },
        ],
      });
      const { contacts } = await contactsOf(id, 'clientId firstName lastName timezone metadata');
      expect(contacts).toMatchObject([
        {
          clientId: 'a',
          firstName: 'Ada',
          lastName: 'Lovelace',
          timezone: 'Europe/London',
          metadata: { Plan: 'gold' },
        },
        { clientId: null, firstName: 'Grace', metadata: {} },
        { clientId: '=b' },
      ]);

      expect((await sendTo(id, 'phone\nnobody')).userErrors).toMatchObject([
        { code: 'EMPTY_CONTACT_SOURCE' },
      ]);
      expect((await sendTo(id, csv)).addedCount).toBe(0);
    });

    it('adds many rows in the order of the file, and returns the first 100 problems', async () => {
      const id = await draft();
      const rows = Array.from({ length: 3_000 }, (_, index) =>
        index % 10 === 3 ? `bad ${index}` : `+1415${2_000_000 + index}`,
      );
      const added = await sendTo(id, `phone\r\n${rows.join('\r\n')}`);
      expect(added).toMatchObject({ addedCount: 2_700, duplicateCount: 0, problemCount: 300 });
      expect(added.problems).toHaveLength(100);
      expect(added.problems.at(-1)).toMatchObject({ row: 994, phoneNumber: 'bad 993' });
      const stored = await server.app.db.campaignContact.findMany({
        where: { campaignId: id.slice(4) },
        orderBy: { position: 'asc' },
        select: { phoneNumber: true, position: true },
      });
      expect(stored.map(({ phoneNumber }) => phoneNumber)).toEqual(
        rows.filter((row) => row.startsWith('+')),
      );
      expect(stored.map(({ position }) => position)).toEqual([...stored.keys()]);
    });

    it('applies the given mapping', async () => {
      const id = await draft();
      const added = await sendTo(id, 'A,client_id\n4155550151,K-1', {
        defaultCountry: 'US',
        mapping: [
          { column: 'A', field: 'PHONE_NUMBER' },
          { column: 'client_id', metadataKey: 'client' },
        ],
      });
      expect(added).toMatchObject({ addedCount: 1 });
      const { contacts } = await contactsOf(id, 'phoneNumber clientId metadata');
      expect(contacts).toMatchObject([
        { phoneNumber: '+14155550151', clientId: null, metadata: { client: 'K-1' } },
      ]);
    });

    it('rejects a file without valid rows or in another format', async () => {
      const id = await draft();
      const refused = async (content: string | Uint8Array, input = {}) => {
        const { userErrors } = await sendTo(id, content, input);
        return userErrors.map(
          ({ code, path, message }: { code: string; path: string[]; message: string }) =>
            `${code} ${path.join('.')}: ${message}`,
        );
      };
      expect(await refused('')).toEqual([
        expect.stringMatching(/^INVALID_INPUT contactsFile: .*empty/),
      ]);
      expect(await refused('phone\n\n')).toEqual([
        expect.stringMatching(/^EMPTY_CONTACT_SOURCE contactsFile: /),
      ]);
      expect(await refused('name\nAda')).toEqual([
        expect.stringMatching(/^REQUIRED contactsFile: The file has no phone number column/),
      ]);
      expect(await refused(Buffer.from('504b03040000', 'hex'))).toEqual([
        expect.stringMatching(/^INVALID_INPUT contactsFile: .*Excel/),
      ]);
      expect(await refused(Buffer.from('phone,name\n+14155550101,Jos\xe9', 'latin1'))).toEqual([
        expect.stringMatching(/^INVALID_INPUT contactsFile: .*UTF-8: line 2/),
      ]);
      expect(await refused('phone\nnobody\nneither')).toEqual([
        expect.stringMatching(/^EMPTY_CONTACT_SOURCE contactsFile: .*no valid row\. Row 1: /),
      ]);
      expect(
        await refused('phone\n+14155550101', {
          mapping: [{ column: 'tel', field: 'PHONE_NUMBER' }],
        }),
      ).toEqual([expect.stringMatching(/^INVALID_INPUT mapping.0.column: /)]);
      expect(await refused(`phone\n${'+14155550101\n'.repeat(100_001)}`)).toEqual([
        expect.stringMatching(/^LIMIT_EXCEEDED contactsFile: /),
      ]);
      expect(await refused(`phone\n+14155550101,"${'x'.repeat(50 * 1024 * 1024)}"`)).toEqual([
        expect.stringMatching(/^LIMIT_EXCEEDED contactsFile: .* 51 MB/),
      ]);
      expect((await contactsOf(id)).counts.total).toBe(0);
    });
  });

  describe('sources of contacts', () => {
    it('must be exactly one in addCampaignContacts', async () => {
      const campaignId = await draft();
      const folderId = await createFolder(server.client);
      const none = await refusals(server.client, 'addCampaignContacts', { campaignId });
      expect(brief(none)).toEqual(['REQUIRED ']);
      const both = await refusals(server.client, 'addCampaignContacts', {
        campaignId,
        contactFolderId: folderId,
        contacts: [{ phoneNumber: 'nobody' }],
      });
      expect(brief(both)).toEqual([
        'INVALID_INPUT contacts',
        'EMPTY_CONTACT_SOURCE contactFolderId',
        'INVALID_INPUT contacts.0.phoneNumber',
      ]);
    });

    it('can fill a campaign up to 100,000 contacts, not beyond', async () => {
      const folderId = await createFolder(server.client);
      const client = new Client({ connectionString: server.database.url });
      await client.connect();
      try {
        await client.query(
          `INSERT INTO contacts (id, organization_id, folder_id, phone_number, search_text, updated_at)
         SELECT new_id(), $1, $2, '+1212' || (2000000 + i), '', now()
         FROM generate_series(1, 99995) AS i`,
          [server.organizationId, folderId.slice(4)],
        );
        const id = await draft({ contactFolderId: folderId });
        const tooMany = { campaignId: id, contacts: numbers(6, 3) };
        const payload = await attempt(server.client, 'addCampaignContacts', tooMany);
        expect(brief(payload.userErrors)).toEqual(['LIMIT_EXCEEDED contacts']);
        expect((await contactsOf(id)).counts.total).toBe(99_995);
        // Duplicates do not count, even if they are being added.
        const known = [{ phoneNumber: '+12122000001' }, ...numbers(5, 3)];
        const [first, second] = await server.app.db.$transaction(async (tx) => {
          // Keeps the rows of both requests from joining before both have been staged.
          await tx.$queryRaw`
          SELECT pg_advisory_xact_lock(hashtextextended(${id.slice(4)}, 0))::text`;
          const adding = [0, 1].map(() => addTo(id, { contacts: known }));
          const bothStaged = until('both requests', async () => {
            const where = { campaignId: id.slice(4), status: 'JOINING' as const };
            return (await server.app.db.campaignEnrollment.count({ where })) === 2;
          });
          await Promise.race([bothStaged, Promise.all(adding)]);
          return adding;
        });
        const counts = [await first, await second].map(({ addedCount }) => addedCount);
        expect(counts.sort()).toEqual([0, 5]);
        expect((await contactsOf(id)).counts.total).toBe(100_000);

        const byNumber = `query ($id: ID!) { campaign(id: $id) {
        contacts(filter: { phoneNumber: "+12122000001" }) { nodes { phoneNumber } } } }`;
        const statements = await recordStatements(server.app, async () => {
          const { data } = await server.client.send(byNumber, { id });
          expect(data.campaign.contacts.nodes).toHaveLength(1);
        });
        const reading = statements.find((statement) => statement.includes('"phone_number"'));
        await client.query('ANALYZE campaign_contacts');
        const { rows } = await client.query(`EXPLAIN (GENERIC_PLAN) ${reading}`);
        expect(JSON.stringify(rows)).toContain('campaign_contacts_campaign_id_identity_key');

        await createContact(server.client, { folderId, phoneNumber: '+14155550161' });
        await client.query('UPDATE contact_folders SET contact_count = 100001 WHERE id = $1', [
          folderId.slice(4),
        ]);
        const large = await refusals(server.client, 'addCampaignContacts', {
          campaignId: await draft(),
          contactFolderId: folderId,
        });
        expect(brief(large)).toEqual(['LIMIT_EXCEEDED contactFolderId']);
      } finally {
        await client.end();
      }
    });
  });
}
