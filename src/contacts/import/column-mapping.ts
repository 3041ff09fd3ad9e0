/** Maps the columns of a file to contact fields and metadata. Pure. */
import { type Checks, quote } from '../../infra/checks.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { cellText } from './csv.ts';
import type { FileFormat } from './header.ts';
import { guessField, type ImportField, WEAK_RANK } from './header-names.ts';

/** Fields to which several columns can be mapped. */
const REPEATABLE: ReadonlySet<ImportField> = new Set(['phoneNumber', 'doNotCall', 'consent']);

export interface ImportColumn {
  /** Name of the column in the header. */
  column: string;
  field: ImportField | null;
  /**
   * If `field` is also null, the column is ignored. With the field `phoneNumber`, the key for a number that is not used
   * because another column has a valid one.
   */
  metadataKey: string | null;
  /** Position among several phone number columns; the first one with a valid number is used. */
  order?: number;
}

/** The format and column mapping of a file, stored with its import. */
export interface ImportMapping extends FileFormat {
  columns: ImportColumn[];
}

/** A caller's mapping of one column. */
export interface ColumnMappingInput {
  column: string;
  field?: ImportField | null | undefined;
  metadataKey?: string | null | undefined;
}

/** Reading a phone number takes longer than reading any other cell. Exports of CRMs have up to 20 such columns. */
const MAX_PHONE_COLUMNS = 50;

/** Columns of exports that only the server sets. Imports ignore them. */
export const READ_ONLY_COLUMNS = ['call_count', 'last_call_outcome', 'last_called_at'] as const;

/** Maximum length of a metadata key. */
const MAX_KEY = 100;
/** A key that JavaScript cannot copy safely. Metadata must not have it. */
const UNSAFE_KEY = '__proto__';

/**
 * Whether a column is mapped to the phone number, or has its name and is mapped to no other field. If the person must
 * not be called, the numbers of all these columns are added to the do-not-call list.
 */
export function mayHavePhoneNumbers({ column, field }: ImportColumn): boolean {
  return (field ?? guessField(column)?.field) === 'phoneNumber';
}

/** Returns a predicate: whether a row contains the name of a phone number column, or of a column of the mapping. */
export function headerTest(
  given: readonly ColumnMappingInput[],
): (cells: readonly string[]) => boolean {
  const mapped = new Set(given.map(({ column }) => column.trim()));
  return (cells) =>
    cells
      .map(cellText)
      .some((name) => mapped.has(name) || guessField(name)?.field === 'phoneNumber');
}

/**
 * Maps every column of the header: as given by the caller, else by its name, else to metadata under its name. If
 * several columns suggest the same field, the best name wins. `given` is null if the caller cannot map columns.
 */
export function mapColumns(
  checks: Checks,
  header: readonly string[],
  given: readonly ColumnMappingInput[] | null,
): ImportColumn[] {
  const names = header.map(cellText);
  const byName = checkMapping(checks, names, given ?? []);
  const columns = applyMapping(checks, names, byName);
  const unmapped = columns.filter(({ column }) => !byName.has(column));
  orderPhones(columns, byName);
  guessFields(columns, unmapped);
  mapToMetadata(columns, unmapped);
  if (columns.some(({ metadataKey }) => metadataKey === UNSAFE_KEY)) {
    checks.add(
      'INVALID_INPUT',
      `Metadata cannot have the key "${UNSAFE_KEY}". Rename the column, or map it to a field or another key with \`mapping\`.`,
      ['file'],
    );
  }
  if (!columns.some(({ field }) => field === 'phoneNumber')) {
    checks.add(
      'REQUIRED',
      `The file has no phone number column. Name a column "phone_number"${given ? ', or map one with `mapping`' : ''}. ${joinNames(names)}`,
      ['file'],
    );
  }
  checkPhoneColumns(checks, columns.filter(mayHavePhoneNumbers).length);
  return columns;
}

/** Checks the number of columns that are read as phone numbers. */
export function checkPhoneColumns(checks: Checks, count: number): void {
  if (count <= MAX_PHONE_COLUMNS) return;
  const message = `The file has ${count} phone number columns; the maximum is ${MAX_PHONE_COLUMNS}. Rename or remove some.`;
  checks.add('LIMIT_EXCEEDED', message, ['file']);
}

interface GivenMapping {
  input: ColumnMappingInput;
  /** Index in the caller's list, for problems. */
  index: number;
}

/** Validates the caller's mappings and returns them by column name. */
function checkMapping(
  checks: Checks,
  names: readonly string[],
  given: readonly ColumnMappingInput[],
): Map<string, GivenMapping> {
  const byName = new Map<string, GivenMapping>();
  given.forEach((input, index) => {
    const column = input.column.trim();
    const path = ['mapping', index];
    if (!names.includes(column)) {
      const message = `The file has no column ${quote(column)}. ${joinNames(names)}`;
      checks.add('INVALID_INPUT', message, [...path, 'column']);
    } else if (byName.has(column)) {
      const message = `Column ${quote(column)} is mapped twice.`;
      checks.add('INVALID_INPUT', message, [...path, 'column']);
    } else if (input.field && input.metadataKey) {
      checks.add('INVALID_INPUT', '`field` and `metadataKey` cannot both be set.', path);
    }
    checks.text(input.metadataKey, [...path, 'metadataKey'], { min: 1, max: MAX_KEY });
    if (input.metadataKey === UNSAFE_KEY) {
      checks.add('INVALID_INPUT', `Metadata cannot have the key "${UNSAFE_KEY}".`, [
        ...path,
        'metadataKey',
      ]);
    }
    if (!byName.has(column)) byName.set(column, { input, index });
  });
  return byName;
}

/** Applies the caller's mappings. The other columns stay unmapped. */
function applyMapping(
  checks: Checks,
  names: readonly string[],
  byName: ReadonlyMap<string, GivenMapping>,
): ImportColumn[] {
  const taken = new Set<ImportField>();
  return names.map((column) => {
    const given = byName.get(column);
    const { field = null, metadataKey = null } = given?.input ?? {};
    if (given && field && taken.has(field) && !REPEATABLE.has(field)) {
      const message = 'Another column is already mapped to this field.';
      checks.add('INVALID_INPUT', message, ['mapping', given.index, 'field']);
    }
    if (field) taken.add(field);
    return { column, field, metadataKey };
  });
}

/** Numbers the caller's phone number columns in the order of the mapping. */
function orderPhones(
  columns: readonly ImportColumn[],
  byName: ReadonlyMap<string, GivenMapping>,
): void {
  const phones = columns
    .filter(({ field }) => field === 'phoneNumber')
    .map((column) => ({ column, index: byName.get(column.column)?.index ?? 0 }))
    .sort((a, b) => a.index - b.index);
  for (const [order, { column }] of phones.entries()) if (order > 0) column.order = order;
}

/**
 * Maps columns by name to fields that have no column yet. Maps all phone number columns unless the caller mapped one.
 */
function guessFields(columns: readonly ImportColumn[], unmapped: readonly ImportColumn[]): void {
  const taken = new Set(columns.map(({ field }) => field));
  const guesses = unmapped
    .flatMap((column) => {
      const guess = guessField(column.column);
      return guess ? [{ column, ...guess }] : [];
    })
    // A full name is needed only if its parts are missing.
    .sort((a, b) => Number(a.field === 'name') - Number(b.field === 'name') || a.rank - b.rank);
  const isPhoneMapped = taken.has('phoneNumber');
  let phones = 0;
  for (const { column, field, rank } of guesses) {
    if (taken.has(field) && !REPEATABLE.has(field)) continue;
    if (field === 'phoneNumber') {
      if (isPhoneMapped || (phones > 0 && rank >= WEAK_RANK)) continue;
      if (phones > 0) column.order = phones;
      phones += 1;
    }
    if (field === 'name' && (taken.has('firstName') || taken.has('lastName'))) continue;
    column.field = field;
    taken.add(field);
  }
}

/** Maps the remaining columns to metadata under their names. */
function mapToMetadata(columns: readonly ImportColumn[], unmapped: readonly ImportColumn[]): void {
  const keys = new Set(columns.map(({ metadataKey }) => metadataKey));
  const named = new Set(unmapped);
  for (const column of columns) {
    const isFallback = column.order !== undefined;
    if (!isFallback && (column.field || !named.has(column))) continue;
    if (column.column === '' || isReadOnly(column.column)) continue;
    column.metadataKey = unusedKey(column.column, keys);
    keys.add(column.metadataKey);
  }
}

function isReadOnly(column: string): boolean {
  return (READ_ONLY_COLUMNS as readonly string[]).includes(column);
}

function unusedKey(name: string, keys: ReadonlySet<string | null>): string {
  let key = truncateText(name, MAX_KEY);
  for (let number = 2; keys.has(key); number += 1) {
    const suffix = ` ${number}`;
    key = truncateText(name, MAX_KEY - suffix.length) + suffix;
  }
  return key;
}

function joinNames(names: readonly string[]): string {
  const shown = names.slice(0, 20).map(quote).join(', ');
  return `Its columns are ${shown}${names.length > 20 ? ' and more' : ''}.`;
}
