/** Finds a person's request not to be called again in the turns of a call. */
import { truncateText } from '../../infra/database/storable-text.ts';
import { isEnglishRequest } from './do-not-call-request-english.ts';
import {
  FRENCH_REQUESTS,
  GERMAN_REQUESTS,
  SPANISH_REQUESTS,
} from './do-not-call-request-phrases.ts';
import type { Turn } from './turns.ts';
import { plainWords } from './words.ts';

const OTHER_REQUESTS = [SPANISH_REQUESTS, GERMAN_REQUESTS, FRENCH_REQUESTS].flat();
/** Maximum length of a quotation that is kept as evidence. */
export const MAX_QUOTE = 300;

/** The words of the request, or null if none was heard. The agent's words do not count. */
export function doNotCallRequestIn(
  turns: readonly Pick<Turn, 'speaker' | 'text'>[],
): string | null {
  const said = turns.filter(({ speaker }) => speaker !== 'TOOL');
  for (const [index, { speaker, text }] of said.entries()) {
    if (speaker !== 'USER') continue;
    const before = said[index - 1];
    const joined = before?.speaker === 'USER' ? continuation(before.text, text) : null;
    const asked = isRequest(text) ? text : joined !== null && isRequest(joined) ? joined : null;
    if (asked !== null) return truncateText(quoteOf(asked), MAX_QUOTE);
  }
  return null;
}

/** A sentence that a pause has split into two turns. Null if the first turn ends with a sentence. */
function continuation(first: string, second: string): string | null {
  const begun = first.trim().replace(/(?:[,…–—-]|\.{2,})$/u, '');
  return /[.!?]$/.test(begun) ? null : `${begun} ${second.trim()}`;
}

function isRequest(text: string): boolean {
  const words = plainWords(text);
  return isEnglishRequest(words) || OTHER_REQUESTS.some((pattern) => pattern.test(words));
}

/** The whole text if it is short; otherwise the sentence that contains the request by itself, if there is one. */
function quoteOf(text: string): string {
  if (text.length <= MAX_QUOTE) return text;
  const sentences = text.match(/[^.!?]+[.!?]*/g) ?? [];
  return sentences.find(isRequest)?.trim() ?? text;
}
