/** Reads cells that contain one or more phone numbers. Pure. */
import { truncateText } from '../../infra/database/storable-text.ts';
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
  const read: PhoneCell = { numbers: [], unread: [] };
  if (cell.length > MAX_CELL_CHARACTERS) {
    const problem = `has more than ${MAX_CELL_CHARACTERS} characters`;
    return { numbers: [], unread: [{ text: truncateText(cell, MAX_CELL_CHARACTERS), problem }] };
  }
  for (const value of valuesOf(cell)) {
    for (const text of partsOf(value, country)) {
      const reading = readPhoneNumber(text, country);
      if ('problem' in reading) {
        read.unread.push({ text, problem: reading.problem });
        continue;
      }
      read.numbers.push(reading.phoneNumber);
      if (reading.extension !== null && reading.extension.length > MAX_EXTENSION) {
        read.unread.push({ text, problem: 'may have a second number that is incomplete' });
      }
    }
  }
  return read;
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
