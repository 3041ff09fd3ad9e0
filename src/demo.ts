/**
 * The demo organization: what a first start without settings has to show. Made through the same
 * services as everything else, so that it is a walk through the product and not a dump.
 */
import { createAgent } from './agents/service.ts';
import type { App } from './app.ts';
import { createCall } from './calls/service.ts';
import { createCampaign } from './campaigns/service.ts';
import { createContactFolder } from './contacts/folders.ts';
import { createContacts } from './contacts/service.ts';
import { demoOrganizationId, rememberDemoOrganization } from './deployment.ts';
import { ConfigError } from './errors.ts';
import type { Agent } from './generated/prisma/client.ts';
import { newId, publicId } from './infra/ids.ts';
import { createKnowledgeBase } from './knowledge-bases/service.ts';
import { addDocumentSource } from './knowledge-bases/sources.ts';
import { createOrganization, ensureApiKey } from './organizations/service.ts';
import type { Viewer } from './organizations/viewer.ts';
import { assignPhoneNumber, importPhoneNumber } from './phone-numbers/service.ts';
import { createTool } from './tools/service.ts';
import { ensureVoices } from './voices/service.ts';

const NAME = 'Demo organization';

/** The demo's numbers: from the ranges set aside for fiction, so that nobody owns them. */
export const DEMO_NUMBER = '+14155550100';
export const DEMO_PEOPLE = {
  answers: '+14155550142',
  busy: '+14155550001',
  doesNotAnswer: '+14155550003',
} as const;

export interface DemoKey {
  key: string;
  /** Makes another one and keeps it; null when it was given as a setting. */
  renew: (() => Promise<string>) | null;
}

/**
 * Makes the organization if there is none, and sees to it that a key of it works. Other
 * organizations are left alone. For one process at a time.
 *
 * @returns the key, and what makes the demo's contents, if they are to be made
 * @throws ConfigError when the key is a setting and was revoked
 */
export async function prepareDemo(
  app: App,
  { key, renew }: DemoKey,
): Promise<{ key: string; fill: (() => Promise<void>) | null }> {
  let id = await demoOrganizationId(app.db);
  if (!id) {
    id = newId();
    await rememberDemoOrganization(app.db, id);
  }
  if (await app.db.organization.findUnique({ where: { id } })) {
    if (await ensureApiKey(app, id, key)) return { key, fill: null };
    if (!renew) {
      throw new ConfigError([
        'DEMO_API_KEY was revoked, has expired or belongs to another organization: give another one',
      ]);
    }
    const renewed = await renew();
    await ensureApiKey(app, id, renewed);
    return { key: renewed, fill: null };
  }
  const { organization, apiKey } = await createOrganization(app, { id, name: NAME, key });
  const viewer: Viewer = {
    organizationId: organization.id,
    apiKeyId: apiKey.id,
    scopes: new Set(['READ', 'WRITE', 'ADMIN']),
  };
  return { key, fill: app.config.DEMO_DATA ? () => makeDemoData(app, viewer) : null };
}

/** Something of each kind in the demo organization, for the variables of GraphiQL's tabs. */
export async function demoIds(
  app: App,
): Promise<{ voiceId?: string; agentId?: string; numberId?: string; campaignId?: string }> {
  const organizationId = await demoOrganizationId(app.db);
  if (!organizationId) return {};
  const where = { organizationId };
  const orderBy = { createdAt: 'asc' } as const;
  const [voice, agent, number, campaign] = await Promise.all([
    app.db.voice.findFirst({
      where: { ...where, language: { startsWith: 'en' } },
      orderBy: { name: 'asc' },
    }),
    app.db.agent.findFirst({ where: { ...where, deletedAt: null }, orderBy }),
    app.db.phoneNumber.findFirst({ where: { ...where, releasedAt: null }, orderBy }),
    app.db.campaign.findFirst({ where: { ...where, deletedAt: null, status: 'DRAFT' }, orderBy }),
  ]);
  return {
    ...(voice ? { voiceId: publicId('voc', voice.id) } : {}),
    ...(agent ? { agentId: publicId('agt', agent.id) } : {}),
    ...(number ? { numberId: publicId('num', number.id) } : {}),
    ...(campaign ? { campaignId: publicId('cmp', campaign.id) } : {}),
  };
}

async function makeDemoData(app: App, viewer: Viewer): Promise<void> {
  const agent = await makeAgent(app, viewer);
  const agentId = publicId('agt', agent.id);
  const number = await importPhoneNumber(app, viewer, {
    phoneNumber: DEMO_NUMBER,
    name: 'Front desk',
    provider: {
      sip: { server: 'sip.example.com', username: 'front-desk', password: 'demo-password' },
    },
  });
  const id = publicId('num', number.id);
  await assignPhoneNumber(app, viewer, { id, agentId, direction: 'INBOUND' });
  await assignPhoneNumber(app, viewer, { id, agentId, direction: 'OUTBOUND' });
  if (agent.status !== 'ACTIVE') return;
  for (const [index, phoneNumber] of Object.values(DEMO_PEOPLE).entries()) {
    await createCall(app, viewer, {
      agentId,
      phoneNumber,
      variables: { first_name: ['Ada', 'Grace', 'Alan'][index] ?? 'there' },
      metadata: { list: 'demo' },
    });
  }
  await makeCampaign(app, viewer, agentId);
}

/** A list, and a campaign that only has to be scheduled. */
async function makeCampaign(app: App, viewer: Viewer, agentId: string): Promise<void> {
  const folder = await createContactFolder(app, viewer, {
    name: 'Patients',
    description: 'Due for a check-up.',
  });
  const folderId = publicId('fld', folder.id);
  await createContacts(app, viewer, {
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
  await createCampaign(app, viewer, {
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

async function makeAgent(app: App, viewer: Viewer): Promise<Agent> {
  await ensureVoices(app, viewer.organizationId);
  const voice = await app.db.voice.findFirstOrThrow({
    where: { organizationId: viewer.organizationId, language: { startsWith: 'en' } },
    orderBy: { name: 'asc' },
  });
  const tool = await createTool(app, viewer, {
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
  const knowledgeBase = await createKnowledgeBase(app, viewer, {
    name: 'Clinic handbook',
    description: 'Opening hours, prices and how to find us.',
  });
  await addDocumentSource(app, viewer, {
    knowledgeBaseId: publicId('knb', knowledgeBase.id),
    name: 'Opening hours',
    filename: 'opening-hours.md',
    content: Buffer.from(
      '# Opening hours\n\nMonday to Friday, 8:00 to 18:00. Closed on public holidays.\n',
    ).toString('base64'),
  });
  return createAgent(app, viewer, {
    name: 'Appointment desk',
    description: 'Calls patients to arrange their next appointment.',
    voiceId: publicId('voc', voice.id),
    systemPrompt:
      'You are the friendly appointment desk of a clinic. You are talking to {{first_name}}. Find a day and a time that suit them, book it, and say goodbye.',
    toolIds: [publicId('tol', tool.id)],
    knowledgeBaseIds: [publicId('knb', knowledgeBase.id)],
    languageHint: 'en-US',
    maxDuration: '600s',
    recordingEnabled: true,
    greetingSettings: {
      firstSpeaker: 'AGENT',
      text: 'Hello, this is the appointment desk. Do you have a minute?',
    },
    builtInConfig: { hangUp: true, leaveVoicemail: true },
    successCriteria: 'An appointment was booked.',
  });
}
