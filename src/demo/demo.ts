/** Creates the demo organization of a start without settings, using the services. */
import { createAgent } from '../agents/service.ts';
import type { App } from '../app.ts';
import { createCall } from '../calls/service.ts';
import { createCampaign } from '../campaigns/service.ts';
import { createContactFolder } from '../contacts/folders.ts';
import { createContacts } from '../contacts/service.ts';
import {
  demoOrganizationId,
  isDemoDataMissing,
  recordDemoData,
  rememberDemoOrganization,
} from '../deployment/deployment.ts';
import { ConfigError, UserInputError } from '../errors.ts';
import type { Agent, Organization } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { newId } from '../infra/ids.ts';
import { createKnowledgeBase } from '../knowledge-bases/service.ts';
import { addDocumentSource } from '../knowledge-bases/sources.ts';
import { createOrganization, ensureApiKey } from '../organizations/service.ts';
import { importPhoneNumber } from '../phone-numbers/import.ts';
import { assignPhoneNumber } from '../phone-numbers/service.ts';
import type { TabIds } from '../server/graphiql/tab.ts';
import { createTool } from '../tools/service.ts';
import type { Viewer } from '../viewer.ts';
import { ensureVoices } from '../voices/service.ts';
import { createWebhookEndpoint } from '../webhooks/endpoints.ts';
import { createHistory } from './history.ts';

const NAME = 'Demo organization';

/** Only 555-0100 to 555-0199 are reserved for fictional use. The others end in what the simulator does with them. */
export const DEMO_NUMBER = '+14155550100';
export const DEMO_PEOPLE = {
  answers: '+14155550142',
  busy: '+14155550001',
  doesNotAnswer: '+14155550003',
  hasVoicemail: '+14155550011',
  alsoAnswers: '+14155550144',
} as const;

export interface DemoKey {
  key: string;
  /** Creates and stores another key; null if the key is a setting. */
  renew: (() => Promise<string>) | null;
}

/**
 * Creates the demo organization if there is none, and makes sure that its key works. Must not run in more than one
 * process at a time.
 *
 * @returns the key, and a function that creates what is missing of the demo data; null if nothing is, if the
 *   organization was created without the data, or if DEMO_DATA is false now.
 * @throws ConfigError if the key is a setting and was revoked, has expired or belongs to another organization.
 */
export async function prepareDemo(
  app: App,
  { key, renew }: DemoKey,
): Promise<{ key: string; fill: (() => Promise<void>) | null }> {
  let id = await demoOrganizationId(app.db);
  if (!id) {
    id = newId();
    await rememberDemoOrganization(app.db, { id, needsData: app.config.DEMO_DATA });
  }
  const existing = await app.db.organization.findUnique({ where: { id } });
  const { organization, key: workingKey } = existing
    ? { organization: existing, key: await ensureDemoKey(app, id, { key, renew }) }
    : await createOrganization(app, { id, name: NAME, key });
  const isMissing = app.config.DEMO_DATA && (await isDemoDataMissing(app.db));
  return { key: workingKey, fill: isMissing ? () => createDemoData(app, organization) : null };
}

/** @returns the key, or its replacement if it does not work. */
async function ensureDemoKey(
  app: App,
  organizationId: string,
  { key, renew }: DemoKey,
): Promise<string> {
  if (await ensureApiKey(app, organizationId, key)) return key;
  if (!renew) {
    throw new ConfigError([
      'DEMO_API_KEY was revoked, has expired or belongs to another organization. Set another one',
    ]);
  }
  const renewed = await renew();
  await ensureApiKey(app, organizationId, renewed);
  return renewed;
}

/** IDs of objects in the demo organization, for the variables of the GraphiQL tabs. */
export async function demoIds(app: App): Promise<Partial<TabIds>> {
  const organizationId = await demoOrganizationId(app.db);
  if (!organizationId) return {};
  const where = { organizationId };
  const orderBy = { createdAt: 'asc' } as const;
  const [voice, agent, number, campaign, call, endpoint] = await Promise.all([
    app.db.voice.findFirst({
      where: { ...where, language: { startsWith: 'en' } },
      orderBy: { name: 'asc' },
    }),
    app.db.agent.findFirst({ where: { ...where, deletedAt: null }, orderBy }),
    app.db.phoneNumber.findFirst({ where: { ...where, releasedAt: null }, orderBy }),
    app.db.campaign.findFirst({ where: { ...where, deletedAt: null, status: 'DRAFT' }, orderBy }),
    app.db.call.findFirst({
      where: { ...where, deletedAt: null, status: 'COMPLETED', transcript: { isNot: null } },
      orderBy,
    }),
    app.db.webhookEndpoint.findFirst({
      where: { ...where, deletedAt: null, agentId: null },
      orderBy,
    }),
  ]);
  return {
    ...(voice ? { voiceId: publicId('Voice', voice.id) } : {}),
    ...(agent ? { agentId: publicId('Agent', agent.id) } : {}),
    ...(number ? { numberId: publicId('PhoneNumber', number.id) } : {}),
    ...(campaign ? { campaignId: publicId('Campaign', campaign.id) } : {}),
    ...(call ? { callId: publicId('Call', call.id) } : {}),
    ...(endpoint ? { endpointId: publicId('WebhookEndpoint', endpoint.id) } : {}),
  };
}

/** Returns the viewer that creates one object. It finds the object if an earlier start has created it. */
type ViewerFor = (object: string) => Viewer;

/** Continues where an earlier start was interrupted. */
async function createDemoData(app: App, organization: Organization): Promise<void> {
  const { id: organizationId, createdAt } = organization;
  const apiKey = await app.db.apiKey.findFirstOrThrow({ where: { organizationId } });
  const viewerFor: ViewerFor = (object) => ({
    organizationId,
    apiKeyId: apiKey.id,
    scopes: new Set(['READ', 'WRITE', 'ADMIN']),
    idempotency: {
      seed: `${organizationId}/demo/${object}`,
      at: createdAt,
      results: new Map(),
      committed: new Map(),
      commit: async () => undefined,
    },
  });
  try {
    await createObjects(app, organization, viewerFor);
  } catch (error) {
    if (!isRefusalForGood(error)) throw error;
    app.log.info({ reason: error.message }, 'The rest of the demo data is not created');
  }
  await recordDemoData(app.db);
}

/** Whether later starts would fail alike, because somebody changed or deleted an object of the demo meanwhile. */
function isRefusalForGood(error: unknown): error is UserInputError {
  return (
    error instanceof UserInputError &&
    error.problems.every(({ code, retryAt }) => !retryAt && code !== 'AGENT_NOT_READY')
  );
}

async function createObjects(
  app: App,
  organization: Organization,
  viewerFor: ViewerFor,
): Promise<void> {
  const agent = await createDemoAgent(app, viewerFor);
  const agentId = publicId('Agent', agent.id);
  const number = await importPhoneNumber(app, viewerFor('number'), {
    phoneNumber: DEMO_NUMBER,
    name: 'Front desk',
    provider: {
      sip: { server: 'sip.example.com', username: 'front-desk', password: 'demo-password' },
    },
  });
  const id = publicId('PhoneNumber', number.id);
  for (const direction of ['INBOUND', 'OUTBOUND'] as const) {
    await assignPhoneNumber(app, viewerFor(direction), { id, agentId, direction });
  }
  await createHistory(app, organization, {
    agentId: agent.id,
    phoneNumberId: number.id,
    ownNumber: DEMO_NUMBER,
  });
  const [receiver] = app.config.WEBHOOK_ALLOWED_URLS ?? [];
  if (receiver) {
    await createWebhookEndpoint(app, viewerFor('endpoint'), {
      url: `${receiver}demo`,
      description: 'The receiver of the simulator, which accepts everything and shows what came.',
    });
  }
  for (const [index, phoneNumber] of Object.values(DEMO_PEOPLE).entries()) {
    await createCall(app, viewerFor(phoneNumber), {
      agentId,
      phoneNumber,
      variables: { first_name: ['Ada', 'Grace', 'Alan', 'Edsger', 'Barbara'][index] ?? 'there' },
      metadata: { list: 'demo' },
    });
  }
  await createDemoCampaign(app, viewerFor, agentId);
}

/** Creates a contact list, and a campaign that is ready to be scheduled. */
async function createDemoCampaign(app: App, viewerFor: ViewerFor, agentId: string): Promise<void> {
  const folder = await createContactFolder(app, viewerFor('folder'), {
    name: 'Patients',
    description: 'Due for a check-up.',
  });
  const folderId = publicId('ContactFolder', folder.id);
  await createContacts(app, viewerFor('contacts'), {
    folderId,
    onDuplicate: 'SKIP',
    contacts: [
      { phoneNumber: '+14155550151', firstName: 'Ada', lastName: 'Lovelace' },
      { phoneNumber: '+14155550152', firstName: 'Grace', lastName: 'Hopper' },
      { phoneNumber: DEMO_PEOPLE.busy, firstName: 'Alan', lastName: 'Turing' },
      { phoneNumber: '+14155550153', firstName: 'Edsger', lastName: 'Dijkstra' },
      { phoneNumber: DEMO_PEOPLE.doesNotAnswer, firstName: 'Kurt', lastName: 'Gödel' },
      { phoneNumber: '+14155550154', firstName: 'Barbara', lastName: 'Liskov' },
    ],
  });
  await createCampaign(app, viewerFor('campaign'), {
    name: 'Check-up reminders',
    agentId,
    contactFolderId: folderId,
    workingDays: [1, 2, 3, 4, 5, 6, 7],
    maxConcurrentCalls: 2,
    retryFailed: true,
    maxRetryAttempts: 1,
    retryDelay: '60s',
  });
}

async function createDemoAgent(app: App, viewerFor: ViewerFor): Promise<Agent> {
  const viewer = viewerFor('agent');
  const { organizationId } = viewer;
  await ensureVoices(app, organizationId);
  const voice = await app.db.voice.findFirstOrThrow({
    where: { organizationId, language: { startsWith: 'en' } },
    orderBy: { name: 'asc' },
  });
  const tool = await createTool(app, viewerFor('tool'), {
    name: 'Book appointment',
    description: 'Books an appointment. Use it once the caller has agreed to a day and a time.',
    http: { url: 'https://calendar.example.com/appointments', method: 'POST' },
    dynamicParameters: [
      {
        name: 'startsAt',
        location: 'BODY',
        required: true,
        schema: { type: 'string', description: 'ISO 8601, such as 2030-05-02T14:00' },
      },
    ],
  });
  const knowledgeBase = await createKnowledgeBase(app, viewerFor('knowledge base'), {
    name: 'Clinic handbook',
    description: 'Opening hours, prices and how to find us.',
  });
  await addDocumentSource(app, viewerFor('document'), {
    knowledgeBaseId: publicId('KnowledgeBase', knowledgeBase.id),
    name: 'Opening hours',
    filename: 'opening-hours.md',
    content: Buffer.from(
      '# Opening hours\n\nMonday to Friday, 8:00 to 18:00. Closed on public holidays.\n',
    ).toString('base64'),
  });
  return createAgent(app, viewer, {
    name: 'Appointment desk',
    description: 'Calls patients to arrange their next appointment.',
    voiceId: publicId('Voice', voice.id),
    systemPrompt:
      'You are the friendly appointment desk of a clinic. You are talking to {{first_name}}. Find a day and a time that suit them, book it, and say goodbye.',
    toolIds: [publicId('Tool', tool.id)],
    knowledgeBaseIds: [publicId('KnowledgeBase', knowledgeBase.id)],
    languageHint: 'en-US',
    maxDuration: '600s',
    recordingEnabled: true,
    greetingSettings: {
      firstSpeaker: 'AGENT',
      text: 'Hello, this is the appointment desk. Do you have a minute?',
    },
    builtInConfig: { hangUp: true, leaveVoicemail: true },
    successCriteria: 'An appointment was booked.',
    extractionSchema: {
      type: 'object',
      properties: {
        result: { enum: ['BOOKED', 'DECLINED', 'CALL_BACK'] },
        people: { type: 'integer', minimum: 1, description: 'Number of people who come.' },
        wantsConfirmation: { type: 'boolean' },
      },
      required: ['result'],
    },
  });
}
