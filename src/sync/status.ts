/**
 * How far the copy of a row at Ultravox has come, as a pure state machine.
 *
 * A row that was once in step stays ACTIVE while a change of it is on its way or was refused: what
 * Ultravox runs is then its last synced revision.
 */
import type { SyncStatus } from '../generated/prisma/enums.ts';

export type SyncOutcome =
  /** Somebody has begun to bring the row to Ultravox. */
  | 'BEGUN'
  /** Ultravox has this revision. */
  | 'SYNCED'
  /** Ultravox refuses the content: it must be changed. */
  | 'REFUSED'
  /** Ultravox could not be reached, was full, or did not say: try again later. */
  | 'UNREACHABLE';

export function nextSyncStatus(status: SyncStatus, outcome: SyncOutcome): SyncStatus {
  if (status === 'ACTIVE') return 'ACTIVE';
  switch (outcome) {
    case 'BEGUN':
      return 'CREATING';
    case 'SYNCED':
      return 'ACTIVE';
    case 'REFUSED':
      return 'FAILED';
    case 'UNREACHABLE':
      return 'DRAFT';
  }
}

/** Seconds until the next attempt after so many that could not reach Ultravox: 5, 10, 20 … 300. */
export function syncRetrySeconds(attempts: number): number {
  return Math.min(5 * 2 ** Math.max(0, attempts - 1), 300);
}

/** Whether Ultravox has the row as it is here. */
export function isInSync(row: { revision: number; syncedRevision: number | null }): boolean {
  return row.syncedRevision === row.revision;
}
