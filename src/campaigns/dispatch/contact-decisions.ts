/** Decides for each due contact whether it is called, skipped or deferred. */
import type { Campaign } from '../../generated/prisma/client.ts';
import type { CallerId } from '../../phone-numbers/service.ts';
import type { ContactMove } from '../contacts/contact-transitions.ts';
import { endIfNotCallable } from '../outcomes/earlier-calls.ts';
import { chooseCallerId } from './caller-id.ts';
import type { ContactWindow } from './contact-window.ts';
import type { DispatchCycle } from './cycle-input.ts';
import type { CheckedContact, DueContact } from './due-contacts.ts';

export interface ContactDecisions {
  attempts: Attempt[];
  uncalled: UncalledContacts;
  /** Campaigns with contacts that are not called; more of their due contacts may be like these. */
  uncalledCampaignIds: ReadonlySet<string>;
  /** Next index of the caller ID rotation, by campaign. */
  rotation: ReadonlyMap<string, number>;
}

/** A contact to call now. */
export interface Attempt {
  callId: string;
  contact: DueContact;
  number: CallerId;
  /** The call must not be sent at or after this instant. Null: no deadline. */
  placeBefore: Date | null;
}

/** `due` is within the allowances of the cycle. `newCallId` returns a new UUID each time. */
export function decideContacts(
  cycle: DispatchCycle,
  due: readonly DueContact[],
  newCallId: () => string,
): ContactDecisions {
  const attempts: Attempt[] = [];
  const uncalled = new UncalledContacts();
  const uncalledCampaignIds = new Set<string>();
  const rotation = new Map<string, number>();
  for (const contact of due) {
    const eligible = cycle.campaigns.get(contact.campaignId);
    if (!eligible) continue;
    const { campaign, numbers } = eligible;
    const contactHours = eligible.windowOf(contact.timezone);
    if (uncalled.add(campaign, contactHours, contact)) {
      uncalledCampaignIds.add(campaign.id);
      continue;
    }
    const callId = newCallId();
    const { number, rotationIndex } = chooseCallerId({
      campaign,
      numbers,
      rotationIndex: rotation.get(campaign.id) ?? campaign.rotationIndex,
      contact,
      callId,
    });
    rotation.set(campaign.id, rotationIndex);
    attempts.push({ callId, contact, number, placeBefore: contactHours.deadline });
  }
  return { attempts, uncalled, uncalledCampaignIds, rotation };
}

/** Moves of contacts that are not called now, regardless of free slots. */
export class UncalledContacts {
  readonly skipped: ContactMove<'SKIP'>[] = [];
  readonly dropped: ContactMove<'DROP_RETRY'>[] = [];
  readonly deferred: ContactMove<'DEFER'>[] = [];

  get count(): number {
    return this.skipped.length + this.dropped.length + this.deferred.length;
  }

  /** Adds the contact unless it may be called. Returns whether it was added. */
  add(campaign: Campaign, contactHours: ContactWindow, contact: CheckedContact): boolean {
    const { id, timezone, attempts } = contact;
    if (contact.onDoNotCallList) {
      this.skipped.push({ id, status: 'SKIPPED', skipReason: 'DO_NOT_CALL' });
      return true;
    }
    const end = endIfNotCallable(campaign, attempts, contact);
    if (end) {
      this.dropped.push({ id, ...end });
      return true;
    }
    if (!timezone || contactHours.open) return false;
    const { opensAt } = contactHours;
    if (opensAt) this.deferred.push({ id, status: 'SCHEDULED', nextEligibleAt: opensAt });
    else this.skipped.push({ id, status: 'SKIPPED', skipReason: 'NEVER_OPEN' });
    return true;
  }
}
