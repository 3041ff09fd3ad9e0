/** Deprecated names. A renamed field or member keeps its old name too, for clients that still use it. */

/** Deprecation reason of the old name. */
export function useInstead(name: string): string {
  return `Use \`${name}\` instead.`;
}
