import { describe, expect, it } from 'vitest';
import { mapColumns } from '../../../src/contacts/import/column-mapping.ts';
import { isEmptyCell } from '../../../src/contacts/import/empty-cells.ts';
import { contactRowReader } from '../../../src/contacts/import/row-reader.ts';
import { readTimeZone } from '../../../src/contacts/time-zone.ts';
import { Checks } from '../../../src/infra/checks.ts';
import type { CountryCode } from '../../../src/infra/phone-number.ts';

function readRow(
  header: readonly string[],
  cells: readonly string[],
  defaultCountry?: CountryCode,
) {
  const checks = new Checks();
  const columns = mapColumns(checks, header, []);
  checks.throwIfAny();
  return contactRowReader(columns, { defaultCountry })(cells);
}

describe('isEmptyCell', () => {
  it.each(
    'NULL|null|N/A|n/a|#N/A|nan|NaN|None|none|undefined|-|—|?|#REF!|#VALUE!|\\N|(blank)'.split('|'),
  )('finds no value in %j', (cell) => {
    expect(isEmptyCell(cell, null)).toBe(true);
    expect(isEmptyCell(cell, 'email')).toBe(true);
  });

  it.each([
    ['NA', null],
    ['NA', 'location'],
    ['No', 'doNotCall'],
    ['x', 'doNotCall'],
    ['none', 'consent'],
    ['Null', 'lastName'],
    ['Nan', 'firstName'],
    ['0', null],
  ] as const)('finds a value in %j of the field %j', (cell, field) => {
    expect(isEmptyCell(cell, field)).toBe(false);
  });
});

describe('readTimeZone', () => {
  it.each([
    ['PST', 'America/Los_Angeles'],
    ['est', 'America/New_York'],
    ['CEST', 'Europe/Berlin'],
    ['JST', 'Asia/Tokyo'],
    ['Eastern Standard Time', 'America/New_York'],
    ['Eastern Daylight Time', 'America/New_York'],
    ['US Mountain Standard Time', 'America/Phoenix'],
    ['W. Europe Standard Time', 'Europe/Berlin'],
    ['E. South America Standard Time', 'America/Sao_Paulo'],
    ['India Standard Time', 'Asia/Calcutta'],
    ['Pacific Time (US & Canada)', 'America/Los_Angeles'],
    ['(UTC-05:00) Eastern Time (US & Canada)', 'America/New_York'],
    ['(GMT-07:00) Pacific Daylight Time (America/Los_Angeles)', 'America/Los_Angeles'],
    ['us_slash_eastern', 'US/Eastern'],
    ['EST5EDT', 'EST5EDT'],
    ['Europe/Berlin', 'Europe/Berlin'],
    ['Mars', null],
    ['constructor', null],
    ['+01:00', null],
  ])('reads %j as %s', (text, zone) => {
    expect(readTimeZone(text)).toBe(zone);
  });

  it.each(['CST', 'IST', 'BST', 'mst', 'AEST'])('does not choose a zone for %s', (text) => {
    expect(readTimeZone(text)).toEqual({ canMean: expect.stringMatching(/^\w+\/\w+.* or \w+\//) });
  });
});

describe('contactRowReader', () => {
  it.each([
    ['email', 'not an address', 'email', '`email` must be an email address'],
    [
      'Time Zone',
      'CST',
      'timezone',
      '`timezone` is ambiguous: "CST" can mean America/Chicago, Asia/Shanghai',
    ],
    ['Time Zone', 'Mars', 'timezone', '`timezone` must be an IANA time zone'],
    ['first name', 'a'.repeat(101), 'firstName', '`firstName` must have at most 100 characters'],
    ['zip', '1'.repeat(21), 'pinCode', '`pinCode` must have at most 20 characters'],
  ] as const)('keeps a contact whose %s is %j', (column, cell, field, reason) => {
    const read = readRow(['phone', column, 'Plan'], ['+14155550123', cell, 'gold']);
    expect(read).toMatchObject({
      contact: { phoneNumber: '+14155550123', [field]: null, metadata: { Plan: 'gold' } },
      warning: expect.stringContaining(`Ignored "${column}": ${reason}`),
    });
  });

  it('ignores a metadata value of more than 2,000 characters and keeps the others', () => {
    const read = readRow(['phone', 'Notes', 'Plan'], ['+14155550123', 'x'.repeat(2001), 'gold']);
    expect(read).toMatchObject({
      contact: { metadata: { Plan: 'gold' } },
      warning: expect.stringMatching(/^Ignored "Notes": .*at most 2,000 characters; it has 2,001/),
    });
  });

  it('keeps the first 100 of more than 100 metadata cells', () => {
    const names = Array.from({ length: 130 }, (_, index) => `extra ${index}`);
    const read = readRow(['phone', ...names], ['+14155550123', ...names]);
    if (!('contact' in read)) throw new Error(read.reason);
    expect(Object.keys(read.contact.metadata)).toEqual(names.slice(0, 100));
    expect(read.warning).toMatch(/^Ignored "extra 100", .* and 20 more: A contact has at most 100/);
    const sparse = ['+14155550123', ...names.map((name, index) => (index < 50 ? '' : name))];
    expect(readRow(['phone', ...names], sparse)).toMatchObject({ warning: null });
  });

  it('keeps an extension and 99 metadata cells', () => {
    const names = Array.from({ length: 100 }, (_, index) => `extra ${index}`);
    const read = readRow(['phone', ...names], ['+14155550123 x7', ...names]);
    if (!('contact' in read)) throw new Error(read.reason);
    expect(Object.keys(read.contact.metadata)).toEqual(['extension', ...names.slice(0, 99)]);
    expect(read.warning).toMatch(/^Ignored "extra 99": A contact has at most 100/);
  });

  it('has no warning for empty and understood cells', () => {
    const read = readRow(
      ['phone', 'email', 'time zone', 'company', 'Plan', 'dnc'],
      ['+14155550123', 'N/A', 'Eastern Standard Time', 'NULL', '#N/A', '-'],
    );
    expect(read).toMatchObject({
      contact: { email: null, timezone: 'America/New_York', companyName: null, metadata: {} },
      optOut: null,
      warning: null,
    });
  });

  it('rejects a row without a valid phone number for that reason alone', () => {
    expect(readRow(['phone', 'email'], ['12', 'not an address'])).toEqual({
      phoneNumber: '12',
      reason: expect.stringMatching(/^`phoneNumber` is invalid[^`]*$/),
      optOut: null,
    });
    expect(readRow(['phone', 'email'], ['N/A', ''])).toEqual({
      phoneNumber: null,
      reason: 'A phone number is required.',
      optOut: null,
    });
  });

  it.each([
    'p:+14155550125',
    '="4155550125"',
    "'4155550125",
    'tel:+1-415-555-0125',
    '\u200b+1\u2060 415 555 0125',
    '\u202d(415) 555-0125\u202c',
    '4155550125.0',
  ])('reads the phone number %j', (cell) => {
    expect(readRow(['phone'], [cell], 'US')).toMatchObject({
      contact: { phoneNumber: '+14155550125', metadata: {} },
      warning: null,
    });
  });

  it.each([
    '+1 415 555 0125 ext. 12',
    '(415) 555-0125 x12',
    'tel:+1-415-555-0125;ext=12',
    '415-555-0125 #12',
  ])('keeps the extension of %j in the metadata', (cell) => {
    expect(readRow(['phone', 'Plan'], [cell, 'gold'], 'US')).toMatchObject({
      contact: { phoneNumber: '+14155550125', metadata: { extension: '12', Plan: 'gold' } },
    });
    expect(readRow(['phone', 'extension'], [cell, '7'], 'US')).toMatchObject({
      contact: { metadata: { extension: '7' } },
    });
  });
});
