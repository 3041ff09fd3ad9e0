/** Calls of a campaign as they are made: from which number, with what to say, claimed already. */
import type { App } from '../app.ts';
import { claimOf } from '../calls/claims.ts';
import { createdEvent } from '../calls/progress.ts';
import { metadataEntries } from '../calls/service.ts';
import { boundsOf } from '../calls/settings.ts';
import type { CampaignContact, Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import type { CallerId } from '../phone-numbers/service.ts';
import { closes, type Pass } from './pass.ts';
import { anyNumber, numberOfBlock, takeTurns as takeNumbers } from './rotation.ts';
import type { DueContact, Turn } from './turns.ts';

export interface Dial {
  call: Prisma.CallCreateManyInput & { id: string };
  day: string;
}

/** The number whose turn it is, which is then the next one's. */
export function numberFor(turn: Turn, contact: DueContact, callId: string): CallerId {
  const { numbers, campaign } = turn;
  const index = (() => {
    switch (campaign.phoneRotationStrategy) {
      case 'ROUND_ROBIN': {
        // A turn that led to no call is still its own.
        const kept = numbers.findIndex(({ id }) => id === contact.keptNumberId);
        if (kept >= 0) return kept;
        const { indexes, next } = takeNumbers({
          numbers: numbers.length,
          next: turn.rotationIndex,
          calls: 1,
        });
        turn.rotationIndex = next;
        return indexes[0];
      }
      case 'SEQUENTIAL':
        return numberOfBlock({
          numbers: numbers.length,
          position: contact.position,
          contacts: campaign.totalCount,
        });
      case 'RANDOM':
        return anyNumber({ numbers: numbers.length, seed: callId });
    }
  })();
  const number = numbers[index ?? 0];
  if (!number) throw new Error(`Campaign ${campaign.id} has no number at ${index}`);
  return number;
}

export function newCall(
  app: App,
  turn: Turn,
  contact: CampaignContact,
  id: string,
  number: CallerId,
  now: Date,
): Dial['call'] {
  const { agent, campaign } = turn;
  const metadata = {
    campaignId: publicId('cmp', campaign.id),
    campaignContactId: publicId('cct', contact.id),
    ...(contact.clientId ? { clientId: contact.clientId } : {}),
  };
  return {
    id,
    organizationId: campaign.organizationId,
    agentId: agent.id,
    phoneNumberId: number.id,
    campaignId: campaign.id,
    campaignContactId: contact.id,
    attempt: contact.attempts + 1,
    direction: 'OUTBOUND',
    medium: number.provider,
    status: 'CREATED',
    phoneNumber: contact.phoneNumber,
    ownNumber: number.phoneNumber,
    variables: variablesOf(contact),
    metadata,
    metadataEntries: metadataEntries(metadata),
    settings: {},
    recordingEnabled: agent.recordingEnabled,
    ...boundsOf(agent, {}),
    placeBefore: closes(turn, contact.timezone, now),
    eventCount: 1,
    createdAt: app.now(),
  };
}

/**
 * What fills the placeholders of the prompt: what is known of the contact, as `{{first_name}}`, and
 * its own metadata. What is not known is empty, since Ultravox refuses a call that lacks a variable.
 */
function variablesOf(contact: CampaignContact): Record<string, string> {
  return {
    phone_number: contact.phoneNumber,
    first_name: contact.firstName ?? '',
    last_name: contact.lastName ?? '',
    email: contact.email ?? '',
    company_name: contact.companyName ?? '',
    industry: contact.industry ?? '',
    location: contact.location ?? '',
    pin_code: contact.pinCode ?? '',
    keywords: contact.keywords ?? '',
    ...(contact.metadata as Record<string, string>),
  };
}

export async function writeDials(
  { app, tx, now, events, turns }: Pass,
  dials: readonly Dial[],
): Promise<void> {
  if (dials.length === 0) return;
  const calls = dials.map(({ call }) => call);
  await tx.call.createMany({ data: calls });
  await tx.$executeRaw`
    UPDATE calls SET ${claimOf(app)} WHERE id = ANY(${calls.map(({ id }) => id)}::uuid[])`;
  const contacts = dials.map(({ call, day }) => ({ id: call.campaignContactId, day }));
  await tx.$executeRaw`
    UPDATE campaign_contacts cc SET status = 'CALLING', attempts = cc.attempts + 1,
      attempt_day = r.day, next_eligible_at = NULL, called_at = ${now}::timestamptz,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(contacts)}::jsonb) AS r(id uuid, day date)
    WHERE cc.id = r.id`;
  const days = [...turns.values()].flatMap(({ campaign, day, dialled }) =>
    dialled > 0
      ? { organization_id: campaign.organizationId, campaign_id: campaign.id, day, dialled }
      : [],
  );
  await tx.$executeRaw`
    INSERT INTO campaign_days (organization_id, campaign_id, day, attempts)
    SELECT r.organization_id, r.campaign_id, r.day, r.dialled
    FROM jsonb_to_recordset(${JSON.stringify(days)}::jsonb)
      AS r(organization_id uuid, campaign_id uuid, day date, dialled int)
    ON CONFLICT (campaign_id, day)
      DO UPDATE SET attempts = campaign_days.attempts + EXCLUDED.attempts`;
  for (const { call } of dials) {
    events.add(
      call.organizationId,
      createdEvent({
        id: call.id,
        agentId: call.agentId,
        campaignId: call.campaignId ?? null,
        status: call.status,
        createdAt: now,
      }),
    );
  }
}
