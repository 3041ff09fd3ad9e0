/** Circuit breaker: pauses a campaign after too many failed calls. Pure. */
import type { CallEndReason, CallStatus } from '../../generated/prisma/enums.ts';

export const BREAKER_CALLS = 20;

/**
 * Whether the circuit breaker counts a call that is retried. It does not count unanswered ones, since contacts that are
 * hard to reach accumulate at the end of every list and would pause the campaign.
 */
export function countsIfRetried(endReason: CallEndReason): boolean {
  return endReason !== 'NO_ANSWER' && endReason !== 'BUSY';
}

/**
 * Whether more than half of the last 20 counted calls failed. `ends` are the calls since the campaign was last started
 * or resumed, newest first; fewer than 20 calls never trip the breaker.
 */
export function breakerTrips(ends: readonly CallStatus[]): boolean {
  const last = ends
    .filter((end) => end === 'COMPLETED' || end === 'FAILED')
    .slice(0, BREAKER_CALLS);
  if (last.length < BREAKER_CALLS) return false;
  return last.filter((end) => end === 'FAILED').length > BREAKER_CALLS / 2;
}
