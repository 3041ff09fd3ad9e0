/** Call filters in mutations, and in the download links that contain them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { readToken, signToken } from '../../src/infra/signed-token.ts';
import { createCampaign, people } from '../campaigns/support.ts';
import { attempt, brief } from '../contacts/support.ts';
import { accepted, type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { dataOf, uuidOf } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;
let numberId: string;
let campaignId: string;

const START = Date.UTC(2026, 0, 1);
const at = (minute: number): Date => new Date(START + minute * 60_000);
/** UUIDs of calls, oldest first. Those with an even index were answered. */
let ids: string[];

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  caller = await prepareCaller(client);
  const { data } = await client.send('{ phoneNumbers { nodes { id } } }');
  numberId = data.phoneNumbers.nodes[0].id;
  campaignId = (await createCampaign({ client, caller }, { contacts: people(1) })).id;
  ids = Array.from({ length: 12 }, () => newId());
  await server.app.db.call.createMany({
    data: ids.map((id, index) => ({
      id,
      organizationId: server.organizationId,
      agentId: uuidOf(caller.agentId),
      phoneNumberId: index % 3 === 0 ? uuidOf(numberId) : null,
      campaignId: index % 4 === 0 ? uuidOf(campaignId) : null,
      direction: index % 6 === 0 ? ('INBOUND' as const) : ('OUTBOUND' as const),
      medium: 'SIP' as const,
      status: index % 2 === 0 ? ('COMPLETED' as const) : ('FAILED' as const),
      endReason: index % 2 === 0 ? ('HANGUP' as const) : ('NO_ANSWER' as const),
      ...accepted(),
      phoneNumber: `+14155550${200 + (index % 5)}`,
      metadata: { group: `g${index % 5}` },
      metadataEntries: [JSON.stringify(['group', `g${index % 5}`])],
      maxDurationSeconds: 60,
      joinTimeoutSeconds: 30,
      createdAt: at(index),
      answeredAt: index % 2 === 0 ? at(index) : null,
      endedAt: new Date(at(index).getTime() + index * 1_000),
      costAmount: index % 2 === 0 ? `0.${10 + index}` : null,
      answeredBy: index % 4 === 0 ? ('HUMAN' as const) : null,
      dncQuote: index === 4 ? 'Never again.' : null,
    })),
  });
  await server.app.db.callTranscript.create({
    data: {
      callId: ids[2]!,
      organizationId: server.organizationId,
      words: ['hello', 'refund'],
      turnCount: 1,
      storedAt: at(60),
    },
  });
  await server.app.db.callAnalysis.createMany({
    // The last one has extracted data alone.
    data: [true, true, false, null].map((success, index) => ({
      callId: ids[2 * index]!,
      organizationId: server.organizationId,
      status: 'DONE' as const,
      success,
    })),
  });
  await server.app.db.postCallStep.create({
    data: {
      callId: ids[6]!,
      organizationId: server.organizationId,
      kind: 'ANALYSIS',
      status: 'FAILED',
    },
  });
});
afterAll(() => server?.close());

const exporting = (filter: object, who = client) =>
  attempt(who, 'exportCalls', { filter, format: 'JSON_LINES' }, 'url callCount');
const analyzing = (filter: object, who = client) =>
  attempt(who, 'analyzeCalls', { filter }, 'callCount');

/** The calls in the file behind a link, by their indexes. */
async function downloaded(url: string): Promise<number[]> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  const lines = (await response.text()).trim().split('\n').filter(Boolean);
  return lines.map((line) => ids.indexOf(uuidOf(JSON.parse(line).id))).sort((a, b) => a - b);
}

describe.each([
  ['exportCalls', exporting],
  ['analyzeCalls', analyzing],
] as const)('%s', (_name, run) => {
  it.each<[string, object, string[]]>([
    ['a malformed agent ID', { agentId: 'x' }, ['INVALID_ID filter.agentId']],
    ['an empty agent ID', { agentId: '' }, ['INVALID_ID filter.agentId']],
    [
      'the ID of another type',
      { phoneNumberId: publicId('Agent', newId()) },
      ['INVALID_ID filter.phoneNumberId'],
    ],
    [
      'the ID of another type under the deprecated name',
      { numberId: publicId('Agent', newId()) },
      ['INVALID_ID filter.numberId'],
    ],
    ['a malformed campaign ID', { campaignId: 'cmp_1' }, ['INVALID_ID filter.campaignId']],
    ['an invalid phone number', { phoneNumber: '0171 555' }, ['INVALID_INPUT filter.phoneNumber']],
    ['a transcript without words', { transcript: '--' }, ['INVALID_INPUT filter.transcript']],
    [
      'too much metadata',
      { metadata: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [i, 'x'])) },
      ['INVALID_INPUT filter.metadata'],
    ],
    [
      'several problems',
      { minDurationSeconds: -1, maxCost: '1e3', agentId: 'x' },
      [
        'INVALID_INPUT filter.minDurationSeconds',
        'INVALID_INPUT filter.maxCost',
        'INVALID_ID filter.agentId',
      ],
    ],
  ])('rejects a filter with %s, with the path of each problem', async (_case, filter, problems) => {
    const { userErrors, callCount } = await run(filter);
    expect([brief(userErrors), callCount]).toEqual([problems, null]);
  });

  it('rejects a member that is given under its name and under its deprecated one', async () => {
    const { userErrors } = await run({
      ...{ phoneNumberId: numberId, numberId },
      ...{ doNotCallRequested: true, dncRequested: true },
    });
    expect(userErrors).toMatchObject([
      {
        message:
          '`filter.numberId` is the deprecated name of `filter.phoneNumberId`. Use only the new one.',
        path: ['filter', 'numberId'],
      },
      { code: 'INVALID_INPUT', path: ['filter', 'dncRequested'] },
    ]);
  });

  it('rejects agents, numbers and campaigns that the organization does not have', async () => {
    const theirs = { agentId: caller.agentId, phoneNumberId: numberId, campaignId };
    const NOT_FOUND = Object.keys(theirs).map((name) => `NOT_FOUND filter.${name}`);
    const other = await server.newOrganization();
    expect(brief((await run(theirs, other.client)).userErrors)).toEqual(NOT_FOUND);
    const unknown = {
      agentId: publicId('Agent', newId()),
      phoneNumberId: publicId('PhoneNumber', newId()),
      campaignId: publicId('Campaign', newId()),
    };
    expect(brief((await run(unknown)).userErrors)).toEqual(NOT_FOUND);
    const both = { agentId: unknown.agentId, campaignId: 'x' };
    expect(brief((await run(both)).userErrors)).toEqual([
      'INVALID_ID filter.campaignId',
      'NOT_FOUND filter.agentId',
    ]);
  });
});

describe('a link of exportCalls', () => {
  const FILTERS: Record<string, () => [object, number[]]> = {
    'no member': () => [{}, ids.map((_, index) => index)],
    'empty lists': () => [{ status: [], endReason: [] }, ids.map((_, index) => index)],
    status: () => [{ status: ['FAILED', 'CANCELLED'] }, [1, 3, 5, 7, 9, 11]],
    endReason: () => [{ endReason: ['HANGUP'] }, [0, 2, 4, 6, 8, 10]],
    direction: () => [{ direction: 'INBOUND' }, [0, 6]],
    agentId: () => [{ agentId: caller.agentId, createdBefore: at(2).toISOString() }, [0, 1]],
    phoneNumberId: () => [{ phoneNumberId: numberId }, [0, 3, 6, 9]],
    'numberId, the deprecated name': () => [{ numberId }, [0, 3, 6, 9]],
    campaignId: () => [{ campaignId }, [0, 4, 8]],
    phoneNumber: () => [{ phoneNumber: '+14155550203' }, [3, 8]],
    'a range of time': () => [
      { createdFrom: at(3).toISOString(), createdBefore: at(6).toISOString() },
      [3, 4, 5],
    ],
    'a range of durations': () => [{ minDurationSeconds: 3.5, maxDurationSeconds: 8 }, [4, 6, 8]],
    'a range of costs': () => [{ minCost: '0.12', maxCost: '0.16' }, [2, 4, 6]],
    metadata: () => [{ metadata: { group: 'g1' } }, [1, 6, 11]],
    transcript: () => [{ transcript: 'Refund' }, [2]],
    answeredBy: () => [{ answeredBy: 'HUMAN' }, [0, 4, 8]],
    doNotCallRequested: () => [{ doNotCallRequested: true }, [4]],
    'doNotCallRequested of false': () => [{ doNotCallRequested: false, campaignId }, [0, 8]],
    'dncRequested, the deprecated name': () => [{ dncRequested: false, campaignId }, [0, 8]],
    analysisStatus: () => [{ analysisStatus: 'FAILED' }, [6]],
    successful: () => [{ successful: true }, [0, 2]],
    'successful of false': () => [{ successful: false }, [4]],
  };

  it.each(Object.keys(FILTERS))('leads to the calls of a filter with %s', async (name) => {
    const [filter, expected] = FILTERS[name]!();
    const { url, callCount, userErrors } = await exporting(filter);
    expect(userErrors).toEqual([]);
    expect(await downloaded(url)).toEqual(expected);
    expect(callCount).toBe(expected.length);
    const listed = dataOf(
      await client.send('query ($filter: CallFilter) { calls(filter: $filter) { nodes { id } } }', {
        filter,
      }),
    ).calls.nodes.map(({ id }: { id: string }) => ids.indexOf(uuidOf(id)));
    expect(listed.sort((a: number, b: number) => a - b)).toEqual(expected);
  });

  it('leads to as many successful calls as analytics count', async () => {
    const range = { from: at(0).toISOString(), to: at(60).toISOString() };
    const { analytics } = dataOf(
      await client.send(
        'query ($range: AnalyticsRange!) { analytics(range: $range) { total { successful successRate } } }',
        { range },
      ),
    );
    const { successful, successRate } = analytics.total;
    const counts = await Promise.all(
      [true, false].map(async (each) => (await exporting({ successful: each })).callCount),
    );
    expect(counts).toEqual([successful, successful / successRate - successful]);
    expect(successful).toBe(2);
  });

  it.each([
    'exportCalls',
    'exportCampaignContacts',
    'exportContacts',
  ])('is refused as invalid if it was signed by another version of %s', async (name) => {
    const input = name === 'exportCampaignContacts' ? { campaignId } : {};
    const { url } = await runMutation(client, name, input, 'url');
    const { origin, pathname, searchParams } = new URL(url);
    const secret = server.app.cipher.derive(`export ${pathname}`);
    const payload = readToken(secret, searchParams.get('token')!, new Date()) as object;
    const statusOf = async (changed: object) => {
      const token = signToken(secret, changed, new Date(Date.now() + 60_000));
      const response = await fetch(`${origin}${pathname}?token=${token}`);
      return [response.status, (await response.text()).split('.')[0]];
    };
    expect((await statusOf(payload))[0]).toBe(200);
    const refused = [403, 'The link is invalid or has expired'];
    const { filter: _, ...older } = payload as { filter: object };
    expect(await statusOf({ ...older, where: {} })).toEqual(refused);
    expect(await statusOf({ ...payload, filter: { unknown: true } })).toEqual(refused);
  });

  it('is refused for a filter that is too long for it', async () => {
    const metadata = { note: 'x'.repeat(4_900) };
    expect(brief((await exporting({ metadata })).userErrors)).toEqual(['INVALID_INPUT filter']);
  });
});

describe('exportCampaignContacts', () => {
  const run = async (input: Record<string, unknown>, who = client) =>
    brief((await attempt(who, 'exportCampaignContacts', input, 'url')).userErrors);

  it('rejects an invalid filter and an unknown campaign with the path of each problem', async () => {
    const filter = { phoneNumber: '0171 555' };
    expect(await run({ campaignId, filter })).toEqual(['INVALID_INPUT filter.phoneNumber']);
    const unknown = publicId('Campaign', newId());
    expect(await run({ campaignId: unknown, filter })).toEqual([
      'INVALID_INPUT filter.phoneNumber',
      'NOT_FOUND campaignId',
    ]);
    expect(await run({ campaignId: 'x' })).toEqual(['INVALID_ID campaignId']);
    const other = await server.newOrganization();
    expect(await run({ campaignId }, other.client)).toEqual(['NOT_FOUND campaignId']);
  });
});
