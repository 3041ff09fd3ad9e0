import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { atSimulator } from '../calls/support.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import { importFile } from './import/upload.ts';
import { attempt, brief, createContact, createFolder, refusals } from './support.ts';

let server: TestServer;
let client: GraphQLClient;
let key: string;
let caller: Caller;
let folderId: string;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  ({ client, key } = await server.newOrganization());
  caller = await prepareCaller(client);
  folderId = await createFolder(client);
});

const PREMIUM = '+19005551234';

function allow(allowPremiumNumbers: boolean) {
  return runMutation(
    client,
    'updateOrganization',
    { allowPremiumNumbers },
    'organization { allowPremiumNumbers }',
  );
}

function call(phoneNumber: string) {
  return attempt(
    client,
    'createCall',
    { agentId: caller.agentId, phoneNumber },
    'call { id toNumber }',
  );
}

describe('updateOrganization', () => {
  it('changes allowPremiumNumbers, which is false by default', async () => {
    const { data } = await client.send('{ organization { allowPremiumNumbers } }');
    expect(data.organization).toEqual({ allowPremiumNumbers: false });
    expect((await allow(true)).organization).toEqual({ allowPremiumNumbers: true });
    const nothing = await runMutation(client, 'updateOrganization', {}, 'organization { name }');
    expect(nothing.organization.name).toBeTruthy();
    const again = await client.send('{ organization { allowPremiumNumbers } }');
    expect(again.data.organization).toEqual({ allowPremiumNumbers: true });
    expect(
      brief(await refusals(client, 'updateOrganization', { allowPremiumNumbers: null })),
    ).toEqual(['REQUIRED allowPremiumNumbers']);
  });

  it('requires an ADMIN key', async () => {
    const { key: writer } = await runMutation(
      client,
      'createApiKey',
      { name: 'writer', scopes: ['WRITE'] },
      'key',
    );
    const answer = await createClient(server.url, writer).send(
      'mutation { updateOrganization(input: { allowPremiumNumbers: true }) { userErrors { code } } }',
    );
    expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});

describe('premium numbers', () => {
  it.each([
    PREMIUM,
    '+979123456789',
    '+882161234567',
    '+870773123456',
    '+449098790000',
  ])('are rejected by createCall and createContact: %s', async (phoneNumber) => {
    expect(brief((await call(phoneNumber)).userErrors)).toEqual(['PREMIUM_NUMBER phoneNumber']);
    expect(brief(await refusals(client, 'createContact', { folderId, phoneNumber }))).toEqual([
      'PREMIUM_NUMBER phoneNumber',
    ]);
  });

  it('are rejected in lists, files and updates, but can be on the do-not-call list', async () => {
    const contacts = [{ phoneNumber: PREMIUM }];
    expect(brief(await refusals(client, 'createContacts', { folderId, contacts }))).toEqual([
      'PREMIUM_NUMBER contacts.0.phoneNumber',
    ]);
    const { id } = await createContact(client, { folderId, phoneNumber: '+14155550123' });
    expect(brief(await refusals(client, 'updateContact', { id, phoneNumber: PREMIUM }))).toEqual([
      'PREMIUM_NUMBER phoneNumber',
    ]);
    const snapshot = await importFile({ url: server.url, key }, `phone\n${PREMIUM}\n`, {
      folderId,
    });
    expect(snapshot.problems.nodes).toEqual([
      { row: 1, phoneNumber: PREMIUM, reason: expect.stringContaining('premium-rate') },
    ]);
    const campaign = { name: 'Spring', agentId: caller.agentId, timezone: 'UTC', contacts };
    expect(brief(await refusals(client, 'createCampaign', campaign))).toEqual([
      'PREMIUM_NUMBER contacts.0.phoneNumber',
    ]);
    const entries = [{ phoneNumber: PREMIUM }];
    expect(await runMutation(client, 'addToDoNotCall', { entries }, 'addedCount')).toMatchObject({
      addedCount: 1,
    });
  });

  it.each([
    PREMIUM,
    '+882161234567',
    '+449098790000',
    `sip:${PREMIUM}@pstn.example.com`,
    `sips:${PREMIUM};user=phone@pstn.example.com`,
    'sip:+1-900-555-1234@pstn.example.com',
    'sip:19005551234:secret@pstn.example.com',
    'sip:%2B1900(555)1234@pstn.example.com',
    'sip:0019005551234@pstn.example.com',
    'sip:011882161234567@pstn.example.com',
  ])('are rejected as targets of transfers: %s', async (target) => {
    const builtInConfig = { transfer: { cold: true, target } };
    const path = ['builtInConfig', 'transfer', 'target'];
    const refused = [{ code: 'PREMIUM_NUMBER', path }];
    const input = { id: caller.agentId, builtInConfig };
    expect(await refusals(client, 'updateAgent', input)).toMatchObject(refused);
    await allow(true);
    const { agent } = await runMutation(
      client,
      'updateAgent',
      input,
      'agent { builtInConfig { transfer { target } } }',
    );
    expect(agent.builtInConfig.transfer.target).toBe(target);
  });

  it.each([
    'sip:+14155550123@pstn.example.com',
    'sip:4155550123@pstn.example.com',
    'sip:100%@example.com',
    'sip:1900@example.com',
    'sip:desk@19005551234.example.com',
  ])('are not found in other targets of transfers: %s', async (target) => {
    const builtInConfig = { transfer: { cold: true, target } };
    const input = { id: caller.agentId, builtInConfig };
    expect(await refusals(client, 'updateAgent', input)).toEqual([]);
  });

  it('cannot come from a placeholder in the target of a transfer', async () => {
    const builtInConfig = { transfer: { warm: true, target: 'sip:{{number}}@pstn.example.com' } };
    const input = { id: caller.agentId, builtInConfig };
    const refused = await refusals(client, 'updateAgent', input);
    expect(brief(refused)).toEqual(['INVALID_INPUT builtInConfig.transfer.target']);
    expect(refused).toMatchObject([{ message: '`target` cannot have placeholders.' }]);
  });

  it('cannot be forbidden while an agent transfers calls to them', async () => {
    await allow(true);
    const { agentId: id } = caller;
    const transferTo = (target: string) =>
      runMutation(
        client,
        'updateAgent',
        { id, builtInConfig: { transfer: { cold: true, target } } },
        'agent { id }',
      );
    for (const target of [PREMIUM, `sip:${PREMIUM}@pstn.example.com`]) {
      await transferTo(target);
      const refused = await attempt(
        client,
        'updateOrganization',
        { allowPremiumNumbers: false },
        'organization { id }',
      );
      expect(brief(refused.userErrors)).toEqual(['INVALID_STATE allowPremiumNumbers']);
      const { data } = await client.send('{ organization { allowPremiumNumbers } }');
      expect(data.organization).toEqual({ allowPremiumNumbers: true });
    }
    await transferTo('sip:desk@example.com');
    await allow(false);
  });

  it('are accepted once the organization allows them', async () => {
    await allow(true);
    expect(await call(PREMIUM)).toMatchObject({ call: { toNumber: PREMIUM }, userErrors: [] });
    await createContact(client, { folderId, phoneNumber: PREMIUM });
  });

  it('of a campaign are not dialed when the organization no longer allows them', async () => {
    await allow(true);
    await createContact(client, { folderId, phoneNumber: '+19005559876' });
    const { campaign } = await runMutation(
      client,
      'createCampaign',
      {
        name: 'Spring',
        agentId: caller.agentId,
        timezone: 'UTC',
        workingDays: [1, 2, 3, 4, 5, 6, 7],
        contactFolderId: folderId,
      },
      'campaign { id }',
    );
    await allow(false);
    await runMutation(client, 'scheduleCampaign', { id: campaign.id }, 'campaign { id }');
    const query = `query ($id: ID!) { campaign(id: $id) { status contacts { nodes { status attempts } } } calls(first: 5) { nodes { status endReason failure toNumber } } }`;
    const data = await until('the end of the campaign', async () => {
      const answer = await client.send(query, { id: campaign.id });
      return answer.data.campaign.status === 'COMPLETED' && answer.data;
    });
    expect(data.campaign.contacts.nodes).toMatchObject([{ status: 'FAILED' }]);
    expect(data.calls.nodes).toMatchObject([
      {
        status: 'FAILED',
        endReason: 'INVALID_NUMBER',
        failure: expect.stringContaining('premium'),
      },
    ]);
    const { body } = await atSimulator(server, 'GET', '/simulator/dials');
    expect(JSON.stringify(body)).not.toContain('9005559876');
  });
});
