/** Retries reads from Ultravox if that can help. Writes are never retried. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Attempt } from './attempt.ts';
import { UltravoxError } from './error.ts';

const MAX_ATTEMPTS = 3;
const MAX_WAIT_SECONDS = 5;

/** Calls `run` with the number of the attempt, starting at 1. `backoffMs` is the first pause; it doubles. */
export async function withRetries<Result>(
  attempt: Attempt,
  backoffMs: number,
  run: (number: number) => Promise<Result>,
): Promise<Result> {
  const { maxAttempts = MAX_ATTEMPTS } = attempt;
  for (let number = 1; ; number += 1) {
    try {
      return await run(number);
    } catch (error) {
      if (attempt.method !== 'GET' || number >= maxAttempts || attempt.signal?.aborted) throw error;
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

/** Milliseconds to wait before retrying a read. Null if a retry would not help. */
function pauseBefore(error: unknown, backoffMs: number): number | null {
  if (!(error instanceof UltravoxError)) return null;
  const { status, retryAfterSeconds } = error;
  const jittered = backoffMs * (0.5 + Math.random());
  if (status === 429 || status === 503) {
    if (retryAfterSeconds !== null) {
      return retryAfterSeconds <= MAX_WAIT_SECONDS ? retryAfterSeconds * 1000 : null;
    }
    return status === 503 ? jittered : null;
  }
  if (status !== null && status >= 500) return jittered;
  // A request that passed its deadline has no cause, and has waited long enough.
  return error.cause === undefined ? null : jittered;
}
