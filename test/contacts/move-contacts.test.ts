import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { brief, countOf, createContact, createFolder, refusals, rows } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let stranger: GraphQLClient;
let folderId: string;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  stranger = (await server.newOrganization()).client;
});
afterAll(() => server.close());
beforeEach(async () => {
  folderId = await createFolder(client);
});

describe('moveContacts and deleteContacts', () => {
  it('moves contacts selected by id or filter and updates the counts', async () => {
    const other = await createFolder(client, 'Other');
    const { contacts } = await runMutation(
      client,
      'createContacts',
      { folderId, contacts: rows(10) },
      'contacts { id }',
    );
    const ids = contacts.slice(0, 2).map(({ id }: { id: string }) => id);
    const move = (input: object) =>
      runMutation(client, 'moveContacts', { folderId: other, ...input }, 'movedCount skippedCount');
    expect(await move({ contacts: { ids } })).toMatchObject({ movedCount: 2, skippedCount: 0 });
    expect(await move({ contacts: { ids } })).toMatchObject({ movedCount: 0, skippedCount: 0 });
    expect(
      await move({ contacts: { in: { folderId, filter: { search: 'Row 7' } } } }),
    ).toMatchObject({ movedCount: 1 });
    expect([await countOf(client, folderId), await countOf(client, other)]).toEqual([7, 3]);

    await createContact(client, { folderId, phoneNumber: rows(1)[0]!.phoneNumber });
    const all = { contacts: { in: { folderId } }, folderId: other };
    const [error] = await refusals(client, 'moveContacts', all);
    expect(error).toMatchObject({ code: 'ALREADY_EXISTS', path: ['contacts'] });
    expect(error?.details).toEqual({ contactIds: [expect.stringMatching(/^ctc_/)] });
    expect([await countOf(client, folderId), await countOf(client, other)]).toEqual([8, 3]);
    expect(await move({ ...all, onDuplicate: 'SKIP' })).toMatchObject({
      movedCount: 7,
      skippedCount: 1,
    });
    expect([await countOf(client, folderId), await countOf(client, other)]).toEqual([1, 10]);
  });

  it('moves the oldest of two contacts with the same phone number', async () => {
    const [one, two] = [await createFolder(client), await createFolder(client)];
    const phoneNumber = '+14155550123';
    const first = await createContact(client, { folderId: one, phoneNumber });
    const second = await createContact(client, { folderId: two, phoneNumber });
    const payload = await runMutation(
      client,
      'moveContacts',
      { folderId, contacts: { ids: [second.id, first.id] }, onDuplicate: 'SKIP' },
      'movedCount skippedCount',
    );
    expect(payload).toMatchObject({ movedCount: 1, skippedCount: 1 });
    expect([
      await countOf(client, one),
      await countOf(client, two),
      await countOf(client, folderId),
    ]).toEqual([0, 1, 1]);
  });

  it('deletes contacts selected by id or filter', async () => {
    const { contacts } = await runMutation(
      client,
      'createContacts',
      { folderId, contacts: rows(10) },
      'contacts { id }',
    );
    const remove = async (selection: object) => {
      const selected = 'contactCount deletedContactIds';
      const payload = await runMutation(
        client,
        'deleteContacts',
        { contacts: selection },
        selected,
      );
      return [payload.contactCount, payload.deletedContactIds?.toSorted() ?? null];
    };
    const ids = contacts.slice(0, 2).map(({ id }: { id: string }) => id);
    expect(await remove({ ids })).toEqual([2, ids.toSorted()]);
    expect(brief(await refusals(client, 'deleteContacts', { contacts: { ids } }))).toEqual([
      'NOT_FOUND contacts.ids.0',
      'NOT_FOUND contacts.ids.1',
    ]);
    expect(await remove({ in: { folderId, filter: { search: 'Row 7' } } })).toEqual([1, null]);
    expect(await countOf(client, folderId)).toBe(7);
    expect(await remove({ in: { folderId } })).toEqual([7, null]);
    expect(await countOf(client, folderId)).toBe(0);
  });

  it('rejects contacts and folders of other organizations and reports every problem', async () => {
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    const theirs = await createFolder(stranger);
    const refused = async (name: string, input: Record<string, unknown>, who = client) =>
      brief(await refusals(who, name, input));
    expect(
      await refused('deleteContacts', { contacts: { ids: [id, folderId] } }, stranger),
    ).toEqual(['INVALID_ID contacts.ids.1', 'NOT_FOUND contacts.ids.0']);
    expect(await refused('deleteContacts', { contacts: { in: { folderId } } }, stranger)).toEqual([
      'NOT_FOUND contacts.in.folderId',
    ]);
    expect(
      await refused('deleteContacts', {
        contacts: { in: { folderId: id, filter: { search: '--', folderId: 'x' } } },
      }),
    ).toEqual([
      'INVALID_ID contacts.in.folderId',
      'INVALID_ID contacts.in.filter.folderId',
      'INVALID_INPUT contacts.in.filter.search',
    ]);
    for (const name of ['search', 'name']) {
      for (const value of ['', '  ']) {
        const blank = { contacts: { in: { folderId, filter: { [name]: value } } } };
        expect(await refused('deleteContacts', blank)).toEqual([
          `INVALID_INPUT contacts.in.filter.${name}`,
        ]);
      }
    }
    const within = { contacts: { in: { folderId, filter: { folderId: theirs } } } };
    expect(await refused('deleteContacts', within)).toEqual([
      'NOT_FOUND contacts.in.filter.folderId',
    ]);
    expect(await refused('moveContacts', { ...within, folderId })).toEqual([
      'NOT_FOUND contacts.in.filter.folderId',
    ]);
    expect(await refused('moveContacts', { contacts: { ids: [id] }, folderId: theirs })).toEqual([
      'NOT_FOUND folderId',
    ]);
    expect(
      await refused('moveContacts', { contacts: { ids: [id] }, folderId: theirs }, stranger),
    ).toEqual(['NOT_FOUND contacts.ids.0']);
    expect(await refused('deleteContacts', { contacts: { ids: [] } })).toEqual([
      'REQUIRED contacts.ids',
    ]);
    expect(await countOf(client, folderId)).toBe(1);
  });

  it('neither deadlocks nor loses contacts when moves cross', async () => {
    const other = await createFolder(client);
    await runMutation(client, 'createContacts', { folderId, contacts: rows(200) }, '__typename');
    await runMutation(
      client,
      'createContacts',
      { folderId: other, contacts: rows(200, 200) },
      '__typename',
    );
    const swap = (from: string, to: string) =>
      runMutation(
        client,
        'moveContacts',
        { contacts: { in: { folderId: from } }, folderId: to },
        '__typename',
      );
    await Promise.all([
      swap(folderId, other),
      swap(other, folderId),
      runMutation(
        client,
        'createContacts',
        { folderId, contacts: rows(200, 400), onDuplicate: 'UPDATE' },
        '__typename',
      ),
      swap(folderId, other),
      swap(other, folderId),
    ]);
    expect((await countOf(client, folderId)) + (await countOf(client, other))).toBe(600);
  });
});
