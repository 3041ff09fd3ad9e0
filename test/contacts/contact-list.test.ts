import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { createContact, createFolder, rows } from './support.ts';

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

describe('contacts', () => {
  beforeAll(async () => {
    const list = await createFolder(client, 'Searched');
    const people = [
      {
        phoneNumber: '+14155550123',
        firstName: 'Zoë',
        lastName: 'Müller',
        email: 'zm@example.com',
      },
      { phoneNumber: '+442079460000', firstName: '伟', lastName: '王', keywords: 'vip, 北京' },
      { phoneNumber: '+493012345678', firstName: 'Al', lastName: 'Wu', email: 'a_b@x-y.org' },
      { phoneNumber: '+74951234567', firstName: 'Иван', lastName: 'Иванов' },
    ];
    await runMutation(client, 'createContacts', { folderId: list, contacts: people }, '__typename');
    searched = list;
  });
  let searched: string;

  async function find(filter: Record<string, unknown>, who = client): Promise<string[]> {
    const answer = await who.send(
      'query ($filter: ContactFilter) { contacts(filter: $filter, orderBy: { field: PHONE_NUMBER, direction: ASC }) { totalCount nodes { phoneNumber } } }',
      { filter: { folderId: searched, ...filter } },
    );
    if (answer.errors) throw new Error(answer.errors[0]?.message);
    const { nodes, totalCount } = answer.data.contacts;
    expect(totalCount).toBe(nodes.length);
    return nodes.map(({ phoneNumber }: { phoneNumber: string }) => phoneNumber);
  }

  it.each([
    ['müll', '+14155550123'],
    ['ZOE MULLER', '+14155550123'],
    ['zm@example', '+14155550123'],
    ['(415) 555-01', '+14155550123'],
    ['+44 20', '+442079460000'],
    ['伟', '+442079460000'],
    ['北', '+442079460000'],
    ['иван', '+74951234567'],
    ['al wu', '+493012345678'],
    ['a_b@x', '+493012345678'],
    ['wu', '+493012345678'],
    ['49', '+493012345678'],
  ])('finds the contact that matches the search %j', async (search, phoneNumber) => {
    expect(await find({ search })).toEqual([phoneNumber]);
    expect(await find({ search }, stranger)).toEqual([]);
  });

  it.each([
    'u',
    'axb@x',
    'a%b',
    '\\',
    'muller 伟',
    '55501234',
  ])('finds no contact for the search %j', async (search) => {
    if (search === '\\') await expect(find({ search })).rejects.toThrow(/letter or digit/);
    else expect(await find({ search })).toEqual([]);
  });

  it.each([
    ['zoe', ['+14155550123']],
    ['ZOË müll', ['+14155550123']],
    ['müller', ['+14155550123']],
    ['王', ['+442079460000']],
    ['иван иван', ['+74951234567']],
    ['al', ['+493012345678']],
    // In other fields, and over their borders.
    ['example', []],
    ['4155550123', []],
    ['vip', []],
    ['b_x', []],
    ['wu 4', []],
  ])('finds by the name %j', async (name, phoneNumbers) => {
    expect(await find({ name })).toEqual(phoneNumbers);
    expect(await find({ name }, stranger)).toEqual([]);
  });

  it('finds by the name only, also when other fields begin with a plus', async () => {
    const folder = await createFolder(client);
    const people = [
      { phoneNumber: '+14155550111', keywords: '+vip' },
      { phoneNumber: '+14155550112', firstName: '+Ada', keywords: '+vip' },
      { phoneNumber: '+14155550113', lastName: 'Ada', email: '+bob@example.com' },
      { phoneNumber: '+14155550114', firstName: 'Ada', email: '+vip@x.org', keywords: '+vip' },
      { phoneNumber: '+14155550115', firstName: 'Vip', email: 'ada@x.org', keywords: '+ada' },
      { phoneNumber: '+14155550116', firstName: 'Bob' },
    ];
    await runMutation(
      client,
      'createContacts',
      { folderId: folder, contacts: people },
      '__typename',
    );
    const named = async (name: string) =>
      (await find({ folderId: folder, name })).map((phoneNumber) => phoneNumber.slice(-1));
    expect(await named('ada')).toEqual(['2', '3', '4']);
    expect(await named('vip')).toEqual(['5']);
    expect(await named('bob')).toEqual(['6']);
    for (const name of ['4155550', 'x.org', 'example']) expect(await named(name)).toEqual([]);
  });

  it('combines a name with a search, and ignores a blank name', async () => {
    expect(await find({ name: 'al', search: 'x-y.org' })).toEqual(['+493012345678']);
    expect(await find({ name: 'al', search: 'zoe' })).toEqual([]);
    expect(await find({ name: ' ' })).toHaveLength(4);
  });

  it('sorts by names, contacts without one last in both directions', async () => {
    const folder = await createFolder(client);
    const people = [
      { phoneNumber: '+14155550101', firstName: 'Cid', lastName: 'Abel' },
      { phoneNumber: '+14155550102', firstName: 'Ada' },
      { phoneNumber: '+14155550103', firstName: 'Bob', lastName: 'Young' },
      { phoneNumber: '+14155550104' },
    ];
    await runMutation(
      client,
      'createContacts',
      { folderId: folder, contacts: people },
      '__typename',
    );
    const by = async (field: string, direction: string, filter = {}) => {
      const { data } = await client.send(
        `query ($folder: ID!, $all: ContactFilter, $filter: ContactFilter, $orderBy: ContactOrder) {
          contacts(filter: $all, orderBy: $orderBy) { totalCount nodes { phoneNumber } }
          contactFolder(id: $folder) { contacts(filter: $filter, orderBy: $orderBy) { totalCount nodes { phoneNumber } } } }`,
        {
          folder,
          filter,
          all: { ...filter, folderId: folder },
          orderBy: { field, direction },
        },
      );
      const { totalCount, nodes } = data.contactFolder.contacts;
      expect(data.contacts).toEqual(data.contactFolder.contacts);
      expect(totalCount).toBe(nodes.length);
      return nodes
        .map(({ phoneNumber }: { phoneNumber: string }) => phoneNumber.slice(-1))
        .join('');
    };
    // A search is read with Prisma.
    for (const filter of [{}, { search: '415555010' }]) {
      expect(await by('FIRST_NAME', 'ASC', filter)).toBe('2314');
      expect(await by('FIRST_NAME', 'DESC', filter)).toBe('1324');
      expect(await by('LAST_NAME', 'ASC', filter)).toBe('1324');
      expect(await by('LAST_NAME', 'DESC', filter)).toBe('3142');
    }
  });

  it('filters by phone number and creation time', async () => {
    expect(await find({ phoneNumber: '+44 20 7946 0000' })).toEqual(['+442079460000']);
    const now = new Date().toISOString();
    expect(await find({ createdBefore: now })).toHaveLength(4);
    expect(await find({ createdFrom: now })).toEqual([]);
  });

  it.each([
    [{ search: '--' }, /`filter.search`/],
    [{ search: 'x'.repeat(201) }, /`filter.search`/],
    [{ name: '--' }, /`filter.name`/],
    [{ folderId: 'agt_1' }, /`filter.folderId`/],
    [{ phoneNumber: '12' }, /`filter.phoneNumber`/],
  ])('rejects the filter %j', async (filter, message) => {
    await expect(find(filter)).rejects.toThrow(message);
  });

  it('reads nested contacts and their do-not-call status in a fixed number of statements', async () => {
    const list = () =>
      client.send(
        `{ contactFolders(first: 5, orderBy: { field: CONTACT_COUNT, direction: DESC }) { nodes { contactCount
          contacts(first: 50, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { phoneNumber doNotCall folder { name } } } } } }`,
      );
    await runMutation(
      client,
      'createContacts',
      { folderId, contacts: rows(3, 5_000) },
      '__typename',
    );
    const few = await countQueries(server.app, list);
    await runMutation(
      client,
      'createContacts',
      { folderId, contacts: rows(90, 6_000) },
      '__typename',
    );
    await createContact(client, {
      folderId: await createFolder(client),
      phoneNumber: '+14155550123',
    });
    expect(await countQueries(server.app, list)).toBe(few);
  });

  it('returns every contact once over all pages, even with equal creation times', async () => {
    await runMutation(client, 'createContacts', { folderId, contacts: rows(120) }, '__typename');
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const { data } = await client.send(
        'query ($f: ContactFilter, $after: String) { contacts(filter: $f, first: 50, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }',
        { f: { folderId }, after },
      );
      seen.push(...data.contacts.nodes.map(({ id }: { id: string }) => id));
      after = data.contacts.pageInfo.hasNextPage ? data.contacts.pageInfo.endCursor : null;
    } while (after);
    expect(new Set(seen).size).toBe(120);
    expect(seen).toHaveLength(120);
  });
});
