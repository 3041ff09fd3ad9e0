/** Text to be found as it stands by a `contains` or `startsWith`, whose wildcards it may hold. */
export function literal(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}
