import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { recordStatements } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { attempt, brief, countOf, createContact, createFolder, refusals, rows } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let folderId: string;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
});
afterAll(() => server.close());
beforeEach(async () => {
  folderId = await createFolder(client);
});

describe('createContacts', () => {
  const FIELDS = 'contacts { phoneNumber firstName } createdCount updatedCount skippedCount';

  it('uses a number of statements that is independent of the number of contacts', async () => {
    const few = await recordStatements(server.app, () =>
      runMutation(client, 'createContacts', { folderId, contacts: rows(2) }, FIELDS),
    );
    let payload: Awaited<ReturnType<typeof runMutation>> | undefined;
    const many = await recordStatements(server.app, async () => {
      payload = await runMutation(
        client,
        'createContacts',
        { folderId, contacts: rows(1_000, 100) },
        FIELDS,
      );
    });
    // Without the statements of the worker, which polls for imports and campaigns.
    const own = (statements: string[]) =>
      statements.filter((text) => /\bcontacts\b/.test(text)).length;
    expect(own(few)).toBeGreaterThan(0);
    expect(own(many)).toBe(own(few));
    expect(payload).toMatchObject({ createdCount: 1_000, updatedCount: 0, skippedCount: 0 });
    expect(payload?.contacts.map((contact: { firstName: string }) => contact.firstName)).toEqual(
      rows(1_000, 100).map(({ firstName }) => firstName),
    );
    expect(await countOf(client, folderId)).toBe(1_002);
  });

  it('creates nothing and reports every problem when a row is invalid', async () => {
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
    expect(errors[0]?.message).toContain('`contacts.1`');
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
    expect(await countOf(client, folderId)).toBe(1);
  });

  it('rejects an update that gives a contact more than 100 metadata keys', async () => {
    const keys = (from: number) =>
      Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${from + index}`, 'x']));
    const contact = (metadata: object) => ({ phoneNumber: '+14155550100', metadata });
    const { id } = await createContact(client, { folderId, ...contact(keys(0)) });
    const contacts = [contact(keys(40)), contact(keys(41))];
    const errors = await refusals(client, 'createContacts', {
      folderId,
      contacts,
      onDuplicate: 'UPDATE',
    });
    expect(brief(errors)).toEqual(['INVALID_INPUT contacts.1.metadata']);
    const { metadata } = await server.app.db.contact.findUniqueOrThrow({
      where: { id: id.slice(4) },
    });
    expect(metadata).toEqual(keys(0));
  });

  it('skips or updates existing contacts', async () => {
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
    const skipped = await runMutation(
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
    const updated = await runMutation(
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

  it('creates each number once when requests run concurrently', async () => {
    const payloads = await Promise.all(
      [0, 50, 100, 150].map((from) =>
        runMutation(
          client,
          'createContacts',
          { folderId, contacts: rows(100, from).reverse(), onDuplicate: 'SKIP' },
          'createdCount skippedCount',
        ),
      ),
    );
    const sum = (key: string) => payloads.reduce((total, payload) => total + payload[key], 0);
    expect([sum('createdCount'), sum('skippedCount')]).toEqual([250, 150]);
    expect(await countOf(client, folderId)).toBe(250);
  });

  it('creates the contacts once per idempotency key, even after a crash', async () => {
    const headers = { 'x-idempotency-key': `contacts-${folderId}` };
    const input = { folderId, contacts: rows(5) };
    const made = await attempt(client, 'createContacts', input, { fields: FIELDS, headers });
    await server.app.db.idempotencyKey.updateMany({
      where: { key: headers['x-idempotency-key'] },
      data: { response: null, leaseUntil: null, leaseId: null },
    });
    const again = await attempt(client, 'createContacts', input, { fields: FIELDS, headers });
    expect(again).toEqual(made);
    expect(again).toMatchObject({ createdCount: 5, userErrors: [] });
  });
});
