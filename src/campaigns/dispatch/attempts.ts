/** Builds the calls of a dispatch cycle: whom to call, and what the agent knows about the contact. */
import type { OwnedCall } from '../../calls/placement/owned-calls.ts';
import { TEXT_COLUMNS } from '../../contacts/person-columns.ts';
import type { CampaignContact } from '../../generated/prisma/client.ts';
import { publicId } from '../../ids.ts';
import type { Attempt } from './contact-decisions.ts';
import type { DispatchCycle } from './cycle-input.ts';

/** Columns of a contact whose names are placeholders of the prompt. */
export const VARIABLES = TEXT_COLUMNS.filter(({ field }) => field !== 'timezone');

/** Returns the calls of these attempts, in the same order. */
export function buildAttempts(cycle: DispatchCycle, attempts: readonly Attempt[]): OwnedCall[] {
  return attempts.map(({ callId, contact, number, placeBefore }) => {
    const campaign = cycle.campaigns.get(contact.campaignId);
    if (!campaign) throw new Error(`Campaign ${contact.campaignId} is not part of the cycle`);
    return {
      id: callId,
      organizationId: contact.organizationId,
      agent: campaign.agent,
      number,
      phoneNumber: contact.phoneNumber,
      campaignId: contact.campaignId,
      campaignContactId: contact.id,
      variables: variablesOf(contact),
      metadata: {
        campaignId: publicId('Campaign', contact.campaignId),
        campaignContactId: publicId('CampaignContact', contact.id),
        ...(contact.clientId ? { clientId: contact.clientId } : {}),
      },
      placeBefore,
    };
  });
}

/**
 * Values of the prompt's placeholders, such as `{{first_name}}`: the fields of the contact and its metadata. Missing
 * values are empty, since Ultravox rejects a call that lacks a variable.
 */
function variablesOf(contact: CampaignContact): Record<string, string> {
  return {
    ...Object.fromEntries(VARIABLES.map(({ field, name }) => [name, contact[field] ?? ''])),
    ...(contact.metadata as Record<string, string>),
  };
}
