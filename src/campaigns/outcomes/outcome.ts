/** Decides what the end of a call means for its contact: completed, failed, retried or not counted. */
import { type Finality, finalityOf, isFinal } from '../../calls/placement/final-call.ts';
import {
  type Call,
  type Campaign,
  type CampaignContact,
  Prisma,
} from '../../generated/prisma/client.ts';
import type { CallEndReason, CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import type { ContactMove } from '../contacts/contact-transitions.ts';
import { windowsFor } from '../schedule/calling-window.ts';
import { type RetryRefusal, retryRefusal, retryTime } from '../schedule/retry.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { isCampaignTerminal } from '../status.ts';
import { countsIfRetried } from './circuit-breaker.ts';

export type Outcome =
  | {
      transition: 'END';
      move: ContactMove<'END'>;
      /** Whether the circuit breaker counts the call. */
      countsForBreaker: boolean;
    }
  | {
      /** The attempt was not dialed and does not count. */
      transition: 'RELEASE';
      move: ContactMove<'RELEASE'>;
      /** Why Ultravox would also reject every other call, so that the campaign is paused; null otherwise. */
      rejection: string | null;
    };

/** Data of an ended call that decides about its contact. */
export interface EndedCall
  extends Pick<
    Call,
    'id' | 'status' | 'placement' | 'endReason' | 'failureCode' | 'failure' | 'answeredBy'
  > {
  finality: Finality;
}

/** SQL columns of an `EndedCall`. `k` is its row in `calls`. */
export const ENDED_CALL = Prisma.sql`k.id, k.status, k.placement, k.end_reason AS "endReason",
  k.failure_code AS "failureCode", k.failure, k.answered_by AS "answeredBy",
  ${finalityOf('k')} AS finality`;

type Contact = Pick<CampaignContact, 'id' | 'status' | 'attempts' | 'timezone'>;
export type RetrySettings = Pick<
  Campaign,
  'status' | 'retryFailed' | 'retryVoicemail' | 'maxRetryAttempts'
>;
type Settings = RetrySettings &
  Pick<Campaign, 'retryDelaySeconds' | 'timezone' | 'workingDays' | 'startMinute' | 'endMinute'>;

interface Clock {
  now: Date;
  /** Seconds before the end of a window from which nothing is sent. */
  marginSeconds: number;
}

/** Returns null if the contact is not waiting for the call, because its end was reported late or twice. */
export function outcomeOf(
  campaign: Settings,
  contact: Contact,
  call: EndedCall,
  clock: Clock,
): Outcome | null {
  if (contact.status !== 'CALLING') return null;
  const about = { id: contact.id, callId: call.id };
  if (call.failureCode === 'DO_NOT_CALL') {
    return {
      transition: 'RELEASE',
      move: { ...about, status: 'SKIPPED', skipReason: 'DO_NOT_CALL' },
      rejection: null,
    };
  }
  const rejected = call.failureCode && REJECTS_EVERY_CALL[call.failureCode];
  if (rejected && !isCampaignTerminal(campaign.status)) {
    return {
      transition: 'RELEASE',
      move: { ...about, status: 'SCHEDULED', reason: 'ULTRAVOX_WAITS' },
      rejection: `Ultravox rejects calls ${rejected}: ${call.failure ?? ''}`,
    };
  }
  const ended = { ...about, endReason: call.endReason };
  if (call.status === 'CANCELLED') {
    return end({ ...ended, status: 'CANCELLED', reason: 'CALL_ENDED' }, false);
  }
  const last = endIfNotRetried(campaign, contact.attempts, call);
  if (last) return end({ ...ended, ...last });
  const at = retryTime({
    attempts: contact.attempts,
    // By our own clock, since that of Ultravox may differ.
    endedAt: clock.now.toTemporalInstant(),
    delaySeconds: campaign.retryDelaySeconds,
    windows: windowsFor(windowOfCampaign(campaign, clock.marginSeconds), contact.timezone),
  });
  if (!at) return end({ ...ended, status: 'FAILED', reason: 'NEVER_OPEN' });
  const nextEligibleAt = new Date(at.epochMilliseconds);
  return end(
    { ...ended, status: 'SCHEDULED', reason: 'CALL_ENDED', nextEligibleAt },
    countsIfRetried(retriedReason(call)),
  );
}

/** How a contact ends. */
export interface ContactEnd {
  status: 'COMPLETED' | 'FAILED';
  reason: CampaignDecisionReason;
}

/**
 * How the contact ends with its latest call, if the campaign, with its current settings, does not retry that call; null
 * if it does. Evaluated when the call has ended, and again before its retry: in between, settings may change, and a
 * later analysis may detect a person in what was taken for a voicemail.
 *
 * @param attempts number of attempts, including this call.
 */
export function endIfNotRetried(
  campaign: RetrySettings,
  attempts: number,
  call: EndedCall,
): ContactEnd | null {
  if (call.status !== 'COMPLETED' && call.status !== 'FAILED') {
    throw new Error(`Call ${call.id} is ${call.status}`);
  }
  const { retryFailed, retryVoicemail, maxRetryAttempts } = campaign;
  const isUnreached = call.answeredBy === 'VOICEMAIL' && retryFailed && retryVoicemail;
  if (call.status === 'COMPLETED' && !isUnreached) {
    return { status: 'COMPLETED', reason: 'CALL_ENDED' };
  }
  if (isCampaignTerminal(campaign.status)) return { status: 'FAILED', reason: 'CAMPAIGN_OVER' };
  if (isFinal(call, campaign)) return { status: 'FAILED', reason: 'NOT_RETRIED' };
  const refusal = retryRefusal({
    endReason: retriedReason(call),
    neverCreated: call.placement === 'NOT_CREATED',
    attempts,
    retryFailed,
    maxRetryAttempts,
  });
  return refusal && { status: 'FAILED', reason: NOT_RETRIED[refusal] };
}

/** A voicemail counts as no answer. */
function retriedReason({ status, endReason }: EndedCall): CallEndReason {
  return status === 'COMPLETED' ? 'NO_ANSWER' : (endReason ?? 'UNKNOWN');
}

function end(move: ContactMove<'END'>, countsForBreaker = true): Outcome {
  return { transition: 'END', move, countsForBreaker };
}

/** Failures after which Ultravox would also reject every other call, with the cause to show. */
const REJECTS_EVERY_CALL: Partial<Record<string, string>> = {
  PAYMENT_REQUIRED: 'for lack of credit or a subscription',
  AGENT_NOT_READY: 'of this agent',
  // A rejected API key. While Ultravox is unreachable, campaign calls wait instead.
  ULTRAVOX_UNAVAILABLE: 'with this API key',
};

const NOT_RETRIED = {
  OFF: 'RETRIES_OFF',
  NOT_RETRIED: 'NOT_RETRIED',
  ATTEMPTS_USED_UP: 'RETRIES_USED_UP',
} as const satisfies Record<RetryRefusal, CampaignDecisionReason>;
