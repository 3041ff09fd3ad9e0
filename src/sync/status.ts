/** The sync status of a row, as a pure state machine. */
import type { SyncStatus } from '../generated/prisma/enums.ts';

export type SyncOutcome =
  /** Ultravox has this revision. */
  | 'SYNCED'
  /** Ultravox refuses the content, which must be changed. */
  | 'REFUSED'
  /** Ultravox could not be reached, was at capacity, or did not answer. Retried later. */
  | 'UNREACHABLE';

/**
 * A row that was once synced stays ACTIVE while a change is being sent or was refused: Ultravox then
 * uses its last synced revision.
 */
export function nextSyncStatus(status: SyncStatus, outcome: SyncOutcome): SyncStatus {
  if (status === 'ACTIVE') return 'ACTIVE';
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

/** Whether Ultravox has the current revision of the row. */
export function isInSync(row: { revision: number; syncedRevision: number | null }): boolean {
  return row.syncedRevision === row.revision;
}
