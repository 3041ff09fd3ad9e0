import { describe, expect, it } from 'vitest';
import {
  contactColumns,
  mergeContact,
  normalizeForSearch,
  readContactRow,
  searchTextOf,
} from '../../src/contacts/fields.ts';
import { Checks } from '../../src/infra/checks.ts';

describe('readContactRow', () => {
  it('normalizes every field', () => {
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
        { defaultCountry: 'US' },
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
      ignored: [],
    });
  });

  it.each([
    ['EST', 'America/New_York'],
    ['Eastern Standard Time', 'America/New_York'],
    ['EST5EDT', 'EST5EDT'],
    ['  ', null],
  ])('stores the time zone %j as %s', (timezone, stored) => {
    const row = readContactRow({ phoneNumber: '+14155550123', timezone });
    expect(row).toMatchObject({ contact: { timezone: stored }, ignored: [] });
  });

  it('rejects a row without a valid phone number', () => {
    const row = readContactRow({
      phoneNumber: 'x'.repeat(10_000_000),
      firstName: 'a'.repeat(101),
      email: 'ada@nowhere',
    });
    const reason = 'reason' in row ? row.reason : '';
    expect(reason).toMatch(/is not a valid phone number/);
    expect(reason.length).toBeLessThan(500);
    expect(readContactRow({ firstName: 'Ada' })).toEqual({ reason: 'A phone number is required.' });
  });

  it('leaves out invalid values and returns what is wrong with them', () => {
    const row = readContactRow({
      phoneNumber: '+14155550123',
      firstName: 'a'.repeat(101),
      lastName: 'Lovelace',
      metadata: { long: 'x'.repeat(2_001), plan: 'gold' },
    });
    expect(row).toMatchObject({
      contact: { firstName: null, lastName: 'Lovelace', metadata: { plan: 'gold' } },
      ignored: [
        { field: 'firstName', metadataKey: null },
        { field: 'metadata', metadataKey: 'long' },
      ],
    });
  });

  it.each([
    ['email', 'a@b'],
    ['email', '.a@example.com'],
    ['email', 'a b@example.com'],
    ['email', 'a@example..com'],
    ['email', '@example.com'],
    ['timezone', 'Mars/Olympus'],
    ['timezone', '+01:00'],
    ['timezone', 'MST'],
    ['pinCode', '1'.repeat(21)],
    ['companyName', 'a\u0000b'],
    ['location', '\ud800'],
    ['metadata', { a: '\ud800' }],
    ['metadata', { a: [1] }],
    ['metadata', { a: 'x'.repeat(2_001) }],
    ['metadata', { ' ': 'x' }],
  ])('rejects the %s %j', (field, value) => {
    const checks = new Checks();
    const input = { phoneNumber: '+14155550123', [field]: value };
    expect(contactColumns(checks, input, ['contacts', 3])).toBeUndefined();
    expect(checks.problems).toHaveLength(1);
    expect(checks.problems[0]).toMatchObject({
      path: expect.arrayContaining(['contacts', 3, field]),
    });
  });

  it('keeps fields that are empty in the row when merged into a contact', () => {
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
      contact: {
        ...existing.contact,
        firstName: 'Augusta',
        metadata: { plan: 'silver', since: '2020' },
      },
      excessKeys: [],
    });
  });
});

describe('searchTextOf', () => {
  it('ignores case and accents and precedes each word with a space', () => {
    expect(
      searchTextOf({
        firstName: 'Zoë',
        lastName: 'van  STRASSE',
        phoneNumber: '+14155550123',
        email: 'Zoe@Example.com',
        keywords: 'vip, Berlin',
      }),
    ).toBe(' zoe van strasse\n +14155550123\n zoe@example.com\n vip, berlin');
    expect(normalizeForSearch('Straße')).toBe(normalizeForSearch('STRASSE'));
    expect(normalizeForSearch('İstanbul')).toBe('istanbul');
  });

  it('encodes every letter in ASCII, so that trigrams do not depend on the locale', () => {
    expect(normalizeForSearch('王伟')).toMatch(/^[a-z0-9]+$/);
    expect(normalizeForSearch('ИВАНОВ')).toBe(normalizeForSearch('иванов'));
    expect(normalizeForSearch('Иванов')).toContain(normalizeForSearch('ван'));
    expect(normalizeForSearch('王伟')).toContain(normalizeForSearch('伟'));
  });
});
