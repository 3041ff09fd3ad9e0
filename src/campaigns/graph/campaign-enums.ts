/** Enums of campaigns. */
import {
  CampaignContactSource,
  CampaignContactStatus,
  CampaignDecisionOutcome,
  CampaignDecisionReason,
  CampaignScheduleType,
  CampaignSkipReason,
  CampaignStatus,
  PhoneRotationStrategy,
} from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import type { SimulationProblem } from '../schedule/simulation.ts';

export const CampaignStatusEnum = builder.enumType('CampaignStatus', {
  description: 'Status of a campaign. COMPLETED, FAILED and CANCELLED are final.',
  values: {
    [CampaignStatus.DRAFT]: {
      description: 'Not scheduled. No calls are placed before `scheduleCampaign`.',
    },
    [CampaignStatus.SCHEDULED]: { description: 'Waiting for `scheduledAt`; starts automatically.' },
    [CampaignStatus.ACTIVE]: {
      description:
        'Calling due contacts, within its calling window and limits. See `holdReason` if it cannot call at the moment.',
    },
    [CampaignStatus.PAUSED]: {
      description:
        'Places no new calls; active calls continue. Paused with `pauseCampaign`, or automatically, with a `statusReason`: when more than half of the last 20 calls failed, when there is no phone number to call from, or when Ultravox rejects every call. `resumeCampaign` continues it.',
    },
    [CampaignStatus.COMPLETED]: { description: 'All contacts are finished.' },
    [CampaignStatus.FAILED]: {
      description: 'Ended because it could not continue; see `statusReason`. Results are kept.',
    },
    [CampaignStatus.CANCELLED]: {
      description: 'Ended by `cancelCampaign`. Results are kept.',
    },
  } as const,
});

export const CampaignContactSourceEnum = builder.enumType('CampaignContactSource', {
  description: 'Source of the first contacts of a campaign.',
  values: {
    [CampaignContactSource.CSV]: { description: 'Uploaded file (`contactsFile`).' },
    [CampaignContactSource.FOLDER]: {
      description: 'All contacts of a folder (`contactFolderId`).',
    },
    [CampaignContactSource.MANUAL]: {
      description:
        'Contacts listed by ID or sent as rows. Also the value of a campaign created without contacts.',
    },
  } as const,
});

export const CampaignScheduleTypeEnum = builder.enumType('CampaignScheduleType', {
  description:
    'Start of a campaign. The calling window and the working days apply with either value.',
  values: {
    [CampaignScheduleType.IMMEDIATE]: {
      description: 'Immediately, or as soon as the calling window opens.',
    },
    [CampaignScheduleType.SCHEDULED]: {
      description: 'At `scheduledAt`, or as soon as the calling window opens after it.',
    },
  } as const,
});

export const PhoneRotationStrategyEnum = builder.enumType('PhoneRotationStrategy', {
  description: 'Strategy by which a campaign chooses the phone number of a call.',
  values: {
    [PhoneRotationStrategy.RANDOM]: { description: 'At random. All numbers are equally likely.' },
    [PhoneRotationStrategy.ROUND_ROBIN]: {
      description: 'In order, starting over after the last number.',
    },
    [PhoneRotationStrategy.SEQUENTIAL]: {
      description:
        'By position of the contact: the contacts are divided into as many consecutive blocks as there are numbers, and each number calls one block. Retries use the same number, unless contacts or numbers were added or removed.',
    },
  } as const,
});

export const CampaignContactStatusEnum = builder.enumType('CampaignContactStatus', {
  description:
    'Status of a contact in a campaign. COMPLETED, FAILED, SKIPPED and CANCELLED are final, but contacts skipped as NEVER_OPEN are planned again when the schedule changes.',
  values: {
    [CampaignContactStatus.PENDING]: {
      description:
        'Not planned yet: the campaign is a draft, or the contact was skipped as NEVER_OPEN and a schedule that has just changed may fit it.',
    },
    [CampaignContactStatus.SCHEDULED]: {
      description: 'Waiting for the first call or for a retry. See `nextEligibleAt`.',
    },
    [CampaignContactStatus.CALLING]: { description: 'Being called. See `call`.' },
    [CampaignContactStatus.COMPLETED]: { description: 'A call was answered and has ended.' },
    [CampaignContactStatus.FAILED]: {
      description: 'The last attempt failed and is not retried. See `endReason`.',
    },
    [CampaignContactStatus.SKIPPED]: {
      description: 'Not called, or not called again for a retry. See `skipReason`.',
    },
    [CampaignContactStatus.CANCELLED]: {
      description:
        'The campaign was canceled or failed while the contact waited for its first call or a retry, or the call was canceled before it was answered.',
    },
  } as const,
});

export const CampaignSkipReasonEnum = builder.enumType('CampaignSkipReason', {
  description: 'Reason why a contact of a campaign is not called, or not called again for a retry.',
  values: {
    [CampaignSkipReason.DO_NOT_CALL]: {
      description: 'The phone number was on the do-not-call list when the contact was due.',
    },
    [CampaignSkipReason.NEVER_OPEN]: {
      description:
        "The calling window is never open in the campaign's and the contact's time zone at the same time. Also if the schedule changed while the contact was being added, and leaves no room for it within five years.",
    },
  } as const,
});

export const CampaignDecisionOutcomeEnum = builder.enumType('CampaignDecisionOutcome', {
  description: 'Outcome of a decision about a contact or a whole campaign.',
  values: {
    [CampaignDecisionOutcome.DIALED]: { description: 'The contact is called. See `call`.' },
    [CampaignDecisionOutcome.WAITS]: { description: 'Not called for now. See `until`.' },
    [CampaignDecisionOutcome.RETRIES]: {
      description: 'The attempt failed and is retried. See `until`.',
    },
    [CampaignDecisionOutcome.COMPLETED]: {
      description: 'Finished: the call was answered and has ended.',
    },
    [CampaignDecisionOutcome.FAILED]: {
      description: 'Finished: the call failed and is not retried.',
    },
    [CampaignDecisionOutcome.SKIPPED]: {
      description: 'Finished: the contact is not called, or not called again.',
    },
    [CampaignDecisionOutcome.CANCELLED]: {
      description: 'Finished: the call or the campaign was canceled, or the campaign failed.',
    },
  } as const,
});

export const CampaignDecisionReasonEnum = builder.enumType('CampaignDecisionReason', {
  description: 'Reason for a decision about a contact or a whole campaign.',
  values: {
    [CampaignDecisionReason.DUE]: {
      description: 'The contact was due and nothing prevented the call.',
    },
    [CampaignDecisionReason.WINDOW_CLOSED]: {
      description: 'The calling window of the campaign is closed.',
    },
    [CampaignDecisionReason.CONTACT_WINDOW_CLOSED]: {
      description:
        "The calling window is open in the campaign's time zone, but closed in the contact's.",
    },
    [CampaignDecisionReason.DAILY_CAP_REACHED]: {
      description: '`maxCallsPerDay` is reached for the day. Retries count.',
    },
    [CampaignDecisionReason.CONCURRENCY_REACHED]: {
      description:
        'No slot is free: `maxConcurrentCalls`, or the limit of the organization or of Ultravox, is reached.',
    },
    [CampaignDecisionReason.AGENT_NOT_READY]: {
      description: 'The agent is not ACTIVE. The campaign continues automatically once it is.',
    },
    [CampaignDecisionReason.NO_PHONE_NUMBER]: {
      description:
        'The phone number of the call is no longer available, or the campaign has no phone number at all and is paused. In that case, set `phoneNumberIds` or assign an outbound number to the agent, then resume the campaign.',
    },
    [CampaignDecisionReason.ULTRAVOX_WAITS]: {
      description:
        'Ultravox did not accept the call: it had no capacity, could not be reached, or rejects every call of the account. Also when the day ended, under `maxCallsPerDay`, before it accepted the call. The attempt does not count.',
    },
    [CampaignDecisionReason.DO_NOT_CALL]: {
      description: 'The phone number is on the do-not-call list.',
    },
    [CampaignDecisionReason.NEVER_OPEN]: {
      description:
        "The calling window is never open in the campaign's and the contact's time zone at the same time. Also if the schedule changed while the contact was being added, and leaves no room for it within five years.",
    },
    [CampaignDecisionReason.CALL_ENDED]: {
      description: 'The call ended. See `endReason` of `call`.',
    },
    [CampaignDecisionReason.RETRIES_OFF]: {
      description: 'The call failed and `retryFailed` is false.',
    },
    [CampaignDecisionReason.RETRIES_USED_UP]: {
      description: 'The call failed and no retry of `maxRetryAttempts` is left.',
    },
    [CampaignDecisionReason.NOT_RETRIED]: {
      description:
        'The call failed for a reason that is never retried, such as a rejection or an invalid number, or an earlier call shows that the contact must not be called again: a person was reached, perhaps, or asked not to be called, or the call was ended with `endCall`; or a voicemail was reached, and `retryVoicemail` is false.',
    },
    [CampaignDecisionReason.TOO_MANY_FAILURES]: {
      description:
        'More than half of the last 20 calls failed, so the campaign was paused. Busy and unanswered calls that are retried are not among the 20. Fix the cause, then resume the campaign.',
    },
    [CampaignDecisionReason.CAMPAIGN_PAUSED]: { description: 'The campaign was paused.' },
    [CampaignDecisionReason.CAMPAIGN_RESUMED]: { description: 'The campaign was resumed.' },
    [CampaignDecisionReason.CAMPAIGN_OVER]: {
      description: 'The campaign was canceled or failed, so its contacts are no longer called.',
    },
  } as const,
});

const PROBLEMS: Record<SimulationProblem['code'], string> = {
  NEVER_OPEN:
    "For some contacts, the calling window is never open in the campaign's and their own time zone at the same time.",
  TOO_LATE:
    'The schedule leaves too little time for the list: some contacts would not be called within five years.',
  SPILLS_OVER:
    'The calling window is too short for the contacts due in it: some are called in a later window than planned.',
};

export const CampaignWarningCodeEnum = builder.enumType('CampaignWarningCode', {
  description: 'Mismatch between contacts and schedule.',
  values: Object.fromEntries(
    Object.entries(PROBLEMS).map(([code, description]) => [code, { description }]),
  ) as { [C in SimulationProblem['code']]: { description: string } },
});
