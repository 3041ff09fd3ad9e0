/** Fields of types whose rows have a remote resource. */
import { builder } from '../../graphql/builder.ts';
import { isInSync, visibleStatus } from '../status.ts';
import { SyncStatusEnum } from './sync-status.ts';

type SyncedModel = 'Agent' | 'Tool' | 'Voice' | 'KnowledgeBase' | 'KnowledgeSource';

/** Adds `status`, `syncError` and `isInSync` to a type whose rows have a remote resource. */
export function addSyncFields(
  model: SyncedModel,
  descriptions: { status: string; syncError: string },
): void {
  // Pothos types the fields of one model at a time; these columns are the same in all of them.
  builder.prismaObjectFields(model as 'Agent', (t) => ({
    status: t.field({
      type: SyncStatusEnum,
      description: descriptions.status,
      select: { status: true, deletedAt: true },
      resolve: visibleStatus,
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description: descriptions.syncError,
    }),
    isInSync: t.boolean({
      description:
        'Whether the latest revision is at Ultravox. False while a change is being sent or was refused. Once the object is deleted: whether it has been removed from Ultravox.',
      select: {
        revision: true,
        syncedRevision: true,
        deletedAt: true,
        remoteId: true,
        remoteAttemptAt: true,
      },
      resolve: isInSync,
    }),
  }));
}
