/** Sources of contacts: folders, ids, rows and files. */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PERSON_COLUMNS } from '../../../src/contacts/person-columns.ts';
import { newId } from '../../../src/infra/ids.ts';
import {
  ADA,
  attempt,
  brief,
  createContact,
  createFolder,
  refusals,
} from '../../contacts/support.ts';
import { runMutation } from '../../support/calling.ts';
import type { Answer } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import type { TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { createCampaign, type Desk, miscounted, numbers, openDesk } from '../lists.ts';

let server: TestServer;
let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
  server = desk.server;
});
afterAll(() => server.close());

const ADDED = `addedCount duplicateCount problemCount problems { row phoneNumber reason }
  rowWarningCount rowWarnings { row phoneNumber reason }`;

async function contactsOf(id: string, fields = 'phoneNumber') {
  const { data, errors } = await server.client.send(
    `query ($id: ID!) { campaign(id: $id) { contactSource counts { total pending }
      contacts(first: 100) { nodes { position ${fields} } } } }`,
    { id },
  );
  if (errors) throw new Error(JSON.stringify(errors));
  const { nodes } = data.campaign.contacts;
  expect(nodes.map((node: { position: number }) => node.position)).toEqual([...nodes.keys()]);
  return { ...data.campaign, contacts: nodes };
}

async function addTo(campaignId: string, input: Record<string, unknown>) {
  return runMutation(server.client, 'addCampaignContacts', { campaignId, ...input }, ADDED);
}

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

const draft = async (input: Record<string, unknown> = {}): Promise<string> =>
  (await createCampaign(desk, input)).campaign.id;

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
    expect(campaign.contacts.map(({ contact }: { contact: { id: string } }) => contact.id)).toEqual(
      [second, third, first],
    );
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
      await refused('phone\n+14155550101', { mapping: [{ column: 'tel', field: 'PHONE_NUMBER' }] }),
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
