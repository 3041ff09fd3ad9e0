/**
 * Text to be found as it stands by a `contains` or `startsWith`, whose wildcards it may hold. A null
 * character, which PostgreSQL does not take and no row can have, finds nothing.
 */
export function literal(text: string): string {
  return text.replaceAll('\u0000', '\uFFFD').replace(/[\\%_]/g, '\\$&');
}
