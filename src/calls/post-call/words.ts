/** Splits text into the words by which transcripts are searched. */
import { truncateText } from '../../infra/database/storable-text.ts';

const MAX_WORD = 60;
/** Scripts that are written without spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const segmenter = new Intl.Segmenter('en', { granularity: 'word' });

/** The distinct words of the text, in lower case and without accents. */
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
