/** What follows a call that failed: another attempt for its contact, or a stop of the campaign. */
import { Prisma } from '../generated/prisma/client.ts';
import type { CallEndReason, CallStatus } from '../generated/prisma/enums.ts';
import { nextInside, type Windows } from './window.ts';

/**
 * Every reason says whether another attempt may help. Nobody was spoken to in those that are tried
 * again. `SYSTEM_ERROR`, `UNKNOWN` and `CANCELLED` leave open whether somebody was: rather no second
 * call than one to a person who has just hung up.
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

/** A delay grows to a day at most, so that the next attempt stays in the campaign's own time. */
const LONGEST_DELAY_SECONDS = 24 * 3600;

/** The wait after the `attempts`-th attempt (from 1): the delay, then twice as long each time. */
export function retryDelaySeconds(attempts: number, delaySeconds: number): number {
  const longest = Math.max(delaySeconds, LONGEST_DELAY_SECONDS);
  return Math.min(delaySeconds * 2 ** (attempts - 1), longest);
}

/** The same for PostgreSQL, as an interval. */
export function retryDelaySql(attempts: Prisma.Sql, delaySeconds: number): Prisma.Sql {
  const longest = Math.max(delaySeconds, LONGEST_DELAY_SECONDS);
  return Prisma.sql`make_interval(secs =>
    least(${delaySeconds}::float8 * 2 ^ (${attempts} - 1), ${longest}::float8))`;
}

export type RetryDecision =
  | { retry: true; at: Temporal.Instant }
  | { retry: false; because: 'OFF' | 'NOT_RETRIED' | 'ATTEMPTS_USED_UP' | 'NEVER_OPEN' };

/** The day's cap is not part of this: whoever plans the attempt looks at it (`nextEligibleAt`). */
export function decideRetry({
  endReason,
  attempts,
  endedAt,
  retryFailed,
  maxRetryAttempts,
  delaySeconds,
  windows,
}: {
  endReason: CallEndReason;
  /** Attempts made for this contact, the one that just ended included. */
  attempts: number;
  endedAt: Temporal.Instant;
  retryFailed: boolean;
  /** Attempts after the first, for the contact in all. */
  maxRetryAttempts: number;
  delaySeconds: number;
  windows: Windows;
}): RetryDecision {
  if (!RETRIED[endReason]) return { retry: false, because: 'NOT_RETRIED' };
  if (!retryFailed) return { retry: false, because: 'OFF' };
  if (attempts > maxRetryAttempts) return { retry: false, because: 'ATTEMPTS_USED_UP' };
  const due = endedAt.add({
    milliseconds: Math.round(retryDelaySeconds(attempts, delaySeconds) * 1000),
  });
  const at = nextInside(windows, due);
  return at ? { retry: true, at } : { retry: false, because: 'NEVER_OPEN' };
}

export const BREAKER_CALLS = 20;

/**
 * Whether the breaker counts a call. Somebody who did not pick up and is tried again has not failed
 * yet; else every list would stop at those who are hard to reach, who remain at its end.
 */
export function countsForBreaker(endReason: CallEndReason, retry: boolean): boolean {
  return !(retry && (endReason === 'NO_ANSWER' || endReason === 'BUSY'));
}

/**
 * Whether more than half of the last 20 calls that count failed; `ends` are those since the campaign was last
 * started or resumed, newest first. With fewer than 20 it is too early to tell.
 */
export function breakerTrips(ends: readonly CallStatus[]): boolean {
  const last = ends
    .filter((end) => end === 'COMPLETED' || end === 'FAILED')
    .slice(0, BREAKER_CALLS);
  if (last.length < BREAKER_CALLS) return false;
  return last.filter((end) => end === 'FAILED').length > BREAKER_CALLS / 2;
}
