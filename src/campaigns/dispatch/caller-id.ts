/** Chooses the caller ID of a call by the rotation strategy of its campaign. A number never calls itself. */
import type { Campaign } from '../../generated/prisma/client.ts';
import type { CallerId } from '../../phone-numbers/service.ts';
import { nextNumber, numberOfBlock, seededNumber } from '../schedule/number-rotation.ts';
import type { DueContact } from './due-contacts.ts';

export interface CallerIdChoice {
  number: CallerId;
  /** The campaign's `rotationIndex` after this call. */
  rotationIndex: number;
}

export function chooseCallerId({
  campaign,
  numbers,
  rotationIndex,
  contact,
  callId,
}: {
  campaign: Pick<Campaign, 'id' | 'phoneRotationStrategy' | 'totalCount'>;
  numbers: readonly CallerId[];
  /** The campaign's index after the calls already decided in this cycle. */
  rotationIndex: number;
  contact: Pick<DueContact, 'position' | 'phoneNumber' | 'withdrawnNumberId'>;
  callId: string;
}): CallerIdChoice {
  const choose = (index: number | undefined, next = rotationIndex): CallerIdChoice => {
    const number = numbers[index ?? 0];
    if (!number) throw new Error(`Campaign ${campaign.id} has no number at ${index}`);
    return { number, rotationIndex: next };
  };
  /** The next number if the contact has this one. A sole number is refused right before it is dialed. */
  const other = (index = 0): number =>
    numbers[index]?.phoneNumber === contact.phoneNumber ? (index + 1) % numbers.length : index;
  switch (campaign.phoneRotationStrategy) {
    case 'ROUND_ROBIN': {
      // The number of a withdrawn call was not used.
      const kept = numbers.findIndex(({ id }) => id === contact.withdrawnNumberId);
      if (kept >= 0) return choose(kept);
      const { index, next } = nextNumber({ numbers: numbers.length, next: rotationIndex });
      const chosen = other(index);
      return choose(chosen, chosen === index ? next : (chosen + 1) % numbers.length);
    }
    case 'SEQUENTIAL':
      return choose(
        other(
          numberOfBlock({
            numbers: numbers.length,
            position: contact.position,
            contacts: campaign.totalCount,
          }),
        ),
      );
    case 'RANDOM':
      return choose(other(seededNumber({ numbers: numbers.length, seed: callId })));
  }
}
