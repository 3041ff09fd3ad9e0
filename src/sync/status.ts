/** The sync status of a row, as a pure state machine. */
import type { SyncStatus } from '../generated/prisma/enums.ts';
import type { SyncRow } from './sync-kind.ts';

export type SyncOutcome =
  /** Ultravox has this revision. */
  | 'SYNCED'
  /** Ultravox refuses the content, which must be changed. */
  | 'REFUSED'
  /** Ultravox could not be reached, was at capacity, or did not answer. Retried later. */
  | 'UNREACHABLE';

/**
 * Status of a row that is not ACTIVE. An ACTIVE row stays ACTIVE while a change is being sent or was refused, since
 * Ultravox then uses the last synced revision.
 */
export function nextSyncStatus(outcome: SyncOutcome): SyncStatus {
  switch (outcome) {
    case 'SYNCED':
      return 'ACTIVE';
    case 'REFUSED':
      return 'FAILED';
    case 'UNREACHABLE':
      return 'DRAFT';
  }
}

/** Seconds before the next attempt, after this many attempts that did not reach Ultravox: 5, 10, 20 … 300. */
export function syncRetrySeconds(attempts: number): number {
  return Math.min(5 * 2 ** Math.max(0, attempts - 1), 300);
}

/** Whether Ultravox has the current revision of the row or, if the row is deleted, no longer has any. */
export function isInSync(
  row: Pick<SyncRow, 'revision' | 'syncedRevision' | 'deletedAt' | 'remoteId' | 'remoteAttemptAt'>,
): boolean {
  if (row.deletedAt) return row.remoteId === null && row.remoteAttemptAt === null;
  return row.syncedRevision === row.revision && row.remoteId !== null;
}

/** The status shown to clients. A deleted row keeps its last sync status. */
export type VisibleStatus = SyncStatus | 'DELETED';

export function visibleStatus(row: Pick<SyncRow, 'status' | 'deletedAt'>): VisibleStatus {
  return row.deletedAt ? 'DELETED' : row.status;
}

/** Condition of a filter on rows that are not deleted, so DELETED matches none. Null and an empty list mean all. */
export function statusCondition(statuses: readonly VisibleStatus[] | null | undefined): {
  status?: { in: SyncStatus[] };
} {
  if (!statuses?.length) return {};
  return { status: { in: statuses.filter((status) => status !== 'DELETED') } };
}
