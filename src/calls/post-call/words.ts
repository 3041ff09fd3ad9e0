/** Words of spoken text, for the search of transcripts and for patterns. */
import { truncateText } from '../../infra/database/storable-text.ts';

const MAX_WORD = 60;
/** Scripts that are written without spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const segmenter = new Intl.Segmenter('en', { granularity: 'word' });

/** The distinct words of the text by which transcripts are searched, in lower case and without accents. */
export function wordsOf(text: string): string[] {
  const plain = text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f’']/g, '')
    .toLowerCase();
  const words = UNSPACED.test(plain)
    ? [...segmenter.segment(plain)].flatMap(({ segment, isWordLike }) =>
        isWordLike ? segment : [],
      )
    : (plain.match(/[\p{L}\p{N}\p{M}]+/gu) ?? []);
  return [...new Set(words.map((word) => truncateText(word, MAX_WORD)))];
}

/**
 * Normalizes spoken text for patterns, regardless of its spelling: lower-case words without accents and apostrophes, and
 * " , " for any punctuation between them.
 */
export function plainWords(text: string): string {
  return text
    .replace(/['’‘‛ʼ´`′]/g, '')
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}/gu, '')
    .replaceAll('ß', 'ss')
    .replace(/[^\p{L}\p{N}]+/gu, (between) => (/^[-‐‑\s]+$/.test(between) ? ' ' : ' , '))
    .replace(/^[ ,]+/, '')
    .replace(/(?: ,)? ?$/, '');
}
