import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { attempt, brief, countOf, createContact, createFolder, refusals, rows } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let stranger: GraphQLClient;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  stranger = (await server.newOrganization()).client;
});
afterAll(() => server.close());

describe('contact folders', () => {
  it('can be created, updated and queried', async () => {
    const { contactFolder } = await runMutation(
      client,
      'createContactFolder',
      { name: 'Spring', description: 'People from the fair' },
      'contactFolder { id name description contactCount createdAt }',
    );
    expect(contactFolder).toMatchObject({
      name: 'Spring',
      description: 'People from the fair',
      contactCount: 0,
    });
    const change = async (input: object) =>
      (
        await runMutation(
          client,
          'updateContactFolder',
          { id: contactFolder.id, ...input },
          'contactFolder { name description }',
        )
      ).contactFolder;
    expect(await change({ name: 'Summer' })).toEqual({
      name: 'Summer',
      description: 'People from the fair',
    });
    expect(await change({ description: null })).toEqual({ name: 'Summer', description: null });
    expect(await change({})).toEqual({ name: 'Summer', description: null });
  });

  it('report every invalid field at once', async () => {
    const id = await createFolder(client);
    expect(
      brief(
        await refusals(client, 'createContactFolder', {
          name: ' ',
          description: 'x'.repeat(1_001),
        }),
      ),
    ).toEqual(['REQUIRED name', 'INVALID_INPUT description']);
    expect(brief(await refusals(client, 'createContactFolder', { name: '\ud800' }))).toEqual([
      'INVALID_INPUT name',
    ]);
    expect(
      brief(await refusals(client, 'updateContactFolder', { id: 'ctc_1', name: null })),
    ).toEqual(['INVALID_ID id', 'REQUIRED name']);
    expect(
      brief(await refusals(stranger, 'updateContactFolder', { id, name: 'x'.repeat(101) })),
    ).toEqual(['INVALID_INPUT name', 'NOT_FOUND id']);
    expect(brief(await refusals(stranger, 'deleteContactFolder', { id }))).toEqual([
      'NOT_FOUND id',
    ]);
    const { data } = await stranger.send('query ($id: ID!) { contactFolder(id: $id) { name } }', {
      id,
    });
    expect(data.contactFolder).toBeNull();
  });

  it('are created once per idempotency key, even after a crash', async () => {
    const headers = { 'x-idempotency-key': 'folder' };
    const input = { name: 'Once' };
    const make = () =>
      attempt(client, 'createContactFolder', input, { fields: 'contactFolder { id }', headers });
    const made = await make();
    await server.app.db.idempotencyKey.updateMany({
      where: { key: 'folder' },
      data: { response: null, leaseUntil: null, leaseId: null },
    });
    expect(await make()).toEqual(made);
    expect(await server.app.db.contactFolder.count({ where: input })).toBe(1);
  });

  it('are deleted with their contacts, including contacts being created', async () => {
    const id = await createFolder(client);
    const contact = await createContact(client, { folderId: id, phoneNumber: '+14155550123' });
    const [deleted, ...added] = await Promise.all([
      runMutation(client, 'deleteContactFolder', { id }, 'deletedContactFolderId contactCount'),
      ...Array.from({ length: 5 }, (_, index) =>
        attempt(client, 'createContact', { folderId: id, phoneNumber: `+1415555020${index}` }),
      ),
    ]);
    const refused = added.filter(({ userErrors }) => userErrors.length > 0);
    expect(refused.flatMap(({ userErrors }) => brief(userErrors))).toEqual(
      refused.map(() => 'NOT_FOUND folderId'),
    );
    expect(deleted).toMatchObject({
      deletedContactFolderId: id,
      contactCount: 1 + added.length - refused.length,
    });
    const { data } = await client.send(
      'query ($id: ID!, $contact: ID!) { contactFolder(id: $id) { id } contact(id: $contact) { id } }',
      { id, contact: contact.id },
    );
    expect(data).toEqual({ contactFolder: null, contact: null });
    expect(await server.app.db.contact.count({ where: { folderId: id.slice(4) } })).toBe(0);
  });

  it('that another request changes for long are refused to writers, with a time for a retry', async () => {
    const id = await createFolder(client);
    const input = { folderId: id, phoneNumber: '+14155550123' };
    const contact = await createContact(client, input);
    const other = { folderId: id, phoneNumber: '+14155550124' };
    const all = { contacts: { in: { folderId: id } } };
    let refused: unknown[] = [];
    await server.app.db.$transaction(
      async (tx) => {
        await tx.$executeRaw`SELECT 1 FROM contact_folders WHERE id = ${id.slice(4)}::uuid FOR UPDATE`;
        await tx.$executeRaw`SELECT 1 FROM contacts WHERE folder_id = ${id.slice(4)}::uuid FOR UPDATE`;
        const writes: [string, object][] = [
          ['createContact', other],
          ['createContacts', { folderId: id, contacts: rows(2) }],
          ['updateContact', { id: contact.id, firstName: 'Ada' }],
          ['updateContact', { id: contact.id, phoneNumber: '+14155550125' }],
          ['moveContacts', { ...all, folderId: id }],
          ['deleteContacts', all],
          ['updateContactFolder', { id, name: 'Busy' }],
          ['deleteContactFolder', { id }],
        ];
        refused = await Promise.all(
          writes.map(async ([name, input]) => {
            const [error] = await refusals(client, name, input as Record<string, unknown>);
            return { name, code: error?.code, retryAt: error?.retryAt };
          }),
        );
      },
      { timeout: 60_000 },
    );
    expect(refused).toHaveLength(8);
    for (const refusal of refused) {
      expect(refusal).toMatchObject({ code: 'INVALID_STATE', retryAt: expect.any(String) });
    }
    expect(await countOf(client, id)).toBe(1);
    await createContact(client, other);
  });

  it('are deleted a few at a time, so that other organizations have connections for their requests', async () => {
    const { client: one } = await server.newOrganization();
    const ids = await Promise.all(Array.from({ length: 8 }, () => createFolder(one)));
    const uuids = ids.map((id) => id.slice(4));
    for (const folderId of ids) await createContact(one, { folderId, phoneNumber: '+14155550123' });
    const deletions = await server.app.db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM contacts WHERE folder_id = ANY(${uuids}::uuid[]) FOR UPDATE`;
        const started = ids.map((id) => attempt(one, 'deleteContactFolder', { id }));
        await untilBlocked(server.app.limited.db, {
          holder: await sessionOf(tx),
          statement: 'DELETE%',
        });
        for (let count = 0; count < 5; count += 1) await createFolder(stranger);
        return started;
      },
      { timeout: 20_000 },
    );
    await Promise.all(deletions);
    const where = { folderId: { in: uuids } };
    expect(await server.app.db.contact.count({ where })).toBe(0);
  });

  it('are listed for one organization, sorted by name, creation time or size', async () => {
    const { client: third } = await server.newOrganization();
    const ids = new Map<string, string>();
    for (const name of ['b 100%', 'a', 'c']) ids.set(name, await createFolder(third, name));
    await createContact(third, { folderId: ids.get('c')!, phoneNumber: '+14155550123' });
    const list = async (variables: object) => {
      const { data } = await third.send(
        'query ($filter: ContactFolderFilter, $orderBy: ContactFolderOrder) { contactFolders(filter: $filter, orderBy: $orderBy) { totalCount nodes { name } } }',
        variables,
      );
      expect(data.contactFolders.totalCount).toBe(data.contactFolders.nodes.length);
      return data.contactFolders.nodes.map(({ name }: { name: string }) => name);
    };
    expect(await list({})).toEqual(['c', 'a', 'b 100%']);
    expect(await list({ orderBy: { field: 'NAME', direction: 'ASC' } })).toEqual([
      'a',
      'b 100%',
      'c',
    ]);
    expect((await list({ orderBy: { field: 'CONTACT_COUNT', direction: 'DESC' } }))[0]).toBe('c');
    for (const name of ['name', 'search']) {
      expect(await list({ filter: { [name]: 'B 100%' } })).toEqual(['b 100%']);
      expect(await list({ filter: { [name]: 'b_100' } })).toEqual([]);
    }
  });
});
