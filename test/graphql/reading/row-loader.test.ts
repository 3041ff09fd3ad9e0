/** Rows that fields find by an ID are read with only the selected columns, and with one statement for many fields. */
import { randomUUID } from 'node:crypto';
import type { GraphQLObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadedField } from '../../../src/graphql/reading/loaded-columns.ts';
import { publicId } from '../../../src/ids.ts';
import { schema } from '../../../src/server/schema.ts';
import { plant } from '../../campaigns/graph/graph-support.ts';
import { createContact, createFolder } from '../../contacts/support.ts';
import { newAgent } from '../../phone-numbers/support.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;
let api: TestServer;
let agentIds: string[];

beforeAll(async () => {
  server = await startTestServer();
  // Analytics could have many groups, each with a count.
  const settings = { ROLE: 'api', MAX_QUERY_COST: '1000000' };
  api = await startTestServer({ beside: server, settings });
  const agents = [await newAgent(server, server.organizationId)];
  agents.push(await newAgent(server, server.organizationId));
  agentIds = agents.map(({ id }) => id);
  for (const { uuid } of agents) await plant(server, server.organizationId, uuid, { contacts: 2 });
});

afterAll(async () => {
  await api.close();
  await server.close();
});

/** The result of a query, and the statements that read from the table. */
async function reads(table: string, document: string, variables: object = {}) {
  // biome-ignore lint/suspicious/noExplicitAny: whatever the query asks for
  let answer: any;
  const statements = await recordStatements(api.app, async () => {
    answer = await api.client.send(document, variables);
  });
  expect(answer.errors).toBeUndefined();
  const from = new RegExp(`FROM ("public"\\.)?"?${table}"?\\b`);
  return { data: answer.data, statements: statements.filter((text) => from.test(text)) };
}

describe('groups of analytics', () => {
  const range = { from: new Date(Date.now() - 86_400_000), to: new Date(Date.now() + 86_400_000) };

  it('read the selected columns of agents and campaigns', async () => {
    const document = `query ($range: AnalyticsRange!) {
      analytics(range: $range, groupBy: [AGENT, CAMPAIGN]) {
        groups { agent { id name } campaign { name } figures { calls } } } }`;
    const { data, statements } = await reads('agents', document, { range });
    const { groups } = data.analytics;
    const ids = groups.map(({ agent }: { agent: { id: string } }) => agent.id);
    expect(ids.sort()).toEqual([...agentIds].sort());
    expect(groups[0].campaign).toEqual({ name: 'Renewals' });
    expect(statements).toHaveLength(1);
    expect(statements[0]).not.toMatch(/system_prompt|extraction_schema|webhook/);
  });

  it('read what fields below the agents need, once for each selection', async () => {
    const document = `query ($range: AnalyticsRange!) {
      analytics(range: $range, groupBy: [AGENT]) {
        groups {
          agent { ...Named systemPrompt voice { name } }
          same: agent { ...Named calls(first: 1) { totalCount nodes { agent { id } } } }
        } } }
      fragment Named on Agent { id name }`;
    const { data, statements } = await reads('agents', document, { range });
    expect(data.analytics.groups).toHaveLength(2);
    for (const { agent, same } of data.analytics.groups) {
      expect(same).toEqual({
        id: agent.id,
        name: agent.name,
        calls: { totalCount: 4, nodes: [{ agent: { id: agent.id } }] },
      });
      expect(agent.systemPrompt).toEqual(expect.any(String));
    }
    expect(statements.length).toBeLessThanOrEqual(4);
  });
});

describe('fields of campaigns', () => {
  it('read the selected columns of folders, contacts and calls', async () => {
    const folder = await createFolder(server.client);
    const contact = await createContact(
      server.client,
      { folderId: folder, phoneNumber: '+14155550123' },
      'id phoneNumber',
    );
    const { campaign, contactIds } = await plant(
      server,
      server.organizationId,
      agentIds[0]!.slice(4),
      {
        contacts: 2,
        contactFolderId: folder.slice(4),
        contact: () => ({ contactId: contact.id.slice(4) }),
      },
    );
    const document = `query ($id: ID!) { campaign(id: $id) {
      contactFolder { name }
      contacts { nodes {
        contact { phoneNumber }
        call { status }
        decisions { nodes { call { endReason } } } } } } }`;
    const variables = { id: publicId('Campaign', campaign.id) };
    const calls = await reads('calls', document, variables);
    const { nodes } = calls.data.campaign.contacts;
    expect(nodes).toHaveLength(contactIds.length);
    expect(nodes[0]).toMatchObject({
      contact: { phoneNumber: contact.phoneNumber },
      call: { status: expect.any(String) },
    });
    expect(calls.data.campaign.contactFolder).toEqual({ name: expect.any(String) });
    // The latest calls are found by one statement, and those of decisions read by another.
    expect(calls.statements).toHaveLength(3);
    for (const text of calls.statements) expect(text).not.toMatch(/metadata|variables|settings/);
    const contacts = await reads('contacts', document, variables);
    expect(contacts.statements).toHaveLength(1);
    expect(contacts.statements[0]).not.toMatch(/custom_fields|fields/);
  });
});

describe('fields at the same path of objects of different types', () => {
  const answeredAt = new Date(Date.UTC(2026, 0, 1));
  const endedAt = new Date(Date.UTC(2026, 0, 1, 0, 0, 5));
  let ids: { agent: string; campaign: string; contact: string };

  beforeAll(async () => {
    const folder = await createFolder(server.client);
    const [agent, contact] = await Promise.all([
      newAgent(server, server.organizationId),
      createContact(
        server.client,
        { folderId: folder, phoneNumber: '+14155550124', email: 'a@example.com' },
        'id',
      ),
    ]);
    const { campaign, callIds } = await plant(server, server.organizationId, agent.uuid, {
      contacts: 1,
      contactFolderId: folder.slice(4),
      contact: () => ({ contactId: contact.id.slice(4) }),
    });
    await server.app.db.call.updateMany({
      where: { id: { in: callIds } },
      data: { answeredAt, endedAt },
    });
    ids = {
      agent: agent.id,
      campaign: publicId('Campaign', campaign.id),
      contact: contact.id,
    };
  });

  /** The campaign contacts of the calls of an agent and of a campaign, with other fields for each of them. */
  async function readBoth(ofAgent: string, ofCampaign: string, order: 'agent' | 'campaign') {
    const to = (fields: string) => `calls(first: 1) { nodes { campaignContact { ${fields} } } }`;
    const document = `query ($ids: [ID!]!) { nodes(ids: $ids) {
      ... on Agent { ${to(ofAgent)} } ... on Campaign { ${to(ofCampaign)} } } }`;
    const both = [ids.agent, ids.campaign];
    const given = order === 'agent' ? both : both.toReversed();
    const { nodes } = (await reads('calls', document, { ids: given })).data;
    const shown = nodes.map(
      ({ calls }: { calls: { nodes: [{ campaignContact: object }] } }) =>
        calls.nodes[0].campaignContact,
    );
    return order === 'agent' ? shown : shown.toReversed();
  }

  const ORDERS = ['agent', 'campaign'] as const;

  it.each(
    ORDERS,
  )('read the columns that are selected for each of them: %s first', async (order) => {
    const found = await readBoth('contact { id }', 'contact { phoneNumber email }', order);
    expect(found).toEqual([
      { contact: { id: ids.contact } },
      { contact: { phoneNumber: '+14155550124', email: 'a@example.com' } },
    ]);
  });

  it.each(ORDERS)('show values in the form that each of them needs: %s first', async (order) => {
    const found = await readBoth('call { answeredAt endedAt }', 'call { durationSeconds }', order);
    expect(found).toEqual([
      { call: { answeredAt: answeredAt.toISOString(), endedAt: endedAt.toISOString() } },
      { call: { durationSeconds: 5 } },
    ]);
  });

  it.each(ORDERS)('have the arguments that are given for each of them: %s first', async (order) => {
    const page = (filter: string) =>
      `some: calls(filter: { ${filter} }) { nodes { direction } }
       first: calls(first: 1, filter: { ${filter} }) { totalCount nodes { direction } pageInfo { hasNextPage } }`;
    const found = await readBoth(page('direction: INBOUND'), page('direction: OUTBOUND'), order);
    const outbound = { direction: 'OUTBOUND' };
    expect(found).toEqual([
      {
        some: { nodes: [] },
        first: { totalCount: 0, nodes: [], pageInfo: { hasNextPage: false } },
      },
      {
        some: { nodes: [outbound, outbound] },
        first: { totalCount: 2, nodes: [outbound], pageInfo: { hasNextPage: true } },
      },
    ]);
  });
});

describe('node and nodes', () => {
  const NODES = `query ($ids: [ID!]!) { nodes(ids: $ids) {
    id ... on Agent { name } ... on Call { status agent { name } } } }`;

  it('read the selected columns with one statement for each type, however many objects there are', async () => {
    const calls = await server.app.db.call.findMany({ take: 3 });
    const ids = [...agentIds, ...calls.map(({ id }) => publicId('Call', id))];
    const some = [ids[4]!, ids[0]!, ids[1]!, ids[2]!];
    const read = await reads('calls', NODES, { ids: some });
    expect(read.data.nodes.map(({ id }: { id: string }) => id)).toEqual(some);
    expect(read.data.nodes[0]).toEqual({
      id: some[0],
      status: calls[2]!.status,
      agent: { name: expect.any(String) },
    });
    expect(read.statements).toHaveLength(1);
    expect(read.statements[0]).not.toMatch(/metadata|variables|settings/);
    const all = [...ids, ...ids, publicId('Call', randomUUID()), publicId('Agent', calls[0]!.id)];
    const more = await reads('calls', NODES, { ids: all });
    expect(more.data.nodes.map((node: { id: string } | null) => node?.id ?? null)).toEqual([
      ...ids,
      ...ids,
      null,
      null,
    ]);
    expect(more.statements).toEqual(read.statements);
    const agents = await reads('agents', NODES, { ids: agentIds });
    expect(agents.statements).toHaveLength(1);
  });
});

describe('fields computed from a related row', () => {
  it('read only its selected columns, with the statement of the calls', async () => {
    const document = '{ calls { nodes { id outcome { success } } } }';
    const { data, statements } = await reads('calls', document);
    expect(data.calls.nodes.length).toBeGreaterThan(0);
    expect(statements).toHaveLength(1);
    expect(statements[0]).toMatch(/call_analyses/);
    expect(statements[0]).not.toMatch(/extracted_data|model|tokens/);
  });

  it.each([
    ['Call', 'attempt'],
    ['Call', 'outcome'],
    ['WebhookDelivery', 'eventType'],
  ])('show it without a resolver: %s.%s', (type, field) => {
    const { resolve } = (schema.getType(type) as GraphQLObjectType).getFields()[field]!;
    expect(loadedField(resolve)).not.toBeNull();
  });
});
