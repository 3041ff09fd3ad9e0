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
  const asked = turns.find(({ speaker, text }) => speaker === 'USER' && isRequest(text));
  if (!asked) return null;
  return truncateText(quoteOf(asked.text), MAX_QUOTE);
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
