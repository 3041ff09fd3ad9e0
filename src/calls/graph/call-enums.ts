/** Enums of calls. */
import {
  AnalysisStatus,
  AnsweredBy,
  CallBillingStatus,
  CallDirection,
  CallEndReason,
  CallMedium,
  CallStatus,
} from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';

export const CallDirectionEnum = builder.enumType('CallDirection', {
  description: 'Direction of a call.',
  values: {
    [CallDirection.INBOUND]: {
      description: 'Call from a person to an agent, or a test call in a browser.',
    },
    [CallDirection.OUTBOUND]: { description: 'Call from an agent to a person.' },
  } as const,
});

export const CallMediumEnum = builder.enumType('CallMedium', {
  description: 'Channel that carries the audio of a call.',
  values: {
    [CallMedium.TWILIO]: { description: 'Twilio account of the phone number.' },
    [CallMedium.TELNYX]: { description: 'Telnyx account of the phone number.' },
    [CallMedium.SIP]: { description: 'SIP server of the phone number.' },
    [CallMedium.WEBRTC]: { description: 'Browser, without a phone number.' },
  } as const,
});

export const CallStatusEnum = builder.enumType('CallStatus', {
  description: 'Status of a call. A call never returns to an earlier status.',
  values: {
    [CallStatus.CREATED]: { description: 'Waiting to be dialed until the limits allow it.' },
    [CallStatus.RINGING]: { description: 'Ringing.' },
    [CallStatus.IN_PROGRESS]: { description: 'Answered; the conversation is in progress.' },
    [CallStatus.COMPLETED]: { description: 'Answered and ended.' },
    [CallStatus.FAILED]: {
      description: 'Ended without a conversation, or by a fault. See `endReason`.',
    },
    [CallStatus.CANCELLED]: { description: 'Canceled before it was answered.' },
  } as const,
});

export const CallEndReasonEnum = builder.enumType('CallEndReason', {
  description: 'Reason for the end of a call.',
  values: {
    [CallEndReason.HANGUP]: { description: 'The person hung up.' },
    [CallEndReason.AGENT_HANGUP]: {
      description: 'The agent hung up, or the call was ended by `endCall`.',
    },
    [CallEndReason.NO_ANSWER]: {
      description:
        'The call was not answered within the join timeout, or the carrier gave it up. With Twilio and Telnyx, also a busy line, a rejection, and a number that does not exist or cannot be reached: Ultravox reports all of them alike.',
    },
    [CallEndReason.BUSY]: { description: 'The line was busy. SIP only; see NO_ANSWER.' },
    [CallEndReason.REJECTED]: {
      description: 'The person rejected the call. SIP only; see NO_ANSWER.',
    },
    [CallEndReason.INVALID_NUMBER]: {
      description:
        'The number does not exist (SIP only; see NO_ANSWER), or was found not to be allowed right before it was dialed.',
    },
    [CallEndReason.UNREACHABLE]: {
      description: 'The destination could not be reached. SIP only; see NO_ANSWER.',
    },
    [CallEndReason.MAX_DURATION]: { description: 'The maximum duration was reached.' },
    [CallEndReason.CONNECTION_ERROR]: {
      description:
        'The connection was lost. A campaign retries such a call only if nothing was heard from the other side (`answeredBy` is null because it was not answered, or UNKNOWN), or a voicemail and `retryVoicemail` is true.',
    },
    [CallEndReason.SYSTEM_ERROR]: {
      description: 'Fault at Ultravox or between this server and Ultravox. See `failure`.',
    },
    [CallEndReason.CANCELLED]: {
      description:
        'Canceled before it was answered: by `endCall`, by its campaign, because its number was added to the do-not-call list while it rang, or by Ultravox or the carrier before its join timeout.',
    },
    [CallEndReason.UNKNOWN]: {
      description: 'The end of the call was never reported, or could not be stored.',
    },
  } as const,
});

export const CallBillingStatusEnum = builder.enumType('CallBillingStatus', {
  description: 'Billing status of a call at Ultravox.',
  values: {
    [CallBillingStatus.PENDING]: { description: 'Not billed yet. Every active call is pending.' },
    [CallBillingStatus.BILLED]: { description: 'Billed. See `cost`.' },
    [CallBillingStatus.FREE]: {
      description: 'Not charged, such as an unanswered call, or one that was never placed.',
    },
    [CallBillingStatus.REFUNDED]: { description: 'Billed and refunded.' },
  } as const,
});

export const AnsweredByEnum = builder.enumType('AnsweredBy', {
  description: 'Who answered a call.',
  values: {
    [AnsweredBy.HUMAN]: { description: 'A person.' },
    [AnsweredBy.VOICEMAIL]: { description: 'A voicemail or an answering machine.' },
    [AnsweredBy.UNKNOWN]: { description: 'Nothing was heard from the other side.' },
  } as const,
});

export const AnalysisStatusEnum = builder.enumType('AnalysisStatus', {
  description: 'Status of the analysis of a call.',
  values: {
    [AnalysisStatus.PENDING]: {
      description: 'The call has not ended, or the analysis is waiting, running or being retried.',
    },
    [AnalysisStatus.DONE]: { description: 'Finished. The results are available.' },
    [AnalysisStatus.SKIPPED]: {
      description:
        'Nothing to analyze: no answer, no criteria and no schema, or no language model.',
    },
    [AnalysisStatus.FAILED]: {
      description:
        'The model refused, returned no usable answer or data that does not match the schema, or could not be reached for six hours; or there is no transcript.',
    },
  } as const,
});
