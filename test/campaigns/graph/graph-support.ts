/** Mutations of campaigns, and campaigns written directly to the database without running. */
import { FINISHED_STATUSES } from '../../../src/campaigns/contacts/contact-status.ts';
import type { Campaign, Prisma } from '../../../src/generated/prisma/client.ts';
import type { CampaignContactStatus } from '../../../src/generated/prisma/enums.ts';
import { newId } from '../../../src/infra/ids.ts';
import { dataOf } from '../../calls/support.ts';
import { sendFile } from '../../contacts/import/upload.ts';
import { accepted } from '../../support/calling.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import type { TestServer } from '../../support/servers/server.ts';

export const CAMPAIGN = `
  id name status statusReason agent { id } phoneNumbers { id } phoneRotationStrategy contactSource
  contactFolder { id } scheduleType scheduledAt timezone startTime endTime workingDays
  maxConcurrentCalls maxCallsPerDay retryFailed maxRetryAttempts retryDelay holdReason nextDispatchAt
  startedAt endedAt
  counts { total pending calling called completed failed skipped cancelled }`;

const ADDED = 'addedCount duplicateCount problemCount problems { row phoneNumber reason }';
const WARNINGS = 'warnings { code message contacts }';

const FIELDS: Record<string, string> = {
  createCampaign: `campaign { ${CAMPAIGN} } ${ADDED} ${WARNINGS}`,
  addCampaignContacts: `campaign { ${CAMPAIGN} } ${ADDED} ${WARNINGS}`,
  updateCampaign: `campaign { ${CAMPAIGN} } ${WARNINGS}`,
  scheduleCampaign: `campaign { ${CAMPAIGN} } ${WARNINGS}`,
  deleteCampaigns: 'deletedCampaignIds',
};

export function documentOf(name: string): string {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const fields = FIELDS[name] ?? `campaign { ${CAMPAIGN} }`;
  return `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} userErrors { code message path details } } }`;
}

/** The payload of a mutation, user errors included. */
// biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
export async function run(client: GraphQLClient, name: string, input: object): Promise<any> {
  return dataOf(await client.send(documentOf(name), { input }))[name];
}

/** The payload of a mutation that must succeed. */
// biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
export async function done(client: GraphQLClient, name: string, input: object): Promise<any> {
  const payload = await run(client, name, input);
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors, null, 2));
  return payload;
}

/** The payload of a mutation with a CSV file as `contactsFile`. */
export async function runWithFile(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  content: string,
  // biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
): Promise<any> {
  const file = { content, field: 'contactsFile' };
  const answer = await sendFile(client, documentOf(name), file, input);
  return dataOf(answer)[name];
}

/** Settings of a campaign that may call at any time. */
export const ALWAYS = { workingDays: [1, 2, 3, 4, 5, 6, 7] };

let last = 700_100;
/** Contacts with distinct numbers, which the simulator lets answer and talk. */
export function people(count: number): { phoneNumber: string; firstName: string }[] {
  return Array.from({ length: count }, (_, index) => {
    last += 1;
    return { phoneNumber: `+14155${last}`, firstName: `Person ${index + 1}` };
  });
}

type Columns = Partial<Prisma.CampaignUncheckedCreateInput>;

interface PlantOptions {
  contacts?: number;
  /** Number of calls to each contact. */
  calls?: number;
  /** Columns of the contact at this position. */
  contact?: (position: number) => Partial<Prisma.CampaignContactCreateManyInput>;
}

/**
 * Writes a campaign as a paused one leaves it, without running it: every contact was called `calls` times,
 * with decisions about each call and about the whole campaign.
 */
export async function plant(
  { app }: Pick<TestServer, 'app'>,
  organizationId: string,
  agentId: string,
  { contacts = 3, calls = 2, contact, ...columns }: PlantOptions & Columns = {},
): Promise<{ campaign: Campaign; contactIds: string[]; callIds: string[] }> {
  const began = Date.now() - 3_600_000;
  const at: Clock = (minutes) => new Date(began + minutes * 60_000);
  const campaign = await app.db.campaign.create({
    data: {
      id: newId(),
      organizationId,
      name: 'Renewals',
      agentId,
      status: 'PAUSED',
      contactSource: 'MANUAL',
      phoneRotationStrategy: 'RANDOM',
      scheduleType: 'IMMEDIATE',
      timezone: 'Europe/Berlin',
      workingDays: [1, 2, 3, 4, 5, 6, 7],
      maxConcurrentCalls: 10,
      retryFailed: true,
      maxRetryAttempts: 3,
      retryDelaySeconds: 900,
      totalCount: contacts,
      pendingCount: contacts,
      createdAt: at(0),
      startedAt: at(0),
      ...columns,
    },
  });
  const rows = contactRows(campaign, at, { contacts, calls, ...(contact ? { contact } : {}) });
  await app.db.campaignContact.createMany({ data: rows });
  const placed = callRows(campaign, at, rows, calls);
  await app.db.call.createMany({ data: placed });
  await app.db.campaignAttempt.createMany({
    data: placed.map(({ id: callId, campaignContactId, endedAt }, index) => ({
      ...ownerOf(campaign),
      callId,
      campaignContactId,
      attempt: 1 + (index % calls),
      outcomeRecordedAt: endedAt,
    })),
  });
  await app.db.campaignDecision.createMany({ data: decisionRows(campaign, at, placed) });
  return {
    campaign,
    contactIds: rows.map(({ id }) => id),
    callIds: placed.map(({ id }) => id),
  };
}

/** The instant so many minutes after the start of the campaign. */
type Clock = (minutes: number) => Date;

function ownerOf({ id, organizationId }: Campaign) {
  return { organizationId, campaignId: id };
}

function contactRows(
  campaign: Campaign,
  at: Clock,
  { contacts = 0, calls = 0, contact }: PlantOptions,
) {
  return people(contacts).map((person, position) => {
    const row = {
      id: newId(),
      ...ownerOf(campaign),
      position,
      identity: `tel:${person.phoneNumber}`,
      ...person,
      status: 'SCHEDULED' as CampaignContactStatus,
      attempts: calls,
      createdAt: at(0),
      nextEligibleAt: at(120 + position),
      scheduledAt: at(1),
      finishedAt: null as Date | null,
      ...contact?.(position),
    };
    const finished = FINISHED_STATUSES.some((status) => status === row.status);
    return { ...row, finishedAt: finished ? (row.finishedAt ?? at(130)) : null };
  });
}

function callRows(
  campaign: Campaign,
  at: Clock,
  contacts: ReturnType<typeof contactRows>,
  calls: number,
) {
  return contacts.flatMap(({ id: campaignContactId, phoneNumber }) =>
    Array.from({ length: calls }, (_, index) => ({
      id: newId(),
      ...ownerOf(campaign),
      agentId: campaign.agentId,
      owner: 'campaigns',
      campaignContactId,
      direction: 'OUTBOUND' as const,
      medium: 'SIP' as const,
      status: 'FAILED' as const,
      ...accepted(),
      endReason: 'NO_ANSWER' as const,
      phoneNumber,
      recordingEnabled: false,
      maxDurationSeconds: 3600,
      joinTimeoutSeconds: 30,
      createdAt: at(10 * (index + 1)),
      endedAt: at(10 * (index + 1) + 1),
    })),
  );
}

function decisionRows(campaign: Campaign, at: Clock, calls: ReturnType<typeof callRows>) {
  return [
    // One before the contacts were added, and two while they wait.
    ...[-1, 5, 15].map((minute) => ({
      ...ownerOf(campaign),
      id: newId(),
      outcome: 'WAITS' as const,
      reason: 'WINDOW_CLOSED' as const,
      at: at(minute),
      until: at(minute + 1),
    })),
    ...calls.map(({ id, campaignContactId, createdAt }) => ({
      ...ownerOf(campaign),
      id: newId(),
      campaignContactId,
      callId: id,
      outcome: 'DIALED' as const,
      reason: 'DUE' as const,
      at: createdAt,
    })),
  ];
}
