/** Parses phone numbers in any notation into one canonical form. Pure. */
import parsePhoneNumber, {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  type PhoneNumber,
} from 'libphonenumber-js/max';

export type { CountryCode };

export interface PhoneNumberReading {
  /** Canonical E.164 form, such as "+14155550123". */
  phoneNumber: string;
  /** Digits to dial after the call is connected, or null. This program does not dial them. */
  extension: string | null;
  /** Whether a call can cost many times the usual price: premium-rate, shared-cost, personal, satellite. */
  premium: boolean;
}

/** How to parse the numbers of a request. */
export interface PhoneNumberRules {
  /** Country of numbers without a calling code. Default: such numbers are invalid. */
  defaultCountry?: CountryCode | undefined;
  /** Whether to accept premium numbers. Default: true. Pass false for numbers that may be called. */
  allowPremium?: boolean | undefined;
}

/** The problem of a text, as the end of a sentence that starts with the text. */
export interface PhoneNumberProblem {
  problem: string;
}

/** In characters. A longer text is not a phone number, and is not parsed. */
const MAX_LENGTH = 250;
/** Most numbers need no cleaning. */
const PLAIN = /^\+\d+$/;
const INVISIBLE = /\p{Cf}/gu;
/** Labels in lead-ad exports, links and address books. */
const LABEL =
  /^(?:p|t|m|ph|tel|phone|telephone|mob|mobile|cell|whatsapp|callto|sms)\s*[.:]+\s*(?=[+(\d])/i;
/** Characters that people write between digits. */
const PUNCTUATION = /[\s().\-/\u2010-\u2015\u2212]/g;

/**
 * Parses a phone number: with a calling code, or as written in `defaultCountry`. The number must
 * be valid in its country's numbering plan. Different notations of the same number give the same result.
 */
export function readPhoneNumber(
  text: string,
  defaultCountry?: CountryCode,
): PhoneNumberReading | PhoneNumberProblem {
  if (text.length > MAX_LENGTH) return invalid(defaultCountry);
  const cleaned = PLAIN.test(text) ? text : cleanPhoneNumber(text);
  if (/^\+?\d+(?:[.,]\d+)?e\+?\d+$/i.test(cleaned)) {
    return {
      problem:
        'is in scientific notation, so a spreadsheet has rounded it. Format the column as text',
    };
  }
  const readings = readingsOf(withoutMexicanPrefix(cleaned, defaultCountry), defaultCountry);
  const [reading, other] = readings;
  if (!reading) return invalid(defaultCountry);
  if (other) {
    const both = `${reading.number} or ${other.number}`;
    return { problem: `can be read as ${both}. Write it with "+" and the country calling code` };
  }
  return {
    phoneNumber: reading.number,
    extension: reading.ext ?? null,
    premium: isPremium(reading),
  };
}

/** The canonical form of a number without an extension. Undefined if the text is not such a number. */
export function canonicalPhoneNumber(
  text: string,
  defaultCountry?: CountryCode,
): string | undefined {
  const reading = readPhoneNumber(text, defaultCountry);
  return 'problem' in reading || reading.extension !== null ? undefined : reading.phoneNumber;
}

/** The country of a canonical number; of several that share its calling code, the first that it may belong to. */
export function countryOfNumber(phoneNumber: string): CountryCode | undefined {
  const parsed = parsePhoneNumber(phoneNumber);
  return parsed?.country ?? parsed?.getPossibleCountries()[0];
}

/** Whether the text is a valid number to which a call can cost many times the usual price. */
export function isPremiumNumber(text: string): boolean {
  const reading = readPhoneNumber(text);
  return 'premium' in reading && reading.premium;
}

/**
 * All forms of a canonical number that reach the same subscriber, starting with the number itself. Argentine
 * numbers have two forms, because a mobile phone is dialed with a 9 after the calling code. The SQL function
 * `phone_number_forms` returns the same.
 */
export function phoneNumberForms(phoneNumber: string): string[] {
  const [, mobile, digits] = /^\+54(9?)(\d{10})$/.exec(phoneNumber) ?? [];
  if (digits === undefined) return [phoneNumber];
  return [phoneNumber, mobile ? `+54${digits}` : `+549${digits}`];
}

/** A text that is the same for all forms of a canonical number, to detect duplicates. */
export function subscriberOf(phoneNumber: string): string {
  return phoneNumber.replace(/^\+549(?=\d{10}$)/, '+54');
}

/** Removes spaces, parentheses, dots, slashes and hyphens, for example to search in numbers. */
export function withoutPunctuation(text: string): string {
  return text.replace(PUNCTUATION, '');
}

/** Returns an ISO 3166-1 alpha-2 country that has phone numbers. Case-insensitive. */
export function parseCountry(text: string): CountryCode | undefined {
  const code = text.trim().toUpperCase();
  return isSupportedCountry(code) ? code : undefined;
}

function invalid(country: CountryCode | undefined): PhoneNumberProblem {
  return {
    problem: country
      ? `is not a valid phone number of ${country} or with a country calling code, such as "+14155550123"`
      : 'is not a valid phone number with a country calling code, such as "+14155550123"',
  };
}

/** Removes characters that spreadsheets, address books and exports put around and into numbers. */
function cleanPhoneNumber(text: string): string {
  return text
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    .trim()
    .replace(/^=\s*"([^"]*)"$/, '$1')
    .replace(/^=(?=[+\d])/, '')
    .replace(/^['‘’`"]+|['‘’`"]+$/g, '')
    .trim()
    .replace(LABEL, '')
    .replace(/^\(\s*(\+\d{1,3})\s*\)/, '$1 ')
    .replace(/^\+(?:\s*\+|\s*00(?=\d))/, '+')
    .replace(/^(\+?\d{6,})[.,]0+$/, '$1');
}

/**
 * The distinct valid numbers that a text can mean. A text without "+" that starts with the calling
 * code of the country may be a national number or an international one without its "+".
 */
function readingsOf(text: string, country: CountryCode | undefined): PhoneNumber[] {
  const texts = [text];
  if (country && /^\(?\s*\d/.test(text)) {
    const digits = withoutPunctuation(text);
    const isInternational = digits.startsWith(getCountryCallingCode(country));
    if (isInternational) texts.push(`+${text.replace(/^\(\s*/, '')}`);
  }
  const readings = new Map<string, PhoneNumber>();
  for (const one of texts) {
    const parsed = parsePhoneNumber(one, {
      ...(country ? { defaultCountry: country } : {}),
      extract: false,
    });
    if (parsed?.isValid() && !readings.has(parsed.number)) readings.set(parsed.number, parsed);
  }
  return [...readings.values()];
}

/**
 * Mexico abolished the prefixes 01, 044, 045 and the international 1 for mobile phones in 2019. Its
 * numbers have had ten digits since, but lists still contain the prefixes.
 */
function withoutMexicanPrefix(text: string, country: CountryCode | undefined): string {
  const compact = withoutPunctuation(text);
  const [, code, digits] = /^(\+52|0052|52)?(?:044|045|01|1)(\d{10})$/.exec(compact) ?? [];
  if (digits === undefined) return text;
  return code === '+52' || country === 'MX' ? `+52${digits}` : text;
}

const PREMIUM_TYPES = new Set(['PREMIUM_RATE', 'SHARED_COST', 'PERSONAL_NUMBER']);
/** Satellite networks, international networks and international premium-rate numbers. */
const PREMIUM_CALLING_CODES = new Set(['870', '878', '881', '882', '883', '979']);

function isPremium(number: PhoneNumber): boolean {
  return (
    PREMIUM_CALLING_CODES.has(number.countryCallingCode) ||
    PREMIUM_TYPES.has(number.getType() ?? '')
  );
}
