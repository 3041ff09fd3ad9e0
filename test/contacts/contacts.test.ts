import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { perform } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { countQueries, statementsOf } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { attempt, brief, createContact, createFolder, refusals } from './support.ts';

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

async function countOf(id: string): Promise<number> {
  const { data } = await client.send(
    'query ($id: ID!) { contactFolder(id: $id) { contactCount contacts { totalCount } } }',
    { id },
  );
  expect(data.contactFolder.contacts.totalCount).toBe(data.contactFolder.contactCount);
  return data.contactFolder.contactCount;
}

function rows(count: number, from = 0) {
  return Array.from({ length: count }, (_, index) => ({
    phoneNumber: `+1415${5_550_000 + from + index}`,
    firstName: `Row ${from + index}`,
  }));
}

describe('a contact', () => {
  it('has all its fields', async () => {
    const input = {
      folderId,
      phoneNumber: '+14155550123',
      firstName: 'Ada',
      lastName: 'Lovelace',
      email: 'ada@example.com',
      companyName: 'Analytical Engines',
      industry: 'Computing',
      location: 'London',
      pinCode: 'W1',
      keywords: 'vip,math',
      timezone: 'Europe/London',
      metadata: { plan: 'gold' },
    };
    const contact = await createContact(
      client,
      input,
      'id folder { id contactCount } phoneNumber firstName lastName email companyName industry location pinCode keywords timezone metadata doNotCall lastCallOutcome callCount lastCalledAt createdAt updatedAt',
    );
    const { folderId: _, ...kept } = input;
    expect(contact).toMatchObject({
      ...kept,
      keywords: 'vip, math',
      folder: { id: folderId, contactCount: 1 },
      doNotCall: false,
      lastCallOutcome: null,
      callCount: 0,
      lastCalledAt: null,
    });
    expect(contact.id).toMatch(/^ctc_/);
    const { data } = await client.send(
      'query ($id: ID!) { contact(id: $id) { firstName } node(id: $id) { id } }',
      { id: contact.id },
    );
    expect(data).toEqual({ contact: { firstName: 'Ada' }, node: { id: contact.id } });
  });

  it('is refused with everything that is wrong at once', async () => {
    const wrong = {
      phoneNumber: '415',
      firstName: 'a'.repeat(101),
      email: 'nobody',
      timezone: 'Nowhere',
      metadata: { a: 1 },
    };
    expect(brief(await refusals(client, 'createContact', { ...wrong, folderId: 'agt_1' }))).toEqual(
      [
        'INVALID_ID folderId',
        'INVALID_INPUT phoneNumber',
        'INVALID_INPUT firstName',
        'INVALID_INPUT email',
        'INVALID_INPUT timezone',
        'INVALID_INPUT metadata.a',
      ],
    );
    const theirs = await createFolder(stranger);
    expect(
      brief(
        await refusals(client, 'createContact', {
          folderId: theirs,
          phoneNumber: '+14155550123',
          email: 'x',
        }),
      ),
    ).toEqual(['NOT_FOUND folderId', 'INVALID_INPUT email']);
    expect(await countOf(folderId)).toBe(0);
  });

  it('is once in a folder by its number, however it is written and whoever is first', async () => {
    const first = await createContact(client, { folderId, phoneNumber: '+442079460000' });
    const [error] = await refusals(client, 'createContact', {
      folderId,
      phoneNumber: '+44 (0)20 7946 0000',
    });
    expect(error).toMatchObject({
      code: 'ALREADY_EXISTS',
      path: ['phoneNumber'],
      details: { contactId: first.id },
    });
    const race = await Promise.all(
      Array.from({ length: 8 }, () =>
        attempt(
          client,
          'createContact',
          { folderId, phoneNumber: '+14155550100' },
          'contact { id }',
        ),
      ),
    );
    expect(race.filter(({ contact }) => contact !== null)).toHaveLength(1);
    expect(race.flatMap(({ userErrors }) => brief(userErrors))).toEqual(
      Array(7).fill('ALREADY_EXISTS phoneNumber'),
    );
    expect(await countOf(folderId)).toBe(2);
    const elsewhere = await createFolder(client);
    await createContact(client, { folderId: elsewhere, phoneNumber: '+442079460000' });
  });

  it('is made once under an idempotency key, also after a crash', async () => {
    const headers = { 'x-idempotency-key': `contact-${folderId}` };
    const input = { folderId, phoneNumber: '+14155550123' };
    const made = await attempt(client, 'createContact', input, 'contact { id }', headers);
    // As a crash right after the commit leaves it.
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseUntil: null, leaseId: null },
    });
    const again = await attempt(client, 'createContact', input, 'contact { id }', headers);
    expect(again).toEqual(made);
    expect(again.contact.id).toMatch(/^ctc_/);
  });
});

describe('a change', () => {
  it('touches what was sent and nothing else', async () => {
    const { id } = await createContact(client, {
      folderId,
      phoneNumber: '+14155550123',
      firstName: 'Ada',
      email: 'ada@example.com',
      timezone: 'Europe/London',
      metadata: { plan: 'gold', since: '2020' },
    });
    const { contact } = await perform(
      client,
      'updateContact',
      { id, firstName: 'Augusta', email: null, metadata: { plan: 'silver' } },
      'contact { id phoneNumber firstName email timezone metadata }',
    );
    expect(contact).toEqual({
      id,
      phoneNumber: '+14155550123',
      firstName: 'Augusta',
      email: null,
      timezone: 'Europe/London',
      metadata: { plan: 'silver' },
    });
    const found = async (search: string) =>
      (
        await client.send('query ($f: ContactFilter) { contacts(filter: $f) { nodes { id } } }', {
          f: { folderId, search },
        })
      ).data.contacts.nodes.length;
    expect([await found('augusta'), await found('ada@example')]).toEqual([1, 0]);
  });

  it('is refused for a number that the folder has, for nothing, and for others', async () => {
    await createContact(client, { folderId, phoneNumber: '+14155550100' });
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    const change = (input: object, who = client) =>
      refusals(who, 'updateContact', { id, ...input }).then(brief);
    expect(await change({ phoneNumber: '+14155550100', email: 'x' })).toEqual([
      'INVALID_INPUT email',
      'ALREADY_EXISTS phoneNumber',
    ]);
    expect(await change({ phoneNumber: null })).toEqual(['REQUIRED phoneNumber']);
    expect(await change({ phoneNumber: '+14155550123' })).toEqual([]);
    expect(await change({ firstName: 'Eve' }, stranger)).toEqual(['NOT_FOUND id']);
    expect(await change({ id: folderId, pinCode: '1'.repeat(30) })).toEqual([
      'INVALID_ID id',
      'INVALID_INPUT pinCode',
    ]);
  });

  it('of two contacts to one number at the same time happens to one', async () => {
    const ids = await Promise.all(
      ['+14155550100', '+14155550101'].map(
        async (phoneNumber) => (await createContact(client, { folderId, phoneNumber })).id,
      ),
    );
    const results = await Promise.all(
      ids.map((id) => refusals(client, 'updateContact', { id, phoneNumber: '+14155550199' })),
    );
    expect(results.flatMap(brief)).toEqual(['ALREADY_EXISTS phoneNumber']);
  });

  it('of different fields at the same time keeps both', async () => {
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    await Promise.all([
      perform(client, 'updateContact', { id, firstName: 'Ada' }, 'contact { id }'),
      perform(client, 'updateContact', { id, lastName: 'Lovelace' }, 'contact { id }'),
      perform(client, 'updateContact', { id, email: 'ada@example.com' }, 'contact { id }'),
    ]);
    const { data } = await client.send(
      'query ($id: ID!) { contact(id: $id) { firstName lastName email } }',
      { id },
    );
    expect(data.contact).toEqual({
      firstName: 'Ada',
      lastName: 'Lovelace',
      email: 'ada@example.com',
    });
  });
});

describe('many contacts', () => {
  const FIELDS = 'contacts { phoneNumber firstName } createdCount updatedCount skippedCount';

  it('are made in a number of statements that does not grow', async () => {
    const few = await statementsOf(server.app, () =>
      perform(client, 'createContacts', { folderId, contacts: rows(2) }, FIELDS),
    );
    let payload: Awaited<ReturnType<typeof perform>> | undefined;
    const many = await statementsOf(server.app, async () => {
      payload = await perform(
        client,
        'createContacts',
        { folderId, contacts: rows(1_000, 100) },
        FIELDS,
      );
    });
    // Not those of the worker, which looks for imports and campaigns meanwhile.
    const own = (statements: string[]) =>
      statements.filter((text) => /\bcontacts\b/.test(text)).length;
    expect(own(few)).toBeGreaterThan(0);
    expect(own(many)).toBe(own(few));
    expect(payload).toMatchObject({ createdCount: 1_000, updatedCount: 0, skippedCount: 0 });
    expect(payload?.contacts.map((contact: { firstName: string }) => contact.firstName)).toEqual(
      rows(1_000, 100).map(({ firstName }) => firstName),
    );
    expect(await countOf(folderId)).toBe(1_002);
  });

  it('are all made or none, and every problem is named', async () => {
    await createContact(client, { folderId, phoneNumber: '+14155550100' });
    const errors = await refusals(client, 'createContacts', {
      folderId,
      defaultCountry: 'US',
      contacts: [
        { phoneNumber: '(415) 555-0100' },
        { phoneNumber: '415 555 0101' },
        { phoneNumber: '+1 415 555 0101' },
        { phoneNumber: 'none', email: 'none' },
      ],
    });
    expect(brief(errors)).toEqual([
      'ALREADY_EXISTS contacts.2.phoneNumber',
      'INVALID_INPUT contacts.3.phoneNumber',
      'INVALID_INPUT contacts.3.email',
      'ALREADY_EXISTS contacts.0.phoneNumber',
    ]);
    expect(
      brief(
        await refusals(client, 'createContacts', {
          folderId,
          contacts: [{ phoneNumber: '+14155550102' }, { phoneNumber: '+14155550100' }],
        }),
      ),
    ).toEqual(['ALREADY_EXISTS contacts.1.phoneNumber']);
    expect(
      brief(
        await refusals(client, 'createContacts', {
          folderId,
          defaultCountry: 'Germany',
          contacts: [],
        }),
      ),
    ).toEqual(['INVALID_INPUT defaultCountry', 'REQUIRED contacts']);
    expect(
      brief(await refusals(client, 'createContacts', { folderId, contacts: rows(1_001) })),
    ).toEqual(['LIMIT_EXCEEDED contacts']);
    expect(await countOf(folderId)).toBe(1);
  });

  it('skip or update those that are there', async () => {
    await createContact(client, {
      folderId,
      phoneNumber: '+14155550100',
      firstName: 'Ada',
      email: 'ada@example.com',
      metadata: { plan: 'gold', since: '2020' },
    });
    const contacts = [
      { phoneNumber: '+14155550100', firstName: 'Augusta', metadata: { plan: 'silver' } },
      { phoneNumber: '+14155550101', firstName: 'Grace' },
      { phoneNumber: '+14155550101', lastName: 'Hopper' },
    ];
    const skipped = await perform(
      client,
      'createContacts',
      { folderId, contacts, onDuplicate: 'SKIP' },
      'contacts { firstName lastName } createdCount updatedCount skippedCount',
    );
    expect(skipped).toMatchObject({
      contacts: [
        { firstName: 'Ada', lastName: null },
        { firstName: 'Grace', lastName: null },
        { firstName: 'Grace', lastName: null },
      ],
      createdCount: 1,
      updatedCount: 0,
      skippedCount: 2,
    });
    const updated = await perform(
      client,
      'createContacts',
      { folderId, contacts, onDuplicate: 'UPDATE' },
      'contacts { firstName lastName email metadata } createdCount updatedCount skippedCount',
    );
    expect(updated).toMatchObject({
      contacts: [
        {
          firstName: 'Augusta',
          email: 'ada@example.com',
          metadata: { plan: 'silver', since: '2020' },
        },
        { firstName: 'Grace', lastName: 'Hopper' },
        { firstName: 'Grace', lastName: 'Hopper' },
      ],
      createdCount: 0,
      updatedCount: 3,
      skippedCount: 0,
    });
  });

  it('of several requests at once are each there once, and are counted right', async () => {
    const payloads = await Promise.all(
      [0, 50, 100, 150].map((from) =>
        perform(
          client,
          'createContacts',
          { folderId, contacts: rows(100, from).reverse(), onDuplicate: 'SKIP' },
          'createdCount skippedCount',
        ),
      ),
    );
    const sum = (key: string) => payloads.reduce((total, payload) => total + payload[key], 0);
    expect([sum('createdCount'), sum('skippedCount')]).toEqual([250, 150]);
    expect(await countOf(folderId)).toBe(250);
  });

  it('are made once under an idempotency key, also after a crash', async () => {
    const headers = { 'x-idempotency-key': `contacts-${folderId}` };
    const input = { folderId, contacts: rows(5) };
    const made = await attempt(client, 'createContacts', input, `${FIELDS}`, headers);
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseUntil: null, leaseId: null },
    });
    const again = await attempt(client, 'createContacts', input, `${FIELDS}`, headers);
    expect(again).toEqual(made);
    expect(again).toMatchObject({ createdCount: 5, userErrors: [] });
  });
});

describe('a list', () => {
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
    await perform(client, 'createContacts', { folderId: list, contacts: people }, '__typename');
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
  ])('finds %j', async (search, phoneNumber) => {
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
  ])('finds nothing for %j', async (search) => {
    if (search === '\\') await expect(find({ search })).rejects.toThrow(/letter or digit/);
    else expect(await find({ search })).toEqual([]);
  });

  it('goes by number, outcome and time', async () => {
    expect(await find({ phoneNumber: '+44 20 7946 0000' })).toEqual(['+442079460000']);
    await server.app.db.contact.updateMany({
      where: { phoneNumber: '+14155550123', searchText: { contains: 'zoe' } },
      data: { lastCallOutcome: 'INTERESTED' },
    });
    expect(await find({ lastCallOutcome: ['INTERESTED', 'ESCALATED'] })).toEqual(['+14155550123']);
    const now = new Date().toISOString();
    expect(await find({ createdBefore: now })).toHaveLength(4);
    expect(await find({ createdFrom: now })).toEqual([]);
  });

  it.each([
    [{ search: '--' }, /`filter.search`/],
    [{ search: 'x'.repeat(201) }, /`filter.search`/],
    [{ folderId: 'agt_1' }, /`filter.folderId`/],
    [{ phoneNumber: '12' }, /`filter.phoneNumber`/],
  ])('refuses %j', async (filter, message) => {
    await expect(find(filter)).rejects.toThrow(message);
  });

  it('reads searches, folders and the do-not-call list in a fixed number of statements', async () => {
    const list = () =>
      client.send(
        `{ contactFolders(first: 5, orderBy: { field: CONTACT_COUNT, direction: DESC }) { nodes { contactCount
          contacts(first: 50, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { phoneNumber doNotCall folder { name } } } } } }`,
      );
    await perform(client, 'createContacts', { folderId, contacts: rows(3, 5_000) }, '__typename');
    const few = await countQueries(server.app, list);
    await perform(client, 'createContacts', { folderId, contacts: rows(90, 6_000) }, '__typename');
    await createContact(client, {
      folderId: await createFolder(client),
      phoneNumber: '+14155550123',
    });
    expect(await countQueries(server.app, list)).toBe(few);
  });

  it('is gone through page by page, without a gap, also among equals', async () => {
    await perform(client, 'createContacts', { folderId, contacts: rows(120) }, '__typename');
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

describe('moving and deleting', () => {
  it('moves by id and by filter, and keeps the counts', async () => {
    const other = await createFolder(client, 'Other');
    const { contacts } = await perform(
      client,
      'createContacts',
      { folderId, contacts: rows(10) },
      'contacts { id }',
    );
    const ids = contacts.slice(0, 2).map(({ id }: { id: string }) => id);
    const move = (input: object) =>
      perform(client, 'moveContacts', { folderId: other, ...input }, 'movedCount skippedCount');
    expect(await move({ contacts: { ids } })).toMatchObject({ movedCount: 2, skippedCount: 0 });
    expect(await move({ contacts: { ids } })).toMatchObject({ movedCount: 0, skippedCount: 0 });
    expect(
      await move({ contacts: { in: { folderId, filter: { search: 'Row 7' } } } }),
    ).toMatchObject({ movedCount: 1 });
    expect([await countOf(folderId), await countOf(other)]).toEqual([7, 3]);

    await createContact(client, { folderId, phoneNumber: rows(1)[0]!.phoneNumber });
    const all = { contacts: { in: { folderId } }, folderId: other };
    const [error] = await refusals(client, 'moveContacts', all);
    expect(error).toMatchObject({ code: 'ALREADY_EXISTS', path: ['contacts'] });
    expect(error?.details).toEqual({ contactIds: [expect.stringMatching(/^ctc_/)] });
    expect([await countOf(folderId), await countOf(other)]).toEqual([8, 3]);
    expect(await move({ ...all, onDuplicate: 'SKIP' })).toMatchObject({
      movedCount: 7,
      skippedCount: 1,
    });
    expect([await countOf(folderId), await countOf(other)]).toEqual([1, 10]);
  });

  it('of a number that comes from two folders moves the oldest', async () => {
    const [one, two] = [await createFolder(client), await createFolder(client)];
    const phoneNumber = '+14155550123';
    const first = await createContact(client, { folderId: one, phoneNumber });
    const second = await createContact(client, { folderId: two, phoneNumber });
    const payload = await perform(
      client,
      'moveContacts',
      { folderId, contacts: { ids: [second.id, first.id] }, onDuplicate: 'SKIP' },
      'movedCount skippedCount',
    );
    expect(payload).toMatchObject({ movedCount: 1, skippedCount: 1 });
    expect([await countOf(one), await countOf(two), await countOf(folderId)]).toEqual([0, 1, 1]);
  });

  it('deletes by id and by filter', async () => {
    const { contacts } = await perform(
      client,
      'createContacts',
      { folderId, contacts: rows(10) },
      'contacts { id }',
    );
    const remove = async (selection: object) =>
      (await perform(client, 'deleteContacts', { contacts: selection }, 'contactCount'))
        .contactCount;
    const ids = contacts.slice(0, 2).map(({ id }: { id: string }) => id);
    expect(await remove({ ids })).toBe(2);
    expect(brief(await refusals(client, 'deleteContacts', { contacts: { ids } }))).toEqual([
      'NOT_FOUND contacts.ids.0',
      'NOT_FOUND contacts.ids.1',
    ]);
    expect(await remove({ in: { folderId, filter: { search: 'Row 7' } } })).toBe(1);
    expect(await countOf(folderId)).toBe(7);
    expect(await remove({ in: { folderId } })).toBe(7);
    expect(await countOf(folderId)).toBe(0);
  });

  it('refuses what is not theirs, and says all that is wrong', async () => {
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
    expect(await refused('moveContacts', { contacts: { ids: [id] }, folderId: theirs })).toEqual([
      'NOT_FOUND folderId',
    ]);
    expect(
      await refused('moveContacts', { contacts: { ids: [id] }, folderId: theirs }, stranger),
    ).toEqual(['NOT_FOUND contacts.ids.0']);
    expect(await refused('deleteContacts', { contacts: { ids: [] } })).toEqual([
      'REQUIRED contacts.ids',
    ]);
    expect(await refused('deleteContacts', { contacts: { ids: Array(1_001).fill(id) } })).toEqual([
      'LIMIT_EXCEEDED contacts.ids',
    ]);
    expect(await countOf(folderId)).toBe(1);
  });

  it('crosswise at the same time neither waits for ever nor loses one', async () => {
    const other = await createFolder(client);
    await perform(client, 'createContacts', { folderId, contacts: rows(200) }, '__typename');
    await perform(
      client,
      'createContacts',
      { folderId: other, contacts: rows(200, 200) },
      '__typename',
    );
    const swap = (from: string, to: string) =>
      perform(
        client,
        'moveContacts',
        { contacts: { in: { folderId: from } }, folderId: to },
        '__typename',
      );
    await Promise.all([
      swap(folderId, other),
      swap(other, folderId),
      perform(
        client,
        'createContacts',
        { folderId, contacts: rows(200, 400), onDuplicate: 'UPDATE' },
        '__typename',
      ),
      swap(folderId, other),
      swap(other, folderId),
    ]);
    expect((await countOf(folderId)) + (await countOf(other))).toBe(600);
  });
});
