import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOnDoNotCallList } from '../../src/contacts/do-not-call.ts';
import { prepareCaller, runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { brief, createContact, createFolder, refusals } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let stranger: Awaited<ReturnType<TestServer['newOrganization']>>;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  stranger = await server.newOrganization();
});
afterAll(() => server.close());

const FIELDS = 'entries { phoneNumber reason source } addedCount';

function add(entries: object[], who = client) {
  return runMutation(who, 'addToDoNotCall', { entries }, FIELDS);
}

async function entryOf(phoneNumber: string, who = client) {
  const { data } = await who.send(
    'query ($phoneNumber: E164!) { doNotCallEntry(phoneNumber: $phoneNumber) { phoneNumber reason source createdAt } }',
    { phoneNumber },
  );
  return data.doNotCallEntry;
}

describe('do-not-call list', () => {
  it('adds numbers with reason and source, and removes them', async () => {
    const added = await add([
      { phoneNumber: '+14155550101', reason: 'Asked us', source: 'phone' },
      { phoneNumber: '+44 (0)20 7946 0000' },
      { phoneNumber: '+442079460000', source: 'register' },
    ]);
    expect(added).toMatchObject({
      entries: [
        { phoneNumber: '+14155550101', reason: 'Asked us', source: 'phone' },
        { phoneNumber: '+442079460000', reason: null, source: 'register' },
      ],
      addedCount: 2,
    });
    expect(await add([{ phoneNumber: '+14155550101', source: 'letter' }])).toMatchObject({
      entries: [{ reason: 'Asked us', source: 'letter' }],
      addedCount: 0,
    });
    const versions = () => server.app.db.$queryRaw`
      SELECT phone_number, xmin::text FROM do_not_call_entries ORDER BY phone_number`;
    const before = await versions();
    expect(
      await add([
        { phoneNumber: '+14155550101', source: 'letter' },
        { phoneNumber: '+442079460000' },
      ]),
    ).toMatchObject({ entries: [{ reason: 'Asked us' }, { reason: null }], addedCount: 0 });
    // Rows that stay the same are not written again.
    expect(await versions()).toEqual(before);
    expect(await entryOf('+44 20 7946 0000')).toMatchObject({ source: 'register' });
    expect(await entryOf('+442079460000', stranger.client)).toBeNull();
    const remove = async (who: GraphQLClient) =>
      (
        await runMutation(
          who,
          'removeFromDoNotCall',
          { phoneNumbers: ['+44 (0)20 7946 0000', '+14155550177'] },
          'removedCount',
        )
      ).removedCount;
    expect(await remove(stranger.client)).toBe(0);
    expect(await entryOf('+442079460000')).not.toBeNull();
    expect(await remove(client)).toBe(1);
    expect(await entryOf('+442079460000')).toBeNull();
  });

  it('adds nothing and reports every problem when a number is invalid', async () => {
    const before = await server.app.db.doNotCallEntry.count();
    expect(
      brief(
        await refusals(client, 'addToDoNotCall', {
          entries: [
            { phoneNumber: '+14155550111' },
            { phoneNumber: '415', reason: 'x'.repeat(501), source: 'x'.repeat(101) },
          ],
        }),
      ),
    ).toEqual([
      'INVALID_INPUT entries.1.phoneNumber',
      'INVALID_INPUT entries.1.reason',
      'INVALID_INPUT entries.1.source',
    ]);
    // Text that the database cannot hold is refused before anything else is looked at.
    const entries = [{ phoneNumber: '+14155550112', reason: '\u0000' }];
    expect(brief(await refusals(client, 'addToDoNotCall', { entries }))).toEqual([
      'INVALID_INPUT entries.0.reason',
    ]);
    expect(brief(await refusals(client, 'addToDoNotCall', { entries: [] }))).toEqual([
      'REQUIRED entries',
    ]);
    expect(
      brief(await refusals(client, 'removeFromDoNotCall', { phoneNumbers: ['', '+14155550101'] })),
    ).toEqual(['REQUIRED phoneNumbers.0']);
    expect(await server.app.db.doNotCallEntry.count()).toBe(before);
  });

  it('adds each number once under concurrency', async () => {
    const numbers = Array.from({ length: 50 }, (_, index) => `+1415556${1_000 + index}`);
    const entries = numbers.map((phoneNumber) => ({ phoneNumber }));
    const results = await Promise.all([
      add(entries),
      add([...entries].reverse()),
      add(entries.slice(10)),
    ]);
    expect(results.reduce((sum, { addedCount }) => sum + addedCount, 0)).toBe(50);
  });

  it('lists entries of one organization in pages, filtered', async () => {
    const { client: third } = await server.newOrganization();
    await add(
      Array.from({ length: 60 }, (_, index) => ({
        phoneNumber: `+1415557${1_000 + index}`,
        ...(index % 2 === 0 ? { source: 'register' } : {}),
      })),
      third,
    );
    const page = async (variables: object, who = third) => {
      const answer = await who.send(
        'query ($filter: DoNotCallFilter, $after: String) { doNotCallEntries(filter: $filter, after: $after, first: 50) { totalCount nodes { phoneNumber } pageInfo { endCursor hasNextPage } } }',
        variables,
      );
      return { ...answer.data?.doNotCallEntries, errors: answer.errors };
    };
    const first = await page({});
    expect(first).toMatchObject({ totalCount: 60, pageInfo: { hasNextPage: true } });
    const second = await page({ after: first.pageInfo.endCursor });
    expect(second.pageInfo.hasNextPage).toBe(false);
    expect(
      new Set([...first.nodes, ...second.nodes].map(({ phoneNumber }) => phoneNumber)).size,
    ).toBe(60);
    expect(await page({ filter: { source: 'register' } })).toMatchObject({ totalCount: 30 });
    expect(await page({ filter: { search: '(557) 1007' } })).toMatchObject({ totalCount: 1 });
    expect((await page({ filter: { search: 'Ada' } })).errors?.[0]?.extensions.code).toBe(
      'BAD_USER_INPUT',
    );
    // A cursor is valid in its own organization only.
    const there = await page({ after: first.pageInfo.endCursor }, stranger.client);
    expect(there.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  it('sets doNotCall on contacts with one query', async () => {
    const folderId = await createFolder(client);
    const numbers = ['+14155558001', '+14155558002', '+14155558003'];
    for (const phoneNumber of numbers) await createContact(client, { folderId, phoneNumber });
    await add([{ phoneNumber: '+14155558002' }]);
    await add([{ phoneNumber: '+14155558003' }], stranger.client);
    const list = (first: number) =>
      client.send(
        `query ($f: ContactFilter) { contacts(filter: $f, first: ${first}, orderBy: { field: PHONE_NUMBER, direction: ASC }) { nodes { doNotCall } } }`,
        { f: { folderId } },
      );
    expect((await list(3)).data.contacts.nodes).toEqual([
      { doNotCall: false },
      { doNotCall: true },
      { doNotCall: false },
    ]);
    expect(await countQueries(server.app, () => list(3))).toBe(
      await countQueries(server.app, () => list(1)),
    );
  });
});

describe('createCall', () => {
  it('rejects a number on the do-not-call list in any spelling', async () => {
    const caller = await prepareCaller(client);
    await add([{ phoneNumber: '+442079461111' }], stranger.client);
    await add([{ phoneNumber: '+442079462222' }]);
    for (const phoneNumber of ['+442079462222', '+4402079462222']) {
      const errors = await refusals(client, 'createCall', { agentId: caller.agentId, phoneNumber });
      expect(brief(errors)).toEqual(['DO_NOT_CALL phoneNumber']);
    }
    expect(await server.app.db.call.count()).toBe(0);
    // What another organization does not call is no matter here.
    expect((await caller.call('+442079461111')).status).not.toBe('CREATED');
    await runMutation(
      client,
      'removeFromDoNotCall',
      { phoneNumbers: ['+442079462222'] },
      '__typename',
    );
    expect((await caller.call('+442079462222')).status).not.toBe('CREATED');
  });

  it('places no call when the do-not-call list cannot be read', async () => {
    const broken = {
      doNotCallEntry: { findFirst: () => Promise.reject(new Error('The list is away')) },
    } as unknown as typeof server.app.db;
    await expect(isOnDoNotCallList(broken, server.organizationId, '+14155550123')).rejects.toThrow(
      'The list is away',
    );
  });
});
