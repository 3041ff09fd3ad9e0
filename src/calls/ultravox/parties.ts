/** Reads the numbers of the caller and the callee of an incoming call. */
import {
  type CountryCode,
  canonicalPhoneNumber,
  countryOfNumber,
} from '../../infra/phone-number.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';

/** The parts of a call that name its parties. */
type Source = Pick<UltravoxCall, 'requestContext' | 'metadata'>;

/** With Twilio and Telnyx, the numbers are in the carrier's request, as configured for the account. */
const CALLER_KEYS = ['from', 'From'];
const CALLED_KEYS = ['to', 'To', 'ultravox.sip.to_uri', 'sip.to_uri', 'to_uri'];
/** With SIP, Ultravox reports the caller in the context or, if the agent's schema does not admit it, in the metadata. */
const SIP_CALLER_KEYS = [
  'ultravox.sip.caller_id',
  'sip.caller_id',
  'ultravox.sip.from_uri',
  'sip.from_uri',
];
/** Digits of a number with a calling code but without "+". Shorter ones may be national numbers of any country. */
const INTERNATIONAL = /^[1-9]\d{10,14}$/;

export function calledNumberOf({ requestContext }: Source): string | null {
  return read(requestContext, CALLED_KEYS);
}

/** @param calledNumber the country in whose notation SIP callers are reported. */
export function callerOf(
  { requestContext, metadata }: Source,
  calledNumber: string | null,
): string | null {
  const country = calledNumber ? countryOfNumber(calledNumber) : undefined;
  return (
    read(requestContext, [...CALLER_KEYS, ...SIP_CALLER_KEYS], country) ??
    read(metadata, SIP_CALLER_KEYS, country)
  );
}

/** The first number under one of the keys, whose parts may also be nested. */
function read(source: unknown, keys: readonly string[], country?: CountryCode): string | null {
  for (const key of keys) {
    const nested = key.split('.').reduce<unknown>(memberOf, source);
    const value = memberOf(source, key) ?? nested;
    // Ultravox parses values of SIP headers as JSON.
    const text = typeof value === 'number' ? String(value) : value;
    const number = typeof text === 'string' ? phoneNumberIn(text, country) : null;
    if (number) return number;
  }
  return null;
}

function memberOf(value: unknown, name: string): unknown {
  return (value as Record<string, unknown> | null | undefined)?.[name];
}

/** Extracts an E.164 number from a phone number, or from a SIP address with or without a display name. */
function phoneNumberIn(text: string, country: CountryCode | undefined): string | null {
  const address = /<([^<>]*)>/.exec(text)?.[1] ?? text;
  const user = /^\s*(?:sips?:|tel:)?([^@;]*)/i.exec(address)?.[1]?.trim() ?? '';
  const number = user.replace(/^%2b/i, '+').replace(/^00\s*(?=[1-9])/, '+');
  if (/^\+[1-9]\d{1,14}$/.test(number)) return number;
  const national = canonicalPhoneNumber(number, country);
  if (national) return national;
  const isInternational = country !== undefined && INTERNATIONAL.test(number);
  return (isInternational ? canonicalPhoneNumber(`+${number}`) : undefined) ?? null;
}
