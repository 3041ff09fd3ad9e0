/** How the graph shows where a copy at Ultravox stands: one enum for everything that has a copy. */
import { SyncStatus } from '../generated/prisma/enums.ts';
import { builder } from '../graphql/builder.ts';

export const SyncStatusEnum = builder.enumType('SyncStatus', {
  description:
    'How far the copy of an object at Ultravox, the engine behind the calls, has come. What was ACTIVE once stays so while a change of it is on its way: `syncError` then says what holds it up.',
  values: {
    [SyncStatus.DRAFT]: {
      description:
        'Kept here, not yet at Ultravox: it could not be reached, or something this depends on is not there yet. Tried again by itself.',
    },
    [SyncStatus.CREATING]: { description: 'On its way to Ultravox at this moment.' },
    [SyncStatus.ACTIVE]: { description: 'Ultravox has it: it can be used in calls.' },
    [SyncStatus.FAILED]: {
      description:
        'Ultravox refuses the content, and `syncError` says why. Mend it and save it again.',
    },
  } as const,
});
