/** Decides whether and when a failed call is retried. */
import { Prisma } from '../../generated/prisma/client.ts';
import type { CallEndReason } from '../../generated/prisma/enums.ts';
import { nextInside, type Windows } from './calling-window.ts';

/**
 * Whether a call with this end reason may be retried: only if certainly nobody was spoken to. That is
 * unknown after `SYSTEM_ERROR`, `UNKNOWN` and `CANCELLED`, and a person who has just hung up must not be
 * called again. A connection may also be lost in a conversation, so what was heard decides then
 * (`../outcomes/outcome.ts`).
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

export const RETRIED_REASONS: readonly CallEndReason[] = (
  Object.keys(RETRIED) as CallEndReason[]
).filter((reason) => RETRIED[reason]);

export const DEFAULT_RETRY_DELAY_SECONDS = 15 * 60;

/** Doubling ends at one day, so that a retry does not come long after the campaign. */
const LONGEST_DELAY_SECONDS = 24 * 3600;

/** Delay before the retry after attempt number `attempts` (from 1). It doubles each time. */
export function retryDelaySeconds(attempts: number, delaySeconds: number): number {
  const longest = Math.max(delaySeconds, LONGEST_DELAY_SECONDS);
  return Math.min(delaySeconds * 2 ** (attempts - 1), longest);
}

/** Same as `retryDelaySeconds`, as a PostgreSQL interval. */
export function retryDelaySql(attempts: Prisma.Sql, delaySeconds: number): Prisma.Sql {
  const longest = Math.max(delaySeconds, LONGEST_DELAY_SECONDS);
  return Prisma.sql`make_interval(secs =>
    least(${delaySeconds}::float8 * 2 ^ (${attempts} - 1), ${longest}::float8))`;
}

export type RetryDecision =
  | { retry: true; at: Temporal.Instant }
  | { retry: false; because: 'OFF' | 'NOT_RETRIED' | 'ATTEMPTS_USED_UP' | 'NEVER_OPEN' };

/** Decides whether a failed call is retried, and when. Ignores the daily limit, which dispatch checks. */
export function decideRetry({
  endReason,
  neverCreated = false,
  attempts,
  endedAt,
  retryFailed,
  maxRetryAttempts,
  delaySeconds,
  windows,
}: {
  endReason: CallEndReason;
  /** Whether placing the call was interrupted and Ultravox has no such call. */
  neverCreated?: boolean;
  /** Attempts to call the contact, including the one that just ended. */
  attempts: number;
  endedAt: Temporal.Instant;
  retryFailed: boolean;
  /** Maximum number of attempts after the first. */
  maxRetryAttempts: number;
  delaySeconds: number;
  windows: Windows;
}): RetryDecision {
  if (!RETRIED[endReason] && !neverCreated) return { retry: false, because: 'NOT_RETRIED' };
  if (!retryFailed) return { retry: false, because: 'OFF' };
  if (attempts > maxRetryAttempts) return { retry: false, because: 'ATTEMPTS_USED_UP' };
  const due = endedAt.add({
    milliseconds: Math.round(retryDelaySeconds(attempts, delaySeconds) * 1000),
  });
  const at = nextInside(windows, due);
  return at ? { retry: true, at } : { retry: false, because: 'NEVER_OPEN' };
}
