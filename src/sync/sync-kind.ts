/** What the sync needs to know about a kind of row with a remote resource at Ultravox. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import type { SyncStatus } from '../generated/prisma/client.ts';
import { defineJob, type JobDefinition } from '../infra/jobs/jobs.ts';

/** The columns of every table whose rows have a remote resource. */
export interface SyncRow {
  id: string;
  organizationId: string;
  status: SyncStatus;
  revision: number;
  syncedRevision: number | null;
  syncAttempts: number;
  remoteId: string | null;
  /** Time of a request that may be unanswered. Null if every request was answered. */
  remoteAttemptAt: Date | null;
  deletedAt: Date | null;
}

/** The part of an app that syncing uses. Its client is bound to the abort signal of the job. */
export type SyncContext = Pick<App, 'db' | 'ultravox' | 'cipher' | 'config' | 'failures' | 'now'>;

type SyncedTable =
  | 'agents'
  | 'tools'
  | 'voices'
  | 'knowledge_bases'
  | 'knowledge_sources'
  | 'telephony_configs';

export interface SyncKind<Row extends SyncRow, Table extends SyncedTable = SyncedTable> {
  readonly table: Table;
  readonly job: JobDefinition<SyncJob>;
  /** Reads the row with everything that its remote resource is built from. Null if it does not exist. */
  load(app: SyncContext, id: string): Promise<Row | null>;
  /** Remote ids of the resources that carry the id of the row. */
  find(app: SyncContext, row: Row): Promise<string[]>;
  /** @returns the remote id of the new resource. */
  create(app: SyncContext, row: Row): Promise<string>;
  /** Sends the current content. A "not found" error makes the sync create the resource again. */
  update(app: SyncContext, row: Row, remoteId: string): Promise<void>;
  /** Removes a remote resource. A resource that does not exist counts as removed. */
  remove(app: SyncContext, row: Row, remoteId: string): Promise<void>;
  /** Runs before the result is written, to lock rows that `onResult` changes and that others lock before this row. */
  lockForResult?(tx: Tx, row: Row): Promise<void>;
  /** Runs in the transaction that records the result, for example to append events. */
  onResult?(app: App, tx: Tx, row: Row, result: SyncResult): Promise<void>;
  /** Runs after that transaction has committed. */
  afterResult?(app: App, row: Row, result: SyncResult): Promise<void>;
}

export type SyncResult =
  | { outcome: 'SYNCED'; remoteId: string }
  | { outcome: 'REMOVED' }
  | { outcome: 'REFUSED'; message: string }
  | {
      outcome: 'UNREACHABLE';
      message: string;
      retryAt: Date;
      /** Whether Ultravox may execute a request later, although it has not answered it. */
      isUnanswered: boolean;
    };

/**
 * Thrown by `create` or `update` of a kind while a row that it refers to has no remote resource yet.
 * Handled like an unreachable Ultravox; the kind that it waits for enqueues it again.
 */
export class NotReadyError extends Error {
  override name = 'NotReadyError';
}

interface Referred {
  revision: number;
  refusedRevision: number | null;
  syncError: string | null;
}

/** The error for a row that refers to another one, `noun`, which has no remote resource to use. */
export function notUsable(row: Referred, noun: string): NotReadyError | RefusedError {
  if (row.refusedRevision !== row.revision)
    return new NotReadyError(`The ${noun} is not at Ultravox yet.`);
  return new RefusedError(refusal(`the ${noun}`, row));
}

/** Says that Ultravox refused a row, and why. */
export function refusal(noun: string, { syncError }: Pick<Referred, 'syncError'>): string {
  return `Ultravox refused ${noun}${syncError ? `: ${syncError}` : '.'}`;
}

const syncJob = z.object({ id: z.uuid() });
export type SyncJob = z.output<typeof syncJob>;

/** Thrown by `create` or `update` of a kind, and handled like a refusal by Ultravox. */
export class RefusedError extends Error {
  override name = 'RefusedError';
}

/** The job that syncs one row. Each kind has its own. */
export function defineSyncJob(name: string): JobDefinition<SyncJob> {
  return defineJob({ name, payload: syncJob, retryLimit: 3 });
}
