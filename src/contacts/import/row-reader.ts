/** Converts the cells of a row to a contact. Pure. */
import { truncateText } from '../../infra/database/storable-text.ts';
import { type PhoneNumberRules, readPhoneNumber } from '../../infra/phone-number.ts';
import { type OptOut, optOutReason } from '../do-not-call.ts';
import {
  type ContactColumns,
  type ContactInput,
  MAX_METADATA_ENTRIES,
  readContactRow,
  TOO_MANY_KEYS,
} from '../fields.ts';
import { type ImportColumn, mayHavePhoneNumbers } from './column-mapping.ts';
import { cellText } from './csv.ts';
import { isEmptyCell } from './empty-cells.ts';
import { optsOut } from './opt-out.ts';
import { readPhoneCell, valuesOf } from './phone-cells.ts';

export type RowReading =
  | {
      contact: ContactColumns;
      optOut: OptOutOfRow | null;
      /** Which cells were ignored and why, or null. */
      warning: string | null;
    }
  | {
      /** Reason why the row has no contact. */
      reason: string;
      /** Text of the phone number cell; null if it is empty or unknown. */
      phoneNumber: string | null;
      optOut: OptOutOfRow | null;
    };

/** A row whose person must not be called. */
export interface OptOutOfRow {
  /** Column with the opt-out. */
  column: string;
  /** All phone numbers of the row, at least one. */
  phoneNumbers: string[];
}

/** Metadata key of the extension in a phone number cell. */
const EXTENSION_KEY = 'extension';
/** Characters that occur in every phone number with an extension. */
const EXTENSION_SIGN = /[\p{L}#;,~]/u;

/** Values read from the cells of a row. */
interface RowCells {
  input: ContactInput;
  optOut: string | null;
  /** Cells that cannot be used. */
  ignored: IgnoredCell[];
}

interface IgnoredCell {
  column: string;
  reason: string;
}

/** Returns a function that reads the rows of a file with these columns. */
export function contactRowReader(
  columns: readonly ImportColumn[],
  rules: PhoneNumberRules = {},
): (cells: readonly string[]) => RowReading {
  const phones = columns
    .flatMap(({ field, order = 0 }, index) => (field === 'phoneNumber' ? { index, order } : []))
    .sort((a, b) => a.order - b.order)
    .map(({ index }) => index);
  const optOutPhones = columns.flatMap((column, index) =>
    mayHavePhoneNumbers(column) ? { index, name: column.column } : [],
  );
  return (cells) => {
    if (cells.length > columns.length && cells.slice(columns.length).some((cell) => cell.trim())) {
      return {
        reason: `The row has ${cells.length} cells, but the header has ${columns.length}. Cells that contain the delimiter must be quoted.`,
        phoneNumber: null,
        optOut: null,
      };
    }
    const phone = choosePhoneNumber(phones, cells, rules);
    const { input, optOut, ignored } = readCells(columns, cells, phone);
    const optedOut = optOut === null ? null : readOptOut(optOut, optOutPhones, cells, rules);
    const read = readContactRow(input, rules);
    if ('reason' in read) {
      const unread = (optedOut?.unread ?? []).map(({ column, reason }) => `${column}: ${reason}`);
      const reason = [read.reason, ...unread].join(' ');
      return { reason, phoneNumber: phone.text, optOut: optedOut?.row ?? null };
    }
    for (const { field, metadataKey, message } of read.ignored) {
      ignored.push({ column: columnOf(columns, field, metadataKey), reason: message });
    }
    ignored.push(...(optedOut?.unread ?? []));
    return { contact: read.contact, optOut: optedOut?.row ?? null, warning: warningOf(ignored) };
  };
}

/**
 * Reads all numbers of a row whose person must not be called, including numbers that may not be called anyway. Text
 * that cannot be read is reported, since the number may be called under another spelling.
 */
function readOptOut(
  column: string,
  phones: readonly { index: number; name: string }[],
  cells: readonly string[],
  { defaultCountry }: PhoneNumberRules,
): { row: OptOutOfRow | null; unread: IgnoredCell[] } {
  const numbers = new Set<string>();
  const unread: IgnoredCell[] = [];
  for (const { index, name } of phones) {
    const cell = cellText(cells[index] ?? '');
    if (isEmptyCell(cell, 'phoneNumber')) continue;
    const read = readPhoneCell(cell, defaultCountry);
    for (const number of read.numbers) numbers.add(number);
    for (const { text, problem } of read.unread) {
      const shown = JSON.stringify(truncateText(text, 60));
      const reason = `${shown} ${problem}, so it is not on the do-not-call list.`;
      unread.push({ column: name, reason });
    }
  }
  const row = numbers.size > 0 ? { column, phoneNumbers: [...numbers] } : null;
  return { row, unread };
}

/** Returns the entries that a row adds to the do-not-call list. */
export function optOutsOf({ column, phoneNumbers }: OptOutOfRow): OptOut[] {
  const reason = optOutReason(column);
  return phoneNumbers.map((phoneNumber) => ({ phoneNumber, reason }));
}

interface ChosenPhone {
  /** Index of the column of the number, or -1. */
  index: number;
  text: string | null;
  extension: string | null;
}

/** Chooses the first valid number of the columns, else the first filled one. */
function choosePhoneNumber(
  indexes: readonly number[],
  cells: readonly string[],
  rules: PhoneNumberRules,
): ChosenPhone {
  const filled = indexes.flatMap((index) => {
    const text = cellText(cells[index] ?? '');
    return isEmptyCell(text, 'phoneNumber')
      ? []
      : valuesOf(text).map((one) => ({ index, text: one }));
  });
  const [first] = filled;
  if (!first) return { index: -1, text: null, extension: null };
  // Most rows have a single number, which is validated with the contact.
  if (filled.length === 1 && !EXTENSION_SIGN.test(first.text)) return { ...first, extension: null };
  for (const { index, text } of filled) {
    const reading = readPhoneNumber(text, rules.defaultCountry);
    if ('problem' in reading || (reading.premium && rules.allowPremium === false)) continue;
    return { index, text: reading.phoneNumber, extension: reading.extension };
  }
  return { ...first, extension: null };
}

/** Reads all cells. That of the phone number has been read. */
function readCells(
  columns: readonly ImportColumn[],
  cells: readonly string[],
  phone: ChosenPhone,
): RowCells {
  const row: RowCells = { input: { phoneNumber: phone.text }, optOut: null, ignored: [] };
  const metadata = new Map<string, string>();
  if (phone.extension !== null) metadata.set(EXTENSION_KEY, phone.extension);
  let name: string | null = null;
  for (const [index, { column, field, metadataKey }] of columns.entries()) {
    const value = cellText(cells[index] ?? '');
    if (index === phone.index || isEmptyCell(value, field)) continue;
    if (field === 'name') name = value;
    else if (field === 'doNotCall' || field === 'consent') {
      if (optsOut(field, value)) row.optOut ??= column;
    } else if (field && field !== 'phoneNumber') row.input[field] = value;
    else if (metadataKey && metadata.size < MAX_METADATA_ENTRIES) metadata.set(metadataKey, value);
    else if (metadataKey) {
      row.ignored.push({ column, reason: TOO_MANY_KEYS });
    } else if (field === 'phoneNumber') {
      const reason = `${JSON.stringify(truncateText(value, 60))} is not valid, so the number of another column is used.`;
      row.ignored.push({ column, reason });
    }
  }
  if (metadata.size > 0) row.input.metadata = Object.fromEntries(metadata);
  if (name) Object.assign(row.input, { ...splitName(name), ...nameFields(row.input) });
  return row;
}

/** Returns the name of the column from which a value came. */
function columnOf(
  columns: readonly ImportColumn[],
  field: keyof ContactInput,
  metadataKey: string | null,
): string {
  const found =
    columns.find((column) =>
      metadataKey === null ? column.field === field : column.metadataKey === metadataKey,
    ) ?? columns.find((column) => column.field === 'name');
  return found?.column ?? field;
}

/** Formats the reasons, each with the columns to which it applies. */
export function warningOf(ignored: readonly IgnoredCell[]): string | null {
  if (ignored.length === 0) return null;
  const byReason = Map.groupBy(ignored, ({ reason }) => reason);
  return [...byReason]
    .map(([reason, cells]) => {
      const names = cells.slice(0, 10).map(({ column }) => JSON.stringify(column));
      const more = cells.length > 10 ? ` and ${cells.length - 10} more` : '';
      return `Ignored ${names.join(', ')}${more}: ${reason}`;
    })
    .join(' ');
}

function nameFields({ firstName, lastName }: ContactInput): ContactInput {
  return { ...(firstName ? { firstName } : {}), ...(lastName ? { lastName } : {}) };
}

/** Splits names such as "Ada King Lovelace" and "Lovelace, Ada". */
function splitName(name: string): ContactInput {
  const [last, first, ...others] = name.split(',', 3).map((part) => part.trim());
  if (last && first && others.length === 0) return { firstName: first, lastName: last };
  const [firstName = '', ...rest] = name.split(/\s+/);
  return rest.length > 0 ? { firstName, lastName: rest.join(' ') } : { firstName };
}
