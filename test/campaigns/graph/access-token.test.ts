/** Access tokens for one campaign, or for one of its calls. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { dataOf, uuidOf } from '../../calls/support.ts';
import { newAgent } from '../../phone-numbers/support.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { plant } from './graph-support.ts';

let server: TestServer;
let agentId: string;
let campaign: Awaited<ReturnType<typeof plant>>;
let other: Awaited<ReturnType<typeof plant>>;
let numberId: string;
let contactId: string;
let token: string;
let browser: GraphQLClient;

beforeAll(async () => {
  server = await startTestServer();
  agentId = (await newAgent(server, server.organizationId)).uuid;
  const { db } = server.app;
  const own = { organizationId: server.organizationId };
  const folder = await db.contactFolder.create({ data: { id: newId(), ...own, name: 'Secret' } });
  contactId = newId();
  await db.contact.create({
    data: {
      id: contactId,
      ...own,
      folderId: folder.id,
      phoneNumber: '+14155001234',
      searchText: '',
    },
  });
  const number = await db.phoneNumber.create({
    data: {
      ...{ id: newId(), ...own, phoneNumber: '+14155001235', provider: 'SIP' },
      ...{ sipServer: 'trunk.example.com', sipUsername: 'desk' },
    },
  });
  numberId = number.id;
  campaign = await plant(server, server.organizationId, agentId, {
    contactFolderId: folder.id,
    contact: () => ({ contactId }),
  });
  other = await plant(server, server.organizationId, agentId);
  await db.campaignPhoneNumber.create({
    data: { ...own, campaignId: campaign.campaign.id, phoneNumberId: number.id, position: 0 },
  });
  const made = await read(
    'mutation ($id: ID!) { createAccessToken(input: { campaignId: $id }) { accessToken userErrors { code } } }',
    { id: cmp(campaign.campaign.id) },
  );
  expect(made.createAccessToken.userErrors).toEqual([]);
  token = made.createAccessToken.accessToken;
  browser = createClient(server.url, token);
});

afterAll(() => server.close());

const cmp = (id: string) => publicId('Campaign', id);

async function read(document: string, variables: object = {}, client = server.client) {
  return dataOf(await client.send(document, variables));
}

/** Fields about the whole organization, in objects that limited tokens can read. */
const OF_THE_ORGANIZATION = {
  PhoneNumber: ['sipServer', 'sipUsername', 'status', 'syncError', 'inboundAddress'],
  Organization: ['allowPremiumNumbers', 'addDoNotCallRequests'],
};

/** Asks for each of these fields alone. */
async function expectDenied(client: GraphQLClient): Promise<void> {
  const number = publicId('PhoneNumber', numberId);
  for (const field of OF_THE_ORGANIZATION.PhoneNumber) {
    const document = `query ($id: ID!) { node(id: $id) { ... on PhoneNumber { ${field} } } }`;
    expect(await read(document, { id: number })).not.toEqual({ node: null });
    expect(await codesOf(client, document, { id: number }), field).toContain('FORBIDDEN');
  }
  for (const field of OF_THE_ORGANIZATION.Organization) {
    for (const document of [
      `{ organization { ${field} } }`,
      `{ viewer { organization { ${field} } } }`,
    ]) {
      expect(await read(document)).toEqual(expect.anything());
      expect(await codesOf(client, document), field).toContain('FORBIDDEN');
    }
  }
}

async function codesOf(client: GraphQLClient, document: string, variables: object = {}) {
  const { errors, data } = await client.send(document, variables);
  expect(JSON.stringify(data ?? null)).not.toMatch(/trunk|desk|false|ACTIVE/);
  return errors?.map(({ extensions }) => extensions.code) ?? [];
}

/** What a subscription to events of an agent first sends: a comment, or its errors. */
async function firstOfWatching(key: string, agent: string): Promise<string> {
  const query = `subscription { callEvents(agentId: "${agent}") { callId } }`;
  const response = await fetch(`${server.url}/graphql`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      accept: 'text/event-stream',
      'content-type': 'application/json',
    },
    body: JSON.stringify({ query }),
  });
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

async function expectNoSignOfAgents(key: string): Promise<void> {
  const missing = publicId('Agent', newId());
  expect(await firstOfWatching(server.key, missing)).toContain('not found');
  const first = await firstOfWatching(key, publicId('Agent', agentId));
  expect(first).not.toContain('errors');
  expect(await firstOfWatching(key, missing)).toBe(first);
}

describe('an access token for one campaign', () => {
  it('reads the campaign, its contacts, calls, events and numbers', async () => {
    const data = await read(
      `query ($id: ID!, $call: ID!) {
        eventCursor
        campaign(id: $id) {
          name phoneNumbers { phoneNumber calls { totalCount } } decisions { totalCount }
          contacts { totalCount nodes { phoneNumber calls { totalCount } call { id } decisions { totalCount } } }
          calls { totalCount nodes { id campaign { id } campaignContact { id } events { totalCount } } }
        }
        call(id: $call) { id attempt }
      }`,
      { id: cmp(campaign.campaign.id), call: publicId('Call', campaign.callIds[0]!) },
      browser,
    );
    expect(data.campaign).toMatchObject({
      name: 'Renewals',
      phoneNumbers: [{ phoneNumber: '+14155001235', calls: { totalCount: 0 } }],
      contacts: { totalCount: 3 },
      calls: { totalCount: 6 },
    });
    expect(data.call).toEqual({ id: publicId('Call', campaign.callIds[0]!), attempt: 1 });
  });

  it('sees no other campaign, contact, call or number', async () => {
    const another = await server.app.db.phoneNumber.create({
      data: {
        id: newId(),
        organizationId: server.organizationId,
        phoneNumber: '+14155001236',
        provider: 'SIP',
      },
    });
    const ids = [
      cmp(other.campaign.id),
      publicId('CampaignContact', other.contactIds[0]!),
      publicId('Call', other.callIds[0]!),
      publicId('PhoneNumber', another.id),
    ];
    const data = await read(
      `query ($ids: [ID!]!, $campaign: ID!, $call: ID!) {
        nodes(ids: $ids) { id } campaign(id: $campaign) { id } call(id: $call) { id } }`,
      { ids, campaign: ids[0], call: ids[2] },
      browser,
    );
    expect(data).toEqual({ nodes: [null, null, null, null], campaign: null, call: null });
    const calls = await read(
      `query ($id: ID!, $other: ID!, $number: ID!) {
        campaign(id: $id) { calls(filter: { campaignId: $other }) { totalCount nodes { id } } }
        node(id: $number) { ... on PhoneNumber { calls(filter: { campaignId: $other }) { totalCount } } } }`,
      {
        id: cmp(campaign.campaign.id),
        other: cmp(other.campaign.id),
        number: publicId('PhoneNumber', numberId),
      },
      browser,
    );
    expect(calls.campaign.calls).toEqual({ totalCount: 0, nodes: [] });
    expect(calls.node.calls.totalCount).toBe(0);
  });

  it.each([
    '{ calls { nodes { id } } }',
    '{ campaigns { nodes { id } } }',
    '{ contacts { nodes { id } } }',
    '{ agents { nodes { id } } }',
    '{ phoneNumbers { nodes { id } } }',
    '{ campaignForecast(input: { contactCount: 1 }) { fits } }',
    'query ($id: ID!) { campaign(id: $id) { agent { systemPrompt } } }',
    'query ($id: ID!) { campaign(id: $id) { contactFolder { name } } }',
    'query ($id: ID!) { campaign(id: $id) { forecast { fits } } }',
    'query ($id: ID!) { campaign(id: $id) { contacts { nodes { contact { id } } } } }',
    'query ($id: ID!) { campaign(id: $id) { calls { nodes { agent { systemPrompt } } } } }',
    'query ($id: ID!) { campaign(id: $id) { phoneNumbers { outboundAgent { name } } } }',
    'mutation ($id: ID!) { cancelCampaign(input: { id: $id }) { campaign { id } } }',
    'mutation ($id: ID!) { createAccessToken(input: { campaignId: $id }) { accessToken } }',
  ])('is denied %s', async (document) => {
    const answer = await browser.send(document, {
      id: cmp(campaign.campaign.id),
      contact: publicId('Contact', contactId),
      agent: publicId('Agent', agentId),
    });
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toContain('FORBIDDEN');
    expect(JSON.stringify(answer.data ?? null)).not.toMatch(/Secret|14155001234|"Agent"|brief/);
  });

  it('gets null from node for a contact and the agent of nothing that it sees', async () => {
    const stranger = await newAgent(server, server.organizationId);
    const answer = await browser.send(
      'query ($contact: ID!, $agent: ID!) { contact: node(id: $contact) { id } agent: node(id: $agent) { id } }',
      { contact: publicId('Contact', contactId), agent: stranger.id },
    );
    expect(answer.errors).toBeUndefined();
    expect(answer.data).toEqual({ contact: null, agent: null });
  });

  it('receives only events of calls of the campaign, whatever its arguments', async () => {
    const { db } = server.app;
    const { organizationId } = server;
    const from = (await read('{ eventCursor }')).eventCursor as string;
    const { appendEvents, announceEvents } = await import('../../../src/live/log.ts');
    const append = async (planted: typeof campaign) => {
      const call = {
        type: 'CALL_BILLED' as const,
        callId: planted.callIds[0]!,
        agentId,
        campaignId: planted.campaign.id,
        data: { status: 'FAILED', endReason: 'NO_ANSWER' },
        at: new Date(),
      };
      await db.$transaction((tx) => appendEvents(tx, organizationId, [call]));
      announceEvents(server.app, organizationId);
    };
    await append(other);
    await append(campaign);
    const mine = publicId('Call', campaign.callIds[0]!);
    const socket = openSocket(server.url, token);
    const firstEvent = async (args: string) => {
      const results = socket.iterate<{ callEvents: { callId: string } }>({
        query: `subscription { callEvents(after: "${from}"${args}) { callId type } }`,
      });
      const first = await results.next();
      await results.return?.();
      return first.value;
    };
    expect((await firstEvent('')).data.callEvents.callId).toBe(mine);
    expect(
      (await firstEvent(`, campaignId: "${cmp(campaign.campaign.id)}"`)).data.callEvents.callId,
    ).toBe(mine);
    expect(
      (await firstEvent(`, agentId: "${publicId('Agent', agentId)}"`)).data.callEvents.callId,
    ).toBe(mine);
    const refused = [{ extensions: { code: 'BAD_USER_INPUT' } }];
    for (const args of [
      `, campaignId: "${cmp(other.campaign.id)}"`,
      `, callId: "${publicId('Call', other.callIds[0]!)}"`,
    ]) {
      await expect(firstEvent(args)).rejects.toMatchObject(refused);
    }
    const progress = socket.iterate<{ campaignProgress: { id: string } }>({
      query: `subscription { campaignProgress(campaignId: "${cmp(other.campaign.id)}") { id } }`,
    });
    await expect(progress.next()).rejects.toMatchObject(refused);
    await socket.dispose();
  });

  it('is denied what concerns the whole organization', () => expectDenied(browser));

  it('cannot tell which agents exist', () => expectNoSignOfAgents(token));

  it('cannot be created for an unknown campaign, or for a campaign and a call', async () => {
    const create = async (input: object) => {
      const answer = await read(
        'mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { accessToken userErrors { code path } } }',
        { input },
      );
      return answer.createAccessToken;
    };
    expect(await create({ campaignId: cmp(newId()) })).toEqual({
      accessToken: null,
      userErrors: [{ code: 'NOT_FOUND', path: ['campaignId'] }],
    });
    const both = {
      campaignId: cmp(campaign.campaign.id),
      callId: publicId('Call', campaign.callIds[0]!),
    };
    expect((await create(both)).userErrors).toEqual([
      { code: 'INVALID_INPUT', path: ['campaignId'] },
    ]);
  });
});

describe('an access token for one call', () => {
  it('reads the attempt of the call, and nothing of the campaign', async () => {
    const id = publicId('Call', campaign.callIds[0]!);
    const made = await read(
      'mutation ($id: ID!) { createAccessToken(input: { callId: $id }) { accessToken } }',
      { id },
    );
    const { accessToken } = made.createAccessToken;
    const narrow = createClient(server.url, accessToken);
    expect(await read('query ($id: ID!) { call(id: $id) { attempt } }', { id }, narrow)).toEqual({
      call: { attempt: 1 },
    });
    for (const document of [
      'query ($id: ID!) { call(id: $id) { campaign { name } } }',
      'query ($id: ID!) { call(id: $id) { campaignContact { phoneNumber } } }',
      'query ($campaign: ID!) { campaign(id: $campaign) { name } }',
    ]) {
      const answer = await narrow.send(document, { id, campaign: cmp(campaign.campaign.id) });
      expect(answer.errors?.map(({ extensions }) => extensions.code)).toContain('FORBIDDEN');
      expect(JSON.stringify(answer.data ?? null)).not.toMatch(/Renewals|\+1415/);
    }
    expect(uuidOf(id)).toBe(campaign.callIds[0]);
    const where = { id: uuidOf(id) };
    await server.app.db.call.update({ where, data: { phoneNumberId: numberId } });
    await expectDenied(narrow);
    await expectNoSignOfAgents(accessToken);
  });
});
