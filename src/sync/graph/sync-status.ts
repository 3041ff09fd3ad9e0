/** The enum of the sync status of rows with a remote resource. */
import { SyncStatus } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';

export const SyncStatusEnum = builder.enumType('SyncStatus', {
  description:
    'State of the remote resource that Ultravox, the voice engine, keeps for an object. An object that was ACTIVE once stays ACTIVE while a later change is being sent or was refused, unless it no longer exists at Ultravox; `syncError` then gives the reason.',
  values: {
    [SyncStatus.DRAFT]: {
      description:
        'Saved, but not at Ultravox yet: Ultravox could not be reached, or an object that this one refers to is not there yet. Also after a removal at Ultravox, until it is there again. Retried automatically.',
    },
    [SyncStatus.CREATING]: { description: 'Being sent to Ultravox.' },
    [SyncStatus.ACTIVE]: { description: 'Available at Ultravox and usable in calls.' },
    [SyncStatus.FAILED]: {
      description:
        'Refused by Ultravox; `syncError` gives the reason. Not sent again until the object is changed, or an agent is sent with `retryAgentSync`.',
    },
    DELETED: {
      description:
        'Deleted, and no longer usable in calls. Found only through objects that still refer to it: lists omit it, so as a filter this matches nothing.',
    },
  } as const,
});
