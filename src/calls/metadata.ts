/** Call metadata as text entries that an index can search. */
import { asText } from '../infra/checks.ts';

export const MAX_METADATA_ENTRIES = 50;

/**
 * Returns one JSON text `["key","value"]` for each entry, as stored in `calls.metadata_entries`. Numbers and booleans are
 * text there.
 */
export function metadataEntries(metadata: Record<string, unknown>): string[] {
  return Object.entries(metadata).map(([key, value]) => JSON.stringify([key, asText(value)]));
}
