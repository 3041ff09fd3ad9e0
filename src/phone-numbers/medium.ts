/** How an outbound call leaves: through the carrier that its caller ID belongs to. */
import type { PhoneNumber } from '../generated/prisma/client.ts';
import type { CallMedium } from '../ultravox/payloads.ts';

/** What a call needs to know of a number. */
export type OutboundNumber = Pick<
  PhoneNumber,
  'id' | 'organizationId' | 'phoneNumber' | 'provider' | 'sipServer' | 'credentials'
>;

export interface SipCredentials {
  username: string;
  password: string;
}

/**
 * The medium for a call from `number` to `to` (E.164). A SIP number needs its credentials; Twilio
 * and Telnyx are reached with the account that Ultravox keeps. Never log the result.
 */
export function outgoingMedium(
  number: Pick<OutboundNumber, 'phoneNumber' | 'provider' | 'sipServer'>,
  to: string,
  credentials: SipCredentials | null,
): CallMedium {
  const from = number.phoneNumber;
  switch (number.provider) {
    case 'TWILIO':
      return { twilio: { outgoing: { to, from } } };
    case 'TELNYX':
      return { telnyx: { outgoing: { to, from } } };
    case 'SIP':
      if (!number.sipServer || !credentials) throw new Error('A SIP number without a trunk');
      return { sip: { outgoing: { to: `sip:${to}@${number.sipServer}`, from, ...credentials } } };
  }
}
