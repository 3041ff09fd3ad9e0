/** For each mutation, an input with new objects with which it succeeds. */
import { importFile } from '../contacts/import/upload.ts';
import type { Caller } from '../support/calling.ts';
import type { TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

export interface Materials {
  server: TestServer;
  caller: Caller;
  /** Runs a mutation and returns its payload. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the mutation returns
  make(name: string, input: Record<string, unknown>, fields: string): Promise<any>;
}

interface MutationCase {
  input: (materials: Materials) => object | Promise<object>;
  /** What a repetition does after a crash, if it does not return the same. */
  afterCrash?: 'counts what was left to do';
  /** Set if it signs a link or token, another one for each request. */
  changesNothing?: true;
}

let made = 0;
const number = () => {
  made += 1;
  return `+1415667${made + 1000}`;
};

const agent = async ({ make, caller }: Materials, more: object = {}): Promise<string> =>
  (await make('createAgent', agentInput(caller, more), 'agent { id }')).agent.id;
const agentInput = ({ voiceId }: Caller, more: object = {}) => ({
  name: 'Ada',
  systemPrompt: 'You are Ada.',
  voiceId,
  ...more,
});
const folder = async ({ make }: Materials): Promise<string> =>
  (await make('createContactFolder', { name: 'Leads' }, 'contactFolder { id }')).contactFolder.id;
const contact = async (materials: Materials): Promise<string> => {
  const input = { folderId: await folder(materials), phoneNumber: number() };
  return (await materials.make('createContact', input, 'contact { id }')).contact.id;
};
const sip = () => ({
  phoneNumber: number(),
  provider: { sip: { server: 'sip.example.com', username: 'desk', password: 'secret' } },
});
const phoneNumber = async ({ make }: Materials): Promise<string> =>
  (await make('importPhoneNumber', sip(), 'phoneNumber { id }')).phoneNumber.id;
const draftInput = ({ agentId }: Caller) => ({
  name: 'Calls',
  agentId,
  contacts: [{ phoneNumber: number() }],
});
const campaign = async ({ make, caller }: Materials, more: object = {}): Promise<string> => {
  const input = { ...draftInput(caller), ...more };
  return (await make('createCampaign', input, 'campaign { id }')).campaign.id;
};
/** Far enough ahead that nothing happens to the campaign by itself. */
const scheduledAt = () => new Date(Date.now() + 7 * 86_400_000).toISOString();
const scheduled = (materials: Materials) => campaign(materials, { scheduledAt: scheduledAt() });
const paused = async (materials: Materials): Promise<string> => {
  const id = await campaign(materials, {
    scheduleType: 'IMMEDIATE',
    startTime: '00:00',
    endTime: '00:01',
  });
  await materials.make('pauseCampaign', { id }, 'campaign { id }');
  return id;
};
const call = async ({ caller, make }: Materials, metadata: object = {}): Promise<string> => {
  const input = { agentId: caller.agentId, phoneNumber: '+14155550142', metadata };
  return (await make('createCall', input, 'call { id }')).call.id;
};
const endedCall = async (materials: Materials, metadata: object = {}): Promise<string> => {
  const id = await call(materials, metadata);
  const { db } = materials.server.app;
  await materials.make('endCall', { id }, 'call { id }');
  const where = { id: id.slice(4) };
  await until('the end of the call', async () => {
    return (await db.call.findUniqueOrThrow({ where })).endedAt;
  });
  // Only answered calls can be analyzed.
  await db.call.update({ where, data: { answeredAt: new Date() } });
  return id;
};
const markedCall = async (materials: Materials): Promise<string> => {
  made += 1;
  await endedCall(materials, { case: `case ${made}` });
  return `case ${made}`;
};
const base = async ({ make }: Materials): Promise<string> =>
  (await make('createKnowledgeBase', { name: 'Base' }, 'knowledgeBase { id }')).knowledgeBase.id;
const web = (knowledgeBaseId: string) => ({
  knowledgeBaseId,
  name: 'Site',
  urls: ['https://docs.example.com'],
});
const toolInput = () => {
  made += 1;
  return {
    name: `Tool ${made}`,
    description: 'Looks up',
    http: { url: 'https://tools.example.com/a', method: 'GET' },
  };
};
const tool = async ({ make }: Materials): Promise<string> =>
  (await make('createTool', toolInput(), 'tool { id }')).tool.id;
const voiceInput = () => {
  made += 1;
  return { name: `Voice ${made}`, provider: 'ELEVEN_LABS', providerVoiceId: `voice-${made}` };
};
const voice = async ({ make }: Materials): Promise<string> =>
  (await make('createVoice', voiceInput(), 'voice { id }')).voice.id;
const HOOK = { url: 'https://hooks.example.com/truedy' };
const endpoint = async ({ make }: Materials): Promise<string> =>
  (await make('createWebhookEndpoint', HOOK, 'webhookEndpoint { id }')).webhookEndpoint.id;
const listed = async ({ make }: Materials): Promise<string> => {
  const entry = { phoneNumber: number() };
  await make('addToDoNotCall', { entries: [entry] }, 'addedCount');
  return entry.phoneNumber;
};
const byId = (prepare: (materials: Materials) => Promise<string>) => async (m: Materials) => ({
  id: await prepare(m),
});

export const INPUTS: Record<string, MutationCase> = {
  addCampaignContacts: {
    input: async (m) => ({ campaignId: await campaign(m), contacts: [{ phoneNumber: number() }] }),
  },
  addDocumentSource: {
    input: async (m) => ({
      knowledgeBaseId: await base(m),
      name: 'Notes',
      filename: 'notes.txt',
      content: Buffer.from('Open from nine to five.').toString('base64'),
    }),
  },
  addToDoNotCall: {
    input: () => ({ entries: [{ phoneNumber: number() }] }),
  },
  addWebSource: { input: async (m) => web(await base(m)) },
  analyzeCall: { input: byId((m) => endedCall(m)) },
  analyzeCalls: { input: async (m) => ({ filter: { metadata: { case: await markedCall(m) } } }) },
  assignPhoneNumber: {
    input: async (m) => ({
      id: await phoneNumber(m),
      agentId: await agent(m),
      direction: 'OUTBOUND',
    }),
  },
  cancelCampaign: { input: byId(scheduled) },
  cancelContactImport: {
    input: async (m) => {
      const { id } = await importFile(m.server, 'phone\n', { folderId: await folder(m) });
      await m.server.app.db.contactImport.update({
        where: { id: id.slice(4) },
        data: { status: 'RUNNING' },
      });
      return { id };
    },
  },
  createAccessToken: { input: () => ({}), changesNothing: true },
  createAgent: { input: ({ caller }) => agentInput(caller) },
  createApiKey: { input: () => ({ name: 'Reader', scopes: ['READ'] }) },
  createCall: { input: ({ caller }) => ({ agentId: caller.agentId, phoneNumber: '+14155550142' }) },
  createCampaign: { input: ({ caller }) => draftInput(caller) },
  createContact: {
    input: async (m) => ({ folderId: await folder(m), phoneNumber: number() }),
  },
  createContactFolder: { input: () => ({ name: 'Leads' }) },
  createContacts: {
    input: async (m) => ({ folderId: await folder(m), contacts: [{ phoneNumber: number() }] }),
  },
  createKnowledgeBase: { input: () => ({ name: 'Base' }) },
  createTool: { input: () => toolInput() },
  createVoice: { input: () => voiceInput() },
  createWebhookEndpoint: { input: () => HOOK },
  deleteAgent: { input: byId(agent) },
  deleteCalls: { input: async (m) => ({ ids: [await endedCall(m)] }) },
  deleteCampaigns: { input: async (m) => ({ ids: [await campaign(m)] }) },
  deleteContactFolder: { input: byId(folder) },
  deleteContacts: {
    input: async (m) => ({ contacts: { ids: [await contact(m)] } }),
  },
  deleteKnowledgeBase: { input: byId(base) },
  deleteKnowledgeSource: {
    input: async (m) => {
      const { knowledgeSource } = await m.make(
        'addWebSource',
        web(await base(m)),
        'knowledgeSource { id }',
      );
      return { id: knowledgeSource.id };
    },
  },
  deleteTool: { input: byId(tool) },
  deleteVoice: { input: byId(voice) },
  deleteWebhookEndpoint: { input: byId(endpoint) },
  endCall: { input: byId((m) => call(m)) },
  exportCalls: { input: () => ({}), changesNothing: true },
  exportCampaignContacts: {
    input: async (m) => ({ campaignId: await campaign(m) }),
    changesNothing: true,
  },
  exportContacts: { input: () => ({}), changesNothing: true },
  importContacts: {
    input: async (m) => ({ folderId: await folder(m), file: `phone\n${number()}\n` }),
  },
  importDoNotCall: {
    input: () => ({ file: `phone\n${number()}\n` }),
    afterCrash: 'counts what was left to do',
  },
  importPhoneNumber: { input: () => sip() },
  moveContacts: {
    input: async (m) => ({ contacts: { ids: [await contact(m)] }, folderId: await folder(m) }),
  },
  pauseCampaign: { input: byId(scheduled) },
  releasePhoneNumber: { input: byId(phoneNumber) },
  removeFromDoNotCall: {
    input: async (m) => ({ phoneNumbers: [await listed(m)] }),
  },
  replaceAgent: { input: async (m) => ({ ...agentInput(m.caller), id: await agent(m) }) },
  replayFailedWebhooks: { input: async (m) => ({ endpointId: await endpoint(m) }) },
  replayWebhookDelivery: {
    input: async (m) => {
      const input = { id: await endpoint(m) };
      const sent = await m.make('sendTestWebhook', input, 'webhookDelivery { id }');
      return { id: sent.webhookDelivery.id };
    },
  },
  replayWebhookEvents: { input: async (m) => ({ endpointId: await endpoint(m), after: '0' }) },
  resumeCampaign: { input: byId(paused) },
  retryAgentSync: { input: byId(agent) },
  revokeApiKey: {
    input: async (m) => {
      const input = { name: 'Old', scopes: ['READ'] };
      return { id: (await m.make('createApiKey', input, 'apiKey { id }')).apiKey.id };
    },
  },
  rotateWebhookSecret: { input: byId(endpoint) },
  scheduleCampaign: {
    input: async (m) => ({ id: await campaign(m), scheduledAt: scheduledAt() }),
  },
  sendTestWebhook: { input: byId(endpoint) },
  startTestCall: { input: ({ caller }) => ({ agentId: caller.agentId }) },
  unassignPhoneNumber: {
    input: async (m) => {
      const id = await phoneNumber(m);
      const input = { id, agentId: await agent(m), direction: 'OUTBOUND' };
      await m.make('assignPhoneNumber', input, 'phoneNumber { id }');
      return { id, direction: 'OUTBOUND' };
    },
  },
  updateAgent: { input: async (m) => ({ id: await agent(m), name: 'Grace' }) },
  updateCampaign: { input: async (m) => ({ id: await campaign(m), name: 'Other' }) },
  updateContact: { input: async (m) => ({ id: await contact(m), firstName: 'Ada' }) },
  updateContactFolder: { input: async (m) => ({ id: await folder(m), name: 'Other' }) },
  updateKnowledgeBase: { input: async (m) => ({ id: await base(m), name: 'Other' }) },
  updateOrganization: { input: () => ({ addDoNotCallRequests: true }) },
  updatePhoneNumber: { input: async (m) => ({ id: await phoneNumber(m), name: 'Desk' }) },
  updateTool: { input: async (m) => ({ id: await tool(m), description: 'Other' }) },
  updateVoice: { input: async (m) => ({ id: await voice(m), name: 'Other' }) },
  updateWebhookEndpoint: { input: async (m) => ({ id: await endpoint(m), description: 'Other' }) },
};
