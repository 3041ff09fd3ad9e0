/** Runs of one task in this process, of which each does all that there is to do. */
import { shareReads } from '../shared-reads.ts';

/**
 * Returns a function that requests a run. Requests that come during a run share the next one. It resolves when a
 * run that began after the request has ended, or rejects with its error.
 */
export function oneAtATime(run: () => Promise<void>): () => Promise<void> {
  const request = shareReads(run);
  return () => request('');
}
