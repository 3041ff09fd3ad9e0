import { describe, expect, it } from 'vitest';
import {
  contactColumns,
  countryNamed,
  mergeContact,
  readContactRow,
  searchForm,
  searchTextOf,
  toE164,
} from '../../src/contacts/record.ts';
import { Checks } from '../../src/infra/checks.ts';

describe('phone numbers', () => {
  it.each([
    ['+14155550123', undefined, '+14155550123'],
    [' +1 (415) 555-0123 ', undefined, '+14155550123'],
    ['415.555.0123', 'US', '+14155550123'],
    ['0041 44 668 18 00', 'DE', '+41446681800'],
    ['+44 (0)20 7946 0000', undefined, '+442079460000'],
    ['030 1234567', 'DE', '+49301234567'],
  ] as const)('%s in %s is %s', (text, country, number) => {
    expect(toE164(text, country)).toBe(number);
  });

  it.each([
    '',
    '4155550123',
    '+12',
    '+999123456',
    '+14155550123 ext. 5',
    'call +14155550123',
    '1e10',
  ])('%j is none', (text) => {
    expect(toE164(text)).toBeUndefined();
  });

  it('countries are named by their code', () => {
    expect(countryNamed(' de ')).toBe('DE');
    expect(countryNamed('Germany')).toBeUndefined();
    expect(countryNamed('XX')).toBeUndefined();
  });
});

describe('a row', () => {
  it('is tidied', () => {
    expect(
      readContactRow(
        {
          phoneNumber: '(415) 555-0123',
          firstName: '  Ada ',
          lastName: '',
          email: 'ada@müller.example',
          keywords: ' vip,, berlin ,',
          timezone: 'europe/berlin',
          metadata: { plan: 'gold' },
        },
        'US',
      ),
    ).toEqual({
      contact: {
        phoneNumber: '+14155550123',
        firstName: 'Ada',
        lastName: null,
        email: 'ada@müller.example',
        companyName: null,
        industry: null,
        location: null,
        pinCode: null,
        keywords: 'vip, berlin',
        timezone: 'Europe/Berlin',
        metadata: { plan: 'gold' },
      },
    });
  });

  it('says everything that is wrong with it', () => {
    const row = readContactRow({
      phoneNumber: 'x'.repeat(10_000_000),
      firstName: 'a'.repeat(101),
      email: 'ada@nowhere',
    });
    const reason = 'reason' in row ? row.reason : '';
    expect(reason).toMatch(/is not a phone number.*`firstName` must have at most 100.*e-mail/);
    expect(reason.length).toBeLessThan(500);
    expect(readContactRow({ firstName: 'Ada' })).toEqual({ reason: 'A phone number is needed.' });
  });

  it.each([
    ['email', 'a@b'],
    ['email', '.a@example.com'],
    ['email', 'a b@example.com'],
    ['email', 'a@example..com'],
    ['email', '@example.com'],
    ['timezone', 'Mars/Olympus'],
    ['timezone', '+01:00'],
    ['pinCode', '1'.repeat(21)],
    ['companyName', 'a\u0000b'],
    ['location', '\ud800'],
    ['metadata', { a: '\ud800' }],
    ['metadata', { a: 1 }],
    ['metadata', { a: 'x'.repeat(2_001) }],
    ['metadata', { ' ': 'x' }],
  ])('refuses the %s %j', (field, value) => {
    const checks = new Checks();
    const input = { phoneNumber: '+14155550123', [field]: value };
    expect(contactColumns(checks, input, ['contacts', 3])).toBeUndefined();
    expect(checks.problems).toHaveLength(1);
    expect(checks.problems[0]).toMatchObject({
      path: expect.arrayContaining(['contacts', 3, field]),
    });
  });

  it('leaves alone what it does not say, when it is written over a contact', () => {
    const existing = readContactRow({
      phoneNumber: '+14155550123',
      firstName: 'Ada',
      email: 'ada@example.com',
      metadata: { plan: 'gold', since: '2020' },
    });
    const row = readContactRow({
      phoneNumber: '+14155550123',
      firstName: 'Augusta',
      metadata: { plan: 'silver' },
    });
    if (!('contact' in existing && 'contact' in row)) throw new Error('Both are fine');
    expect(mergeContact(existing.contact, row.contact)).toEqual({
      ...existing.contact,
      firstName: 'Augusta',
      metadata: { plan: 'silver', since: '2020' },
    });
  });
});

describe('what a search looks through', () => {
  it('is without case and accents, each word after a space', () => {
    expect(
      searchTextOf({
        firstName: 'Zoë',
        lastName: 'van  STRASSE',
        phoneNumber: '+14155550123',
        email: 'Zoe@Example.com',
        keywords: 'vip, Berlin',
      }),
    ).toBe(' zoe van strasse\n +14155550123\n zoe@example.com\n vip, berlin');
    expect(searchForm('Straße')).toBe(searchForm('STRASSE'));
    expect(searchForm('İstanbul')).toBe('istanbul');
  });

  it('spells every letter in ASCII, so that trigrams need no locale', () => {
    expect(searchForm('王伟')).toMatch(/^[a-z0-9]+$/);
    expect(searchForm('ИВАНОВ')).toBe(searchForm('иванов'));
    expect(searchForm('Иванов')).toContain(searchForm('ван'));
    expect(searchForm('王伟')).toContain(searchForm('伟'));
  });
});
