/** Every column about a person has a field in the API, and is stored, exported and imported. */
import { isEnumType, isInputObjectType, isObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PERSON_COLUMNS, TEXT_COLUMNS } from '../../src/contacts/person-columns.ts';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { schema } from '../../src/server/schema.ts';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { importFile } from './import/upload.ts';
import { ADA, createContact, createFolder } from './support.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

/** Columns of a contact that the server sets. All others are about the person. */
const SET_BY_SERVER = [
  ...['id', 'organizationId', 'folderId', 'searchText', 'createdAt', 'updatedAt'],
  ...['lastCallOutcome', 'callCount', 'lastCalledAt'],
];
const FIELDS = Object.values(Prisma.ContactScalarFieldEnum).filter(
  (field) => !SET_BY_SERVER.includes(field),
);

/** The stored values of the columns about the person. */
async function storedIn(folderId: string) {
  const row = await server.app.db.contact.findFirstOrThrow({
    where: { folderId: folderId.slice(4) },
  });
  return Object.fromEntries(FIELDS.map((field) => [field, row[field]]));
}

async function exported(folderId: string, format: string): Promise<string> {
  const input = { filter: { folderId }, format };
  const { url } = await runMutation(server.client, 'exportContacts', input, 'url');
  return (await fetch(url)).text();
}

describe('columns about a person', () => {
  it('are those of `contacts` that the server does not set', () => {
    expect(PERSON_COLUMNS.map(({ field }) => field).sort()).toEqual([...FIELDS].sort());
  });

  it.each([
    'contacts',
    'campaign_contacts',
    'campaign_enrollment_rows',
  ])('exist in %s', async (table) => {
    const columns = await server.app.db.$queryRaw<object[]>`
      SELECT column_name AS name, data_type AS type, is_nullable = 'YES' AS nullable
      FROM information_schema.columns
      WHERE table_schema = current_schema() AND table_name = ${table}`;
    const expected = PERSON_COLUMNS.map(({ name, type, empty }) => ({
      ...{ name, type, nullable: empty === 'NULL' },
    }));
    expect(columns).toEqual(expect.arrayContaining(expected));
  });

  it.each([
    ...['Contact', 'CampaignContact', 'CreateContactInput', 'UpdateContactInput'],
    ...['ContactRowInput', 'CampaignContactRowInput'],
  ])('are fields of %s', (name) => {
    const type = schema.getType(name);
    if (!isObjectType(type) && !isInputObjectType(type)) throw new Error(`No fields: ${name}`);
    expect(Object.keys(type.getFields())).toEqual(expect.arrayContaining(FIELDS));
  });

  it('can be chosen for the columns of a file', () => {
    const type = schema.getType('ContactImportField');
    if (!isEnumType(type)) throw new Error('No enum: ContactImportField');
    const values = type.getValues().map(({ value }) => value);
    expect(values).toEqual(expect.arrayContaining(TEXT_COLUMNS.map(({ field }) => field)));
  });

  it('are stored by createContact and updateContact', async () => {
    const created = await createFolder(server.client);
    await createContact(server.client, { folderId: created, ...ADA });
    expect(await storedIn(created)).toEqual(ADA);

    const updated = await createFolder(server.client);
    const { id } = await createContact(server.client, {
      folderId: updated,
      phoneNumber: '+14155550101',
    });
    await runMutation(server.client, 'updateContact', { id, ...ADA }, 'contact { id }');
    expect(await storedIn(updated)).toEqual(ADA);
  });

  it('are stored and merged by createContacts', async () => {
    const folderId = await createFolder(server.client);
    const { phoneNumber } = ADA;
    for (const contact of [{ phoneNumber }, ADA, { phoneNumber }]) {
      const input = { folderId, contacts: [contact], onDuplicate: 'UPDATE' };
      await runMutation(server.client, 'createContacts', input, 'contacts { id }');
    }
    expect(await storedIn(folderId)).toEqual(ADA);
  });

  it('are exported, and imported from the exported file', async () => {
    const folderId = await createFolder(server.client);
    await createContact(server.client, { folderId, ...ADA });
    expect(JSON.parse(await exported(folderId, 'JSON_LINES'))).toMatchObject(ADA);
    const again = await createFolder(server.client);
    await importFile(server, await exported(folderId, 'CSV'), { folderId: again });
    expect(await storedIn(again)).toEqual(ADA);
  });
});
