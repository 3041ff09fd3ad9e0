import { describe, expect, it } from 'vitest';
import {
  type CountryCode,
  canonicalPhoneNumber,
  parseCountry,
  phoneNumberForms,
  readPhoneNumber,
  subscriberOf,
} from '../../src/infra/phone-number.ts';

type Row = [text: string, country: CountryCode | undefined, expected: string];

describe('readPhoneNumber', () => {
  it.each<Row>([
    ['+14155550123', undefined, '+14155550123'],
    [' +1 (415) 555-0123 ', undefined, '+14155550123'],
    ['415.555.0123', 'US', '+14155550123'],
    ['14155550123', 'US', '+14155550123'],
    ['0041 44 668 18 00', 'DE', '+41446681800'],
    ['030 1234567', 'DE', '+49301234567'],
    ['8 (916) 123-45-67', 'RU', '+79161234567'],
    ['٠١٠١٢٣٤٥٦٧٨', 'EG', '+201012345678'],
  ])('reads %j (country %s) as %s', (text, country, expected) => {
    expect(readPhoneNumber(text, country)).toEqual({
      phoneNumber: expected,
      extension: null,
      premium: false,
    });
  });

  it.each<Row>([
    ['+4402079460998', undefined, '+442079460998'],
    ['+44 (0)20 7946 0000', undefined, '+442079460000'],
    ['+49 (0) 170 1234567', undefined, '+491701234567'],
    ['(+49) 170 1234567', undefined, '+491701234567'],
    ['+0049 170 1234567', undefined, '+491701234567'],
    ['++49 170 1234567', undefined, '+491701234567'],
    ['+7 8 916 123 45 67', undefined, '+79161234567'],
  ])('removes redundant prefixes from %j', (text, country, expected) => {
    expect(canonicalPhoneNumber(text, country)).toBe(expected);
  });

  it.each<Row>([
    ['9198765432', 'IN', '+919198765432'],
    ['919876543212', 'IN', '+919876543212'],
    ['55912345678', 'BR', '+5555912345678'],
    ['3933312345', 'IT', '+393933312345'],
    ['47912345', 'NO', '+4747912345'],
    ['447911123456', 'GB', '+447911123456'],
    ['79161234567', 'RU', '+79161234567'],
    ['6591234567', 'SG', '+6591234567'],
  ])('takes the only valid reading of %j, which starts with the calling code of %s', (text, country, expected) => {
    expect(canonicalPhoneNumber(text, country)).toBe(expected);
  });

  it.each([
    '491701234568',
    '49 170 1234568',
    '(49) 170 1234568',
  ])('rejects %j, which has two valid readings, and names both', (text) => {
    expect(readPhoneNumber(text, 'DE')).toEqual({
      problem: expect.stringContaining('+49491701234568 or +491701234568'),
    });
    expect(canonicalPhoneNumber('+491701234568', 'DE')).toBe('+491701234568');
  });

  it.each<Row>([
    ['1701234567.0', 'DE', '+491701234567'],
    ['9876543212.0', 'IN', '+919876543212'],
    ['+491701234567,00', undefined, '+491701234567'],
  ])('removes the decimals of a spreadsheet from %j', (text, country, expected) => {
    expect(canonicalPhoneNumber(text, country)).toBe(expected);
  });

  it.each<Row>([
    ['+5215512345678', undefined, '+525512345678'],
    ['+52 1 55 1234 5678', undefined, '+525512345678'],
    ['+52 044 55 1234 5678', undefined, '+525512345678'],
    ['044 55 1234 5678', 'MX', '+525512345678'],
    ['045 55 1234 5678', 'MX', '+525512345678'],
    ['01 55 1234 5678', 'MX', '+525512345678'],
    ['521 55 1234 5678', 'MX', '+525512345678'],
    ['55 1234 5678', 'MX', '+525512345678'],
  ])('reads the Mexican number %j (country %s) as %s', (text, country, expected) => {
    expect(canonicalPhoneNumber(text, country)).toBe(expected);
  });

  it.each([
    ['+54 9 11 2345-6789', undefined],
    ['+54 11 2345-6789', undefined],
    ['011 15 2345-6789', 'AR'],
    ['11 2345 6789', 'AR'],
    ['5491123456789', 'AR'],
  ] as const)('recognizes the Argentine subscriber in %j (country %s)', (text, country) => {
    expect(subscriberOf(canonicalPhoneNumber(text, country) ?? '')).toBe('+541123456789');
  });

  it.each<Row>([
    ['p:+14155550125', undefined, '+14155550125'],
    ['="4155550125"', 'US', '+14155550125'],
    ['=+14155550125', undefined, '+14155550125'],
    ["'4155550125", 'US', '+14155550125'],
    ['tel:+1-415-555-0125', undefined, '+14155550125'],
    ['T: 415-555-0125', 'US', '+14155550125'],
    ['\u202a+1\u200b 415\u2060 555 0125\u202c', undefined, '+14155550125'],
    ['\ufeff+1 415\u00a0555\u20110125', undefined, '+14155550125'],
    ['＋１４１５５５５０１２５', undefined, '+14155550125'],
  ])('cleans %j', (text, country, expected) => {
    expect(canonicalPhoneNumber(text, country)).toBe(expected);
  });

  it.each([
    '+1 415 555 0123 ext. 5',
    '+1 415 555 0123 x5',
    'tel:+1-415-555-0123;ext=5',
  ])('separates the extension of %j', (text) => {
    expect(readPhoneNumber(text)).toMatchObject({ phoneNumber: '+14155550123', extension: '5' });
    expect(canonicalPhoneNumber(text)).toBeUndefined();
  });

  it.each([
    ['', undefined],
    ['4155550123', undefined],
    ['+12', undefined],
    ['+999123456', undefined],
    ['call +14155550123', undefined],
    ['+14155550123 / +14155550124', undefined],
    ['1-800-FLOWERS', 'US'],
    ['911', 'US'],
    // Not in the numbering plan, though of a possible length.
    ['0333 123 4568', 'IT'],
    ['+3903331234568', undefined],
    ['x'.repeat(10_000_000), undefined],
  ] as const)('rejects %.40j (country %s)', (text, country) => {
    expect(readPhoneNumber(text, country)).toEqual({
      problem: expect.stringContaining('is not a valid phone number'),
    });
  });

  it.each(['1e10', '1.70123E+09', '4,917E+11'])('rejects the rounded number %j', (text) => {
    expect(readPhoneNumber(text, 'DE')).toEqual({
      problem: expect.stringContaining('scientific notation'),
    });
  });

  it.each([
    '+1 900 555 1234',
    '+979 1 2345 6789',
    '+882 16 1234567',
    '+870 773 123 456',
    '+8816 1234 5678',
    '+44 909 879 0000',
    '+44 70 1234 5678',
  ])('recognizes the premium number %j', (text) => {
    expect(readPhoneNumber(text)).toMatchObject({ premium: true });
  });

  it.each([
    '+14155550123',
    '+442079460000',
    '+443069990123',
    '+18004444444',
    '+491701234567',
  ])('recognizes the ordinary number %j', (text) => {
    expect(readPhoneNumber(text)).toMatchObject({ premium: false });
  });
});

describe('phoneNumberForms', () => {
  it('returns both forms of an Argentine number and one form of others', () => {
    expect(phoneNumberForms('+5491123456789')).toEqual(['+5491123456789', '+541123456789']);
    expect(phoneNumberForms('+541123456789')).toEqual(['+541123456789', '+5491123456789']);
    expect(phoneNumberForms('+14155550123')).toEqual(['+14155550123']);
  });
});

describe('parseCountry', () => {
  it('accepts ISO 3166-1 alpha-2 codes only', () => {
    expect(parseCountry(' de ')).toBe('DE');
    expect(parseCountry('Germany')).toBeUndefined();
    expect(parseCountry('XX')).toBeUndefined();
  });
});
