/** Decides whether and when a failed call is retried. */
import { Prisma } from '../../generated/prisma/client.ts';
import type { CallEndReason } from '../../generated/prisma/enums.ts';
import { nextInside, type Windows } from './calling-window.ts';

/**
 * Whether a call with this end reason may be retried: only if certainly nobody was spoken to. That is unknown after
 * `SYSTEM_ERROR`, `UNKNOWN` and `CANCELLED`, and a person who has just hung up must not be called again. A connection
 * may also be lost in a conversation; what was heard then decides (`../outcomes/outcome.ts`).
 */
const RETRIED: Record<CallEndReason, boolean> = {
  NO_ANSWER: true,
  BUSY: true,
  UNREACHABLE: true,
  CONNECTION_ERROR: true,
  HANGUP: false,
  AGENT_HANGUP: false,
  MAX_DURATION: false,
  REJECTED: false,
  INVALID_NUMBER: false,
  SYSTEM_ERROR: false,
  CANCELLED: false,
  UNKNOWN: false,
};

export const DEFAULT_RETRY_DELAY_SECONDS = 15 * 60;

/** Maximum delay after doubling: one day, so that a retry does not come long after the campaign. */
const MAX_DELAY_SECONDS = 24 * 3600;

/** Delay before the retry after attempt number `attempts` (from 1). It doubles each time. */
export function retryDelaySeconds(attempts: number, delaySeconds: number): number {
  const longest = Math.max(delaySeconds, MAX_DELAY_SECONDS);
  return Math.min(delaySeconds * 2 ** (attempts - 1), longest);
}

/** Same as `retryDelaySeconds`, as a PostgreSQL interval. */
export function retryDelaySql(attempts: Prisma.Sql, delaySeconds: number): Prisma.Sql {
  const longest = Math.max(delaySeconds, MAX_DELAY_SECONDS);
  return Prisma.sql`make_interval(secs =>
    least(${delaySeconds}::float8 * 2 ^ (${attempts} - 1), ${longest}::float8))`;
}

export type RetryRefusal = 'OFF' | 'NOT_RETRIED' | 'ATTEMPTS_USED_UP';

/** A failed call, and the settings that determine its retry. */
interface FailedCall {
  endReason: CallEndReason;
  /** Whether placing the call was interrupted and Ultravox has no such call. */
  neverCreated?: boolean;
  /** Attempts to call the contact, including the one that just ended. */
  attempts: number;
  retryFailed: boolean;
  /** Maximum number of attempts after the first. */
  maxRetryAttempts: number;
}

/** Returns why a failed call is not retried, regardless of the time; null if it may be. */
export function retryRefusal({
  endReason,
  neverCreated = false,
  attempts,
  retryFailed,
  maxRetryAttempts,
}: FailedCall): RetryRefusal | null {
  if (!RETRIED[endReason] && !neverCreated) return 'NOT_RETRIED';
  if (!retryFailed) return 'OFF';
  return attempts > maxRetryAttempts ? 'ATTEMPTS_USED_UP' : null;
}

/**
 * Returns when a call that may be retried is due again; null if the window never opens. Ignores the daily limit, which
 * the dispatcher checks.
 */
export function retryTime({
  attempts,
  endedAt,
  delaySeconds,
  windows,
}: {
  attempts: number;
  endedAt: Temporal.Instant;
  delaySeconds: number;
  windows: Windows;
}): Temporal.Instant | null {
  const milliseconds = Math.round(retryDelaySeconds(attempts, delaySeconds) * 1000);
  return nextInside(windows, endedAt.add({ milliseconds }));
}
