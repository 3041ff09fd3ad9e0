/** A page of 50 calls with each filter and order, and its `totalCount`, in a large and a small organization. */
import { type Section, table } from '../support/results.ts';
import { type LargeServer, rounded } from './server.ts';

const ORGANIZATIONS = ['large', 'small'] as const;
const ORDERS = ['CREATED_AT', 'DURATION', 'COST', 'ENDED_AT'];
const DAY_MS = 86_400_000;
const PAGE = `query ($filter: CallFilter, $orderBy: CallOrder) {
  calls(first: 50, filter: $filter, orderBy: $orderBy) { nodes { id } pageInfo { hasNextPage endCursor } } }`;
const COUNT = 'query ($filter: CallFilter) { calls(first: 1, filter: $filter) { totalCount } }';
const FIRST = `{ agents(first: 1) { nodes { id } } phoneNumbers(first: 1) { nodes { id } }
  campaigns(first: 1) { nodes { id } } calls(first: 1) { nodes { phoneNumber metadata } } }`;

type Organization = (typeof ORGANIZATIONS)[number];

export async function listsAtSize(server: LargeServer): Promise<Section> {
  const rows: string[][] = [];
  for (const organization of ORGANIZATIONS) {
    for (const [name, filter] of Object.entries(await filtersOf(server, organization))) {
      rows.push([organization, name, ...(await timesOf(server, organization, filter))]);
    }
  }
  for (const [name, query] of Object.entries(await otherLists(server))) {
    const { p50 } = await server.times(2, 'large', query);
    rows.push(['large', name, rounded(p50), ...Array(ORDERS.length).fill('')]);
  }
  return {
    title: 'Lists at 5 million calls',
    text: 'Milliseconds for a page of 50 calls, the better of two runs in the slower direction of each order, and for `totalCount`. The large organization has 4 million calls, a million contacts and a million do-not-call entries; the small one has 10 calls.',
    table: table(['organization', 'filter', ...ORDERS, 'totalCount'], rows),
  };
}

async function timesOf(
  server: LargeServer,
  organization: Organization,
  filter: object,
): Promise<string[]> {
  const cells: string[] = [];
  for (const field of ORDERS) {
    let slower = 0;
    for (const direction of ['DESC', 'ASC']) {
      const orderBy = { field, direction };
      const runs = [
        await server.ask(organization, PAGE, { filter, orderBy }),
        await server.ask(organization, PAGE, { filter, orderBy }),
      ];
      slower = Math.max(slower, Math.min(...runs.map(({ ms }) => ms)));
    }
    cells.push(rounded(slower));
  }
  cells.push(rounded((await server.ask(organization, COUNT, { filter })).ms));
  return cells;
}

async function filtersOf(
  server: LargeServer,
  organization: Organization,
): Promise<Record<string, object>> {
  const { data } = await server.ask(organization, FIRST);
  const [agent] = data.agents.nodes;
  const [number] = data.phoneNumbers.nodes;
  const [campaign] = data.campaigns.nodes;
  const [call] = data.calls.nodes;
  const before = (days: number) => new Date(Date.now() - days * DAY_MS);
  return {
    none: {},
    'status: COMPLETED': { status: ['COMPLETED'] },
    'endReason: SYSTEM_ERROR (1 of 10,000)': { endReason: ['SYSTEM_ERROR'] },
    'direction: INBOUND': { direction: 'INBOUND' },
    agentId: { agentId: agent.id },
    numberId: { phoneNumberId: number.id },
    ...(campaign ? { campaignId: { campaignId: campaign.id } } : {}),
    phoneNumber: { phoneNumber: call.phoneNumber },
    'a week': { createdFrom: before(100), createdBefore: before(93) },
    'minDurationSeconds: 590': { minDurationSeconds: 590 },
    'minCost: 1.9': { minCost: '1.9' },
    metadata: { metadata: call.metadata },
    'answeredBy: VOICEMAIL': { answeredBy: 'VOICEMAIL' },
    'dncRequested (1 of 1,000)': { doNotCallRequested: true },
    'analysisStatus: FAILED (1 of 2,000)': { analysisStatus: 'FAILED' },
    'transcript: refund (10 of 50,000)': { transcript: 'refund' },
    'transcript: hello (all of 50,000)': { transcript: 'hello' },
    'transcript: a word that nobody said': { transcript: 'zeppelin' },
    'agentId and status: FAILED': { agentId: agent.id, status: ['FAILED'] },
  };
}

/** Lists with a million items. */
async function otherLists(server: LargeServer): Promise<Record<string, string>> {
  const { data } = await server.ask('large', '{ campaigns(first: 1) { nodes { id } } }');
  const [campaign] = data.campaigns.nodes;
  const contacts = (args: string, fields = 'nodes { id }') =>
    `{ campaign(id: "${campaign.id}") { contacts(${args}) { ${fields} } } }`;
  return {
    'contacts(search: a rare name)':
      '{ contacts(filter: { search: "family17" }) { nodes { id } } }',
    'contacts(search: a frequent name)':
      '{ contacts(filter: { search: "name" }) { nodes { id } } }',
    'contacts, totalCount': '{ contacts(first: 1) { totalCount } }',
    'campaign.contacts(status: FAILED)': contacts('filter: { status: [FAILED] }'),
    'campaign.contacts, totalCount': contacts('first: 1', 'totalCount'),
    doNotCallEntries: '{ doNotCallEntries { nodes { phoneNumber } } }',
    'doNotCallEntries, totalCount': '{ doNotCallEntries(first: 1) { totalCount } }',
  };
}
