import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOnDoNotCallList } from '../../src/contacts/do-not-call.ts';
import { perform, prepareCaller } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { countQueries } from '../support/queries.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
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
  return perform(who, 'addToDoNotCall', { entries }, FIELDS);
}

async function entryOf(phoneNumber: string, who = client) {
  const { data } = await who.send(
    'query ($phoneNumber: E164!) { doNotCallEntry(phoneNumber: $phoneNumber) { phoneNumber reason source createdAt } }',
    { phoneNumber },
  );
  return data.doNotCallEntry;
}

describe('the do-not-call list', () => {
  it('takes numbers with a reason and a source, and gives them up again', async () => {
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
    expect(await entryOf('+44 20 7946 0000')).toMatchObject({ source: 'register' });
    expect(await entryOf('+442079460000', stranger.client)).toBeNull();
    const remove = async (who: GraphQLClient) =>
      (
        await perform(
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

  it('refuses all of it when one is wrong, and says all that is', async () => {
    const before = await server.app.db.doNotCallEntry.count();
    expect(
      brief(
        await refusals(client, 'addToDoNotCall', {
          entries: [
            { phoneNumber: '+14155550111' },
            { phoneNumber: '415', reason: 'x'.repeat(501), source: 'x'.repeat(101) },
            { phoneNumber: '+14155550112', reason: '\u0000' },
          ],
        }),
      ),
    ).toEqual([
      'INVALID_INPUT entries.1.phoneNumber',
      'INVALID_INPUT entries.1.reason',
      'INVALID_INPUT entries.1.source',
      'INVALID_INPUT entries.2.reason',
    ]);
    expect(brief(await refusals(client, 'addToDoNotCall', { entries: [] }))).toEqual([
      'REQUIRED entries',
    ]);
    const many = Array.from({ length: 1_001 }, () => '+14155550111');
    expect(brief(await refusals(client, 'removeFromDoNotCall', { phoneNumbers: many }))).toEqual([
      'LIMIT_EXCEEDED phoneNumbers',
    ]);
    expect(
      brief(await refusals(client, 'removeFromDoNotCall', { phoneNumbers: ['', '+14155550101'] })),
    ).toEqual(['REQUIRED phoneNumbers.0']);
    expect(await server.app.db.doNotCallEntry.count()).toBe(before);
  });

  it('has each number once, however many add it at once', async () => {
    const numbers = Array.from({ length: 50 }, (_, index) => `+1415556${1_000 + index}`);
    const entries = numbers.map((phoneNumber) => ({ phoneNumber }));
    const results = await Promise.all([
      add(entries),
      add([...entries].reverse()),
      add(entries.slice(10)),
    ]);
    expect(results.reduce((sum, { addedCount }) => sum + addedCount, 0)).toBe(50);
  });

  it('is listed page by page, filtered, and for its owner alone', async () => {
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
    // Whether the cursor is there or not: the answer to another organization is the same.
    const there = await page({ after: first.pageInfo.endCursor }, stranger.client);
    const position = Buffer.from(first.pageInfo.endCursor, 'base64').toString();
    const missing = position.replace(first.nodes.at(-1).phoneNumber, '+14155570000');
    expect(missing).toContain('+14155570000');
    expect(there.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(
      (await page({ after: Buffer.from(missing).toString('base64') }, stranger.client)).errors?.[0]
        ?.message,
    ).toBe(there.errors?.[0]?.message);
  });

  it('shows on contacts, read together', async () => {
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

describe('a call', () => {
  it('to a number on the list is refused and nothing is dialled, in whatever spelling', async () => {
    const caller = await prepareCaller(client);
    await add([{ phoneNumber: '+442079461111' }], stranger.client);
    await add([{ phoneNumber: '+442079462222' }]);
    for (const phoneNumber of ['+442079462222', '+4402079462222']) {
      const errors = await refusals(client, 'createCall', { agentId: caller.agentId, phoneNumber });
      expect(brief(errors)).toEqual(['DO_NOT_CALL phoneNumber']);
    }
    expect(await server.app.db.call.count()).toBe(0);
    // What another organization does not call is no matter here.
    expect(await caller.call('+442079461111')).toMatchObject({ status: 'RINGING' });
    await perform(client, 'removeFromDoNotCall', { phoneNumbers: ['+442079462222'] }, '__typename');
    expect(await caller.call('+442079462222')).toMatchObject({ status: 'RINGING' });
  });

  it('is not made when the list cannot be read', async () => {
    const broken = {
      doNotCallEntry: { findFirst: () => Promise.reject(new Error('The list is away')) },
    } as unknown as typeof server.app.db;
    await expect(isOnDoNotCallList(broken, server.organizationId, '+14155550123')).rejects.toThrow(
      'The list is away',
    );
  });
});
