/** The words of the graph for campaigns. */
import {
  CampaignContactSource,
  CampaignContactStatus,
  CampaignDecisionOutcome,
  CampaignDecisionReason,
  CampaignScheduleType,
  CampaignSkipReason,
  CampaignStatus,
  PhoneRotationStrategy,
} from '../generated/prisma/enums.ts';
import { builder } from '../graphql/builder.ts';
import type { ForecastProblem } from './forecast.ts';

export const CampaignStatusEnum = builder.enumType('CampaignStatus', {
  description:
    'Where a campaign is in its life. COMPLETED, FAILED and CANCELLED are the ends: nothing leads out of them.',
  values: {
    [CampaignStatus.DRAFT]: {
      description: 'Being put together; nobody is called before `scheduleCampaign`.',
    },
    [CampaignStatus.SCHEDULED]: { description: 'Waits for `scheduledAt`, then starts by itself.' },
    [CampaignStatus.ACTIVE]: {
      description:
        'Calls whoever is due, inside its window and limits. `holdReason` says when it has to wait all the same.',
    },
    [CampaignStatus.PAUSED]: {
      description:
        'Places no new calls; those that run go on. By `pauseCampaign`, or by itself when more than half of its last 20 calls failed (see `statusReason`). `resumeCampaign` goes on.',
    },
    [CampaignStatus.COMPLETED]: { description: 'Nobody is left to be called.' },
    [CampaignStatus.FAILED]: {
      description: 'It could not go on; `statusReason` says why. What was done stays.',
    },
    [CampaignStatus.CANCELLED]: {
      description: 'Stopped for good by `cancelCampaign`. What was done stays.',
    },
  } as const,
});

export const CampaignContactSourceEnum = builder.enumType('CampaignContactSource', {
  description: 'Where the first contacts of a campaign were copied from.',
  values: {
    [CampaignContactSource.CSV]: { description: 'An uploaded file, `contactsFile`.' },
    [CampaignContactSource.FOLDER]: { description: 'All contacts of a folder, `contactFolderId`.' },
    [CampaignContactSource.MANUAL]: {
      description: 'Contacts named by their ids or sent as rows; also when there were none yet.',
    },
  } as const,
});

export const CampaignScheduleTypeEnum = builder.enumType('CampaignScheduleType', {
  description:
    'When a campaign begins. Window and working days hold either way: this is never a way around them.',
  values: {
    [CampaignScheduleType.IMMEDIATE]: {
      description: 'At once, or as soon as its window opens.',
    },
    [CampaignScheduleType.SCHEDULED]: { description: 'Not before `scheduledAt`.' },
  } as const,
});

export const PhoneRotationStrategyEnum = builder.enumType('PhoneRotationStrategy', {
  description: 'Which number of its pool a campaign shows with the next call.',
  values: {
    [PhoneRotationStrategy.RANDOM]: { description: 'Any of them, each equally often over time.' },
    [PhoneRotationStrategy.ROUND_ROBIN]: {
      description: 'One after the other, beginning again after the last.',
    },
    [PhoneRotationStrategy.SEQUENTIAL]: {
      description:
        'The list is cut into as many blocks as there are numbers: the first number calls the first block, and so on. A person sees the same number on every attempt.',
    },
  } as const,
});

export const CampaignContactStatusEnum = builder.enumType('CampaignContactStatus', {
  description:
    'How far a contact of a campaign is. COMPLETED, FAILED, SKIPPED and CANCELLED are the ends.',
  values: {
    [CampaignContactStatus.PENDING]: {
      description: 'Copied, without a time yet: the campaign is a draft.',
    },
    [CampaignContactStatus.SCHEDULED]: {
      description: 'Waits for its turn, also between two attempts; see `nextEligibleAt`.',
    },
    [CampaignContactStatus.CALLING]: { description: 'Is being called now; see `call`.' },
    [CampaignContactStatus.COMPLETED]: { description: 'Answered, and the conversation is over.' },
    [CampaignContactStatus.FAILED]: {
      description: 'The last attempt failed and there is no other; see `endReason`.',
    },
    [CampaignContactStatus.SKIPPED]: { description: 'Is not called; see `skipReason`.' },
    [CampaignContactStatus.CANCELLED]: {
      description: 'Was still to be called when the campaign was cancelled, or its call was.',
    },
  } as const,
});

export const CampaignSkipReasonEnum = builder.enumType('CampaignSkipReason', {
  description: 'Why a contact is not called although it is in the campaign.',
  values: {
    [CampaignSkipReason.DO_NOT_CALL]: {
      description: 'Its number was on the do-not-call list when its turn came.',
    },
    [CampaignSkipReason.NEVER_OPEN]: {
      description: "No time is inside the window both in the campaign's zone and in its own.",
    },
  } as const,
});

export const CampaignDecisionOutcomeEnum = builder.enumType('CampaignDecisionOutcome', {
  description: 'What was decided when a contact, or the whole campaign, was looked at.',
  values: {
    [CampaignDecisionOutcome.DIALLED]: { description: 'It was called; see `call`.' },
    [CampaignDecisionOutcome.WAITS]: { description: 'Not now; see `until`.' },
    [CampaignDecisionOutcome.RETRIES]: {
      description: 'The attempt failed and another follows; see `until`.',
    },
    [CampaignDecisionOutcome.COMPLETED]: { description: 'Done: somebody answered and talked.' },
    [CampaignDecisionOutcome.FAILED]: { description: 'Done: it failed, and is not tried again.' },
    [CampaignDecisionOutcome.SKIPPED]: { description: 'Done: it is not called.' },
    [CampaignDecisionOutcome.CANCELLED]: { description: 'Done: it was called off.' },
  } as const,
});

export const CampaignDecisionReasonEnum = builder.enumType('CampaignDecisionReason', {
  description: 'Why somebody was or was not called.',
  values: {
    [CampaignDecisionReason.DUE]: {
      description: 'Its time had come and nothing stood in the way.',
    },
    [CampaignDecisionReason.WINDOW_CLOSED]: {
      description: "Outside the campaign's daily window or working days.",
    },
    [CampaignDecisionReason.CONTACT_WINDOW_CLOSED]: {
      description: "The window is open in the campaign's zone, but not in the contact's own.",
    },
    [CampaignDecisionReason.DAILY_CAP_REACHED]: {
      description: '`maxCallsPerDay` was used up for that day; retries count too.',
    },
    [CampaignDecisionReason.CONCURRENCY_REACHED]: {
      description:
        'All lines are taken: there are as many calls as `maxConcurrentCalls`, or the limits of the organization or of Ultravox, allow.',
    },
    [CampaignDecisionReason.AGENT_NOT_READY]: {
      description: 'The agent was not active. It goes on by itself once it is.',
    },
    [CampaignDecisionReason.NO_PHONE_NUMBER]: {
      description:
        'There was no number to call from: the campaign is paused. Give it or its agent one and resume it.',
    },
    [CampaignDecisionReason.ULTRAVOX_WAITS]: {
      description: 'Ultravox was full, asked to wait or could not be reached; no attempt was lost.',
    },
    [CampaignDecisionReason.DO_NOT_CALL]: { description: 'The number is on the do-not-call list.' },
    [CampaignDecisionReason.NEVER_OPEN]: {
      description: "No time suits both the campaign's window and the contact's zone.",
    },
    [CampaignDecisionReason.CALL_ENDED]: {
      description: 'Its call ended; the `endReason` of `call` says how.',
    },
    [CampaignDecisionReason.RETRIES_OFF]: {
      description: 'The call failed, and `retryFailed` is off.',
    },
    [CampaignDecisionReason.RETRIES_USED_UP]: {
      description: 'The call failed, and it was the last of `maxRetryAttempts`.',
    },
    [CampaignDecisionReason.NOT_RETRIED]: {
      description:
        'The call failed in a way that is never tried again, such as a rejection or an invalid number.',
    },
    [CampaignDecisionReason.TOO_MANY_FAILURES]: {
      description:
        'More than half of the last 20 calls of the campaign failed, so it paused itself. See what is wrong, then resume it.',
    },
    [CampaignDecisionReason.CAMPAIGN_PAUSED]: { description: 'The campaign was paused.' },
    [CampaignDecisionReason.CAMPAIGN_RESUMED]: { description: 'The campaign was resumed.' },
    [CampaignDecisionReason.CAMPAIGN_OVER]: {
      description: 'The campaign was cancelled, or failed, before it was called.',
    },
  } as const,
});

const PROBLEMS: Record<ForecastProblem['code'], string> = {
  NEVER_OPEN: "For some contacts no time suits both the campaign's window and their own zone.",
  TOO_LATE: 'The schedule is so small for the list that it would take years.',
  SPILLS_OVER:
    'The window is too small for those due in it: some are called in a later one than planned.',
};

export const CampaignWarningCodeEnum = builder.enumType('CampaignWarningCode', {
  description: 'In what way a list of contacts and a schedule do not fit each other.',
  values: Object.fromEntries(
    Object.entries(PROBLEMS).map(([code, description]) => [code, { description }]),
  ) as { [C in ForecastProblem['code']]: { description: string } },
});
