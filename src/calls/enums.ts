/** The words of the graph for calls. */
import {
  CallBillingStatus,
  CallDirection,
  CallEndReason,
  CallMedium,
  CallStatus,
} from '../generated/prisma/enums.ts';
import { builder } from '../graphql/builder.ts';

export const CallDirectionEnum = builder.enumType('CallDirection', {
  description: 'Who began it.',
  values: {
    [CallDirection.INBOUND]: { description: 'The person called the agent, or opened a test call.' },
    [CallDirection.OUTBOUND]: { description: 'The agent called the person.' },
  } as const,
});

export const CallMediumEnum = builder.enumType('CallMedium', {
  description: 'How the voice travels.',
  values: {
    [CallMedium.TWILIO]: { description: 'Over the Twilio account of the number.' },
    [CallMedium.TELNYX]: { description: 'Over the Telnyx account of the number.' },
    [CallMedium.SIP]: { description: 'Over the SIP server of the number.' },
    [CallMedium.WEBRTC]: { description: 'In a browser, without a phone.' },
  } as const,
});

export const CallStatusEnum = builder.enumType('CallStatus', {
  description: 'Where a call is in its life. It only ever moves forward.',
  values: {
    [CallStatus.CREATED]: { description: 'Accepted; waits until Ultravox has room to dial it.' },
    [CallStatus.RINGING]: { description: 'The phone rings.' },
    [CallStatus.IN_PROGRESS]: { description: 'They talk.' },
    [CallStatus.COMPLETED]: { description: 'They talked and it is over.' },
    [CallStatus.FAILED]: { description: 'It never came to talking, or broke; see `endReason`.' },
    [CallStatus.CANCELLED]: { description: 'It was stopped before anybody answered.' },
  } as const,
});

export const CallEndReasonEnum = builder.enumType('CallEndReason', {
  description: 'Why a call ended.',
  values: {
    [CallEndReason.HANGUP]: { description: 'The person hung up.' },
    [CallEndReason.AGENT_HANGUP]: { description: 'The agent hung up, or `endCall` did.' },
    [CallEndReason.NO_ANSWER]: { description: 'Nobody answered in time.' },
    [CallEndReason.BUSY]: { description: 'The line was busy.' },
    [CallEndReason.REJECTED]: { description: 'The person declined.' },
    [CallEndReason.INVALID_NUMBER]: { description: 'There is no such number.' },
    [CallEndReason.UNREACHABLE]: { description: 'The destination could not be reached.' },
    [CallEndReason.MAX_DURATION]: { description: 'The longest allowed duration was reached.' },
    [CallEndReason.CONNECTION_ERROR]: { description: 'The connection was lost.' },
    [CallEndReason.SYSTEM_ERROR]: {
      description: 'A fault on the way to or at Ultravox; `failure` may say more.',
    },
    [CallEndReason.CANCELLED]: { description: 'Stopped by `endCall` before it was answered.' },
    [CallEndReason.UNKNOWN]: { description: 'The end was never reported and could not be learnt.' },
  } as const,
});

export const CallBillingStatusEnum = builder.enumType('CallBillingStatus', {
  description: 'Whether the call has been billed by Ultravox.',
  values: {
    [CallBillingStatus.PENDING]: { description: 'Not yet; a live call always is.' },
    [CallBillingStatus.BILLED]: { description: 'Billed; `cost` says what.' },
    [CallBillingStatus.FREE]: { description: 'Ended without charge, for instance unanswered.' },
    [CallBillingStatus.REFUNDED]: { description: 'Billed and given back.' },
  } as const,
});
