import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { attempt, brief, countOf, createContact, createFolder, refusals } from './support.ts';

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

describe('createContact', () => {
  it('stores every field', async () => {
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

  it('reports every invalid field at once', async () => {
    const wrong = {
      phoneNumber: '415',
      firstName: 'a'.repeat(101),
      email: 'nobody',
      timezone: 'Nowhere',
      metadata: { a: [1] },
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
    expect(await countOf(client, folderId)).toBe(0);
  });

  it('rejects a phone number that is already in the folder, in any spelling and under concurrency', async () => {
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
    expect(await countOf(client, folderId)).toBe(2);
    const elsewhere = await createFolder(client);
    await createContact(client, { folderId: elsewhere, phoneNumber: '+442079460000' });
  });

  it('creates one contact per idempotency key, even after a crash', async () => {
    const headers = { 'x-idempotency-key': `contact-${folderId}` };
    const input = { folderId, phoneNumber: '+14155550123' };
    const made = await attempt(client, 'createContact', input, {
      fields: 'contact { id }',
      headers,
    });
    // As a crash right after the commit leaves it.
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseUntil: null, leaseId: null },
    });
    const again = await attempt(client, 'createContact', input, {
      fields: 'contact { id }',
      headers,
    });
    expect(again).toEqual(made);
    expect(again.contact.id).toMatch(/^ctc_/);
  });
});

describe('updateContact', () => {
  it('changes only the given fields', async () => {
    const { id } = await createContact(client, {
      folderId,
      phoneNumber: '+14155550123',
      firstName: 'Ada',
      email: 'ada@example.com',
      timezone: 'Europe/London',
      metadata: { plan: 'gold', since: '2020' },
    });
    const { contact } = await runMutation(
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

  it('rejects a duplicate or missing phone number and contacts of other organizations', async () => {
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

  it('gives a phone number to only one of two contacts that are updated concurrently', async () => {
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

  it('keeps concurrent changes of different fields', async () => {
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    await Promise.all([
      runMutation(client, 'updateContact', { id, firstName: 'Ada' }, 'contact { id }'),
      runMutation(client, 'updateContact', { id, lastName: 'Lovelace' }, 'contact { id }'),
      runMutation(client, 'updateContact', { id, email: 'ada@example.com' }, 'contact { id }'),
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
