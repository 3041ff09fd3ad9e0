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
