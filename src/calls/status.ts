/**
 * Call status as a pure state machine: turns updates from Ultravox, in any order and possibly repeated, into the
 * status changes that our row still lacks. A call never returns to an earlier status.
 *
 * Ultravox has no status of its own: it is derived from `joined`, `ended` and `endReason`, and for
 * SIP from `sipDetails.terminationReason` (its Call definition).
 */
import type {
  CallDirection,
  CallEndReason,
  CallMedium,
  CallStatus,
} from '../generated/prisma/enums.ts';

export interface Observation {
  joinedAt: Date | null;
  endedAt: Date | null;
  endReason: string | null;
  terminationReason: string | null;
  /** Whether the call ended no earlier than its join timeout. */
  rangFullTime: boolean;
}

/** Columns of our row that determine the next steps. */
export interface CallState {
  status: CallStatus;
  direction: CallDirection;
  medium: CallMedium;
  /** Whether the end of the call was requested. */
  endRequested: boolean;
}

export interface Step {
  status: CallStatus;
  /** Time as reported by Ultravox, for RINGING the latest possible one; null if it does not report one. */
  at: Date | null;
  endReason: CallEndReason | null;
}

const RANK: Record<CallStatus, number> = {
  CREATED: 0,
  RINGING: 1,
  IN_PROGRESS: 2,
  COMPLETED: 3,
  FAILED: 3,
  CANCELLED: 3,
};

export function isEnded(status: CallStatus): boolean {
  return RANK[status] === 3;
}

/** End of a call that was canceled before it was answered. */
export const CANCELLED = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;

/** Returns the missing status changes, in order. */
export function stepsTowards(state: CallState, seen: Observation): Step[] {
  const steps: Step[] = [];
  const rank = RANK[state.status];
  if (rank >= 3) return steps;
  // A WebRTC call does not ring.
  if (rank < RANK.RINGING && state.medium !== 'WEBRTC') {
    steps.push({ status: 'RINGING', at: seen.joinedAt ?? seen.endedAt, endReason: null });
  }
  if (rank < RANK.IN_PROGRESS && seen.joinedAt) {
    steps.push({ status: 'IN_PROGRESS', at: seen.joinedAt, endReason: null });
  }
  if (seen.endedAt) steps.push({ ...endOf(state, seen), at: seen.endedAt });
  return steps;
}

function endOf(
  state: CallState,
  seen: Observation,
): { status: CallStatus; endReason: CallEndReason } {
  switch (seen.endReason) {
    case 'connection_error':
      return { status: 'FAILED', endReason: 'CONNECTION_ERROR' };
    case 'system_error':
      return { status: 'FAILED', endReason: 'SYSTEM_ERROR' };
  }
  if (!seen.joinedAt && state.status !== 'IN_PROGRESS') return unanswered(state, seen);
  switch (seen.endReason) {
    case 'hangup':
      return { status: 'COMPLETED', endReason: 'HANGUP' };
    case 'agent_hangup':
      return { status: 'COMPLETED', endReason: 'AGENT_HANGUP' };
    case 'timeout':
      return { status: 'COMPLETED', endReason: 'MAX_DURATION' };
    default:
      return { status: 'COMPLETED', endReason: 'UNKNOWN' };
  }
}

function unanswered(
  state: CallState,
  seen: Observation,
): { status: CallStatus; endReason: CallEndReason } {
  switch (seen.terminationReason) {
    case 'SIP_TERMINATION_BUSY':
      return { status: 'FAILED', endReason: 'BUSY' };
    case 'SIP_TERMINATION_REJECTED':
      return { status: 'FAILED', endReason: 'REJECTED' };
    case 'SIP_TERMINATION_INVALID_NUMBER':
      return { status: 'FAILED', endReason: 'INVALID_NUMBER' };
    case 'SIP_TERMINATION_DESTINATION_UNAVAILABLE':
      return { status: 'FAILED', endReason: 'UNREACHABLE' };
  }
  if (state.endRequested) return CANCELLED;
  // In SIP, the caller cancels an invitation, so Ultravox may report its join timeout like this. Nobody documents who
  // cancels earlier without our request: a campaign dials NO_ANSWER again, so a wrong guess would ring a person again.
  if (seen.terminationReason === 'SIP_TERMINATION_CANCELED' && !seen.rangFullTime) return CANCELLED;
  return { status: 'FAILED', endReason: 'NO_ANSWER' };
}

/** Returns the final status of a call whose end was never reported. */
export function endOfLostCall(status: CallStatus): {
  status: CallStatus;
  endReason: CallEndReason;
} {
  return status === 'IN_PROGRESS'
    ? { status: 'COMPLETED', endReason: 'UNKNOWN' }
    : { status: 'FAILED', endReason: 'UNKNOWN' };
}
