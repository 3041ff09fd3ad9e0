/** An organization with one object of every type, whose texts all contain a mark. */
import { expect } from 'vitest';
import { importFile } from '../contacts/import/upload.ts';
import type { TestServer } from './servers/server.ts';
import { until } from './wait.ts';

/**
 * Creates an object of every type that has IDs, in the first organization of the server.
 *
 * @returns an ID of each type. Each text of the objects contains `mark`; addresses contain it in lower case.
 */
export async function createOneOfEach(
  server: TestServer,
  mark: string,
): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  ids.Organization = `org_${server.organizationId}`;
  const keys = await owned(
    server,
    'mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } userErrors { message } } }',
    { input: { name: `${mark} key`, scopes: ['READ'] } },
  );
  ids.ApiKey = keys.apiKey.id;
  const voices = await owned(server, '{ voices(first: 1) { nodes { id } } }');
  ids.Voice = voices.nodes[0].id;
  const tool = await owned(
    server,
    'mutation($input: CreateToolInput!) { createTool(input: $input) { tool { id } userErrors { message path } } }',
    {
      input: {
        name: `${mark} tool`,
        description: `${mark} lookup`,
        http: { url: `https://${mark.toLowerCase()}.example.com/lookup`, method: 'GET' },
      },
    },
  );
  ids.Tool = tool.tool.id;
  const base = await owned(
    server,
    'mutation($input: CreateKnowledgeBaseInput!) { createKnowledgeBase(input: $input) { knowledgeBase { id } userErrors { message } } }',
    { input: { name: `${mark} base` } },
  );
  ids.KnowledgeBase = base.knowledgeBase.id;
  const source = await owned(
    server,
    'mutation($input: AddWebSourceInput!) { addWebSource(input: $input) { knowledgeSource { id } userErrors { message path } } }',
    {
      input: {
        knowledgeBaseId: ids.KnowledgeBase,
        name: `${mark} site`,
        urls: [`https://${mark.toLowerCase()}.example.com`],
      },
    },
  );
  ids.KnowledgeSource = source.knowledgeSource.id;
  const agent = await owned(
    server,
    'mutation($input: CreateAgentInput!) { createAgent(input: $input) { agent { id status syncError } userErrors { message path } } }',
    {
      input: {
        name: `${mark} agent`,
        voiceId: ids.Voice,
        systemPrompt: `You are ${mark}.`,
        toolIds: [ids.Tool],
        knowledgeBaseIds: [ids.KnowledgeBase],
      },
    },
  );
  ids.Agent = agent.agent.id;
  await until('the agent to be active', async () => {
    const found = await owned(server, 'query($id: ID!) { agent(id: $id) { status } }', {
      id: ids.Agent,
    });
    return found.status === 'ACTIVE';
  });
  const number = await owned(
    server,
    'mutation($input: ImportPhoneNumberInput!) { importPhoneNumber(input: $input) { phoneNumber { id } userErrors { message path } } }',
    {
      input: {
        phoneNumber: '+14155550177',
        name: `${mark} desk`,
        provider: {
          sip: {
            server: 'sip.example.com',
            username: `${mark.toLowerCase()}`,
            password: `${mark.toLowerCase()}-secret`,
          },
        },
      },
    },
  );
  ids.PhoneNumber = number.phoneNumber.id;
  await owned(
    server,
    'mutation($input: AssignPhoneNumberInput!) { assignPhoneNumber(input: $input) { userErrors { message } } }',
    { input: { id: ids.PhoneNumber, agentId: ids.Agent, direction: 'OUTBOUND' } },
  );
  const call = await owned(
    server,
    'mutation($input: CreateCallInput!) { createCall(input: $input) { call { id } userErrors { message path } } }',
    { input: { agentId: ids.Agent, phoneNumber: '+14155550142', metadata: { where: mark } } },
  );
  ids.Call = call.call.id;
  await addContacts(server, mark, ids);
  await addWebhooks(server, mark, ids);
  return ids;
}

async function addWebhooks(
  server: TestServer,
  mark: string,
  ids: Record<string, string>,
): Promise<void> {
  const endpoint = await owned(
    server,
    `mutation($input: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $input) {
      webhookEndpoint { id } userErrors { message path } } }`,
    { input: { url: `https://${mark.toLowerCase()}.example.com/hook`, description: mark } },
  );
  ids.WebhookEndpoint = endpoint.webhookEndpoint.id;
  const delivery = await owned(
    server,
    `mutation($input: SendTestWebhookInput!) { sendTestWebhook(input: $input) {
      webhookDelivery { id } userErrors { message } } }`,
    { input: { id: ids.WebhookEndpoint } },
  );
  ids.WebhookDelivery = delivery.webhookDelivery.id;
}

async function addContacts(
  server: TestServer,
  mark: string,
  ids: Record<string, string>,
): Promise<void> {
  const folder = await owned(
    server,
    'mutation($input: CreateContactFolderInput!) { createContactFolder(input: $input) { contactFolder { id } userErrors { message } } }',
    { input: { name: `${mark} folder` } },
  );
  ids.ContactFolder = folder.contactFolder.id;
  const contact = await owned(
    server,
    'mutation($input: CreateContactInput!) { createContact(input: $input) { contact { id } userErrors { message } } }',
    {
      input: { folderId: ids.ContactFolder, phoneNumber: '+14155550143', lastName: mark },
    },
  );
  ids.Contact = contact.contact.id;
  await owned(
    server,
    'mutation($input: AddToDoNotCallInput!) { addToDoNotCall(input: $input) { userErrors { message } } }',
    { input: { entries: [{ phoneNumber: '+14155550199', reason: mark }] } },
  );
  const imported = await importFile(server, `phone,name\n+14155550144,${mark}\nnone,${mark}\n`, {
    folderId: ids.ContactFolder,
  });
  ids.ContactImport = imported.id;
  const campaign = await owned(
    server,
    `mutation($input: CreateCampaignInput!) { createCampaign(input: $input) {
      campaign { id contacts { nodes { id } } } userErrors { message path } } }`,
    {
      input: {
        name: `${mark} campaign`,
        agentId: ids.Agent,
        phoneNumberIds: [ids.PhoneNumber],
        contacts: [{ phoneNumber: '+14155550146', lastName: mark, metadata: { where: mark } }],
      },
    },
  );
  ids.Campaign = campaign.campaign.id;
  ids.CampaignContact = campaign.campaign.contacts.nodes[0].id;
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the document asked for
async function owned(server: TestServer, document: string, variables?: unknown): Promise<any> {
  const answer = await server.client.send(document, variables);
  expect(answer.errors).toBeUndefined();
  const [payload] = Object.values(answer.data) as { userErrors?: unknown[] }[];
  expect(payload?.userErrors ?? []).toEqual([]);
  return payload;
}
