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
export function doNotCallRequestIn(turns: readonly Words[]): string | null {
  const asked = heardTexts(turns).find(isRequest);
  return asked === undefined ? null : truncateText(quoteOf(asked), MAX_QUOTE);
}

type Words = Pick<Turn, 'speaker' | 'text'>;

/** What the other side said: each turn, and together with the one before if a pause may have split a sentence. */
export function* heardTexts(turns: readonly Words[]): Generator<string, undefined> {
  let before: Words | undefined;
  for (const turn of turns) {
    if (turn.speaker === 'TOOL') continue;
    if (turn.speaker === 'USER') {
      yield turn.text;
      const joined = before?.speaker === 'USER' ? continuation(before.text, turn.text) : null;
      if (joined !== null) yield joined;
    }
    before = turn;
  }
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
