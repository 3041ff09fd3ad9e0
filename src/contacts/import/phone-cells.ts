/** Reads cells that contain one or more phone numbers. Pure. */
import { truncateText } from '../../infra/database/storable-text.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { type CountryCode, readPhoneNumber } from '../../infra/phone-number.ts';

/** Separates several values in a cell of Google Contacts. */
const VALUE_SEPARATOR = /\s:::\s/;
/** Separates several numbers, as people write them. The characters of the first pattern also precede extensions. */
const LIST_SEPARATOR = /[;,|\n]/;
const LOOSE_SEPARATOR = /[;,|\n/]/;
/** A longer cell is not a list of one person's numbers, and is slow to read. */
const MAX_CELL_CHARACTERS = 1_000;
/** Digits beyond this indicate another number rather than an extension. */
const MAX_EXTENSION = 6;

export interface PhoneCell {
  numbers: string[];
  /** Text that cannot be read. `problem` completes a sentence that starts with the text. */
  unread: { text: string; problem: string }[];
}

/** Returns the values of a cell that may have several, as Google Contacts writes them. */
export function valuesOf(cell: string): string[] {
  return cell.length > MAX_CELL_CHARACTERS ? [cell] : cell.split(VALUE_SEPARATOR);
}

/** Returns all phone numbers in a cell, without their extensions. */
export function readPhoneCell(cell: string, country: CountryCode | undefined): PhoneCell {
  return readCell(cell, country, (text, read) => addNumber(read, text, country));
}

/** A cell of a column whose name does not say that it has phone numbers. */
export interface UnnamedCell extends PhoneCell {
  /** Texts that are valid phone numbers, but may as well be IDs. */
  doubtful: string[];
}

/**
 * Reads a cell that may have phone numbers. The plans of some countries, such as Germany, accept almost any number.
 * Therefore only a text that is written as a phone number is read as one; dates are ignored.
 */
export function readUnnamedCell(cell: string, country: CountryCode | undefined): UnnamedCell {
  const doubtful: string[] = [];
  if (NOT_PHONE.test(cell)) return { numbers: [], unread: [], doubtful };
  const read = readCell(cell, country, (text, found) => {
    if (isWrittenAsPhone(text)) return addNumber(found, text, country);
    if (NOT_PHONE.test(text)) return;
    if ('problem' in readPhoneNumber(text, country)) addNumber(found, text, country);
    else doubtful.push(text);
  });
  return { ...read, doubtful };
}

/** Whether a cell has a phone number in any notation, which is not a date. */
export function hasPhoneNumber(cell: string, country: CountryCode | undefined): boolean {
  return mayHaveNumber(cell) && readAnyNotation(cell, country).numbers.length > 0;
}

/** Whether a cell has a valid number that is written as a phone number. */
export function hasWrittenPhone(cell: string, country: CountryCode | undefined): boolean {
  if (!mayHaveNumber(cell) || cell.length > MAX_CELL_CHARACTERS) return false;
  // Finding the numbers of a list takes much longer.
  const pieces = [
    cell,
    ...valuesOf(cell),
    ...cell.split(LIST_SEPARATOR),
    ...cell.split(LOOSE_SEPARATOR),
  ];
  const mayBeWritten = pieces.some((piece) => isWrittenAsPhone(piece.trim()));
  if (!mayBeWritten) return false;
  const read = readCell(cell, country, (text, found) => {
    if (isWrittenAsPhone(text)) addNumber(found, text, country);
  });
  return read.numbers.length > 0;
}

/** Returns the phone numbers in a cell that has nothing else, except that dates are ignored. */
export function readAnyNotation(cell: string, country: CountryCode | undefined): PhoneCell {
  if (NOT_PHONE.test(cell)) return { numbers: [], unread: [] };
  return readCell(cell, country, (text, read) => {
    if (!NOT_PHONE.test(text)) addNumber(read, text, country);
  });
}

/** Whether a cell has enough digits for a phone number. */
export function mayHaveNumber(cell: string): boolean {
  return /(?:\d\D*){5}/.test(cell);
}

const DAY = '(?:0?[1-9]|[12]\\d|3[01])';
const MONTH = '(?:0?[1-9]|1[0-2])';
const YEAR = '(?:19|20)\\d\\d';
const TIME = '(?:[T\\s,]+\\d{1,2}:.*)?';
/** Dates, also those of a month or with the month first, and decimals below one. */
const NOT_PHONE = new RegExp(
  [
    `^${YEAR}[-./]${MONTH}(?:[-./]${DAY})?${TIME}$`,
    `^${DAY}[-./]\\s?${DAY}[-./]\\s?(?:${YEAR}|\\d\\d)${TIME}$`,
    `^${MONTH}[-./]${YEAR}$`,
    '^-?0?[.,]\\d+$',
  ].join('|'),
);

const WRITTEN_AS_PHONE = [
  // "+49 30 901820", "Tel. (+49) 30 901820"
  /^\D{0,15}\+[\s(]*\d/,
  // "(030) 901820", "(415) 555-2671"
  /^\W*\(\d{2,5}\)[\s./-]*\d/,
  // "030 901820", "0171/1234567"
  /^\W*0\d{2,5}[\s/-]+\d[\d\s./-]{2}/,
  // "01 42 68 53 00"
  /^\W*0\d(?:[\s.-]\d\d){4}(?!\d)/,
  // "02-1234-5678"
  /^\W*0\d[\s-]\d{3,4}[\s-]\d{4}(?!\d)/,
  // "415-555-2671"
  /^\W*(?:1[\s.-])?\d{3}[\s.-]\d{3}[\s.-]\d{4}(?!\d)/,
];

/** Whether a text is written in a way that is usual for phone numbers and unusual for anything else. */
function isWrittenAsPhone(text: string): boolean {
  return !NOT_PHONE.test(text) && WRITTEN_AS_PHONE.some((pattern) => pattern.test(text));
}

function readCell(
  cell: string,
  country: CountryCode | undefined,
  addPart: (text: string, read: PhoneCell) => void,
): PhoneCell {
  const read: PhoneCell = { numbers: [], unread: [] };
  if (cell.length > MAX_CELL_CHARACTERS) {
    const problem = `has more than ${formatNumber(MAX_CELL_CHARACTERS)} characters`;
    return { numbers: [], unread: [{ text: truncateText(cell, MAX_CELL_CHARACTERS), problem }] };
  }
  for (const value of valuesOf(cell)) {
    for (const text of partsOf(value, country)) addPart(text, read);
  }
  return read;
}

function addNumber(read: PhoneCell, text: string, country: CountryCode | undefined): void {
  const reading = readPhoneNumber(text, country);
  if ('problem' in reading) {
    read.unread.push({ text, problem: reading.problem });
    return;
  }
  read.numbers.push(reading.phoneNumber);
  if (reading.extension !== null && reading.extension.length > MAX_EXTENSION) {
    read.unread.push({ text, problem: 'may have a second number that is incomplete' });
  }
}

/** Splits a list into its numbers. Returns the whole text if it is not a list. */
function partsOf(text: string, country: CountryCode | undefined): string[] {
  if (!LOOSE_SEPARATOR.test(text)) return [text];
  const split = (separator: RegExp, least: number): string[] | null => {
    const parts = text
      .split(separator)
      .map((part) => part.trim())
      .filter(Boolean);
    if (parts.length < 2) return null;
    const valid = parts.filter((part) => !('problem' in readPhoneNumber(part, country)));
    return valid.length >= least ? parts : null;
  };
  const isOne = !('problem' in readPhoneNumber(text, country));
  return (isOne ? split(LIST_SEPARATOR, 2) : split(LOOSE_SEPARATOR, 1)) ?? [text];
}
