/**
 * Escapes the wildcards of a string for `contains` and `startsWith`. A null character, which no row can
 * contain, matches nothing.
 */
export function escapeLike(text: string): string {
  return text.replaceAll('\u0000', '\uFFFD').replace(/[\\%_]/g, '\\$&');
}
