/** Names that were replaced. Fields and members keep the old one beside the new one, for clients that use it. */

/** Reason for the deprecation of the old name. */
export function useInstead(name: string): string {
  return `Use \`${name}\` instead.`;
}
