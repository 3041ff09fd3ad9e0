import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mapColumns } from '../../src/contacts/import/column-mapping.ts';
import { optsOut } from '../../src/contacts/import/opt-out.ts';
import { Checks } from '../../src/infra/checks.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { IMPORT, importFile, makeFolder, sendFile } from './import/upload.ts';

describe('optsOut', () => {
  it.each([
    ...['true', 'TRUE', '1', '1.0', 'yes', 'Y', 'x', '✓', 'ja', 'oui', 'sí', 'да', 'はい', 'نعم'],
    ...['opted out', 'Unsubscribed', '2026-05-01', 'asked us by phone', 'no calls please'],
  ])('opts out for %j in a do-not-call column', (cell) => {
    expect(optsOut('doNotCall', cell)).toBe(true);
  });

  it.each([
    ...[
      'Clean',
      'Not opted out',
      'false',
      '0',
      '0.0',
      'No',
      'n',
      'nein',
      'non',
      'нет',
      'いいえ',
      'hayır',
      'subscribed',
    ],
    'Opted In',
  ])('does not opt out for %j in a do-not-call column', (cell) => {
    expect(optsOut('doNotCall', cell)).toBe(false);
  });

  it.each([
    'no',
    'false',
    '0',
    'nein',
    'нет',
    '不',
    'withdrawn',
    'Opted Out',
    'denied',
    'unclear',
  ])('opts out for %j in a consent column', (cell) => {
    expect(optsOut('consent', cell)).toBe(true);
  });

  it.each([
    'yes',
    'TRUE',
    '1',
    'ja',
    'sim',
    'да',
    'はい',
    'granted',
    '5/1/26',
  ])('does not opt out for %j in a consent column', (cell) => {
    expect(optsOut('consent', cell)).toBe(false);
  });
});

describe('mapColumns', () => {
  it.each([
    ...['Do Not Call', 'DNC', 'do_not_call', 'HasOptedOutOfCall', 'opt out', 'Opt-Out', 'OptOut'],
    ...['Phone 1 DNC', 'is_dnc', 'DNC Date', 'OptOutDate', 'Opted Out At', "Don't call", 'DND'],
    ...['Opted out of phone calls', 'Do Not Call (reason)', 'Federal DNC', 'doNotCallFlag'],
    ...['Unsubscribed', 'Do not contact', 'Nicht anrufen', 'No llamar', 'Ne pas appeler'],
  ])('maps the column %j to the do-not-call list', (column) => {
    const [mapped] = mapColumns(new Checks(), [column, 'phone'], []);
    expect(mapped).toEqual({ column, field: 'doNotCall', metadataKey: null });
  });

  it.each([
    'consent',
    'Call Consent',
    'opt-in',
    'Einwilligung',
    'Consentement',
    'Согласие',
  ])('maps the column %j to consent', (column) => {
    const [mapped] = mapColumns(new Checks(), [column, 'phone'], []);
    expect(mapped).toEqual({ column, field: 'consent', metadataKey: null });
  });

  it.each([
    'Email Opt Out',
    'SMS opted out',
    'Opted out of email: Newsletter',
    'DNC scrub date',
    'DNC last checked',
    'Unsubscribed from all email',
    'HasOptedOutOfFax',
    'SMS Consent',
  ])('does not map the column %j, which is not about calls', (column) => {
    const [mapped] = mapColumns(new Checks(), [column, 'phone'], []);
    expect(mapped).toEqual({ column, field: null, metadataKey: column });
  });
});

describe('imports with opt-out columns', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server?.close());

  const FILE = [
    'phone,name,Do Not Call,consent',
    '+14155550101,Ada,true,',
    '+14155550102,Grace,,no',
    '+14155550103,Hedy,no,yes',
    '+14155550104,Mary,,',
    '+14155550101,Ada again,1,',
    'nobody,Nobody,true,',
  ].join('\n');

  /** More people than days for which a campaign is planned. */
  const MANY = Array.from({ length: 4_000 }, (_, index) => `+1415556${1000 + index},Bob,,`);

  it('importContacts adds the numbers to the do-not-call list and counts them', async () => {
    const folderId = await makeFolder(server);
    await runMutation(
      server.client,
      'addToDoNotCall',
      { entries: [{ phoneNumber: '+14155550102', reason: 'Asked us', source: 'phone' }] },
      'addedCount',
    );
    const { id, importedCount, failedCount } = await importFile(server, FILE, { folderId });
    expect([importedCount, failedCount]).toEqual([4, 1]);
    const { data } = await server.client.send(
      `query ($id: ID!, $folder: ID!) { contactImport(id: $id) { doNotCallCount }
        contactFolder(id: $folder) { contacts(orderBy: { field: PHONE_NUMBER, direction: ASC }) { nodes { firstName doNotCall metadata } } }
        doNotCallEntries { nodes { phoneNumber reason source } } }`,
      { id, folder: folderId },
    );
    expect(data.contactImport.doNotCallCount).toBe(3);
    expect(data.contactFolder.contacts.nodes).toEqual(
      ['Ada', 'Grace', 'Hedy', 'Mary'].map((firstName, index) => ({
        firstName,
        doNotCall: index < 2,
        metadata: {},
      })),
    );
    expect(
      data.doNotCallEntries.nodes.sort((a: { source: string }) => (a.source === 'phone' ? 1 : -1)),
    ).toEqual([
      {
        phoneNumber: '+14155550101',
        reason: 'Column "Do Not Call" of an imported file',
        source: 'IMPORT',
      },
      { phoneNumber: '+14155550102', reason: 'Asked us', source: 'phone' },
    ]);
  });

  it('createCampaign adds the numbers to the do-not-call list and counts them', async () => {
    const { client, key, id } = await server.newOrganization();
    const { agentId } = await prepareCaller(client);
    const { data } = await sendFile(
      { url: server.url, key },
      `mutation ($input: CreateCampaignInput!) { createCampaign(input: $input) {
        addedCount doNotCallCount problemCount userErrors { code path message } } }`,
      { content: FILE, field: 'contactsFile' },
      { name: 'Spring', agentId, timezone: 'UTC' },
    );
    expect(data.createCampaign).toEqual({
      addedCount: 4,
      doNotCallCount: 3,
      problemCount: 1,
      userErrors: [],
    });
    const entries = await server.app.db.doNotCallEntry.findMany({
      where: { organizationId: id },
      orderBy: { phoneNumber: 'asc' },
      select: { phoneNumber: true, source: true },
    });
    expect(entries).toEqual([
      { phoneNumber: '+14155550101', source: 'IMPORT' },
      { phoneNumber: '+14155550102', source: 'IMPORT' },
    ]);
  });

  it('importContacts adds all numbers of a row, and reports those that it cannot read', async () => {
    const { key, id: organizationId } = await server.newOrganization();
    const file = [
      'phone,mobile,timezone,Do Not Call',
      '+14155550201,415555,,yes',
      '+14155550202 ::: 555 ::: +14155550203,"+14155550204; +14155550205",,yes',
      '+14155550206,415555,,',
      // Numbers that are not imported since calls to them are expensive, and a row without a number.
      '+19005550207,,,yes',
      'nobody,415555,,yes',
    ].join('\n');
    const to = { url: server.url, key };
    const imported = await importFile(to, file, { folderId: await makeFolder(to) });
    expect(imported).toMatchObject({ importedCount: 3, failedCount: 2 });
    const listed = await server.app.db.doNotCallEntry.findMany({ where: { organizationId } });
    expect(listed.map(({ phoneNumber }) => phoneNumber).sort()).toEqual([
      ...['01', '02', '03', '04', '05'].map((last) => `+141555502${last}`),
      '+19005550207',
    ]);
    const unread = (column: string, text: string) =>
      new RegExp(`"${column}": "${text}" is not a valid .* it is not on the do-not-call list`);
    expect(imported.warnings.nodes).toEqual([
      expect.objectContaining({
        row: 1,
        reason: expect.stringMatching(unread('mobile', '415555')),
      }),
      expect.objectContaining({ row: 2, reason: expect.stringMatching(unread('phone', '555')) }),
    ]);
  });

  it('importContacts adds the numbers of phone columns that the mapping leaves out', async () => {
    const { key, id: organizationId } = await server.newOrganization();
    const to = { url: server.url, key };
    const file = 'Name,Mobile,Home Phone,Do Not Call\nAda,+14155550211,+14155550212,yes\n';
    const mapping = [{ column: 'Mobile', field: 'PHONE_NUMBER' }];
    await importFile(to, file, { folderId: await makeFolder(to), mapping });
    const listed = await server.app.db.doNotCallEntry.findMany({ where: { organizationId } });
    expect(listed.map(({ phoneNumber }) => phoneNumber).sort()).toEqual([
      '+14155550211',
      '+14155550212',
    ]);
  });

  it('importContacts adds the numbers even if the contacts cannot be written', async () => {
    const { client, key, id: organizationId } = await server.newOrganization();
    const { db } = server.app;
    await db.$executeRawUnsafe(`CREATE FUNCTION refuse_contact() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'Refused by the test'; END $$`);
    await db.$executeRawUnsafe(`CREATE TRIGGER refuse_contact BEFORE INSERT ON contacts
      FOR EACH ROW WHEN (NEW.phone_number = '+14155550301') EXECUTE FUNCTION refuse_contact()`);
    const to = { url: server.url, key };
    const file = 'phone,Do Not Call\n+14155550301,yes\n';
    const answer = await sendFile(to, IMPORT, file, { folderId: await makeFolder(to) });
    const { id } = answer.data.importContacts.contactImport;
    await until('the entry', async () => db.doNotCallEntry.count({ where: { organizationId } }));
    expect(await db.contact.count({ where: { organizationId } })).toBe(0);
    await runMutation(client, 'cancelContactImport', { id }, '__typename');
    await db.$executeRawUnsafe('DROP FUNCTION refuse_contact CASCADE');
    expect(await db.doNotCallEntry.count({ where: { organizationId } })).toBe(1);
  });

  it.each([
    ['that do not fit', 'WINDOW_TOO_SMALL', FILE],
    ['without a valid number', 'EMPTY_CONTACT_SOURCE', 'phone,DNC\n+19005550101,1\n+19005550102,1'],
  ])('createCampaign keeps the opt-outs of a file with contacts %s', async (_title, code, file) => {
    const { client, key, id } = await server.newOrganization();
    const { agentId } = await prepareCaller(client);
    const { data } = await sendFile(
      { url: server.url, key },
      `mutation ($input: CreateCampaignInput!) { createCampaign(input: $input) {
        campaign { id } userErrors { code } } }`,
      {
        // More people than days for which a campaign is planned.
        content: code === 'WINDOW_TOO_SMALL' ? [file, ...MANY].join('\n') : file,
        field: 'contactsFile',
      },
      { name: 'Spring', agentId, maxCallsPerDay: 1, scheduledAt: '2040-01-02T00:00:00Z' },
    );
    expect(data.createCampaign).toEqual({ campaign: null, userErrors: [{ code }] });
    expect(await server.app.db.campaign.count({ where: { organizationId: id } })).toBe(0);
    expect(await server.app.db.doNotCallEntry.count({ where: { organizationId: id } })).toBe(2);
  });

  it('addCampaignContacts keeps the opt-outs of a file that it refuses', async () => {
    const { client, key, id } = await server.newOrganization();
    const { agentId } = await prepareCaller(client);
    const { campaign } = await runMutation(
      client,
      'createCampaign',
      {
        name: 'Spring',
        agentId,
        timezone: 'UTC',
        maxCallsPerDay: 1,
        contacts: [{ phoneNumber: '+14155550999' }],
        scheduledAt: '2040-01-02T00:00:00Z',
      },
      'campaign { id }',
    );
    const { data } = await sendFile(
      { url: server.url, key },
      `mutation ($input: AddCampaignContactsInput!) { addCampaignContacts(input: $input) {
        addedCount userErrors { code } } }`,
      { content: [FILE, ...MANY].join('\n'), field: 'contactsFile' },
      { campaignId: campaign.id },
    );
    expect(data.addCampaignContacts).toEqual({
      addedCount: null,
      userErrors: [{ code: 'WINDOW_TOO_SMALL' }],
    });
    const entries = await server.app.db.doNotCallEntry.findMany({ where: { organizationId: id } });
    expect(entries.map(({ phoneNumber }) => phoneNumber).sort()).toEqual([
      '+14155550101',
      '+14155550102',
    ]);
  });
});
