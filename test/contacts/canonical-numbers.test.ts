import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { phoneNumberForms, subscriberOf } from '../../src/infra/phone-number.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { importFile } from './import/upload.ts';
import { attempt, brief, countOf, createContact, createFolder, refusals } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;
let folderId: string;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  caller = await prepareCaller(client);
});
afterAll(() => server.close());
beforeEach(async () => {
  folderId = await createFolder(client);
});

const MOBILE = '+5491123456789';
const LANDLINE = '+541123456789';

describe('createCall', () => {
  const call = (input: object) =>
    attempt(
      client,
      'createCall',
      { agentId: caller.agentId, ...input },
      'call { toNumber fromNumber }',
    );

  it('dials the canonical form of the number and accepts any spelling of fromNumber', async () => {
    const fromNumber = caller.phoneNumber.replace(/^\+1(\d{3})/, '+1 ($1) ');
    expect(await call({ phoneNumber: '+4402079460998', fromNumber })).toMatchObject({
      call: { toNumber: '+442079460998', fromNumber: caller.phoneNumber },
      userErrors: [],
    });
  });

  it.each([
    '+3903331234568',
    '+5555',
    '+14155550123 ext. 5',
  ])('rejects the invalid number %j', async (phoneNumber) => {
    const { userErrors } = await call({ phoneNumber });
    expect(brief(userErrors)).toEqual(['INVALID_INPUT phoneNumber']);
  });

  it.each([
    [MOBILE, LANDLINE],
    [LANDLINE, MOBILE],
  ])('rejects %s while %s is on the do-not-call list', async (phoneNumber, listed) => {
    await runMutation(
      client,
      'addToDoNotCall',
      { entries: [{ phoneNumber: listed }] },
      'addedCount',
    );
    const contact = await createContact(client, { folderId, phoneNumber }, 'doNotCall');
    expect(contact.doNotCall).toBe(true);
    expect(brief((await call({ phoneNumber })).userErrors)).toEqual(['DO_NOT_CALL phoneNumber']);
    const input = { phoneNumbers: [phoneNumber] };
    const selected = 'removedCount removedPhoneNumbers';
    expect(await runMutation(client, 'removeFromDoNotCall', input, selected)).toMatchObject({
      removedCount: 1,
      removedPhoneNumbers: [listed],
    });
  });
});

describe('importPhoneNumber', () => {
  it('rejects another spelling of an existing number', async () => {
    const provider = { sip: { server: 'sip.example.com', username: 'a', password: 'secret-1' } };
    const first = { phoneNumber: '+442079460997', provider };
    await runMutation(client, 'importPhoneNumber', first, 'phoneNumber { id }');
    const again = { phoneNumber: '+44 (0)20 7946 0997', provider };
    expect(brief(await refusals(client, 'importPhoneNumber', again))).toEqual([
      'ALREADY_EXISTS phoneNumber',
    ]);
  });
});

describe('contacts with two forms of one number', () => {
  it('are rejected by createContact and updateContact', async () => {
    await createContact(client, { folderId, phoneNumber: MOBILE });
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    expect(
      brief(await refusals(client, 'createContact', { folderId, phoneNumber: LANDLINE })),
    ).toEqual(['ALREADY_EXISTS phoneNumber']);
    expect(brief(await refusals(client, 'updateContact', { id, phoneNumber: LANDLINE }))).toEqual([
      'ALREADY_EXISTS phoneNumber',
    ]);
    expect(await countOf(client, folderId)).toBe(1 + 1);
  });

  it('are duplicates in createContacts', async () => {
    const input = { folderId, contacts: [{ phoneNumber: MOBILE }, { phoneNumber: LANDLINE }] };
    expect(brief(await refusals(client, 'createContacts', input))).toEqual([
      'ALREADY_EXISTS contacts.1.phoneNumber',
    ]);
    const skip = { ...input, onDuplicate: 'SKIP' };
    const counts = 'createdCount skippedCount contacts { phoneNumber }';
    expect(await runMutation(client, 'createContacts', skip, counts)).toMatchObject({
      createdCount: 1,
      skippedCount: 1,
      contacts: [{ phoneNumber: MOBILE }, { phoneNumber: MOBILE }],
    });
    const update = { folderId, contacts: [{ phoneNumber: LANDLINE }], onDuplicate: 'UPDATE' };
    expect(
      await runMutation(client, 'createContacts', update, 'updatedCount contacts { phoneNumber }'),
    ).toMatchObject({ updatedCount: 1, contacts: [{ phoneNumber: LANDLINE }] });
    expect(await countOf(client, folderId)).toBe(1);
  });

  it('are duplicates in importContacts, within a file and over files', async () => {
    const file = `phone,first\n${MOBILE},A\n${LANDLINE},B\n`;
    expect(await importFile(server, file, { folderId })).toMatchObject({
      importedCount: 1,
      skippedCount: 1,
    });
    const other = `phone,first\n${LANDLINE},C\n`;
    expect(await importFile(server, other, { folderId })).toMatchObject({ skippedCount: 1 });
    expect(await importFile(server, other, { folderId, onDuplicate: 'UPDATE' })).toMatchObject({
      updatedCount: 1,
    });
    expect(await countOf(client, folderId)).toBe(1);
  });

  it('are duplicates in moveContacts and found by the phone number filter', async () => {
    const target = await createFolder(client);
    await createContact(client, { folderId: target, phoneNumber: MOBILE });
    const { id } = await createContact(client, { folderId, phoneNumber: LANDLINE });
    const move = { folderId: target, contacts: { ids: [id] }, onDuplicate: 'SKIP' };
    expect(
      await runMutation(client, 'moveContacts', move, 'movedCount skippedCount'),
    ).toMatchObject({
      movedCount: 0,
      skippedCount: 1,
    });
    const { data } = await client.send(
      'query ($filter: ContactFilter) { contacts(filter: $filter) { totalCount } }',
      { filter: { folderId, phoneNumber: MOBILE } },
    );
    expect(data.contacts.totalCount).toBe(1);
  });
});

describe('campaignForecast', () => {
  it('counts two forms of a number once, as the campaign does', async () => {
    const other = await createFolder(client);
    const contacts = await Promise.all([
      createContact(client, { folderId, phoneNumber: MOBILE }),
      createContact(client, { folderId: other, phoneNumber: LANDLINE }),
    ]);
    const input = { contactIds: contacts.map(({ id }) => id), timezone: 'Europe/Berlin' };
    const { data } = await client.send(
      'query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { callCount } }',
      { input },
    );
    expect(data.campaignForecast.callCount).toBe(1);
  });
});

describe('the SQL functions of phone numbers', () => {
  it('return the same as those in TypeScript', async () => {
    for (const number of [MOBILE, LANDLINE, '+14155550123', '+5491123', '+549112345678']) {
      const [row] = await server.app.db.$queryRaw<{ forms: string[]; subscriber: string }[]>`
        SELECT phone_number_forms(${number}) AS forms, subscriber_of(${number}) AS subscriber`;
      expect(row).toEqual({ forms: phoneNumberForms(number), subscriber: subscriberOf(number) });
    }
  });
});
