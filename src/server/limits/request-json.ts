/** Limits on JSON from clients, checked before it is parsed. */

import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { LIMITS } from './limits.ts';

/** Maximum number of values of all kinds, including objects and lists. */
export const MAX_JSON_VALUES = LIMITS.jsonValues.max;
export const MAX_JSON_NESTING = LIMITS.jsonNesting.max;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Counts values and levels in one pass over the bytes, so that megabytes of tiny objects are rejected
 * before they take memory.
 *
 * @throws RequestError QUERY_TOO_COSTLY
 */
export function checkJsonSize(json: Buffer): void {
  let values = 1;
  let nesting = 0;
  for (let index = 0; index < json.length; index += 1) {
    switch (json[index]) {
      case QUOTE:
        index = endOfString(json, index + 1);
        break;
      case 0x2c: // ,
        values += 1;
        break;
      case 0x5b: // [
      case 0x7b: // {
        values += 1;
        nesting += 1;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        nesting -= 1;
        break;
    }
    if (values > MAX_JSON_VALUES)
      throw tooLarge(`more than ${formatNumber(MAX_JSON_VALUES)} values`);
    if (nesting > MAX_JSON_NESTING) throw tooLarge(`more than ${MAX_JSON_NESTING} levels`);
  }
}

/** The position of the closing quote, or the end of the buffer. */
function endOfString(json: Buffer, from: number): number {
  for (let start = from; ; ) {
    const quote = json.indexOf(QUOTE, start);
    if (quote === -1) return json.length;
    let backslashes = 0;
    while (quote - backslashes - 1 >= from && json[quote - backslashes - 1] === BACKSLASH) {
      backslashes += 1;
    }
    if (backslashes % 2 === 0) return quote;
    start = quote + 1;
  }
}

function tooLarge(what: string): RequestError {
  return new RequestError(
    'QUERY_TOO_COSTLY',
    `The request has ${what}. Split it, or upload a file.`,
  );
}
