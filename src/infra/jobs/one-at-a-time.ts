/** Serializes runs of a task in this process. Each run does all outstanding work. */
import { shareReads } from '../shared-reads.ts';

/**
 * Returns a function that requests a run. Requests made during a run share the next one. It resolves when a
 * run that started after the request has ended, or rejects with its error.
 */
export function oneAtATime(run: () => Promise<void>): () => Promise<void> {
  const request = shareReads(run);
  return () => request('');
}
