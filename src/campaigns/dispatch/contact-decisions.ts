/** Decides for each due contact whether it is called, skipped or deferred. */
import type { CallerId } from '../../phone-numbers/service.ts';
import { chooseCallerId } from './caller-id.ts';
import type { DispatchCycle } from './cycle-input.ts';
import type { DueContact } from './due-contacts.ts';

export interface ContactDecisions {
  attempts: Attempt[];
  /** Campaigns with a due contact that is on the do-not-call list. */
  doNotCall: ReadonlySet<string>;
  /** Contacts that must not be called again, with the call that shows it. */
  dropped: readonly { id: string; callId: string }[];
  deferrals: readonly Deferral[];
  /** Where the rotation of caller IDs goes on, by campaign. */
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

/** The due contacts of a campaign in a time zone where its window is closed. */
export interface Deferral {
  campaignId: string;
  timezone: string;
  /** When the window opens there; null when it never does. */
  until: Date | null;
}

/** `due` is within the allowances of the cycle. `newCallId` returns another UUID each time. */
export function decideContacts(
  cycle: DispatchCycle,
  due: readonly DueContact[],
  newCallId: () => string,
): ContactDecisions {
  const attempts: Attempt[] = [];
  const doNotCall = new Set<string>();
  const dropped: { id: string; callId: string }[] = [];
  const deferrals = new Map<string, Deferral>();
  const rotation = new Map<string, number>();
  for (const contact of due) {
    const eligible = cycle.campaigns.get(contact.campaignId);
    if (!eligible) continue;
    const { campaign, numbers } = eligible;
    if (contact.onDoNotCallList) {
      doNotCall.add(campaign.id);
      continue;
    }
    if (contact.finalCallId) {
      dropped.push({ id: contact.id, callId: contact.finalCallId });
      continue;
    }
    const { timezone } = contact;
    const hours = eligible.hours(timezone);
    if (timezone && !hours.open) {
      const deferral = { campaignId: campaign.id, timezone, until: hours.opensAt };
      deferrals.set(`${campaign.id} ${timezone}`, deferral);
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
    attempts.push({ callId, contact, number, placeBefore: hours.deadline });
  }
  return { attempts, doNotCall, dropped, deferrals: [...deferrals.values()], rotation };
}
