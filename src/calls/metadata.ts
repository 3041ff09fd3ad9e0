/** Call metadata as text entries that an index can search. */

export const MAX_METADATA_ENTRIES = 50;

/** Returns one JSON text `["key","value"]` for each entry, as stored in `calls.metadata_entries`. */
export function metadataEntries(metadata: Record<string, unknown>): string[] {
  return Object.entries(metadata).map((entry) => JSON.stringify(entry));
}
