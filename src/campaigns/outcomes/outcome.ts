/** Decides what the end of a call means for its contact: completed, failed, retried or not counted. */
import type { Call, Campaign, CampaignContact } from '../../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import type { ContactMove } from '../contacts/contact-transitions.ts';
import { windowsFor } from '../schedule/calling-window.ts';
import { decideRetry } from '../schedule/retry.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { isCampaignTerminal } from '../status.ts';
import { countsForBreaker } from './circuit-breaker.ts';

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
      /** Why Ultravox would reject every other call too, so that the campaign is paused. */
      rejection: string | null;
    };

export type EndedCall = Pick<
  Call,
  | 'id'
  | 'status'
  | 'placement'
  | 'endReason'
  | 'failureCode'
  | 'failure'
  | 'answeredAt'
  | 'answeredBy'
  | 'dncQuote'
  | 'endRequestedAt'
>;
type Contact = Pick<CampaignContact, 'id' | 'status' | 'attempts' | 'timezone'>;
type RetrySettings = Pick<
  Campaign,
  | 'status'
  | 'retryFailed'
  | 'retryVoicemail'
  | 'maxRetryAttempts'
  | 'retryDelaySeconds'
  | 'timezone'
  | 'workingDays'
  | 'startMinute'
  | 'endMinute'
>;

interface Clock {
  now: Date;
  /** Nothing is sent this long before the end of a window. */
  marginSeconds: number;
}

/** Returns null if the contact is not waiting for the call: its end was reported late or twice. */
export function outcomeOf(
  campaign: RetrySettings,
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
  switch (call.status) {
    case 'COMPLETED':
      if (call.answeredBy === 'VOICEMAIL' && campaign.retryFailed && campaign.retryVoicemail) {
        return outcomeOfUnreached(campaign, contact, call, clock);
      }
      return end({ ...ended, status: 'COMPLETED', reason: 'CALL_ENDED' });
    case 'CANCELLED':
      return end({ ...ended, status: 'CANCELLED', reason: 'CALL_ENDED' }, false);
    case 'FAILED':
      return outcomeOfUnreached(campaign, contact, call, clock);
    default:
      throw new Error(`Call ${call.id} is ${call.status}, not ended`);
  }
}

/** Another attempt, if its reason and the campaign allow one. */
function outcomeOfUnreached(
  campaign: RetrySettings,
  contact: Contact,
  call: EndedCall,
  clock: Clock,
): Outcome {
  const ended = { id: contact.id, callId: call.id, endReason: call.endReason };
  // A voicemail is as good as no answer.
  const endReason = call.status === 'COMPLETED' ? 'NO_ANSWER' : (call.endReason ?? 'UNKNOWN');
  const retry = retryOf(campaign, contact, { ...call, endReason }, clock);
  const counts = countsForBreaker(endReason, retry.retry);
  if (!retry.retry) {
    return end({ ...ended, status: 'FAILED', reason: NOT_RETRIED[retry.because] }, counts);
  }
  const nextEligibleAt = new Date(retry.at.epochMilliseconds);
  return end({ ...ended, status: 'SCHEDULED', reason: 'CALL_ENDED', nextEligibleAt }, counts);
}

function end(move: ContactMove<'END'>, countsForBreaker = true): Outcome {
  return { transition: 'END', move, countsForBreaker };
}

/** Failures after which Ultravox would reject every other call too, with the cause to show. */
const REJECTS_EVERY_CALL: Partial<Record<string, string>> = {
  PAYMENT_REQUIRED: 'for lack of credit or a subscription',
  // A rejected API key. While Ultravox is unreachable, calls of campaigns wait instead.
  ULTRAVOX_UNAVAILABLE: 'with this API key',
};

const NOT_RETRIED = {
  OFF: 'RETRIES_OFF',
  NOT_RETRIED: 'NOT_RETRIED',
  ATTEMPTS_USED_UP: 'RETRIES_USED_UP',
  NEVER_OPEN: 'NEVER_OPEN',
  OVER: 'CAMPAIGN_OVER',
} as const satisfies Record<string, CampaignDecisionReason>;

/**
 * Whether the contact is not called again whatever the end: its end was requested, or a person was heard, or may
 * have been. `finalCall` asks again before a retry is sent, since a later analysis may hear a person in what was
 * taken for a voicemail.
 */
function isFinalCall(
  { answeredAt, answeredBy, dncQuote, endRequestedAt }: EndedCall,
  { retryVoicemail }: RetrySettings,
): boolean {
  if (endRequestedAt !== null || dncQuote !== null) return true;
  if (answeredAt === null) return false;
  // UNKNOWN: nothing was heard from the other side. Null: there is no transcript that shows it.
  return answeredBy !== 'UNKNOWN' && !(answeredBy === 'VOICEMAIL' && retryVoicemail);
}

type Retry =
  | { retry: true; at: Temporal.Instant }
  | { retry: false; because: keyof typeof NOT_RETRIED };

function retryOf(
  campaign: RetrySettings,
  contact: Contact,
  call: EndedCall,
  { now, marginSeconds }: Clock,
): Retry {
  if (isCampaignTerminal(campaign.status)) return { retry: false, because: 'OVER' };
  if (isFinalCall(call, campaign)) return { retry: false, because: 'NOT_RETRIED' };
  return decideRetry({
    endReason: call.endReason ?? 'UNKNOWN',
    neverCreated: call.placement === 'NOT_CREATED',
    attempts: contact.attempts,
    // By our own clock, since the clock of Ultravox may differ.
    endedAt: Temporal.Instant.fromEpochMilliseconds(now.getTime()),
    retryFailed: campaign.retryFailed,
    maxRetryAttempts: campaign.maxRetryAttempts,
    delaySeconds: campaign.retryDelaySeconds,
    windows: windowsFor(windowOfCampaign(campaign, marginSeconds), contact.timezone),
  });
}
