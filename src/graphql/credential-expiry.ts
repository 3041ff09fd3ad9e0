/** Marks fields whose values expire with the caller's key or token, such as signed links. */

/** Extensions of such a field. Subscribers share its values only if their credentials expire together. */
export const EXPIRES_WITH_CREDENTIAL = { expiresWithCredential: true };

export function expiresWithCredential(field: { extensions: object } | null | undefined): boolean {
  return (
    (field?.extensions as { expiresWithCredential?: boolean } | undefined)
      ?.expiresWithCredential === true
  );
}
