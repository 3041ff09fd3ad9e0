/** Creates, updates or removes the remote resource of one row, so that it matches the row. */
import { Prisma } from '../generated/prisma/client.ts';
import { type Lease, LeaseLostError } from '../infra/jobs/lease.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { syncRetrySeconds } from './status.ts';
import {
  NotReadyError,
  RefusedError,
  type SyncContext,
  type SyncKind,
  type SyncResult,
  type SyncRow,
} from './sync-kind.ts';

/** Whether the row is synced, so that only late effects of an unanswered request are left to undo. */
export function isUpToDate(row: SyncRow): boolean {
  return row.deletedAt === null && row.syncedRevision === row.revision && row.remoteId !== null;
}

/**
 * Sends the row under a lease that is renewed before each request, so no request outlives it.
 *
 * @throws LeaseLostError when another process holds the lease. All other failures are results.
 */
export async function send<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<SyncResult> {
  try {
    if (row.deletedAt) return await removeAll(app, kind, row, lease);
    if (isUpToDate(row)) await removeStrays(app, kind, row, lease);
    const remoteId = row.remoteId ?? (await adoptExisting(app, kind, row, lease));
    if (remoteId && (await updateIfFound(app, kind, row, { remoteId, lease }))) {
      return { outcome: 'SYNCED', remoteId };
    }
    // Recorded in the statement that renews the lease: after a crash, `adoptExisting` looks for
    // the resource that this request may have created. Calls cannot use a row without a remote resource.
    const set = Prisma.sql`remote_attempt_at = now(), remote_id = NULL, status = 'CREATING'`;
    await lease.renew(app.db, { set });
    return { outcome: 'SYNCED', remoteId: await kind.create(app, row) };
  } catch (error) {
    return toResult(app, kind, row, error);
  }
}

async function updateIfFound<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  { remoteId, lease }: { remoteId: string; lease: Lease },
): Promise<boolean> {
  await lease.renew(app.db);
  try {
    await kind.update(app, row, remoteId);
    return true;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_found') return false;
    throw error;
  }
}

/** Finds resources that an unanswered creation request may have created; keeps one and removes the others. */
async function adoptExisting<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<string | null> {
  if (!row.remoteAttemptAt) return null;
  await lease.renew(app.db);
  const [found = null, ...strays] = await kind.find(app, row);
  await removeEach(app, kind, row, { remoteIds: strays, lease });
  return found;
}

async function removeStrays<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<void> {
  await lease.renew(app.db);
  const found = await kind.find(app, row);
  const strays = found.filter((remoteId) => remoteId !== row.remoteId);
  await removeEach(app, kind, row, { remoteIds: strays, lease });
}

async function removeAll<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<SyncResult> {
  await lease.renew(app.db);
  const remoteIds = new Set(await kind.find(app, row));
  if (row.remoteId) remoteIds.add(row.remoteId);
  await removeEach(app, kind, row, { remoteIds, lease });
  return { outcome: 'REMOVED' };
}

async function removeEach<Row extends SyncRow>(
  app: SyncContext,
  kind: SyncKind<Row>,
  row: Row,
  { remoteIds, lease }: { remoteIds: Iterable<string>; lease: Lease },
): Promise<void> {
  for (const remoteId of remoteIds) {
    await lease.renew(app.db);
    await kind.remove(app, row, remoteId);
  }
}

function toResult(
  app: SyncContext,
  kind: Pick<SyncKind<SyncRow>, 'job'>,
  row: SyncRow,
  error: unknown,
): SyncResult {
  if (error instanceof LeaseLostError) throw error;
  const retryIn = (seconds: number): Date => new Date(app.now().getTime() + seconds * 1000);
  const retryAt = retryIn(syncRetrySeconds(row.syncAttempts + 1));
  if (error instanceof NotReadyError) {
    return { outcome: 'UNREACHABLE', message: error.message, retryAt, isUnanswered: false };
  }
  if (error instanceof RefusedError) {
    return { outcome: 'REFUSED', message: error.message };
  }
  if (!(error instanceof UltravoxError)) {
    // A bug of this server. The row is retried as if Ultravox were unreachable.
    app.failures.record(kind.job.name, error, {
      message: 'Could not sync a row with Ultravox because of an internal error',
      level: 'error',
      id: row.id,
    });
    const message = 'An internal error occurred.';
    return { outcome: 'UNREACHABLE', message, retryAt, isUnanswered: false };
  }
  if (error.kind === 'invalid' || error.kind === 'conflict') {
    return { outcome: 'REFUSED', message: error.detail };
  }
  return {
    outcome: 'UNREACHABLE',
    message: error.detail,
    retryAt: error.retryAfterSeconds === null ? retryAt : retryIn(error.retryAfterSeconds),
    isUnanswered: error.outcomeUnknown,
  };
}
