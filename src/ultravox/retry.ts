/** Repeats reads of Ultravox where that can help; writes are never repeated. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Attempt } from './attempt.ts';
import { UltravoxError } from './error.ts';

const ATTEMPTS = 3;
const LONGEST_WAIT_SECONDS = 5;

/** Calls `run` with the number of the attempt, from 1. `backoffMs` is the first pause, then doubled. */
export async function withRetries<Result>(
  attempt: Attempt,
  backoffMs: number,
  run: (number: number) => Promise<Result>,
): Promise<Result> {
  for (let number = 1; ; number += 1) {
    try {
      return await run(number);
    } catch (error) {
      if (attempt.method !== 'GET' || number === ATTEMPTS || attempt.signal?.aborted) throw error;
      const pauseMs = pauseBefore(error, backoffMs * 2 ** (number - 1));
      if (pauseMs === null) throw error;
      try {
        await delay(pauseMs, undefined, attempt.signal ? { signal: attempt.signal } : {});
      } catch {
        throw error;
      }
    }
  }
}

/** How long to pause before a read is repeated, or null if that would not help. */
function pauseBefore(error: unknown, backoffMs: number): number | null {
  if (!(error instanceof UltravoxError)) return null;
  const { status, retryAfterSeconds } = error;
  const jittered = backoffMs * (0.5 + Math.random());
  if (status === 429 || status === 503) {
    if (retryAfterSeconds !== null) {
      return retryAfterSeconds <= LONGEST_WAIT_SECONDS ? retryAfterSeconds * 1000 : null;
    }
    return status === 503 ? jittered : null;
  }
  if (status !== null && status >= 500) return jittered;
  // A request that ran into its deadline has no cause, and has waited long enough.
  return error.cause === undefined ? null : jittered;
}
