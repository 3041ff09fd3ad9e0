/** Builds the medium of outbound calls: the carrier of the caller ID. */
import type { PhoneNumber } from '../generated/prisma/client.ts';
import type { CallMedium } from '../ultravox/payloads.ts';

/** Columns of a phone number that a call needs. */
export type OutboundNumber = Pick<
  PhoneNumber,
  'id' | 'organizationId' | 'phoneNumber' | 'provider' | 'sipServer' | 'credentials'
>;

export interface SipCredentials {
  username: string;
  password: string;
}

/**
 * Returns the medium for a call from `number` to `to` (E.164). Only SIP needs credentials here: for Twilio and Telnyx,
 * Ultravox stores the account. Never log the result.
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
      if (!number.sipServer || !credentials)
        throw new Error('The SIP number has no server or credentials');
      return { sip: { outgoing: { to: `sip:${to}@${number.sipServer}`, from, ...credentials } } };
  }
}
