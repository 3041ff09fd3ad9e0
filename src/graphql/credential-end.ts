/** Marks fields whose values expire with the caller's key or token, such as signed links. */

/** Extensions of such a field. Subscribers share its values only if their credentials expire together. */
export const ENDS_WITH_CREDENTIAL = { endsWithCredential: true };

export function endsWithCredential(field: { extensions: object } | null | undefined): boolean {
  return (
    (field?.extensions as { endsWithCredential?: boolean } | undefined)?.endsWithCredential === true
  );
}
