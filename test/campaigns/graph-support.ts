/** What the tests of campaigns share: mutations as clients send them, and campaigns as they are left. */
import type { Campaign, Prisma } from '../../src/generated/prisma/client.ts';
import { newId } from '../../src/infra/ids.ts';
import { dataOf } from '../calls/support.ts';
import { sendFile } from '../contacts/upload.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/server.ts';

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

/** The payload of a mutation that must have had nothing to complain of. */
// biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
export async function done(client: GraphQLClient, name: string, input: object): Promise<any> {
  const payload = await run(client, name, input);
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors, null, 2));
  return payload;
}

/** The same with a CSV as `contactsFile`. */
export async function runWithFile(
  client: GraphQLClient,
  name: string,
  input: Record<string, unknown>,
  content: string,
  // biome-ignore lint/suspicious/noExplicitAny: whatever FIELDS asks for
): Promise<any> {
  const answer = await sendFile(client, documentOf(name), content, input, {
    member: 'contactsFile',
  });
  return dataOf(answer)[name];
}

/** What campaigns of the tests have in common: open at any time of any day. */
export const ALWAYS = { workingDays: [1, 2, 3, 4, 5, 6, 7] };

let last = 700_100;
/** Different numbers that can be dialled and that the simulator does not steer. */
export function people(count: number): { phoneNumber: string; firstName: string }[] {
  return Array.from({ length: count }, (_, index) => {
    last += 1;
    return { phoneNumber: `+14155${last}`, firstName: `Person ${index + 1}` };
  });
}

/**
 * A campaign as one that was paused leaves it, without the engine: every contact was called `calls`
 * times, and about each call and about the campaign as a whole something was decided.
 */
export async function plant(
  { app }: Pick<TestServer, 'app'>,
  organizationId: string,
  agentId: string,
  {
    contacts = 3,
    calls = 2,
    contact,
    ...columns
  }: {
    contacts?: number;
    calls?: number;
    contact?: (index: number) => Partial<Prisma.CampaignContactCreateManyInput>;
  } & Partial<Prisma.CampaignUncheckedCreateInput> = {},
): Promise<{ campaign: Campaign; contactIds: string[]; callIds: string[] }> {
  const { db } = app;
  const began = Date.now() - 3_600_000;
  const at = (minutes: number) => new Date(began + minutes * 60_000);
  const campaign = await db.campaign.create({
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
  const own = { organizationId, campaignId: campaign.id };
  const rows = people(contacts).map((person, position) => ({
    id: newId(),
    ...own,
    position,
    identity: `tel:${person.phoneNumber}`,
    ...person,
    status: 'SCHEDULED' as const,
    attempts: calls,
    createdAt: at(0),
    nextEligibleAt: at(120 + position),
    scheduledAt: at(1),
    ...contact?.(position),
  }));
  await db.campaignContact.createMany({ data: rows });
  const placed = rows.flatMap((row) =>
    Array.from({ length: calls }, (_, index) => ({
      id: newId(),
      organizationId,
      agentId,
      campaignId: campaign.id,
      campaignContactId: row.id,
      attempt: index + 1,
      direction: 'OUTBOUND' as const,
      medium: 'SIP' as const,
      status: 'FAILED' as const,
      endReason: 'NO_ANSWER' as const,
      phoneNumber: row.phoneNumber,
      recordingEnabled: false,
      maxDurationSeconds: 3600,
      joinTimeoutSeconds: 30,
      createdAt: at(10 * (index + 1)),
      endedAt: at(10 * (index + 1) + 1),
      settledAt: at(10 * (index + 1) + 1),
    })),
  );
  await db.call.createMany({ data: placed });
  await db.campaignDecision.createMany({
    data: [
      // Before the contacts were there, while they wait, and again.
      ...[-1, 5, 15].map((minute) => ({
        ...own,
        id: newId(),
        outcome: 'WAITS' as const,
        reason: 'WINDOW_CLOSED' as const,
        at: at(minute),
        until: at(minute + 1),
      })),
      ...placed.map((call) => ({
        ...own,
        id: newId(),
        campaignContactId: call.campaignContactId,
        callId: call.id,
        outcome: 'DIALLED' as const,
        reason: 'DUE' as const,
        at: call.createdAt,
      })),
    ],
  });
  return {
    campaign,
    contactIds: rows.map(({ id }) => id),
    callIds: placed.map(({ id }) => id),
  };
}
