import { describe, expect, it } from 'vitest';
import {
  type ColumnMappingInput,
  type ImportColumn,
  mapColumns,
} from '../../../src/contacts/import/column-mapping.ts';
import { contactRowReader } from '../../../src/contacts/import/row-reader.ts';
import { Checks } from '../../../src/infra/checks.ts';
import { HEADERS, LANGUAGES } from './headers.ts';

function map(header: readonly string[], mapping: ColumnMappingInput[] = []): ImportColumn[] {
  const checks = new Checks();
  const columns = mapColumns(checks, header, mapping);
  checks.throwIfAny();
  return columns;
}

function phonesOf(columns: readonly ImportColumn[]): string[] {
  return columns
    .filter(({ field }) => field === 'phoneNumber')
    .sort((a, b) => (a.order ?? 0) - (b.order ?? 0))
    .map(({ column }) => column);
}

const readRow = (columns: readonly ImportColumn[], cells: readonly string[]) =>
  contactRowReader(columns, { defaultCountry: 'US', allowPremium: false })(cells);

describe('mapColumns', () => {
  it.each(HEADERS)('maps the header of $source', ({ header, phones, fields }) => {
    const columns = map(header.split(','));
    expect(phonesOf(columns)).toEqual(phones);
    const others = columns.filter(({ field }) => field !== null && field !== 'phoneNumber');
    expect(Object.fromEntries(others.map(({ field, column }) => [field, column]))).toEqual(fields);
    // All other columns are kept as metadata, each under its own key.
    const keys = columns.flatMap(({ metadataKey }) => metadataKey ?? []);
    expect(keys).toHaveLength(columns.length - others.length - 1);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it.each(LANGUAGES)('maps the header in %s', (_language, header) => {
    const fields = map(header.split(',')).map(({ field }) => field);
    expect(fields).toEqual(['phoneNumber', 'firstName', 'lastName', 'email']);
  });

  it.each([
    ...['Phone Type', 'Phone 1 - Label', 'Phone Country Code', 'Phone Verified', 'Fax'],
    ...["Assistant's Phone", 'Contact Owner Phone', 'Phone Extension', 'Mobile Device', 'Pager'],
    ...['Emergency Phone', 'Phone Calls', 'Total Number'],
  ])('does not take %j for a phone number', (column) => {
    const [mapped] = map([column, 'phone']);
    expect(mapped).toEqual({ column, field: null, metadataKey: column });
  });

  it('keeps metadata keys of 100 characters, and cuts longer and repeated names', () => {
    const name = 'k'.repeat(100);
    const keys = map(['phone', name, `${name}k`, 'note', 'note']).map((each) => each.metadataKey);
    expect(keys).toEqual([null, name, `${name.slice(2)} 2`, 'note', 'note 2']);
  });

  it('rejects a header with more than 50 phone number columns', () => {
    const header = Array.from({ length: 51 }, () => 'Phone');
    expect(() => map(header)).toThrow(/51 phone number columns; the maximum is 50/);
    expect(phonesOf(map(header.slice(1)))).toHaveLength(50);
  });

  it('maps no further phone number column when the caller maps one', () => {
    const columns = map(['Kontakt', 'Phone'], [{ column: 'Kontakt', field: 'phoneNumber' }]);
    expect(phonesOf(columns)).toEqual(['Kontakt']);
  });

  it('uses the phone number columns of the caller in the order of the mapping', () => {
    const columns = map(
      ['a', 'b', 'c'],
      [
        { column: 'c', field: 'phoneNumber' },
        { column: 'a', field: 'phoneNumber' },
      ],
    );
    expect(phonesOf(columns)).toEqual(['c', 'a']);
    expect(readRow(columns, ['4155550101', 'x', '4155550103'])).toMatchObject({
      contact: { phoneNumber: '+14155550103', metadata: { a: '4155550101', b: 'x' } },
    });
  });
});

describe('contactRowReader', () => {
  const columns = map(['Mobile', 'Phone', 'Home Phone', 'DNC']);

  it.each([
    [['4155550101', '4155550102', '4155550103'], '+14155550102'],
    [['4155550101', '', '4155550103'], '+14155550101'],
    [['N/A', '-', '4155550103'], '+14155550103'],
    [['4155550101', 'ask her', ''], '+14155550101'],
    [['4155550101', '+1 900 555 0102', ''], '+14155550101'],
    [['', '4155550102 ::: 4155550109', ''], '+14155550102'],
    [['', 'office ::: 4155550109', ''], '+14155550109'],
  ])('uses the first valid number of %j', (cells, phoneNumber) => {
    expect(readRow(columns, cells)).toMatchObject({ contact: { phoneNumber } });
  });

  it('keeps the numbers that are not used', () => {
    expect(readRow(columns, ['4155550101', '4155550102 x7', '55'])).toMatchObject({
      contact: {
        phoneNumber: '+14155550102',
        metadata: { extension: '7', Mobile: '4155550101', 'Home Phone': '55' },
      },
    });
    expect(readRow(columns, ['4155550101', 'ask her'])).toMatchObject({
      contact: { phoneNumber: '+14155550101' },
      warning: expect.stringContaining('Ignored "Phone"'),
    });
  });

  it('reports the first number when none is valid', () => {
    expect(readRow(columns, ['12', '', '34'])).toMatchObject({
      phoneNumber: '12',
      reason: expect.stringContaining('"12" is not a valid phone number'),
    });
  });

  it('opts all numbers of a row out of calls', () => {
    expect(readRow(columns, ['4155550101', '4155550102', '12', 'yes'])).toMatchObject({
      optOut: { column: 'DNC', phoneNumbers: ['+14155550101', '+14155550102'] },
    });
  });

  it('opts out the numbers of phone columns that the mapping leaves out', () => {
    const mapped = map(
      ['Name', 'Mobile', 'Home Phone', 'Work Phone', 'Other Phone', 'Do Not Call'],
      [
        { column: 'Mobile', field: 'phoneNumber' },
        { column: 'Work Phone', metadataKey: 'work' },
        { column: 'Other Phone' },
      ],
    );
    const cells = ['Ada', '4155550101', '4155550102', '4155550103', '4155550104', 'yes'];
    expect(readRow(mapped, cells)).toMatchObject({
      contact: {
        phoneNumber: '+14155550101',
        metadata: { 'Home Phone': '4155550102', work: '4155550103' },
      },
      optOut: {
        phoneNumbers: ['+14155550101', '+14155550102', '+14155550103', '+14155550104'],
      },
    });
  });
});
