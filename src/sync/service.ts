/**
 * Keeps rows and their remote resources at Ultravox in sync.
 *
 * A change is committed with a higher `revision` and a job. Then, outside any transaction, the
 * current content is sent and `syncedRevision` is updated. One sender at a time holds a lease on the
 * row and continues until no newer revision exists, so the last edit is the last one sent. If a
 * sender dies, its lease expires and the job continues.
 *
 * Ultravox has no idempotency keys. Before the first creation request, the attempt is recorded. Once
 * an attempt is recorded, the resource is looked up by our id before another one is created. Because a
 * request that timed out may still be executed later, some time after an unanswered request all stray resources
 * but the one in use are removed, and the current content is sent once more.
 */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { FIRST_ID } from '../infra/ids.ts';
import { type Lease, LeaseLostError, leaseIsFree, newLease } from '../infra/jobs/lease.ts';
import { variantOf } from '../infra/per-instance.ts';
import { isUpToDate, send } from './remote-resource.ts';
import { nextSyncStatus } from './status.ts';
import type { SyncKind, SyncResult, SyncRow } from './sync-kind.ts';

type Table = Pick<SyncKind<SyncRow>, 'table'>;

/** Delay of the job, in which only the request that made the change sends it. */
const INLINE_SECONDS = 5;

const SWEEP_BATCH = 500;

/** Call it in the transaction that raised `revision` or set `deletedAt`. */
export async function enqueueSync(
  app: App,
  tx: Tx,
  kind: Pick<SyncKind<SyncRow>, 'job'>,
  row: Pick<SyncRow, 'id' | 'organizationId'>,
): Promise<void> {
  await enqueueSyncs(app, tx, kind, [row]);
}

/** Like `enqueueSync`, for many rows in one statement. */
export async function enqueueSyncs(
  app: App,
  tx: Tx,
  kind: Pick<SyncKind<SyncRow>, 'job'>,
  rows: readonly Pick<SyncRow, 'id' | 'organizationId'>[],
): Promise<void> {
  const startAfter = new Date(app.now().getTime() + INLINE_SECONDS * 1000);
  await app.jobs.enqueueMany(
    tx,
    kind.job,
    rows.map(({ id, organizationId }) => ({
      payload: { id },
      group: organizationId,
      startAfter,
      singletonKey: `${id}:change`,
    })),
  );
}

/**
 * Syncs a row now. A failure at Ultravox never throws: it is recorded on the row, and retried if a
 * retry can help.
 *
 * @returns null if there was nothing to do, or if another sender holds the lease (that sender then
 *   also sends changes made meanwhile).
 */
export async function runSync<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  id: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<SyncResult | null> {
  const context = signal ? variantOf(app, { ultravox: app.ultravox.withSignal(signal) }) : app;
  const lease = leaseOn(app, kind, id);
  const set = Prisma.sql`
    status = CASE WHEN status = 'ACTIVE' THEN status ELSE 'CREATING'::"SyncStatus" END`;
  if (!(await lease.claim(app.db, { when: isOutOfSync(app), set }))) {
    await runAfterLease(app, kind, id);
    return null;
  }
  try {
    for (;;) {
      const row = await kind.load(context, id);
      if (!row) return null;
      const result = await send(context, kind, row, lease);
      const newerRevision = await recordResult(app, kind, row, { result, lease });
      if (!newerRevision) return result;
    }
  } catch (error) {
    if (!(error instanceof LeaseLostError)) throw error;
    await sendAgain(app, kind, id);
    return null;
  }
}

/**
 * Like `runSync`, for the request that has just committed the change. Never throws, because the change is already
 * committed; the job does what could not be done now.
 */
export async function trySync<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  id: string,
): Promise<SyncResult | null> {
  try {
    return await runSync(app, kind, id);
  } catch (error) {
    app.failures.record('trySync', error, {
      message: 'Could not sync a row right after its change; its job will retry',
      level: 'error',
      id,
    });
    return null;
  }
}

/** SQL condition that is true if rows of a kind have been out of sync for a while. */
export function needsSweep(app: App, kind: Table): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM ${Prisma.raw(kind.table)} WHERE ${isLeftOutOfSync(app, kind)})`;
}

/**
 * Enqueues every row of a kind that is out of sync and that no sender holds: a fallback in case a
 * job is lost. Enqueues all of them, so that rows that cannot be synced do not keep others waiting.
 */
export async function sweepSync(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
): Promise<void> {
  for (let after = FIRST_ID; ; ) {
    const rows = await app.db.$queryRaw<{ id: string; organizationId: string }[]>`
      SELECT id, organization_id AS "organizationId" FROM ${Prisma.raw(kind.table)}
      WHERE ${isLeftOutOfSync(app, kind)} AND id > ${after}::uuid
      ORDER BY id LIMIT ${SWEEP_BATCH}`;
    await app.jobs.enqueueMany(
      app.db,
      kind.job,
      rows.map(({ id, organizationId }) => ({
        payload: { id },
        group: organizationId,
        singletonKey: `${id}:sweep`,
      })),
    );
    const last = rows.at(-1);
    if (rows.length < SWEEP_BATCH || !last || app.closing.aborted) return;
    after = last.id;
  }
}

function isLeftOutOfSync(app: App, kind: Table): Prisma.Sql {
  return Prisma.sql`${leaseIsFree(leaseColumns(kind))}
    AND greatest(updated_at, sync_retry_at) < now() - interval '30 seconds' AND ${isOutOfSync(app)}`;
}

function leaseColumns({ table }: Table) {
  return { table, id: 'sync_lease_id', until: 'sync_lease_until' };
}

function leaseOn(app: App, kind: Table, id: string): Lease {
  return newLease({
    columns: leaseColumns(kind),
    row: Prisma.sql`id = ${id}::uuid`,
    // Longer than any single request may take, so that no request outlives its lease.
    seconds: app.config.ULTRAVOX_TIMEOUT_SECONDS + 10,
  });
}

/**
 * SQL condition that is true if the row has no remote resource with its revision, which was not refused, or is deleted
 * but still has remote resources, or has an unanswered request that must have ended by now.
 */
function isOutOfSync(app: App): Prisma.Sql {
  const seconds = app.config.ULTRAVOX_TIMEOUT_SECONDS + 60;
  return Prisma.sql`CASE WHEN deleted_at IS NULL
    THEN (refused_revision IS DISTINCT FROM revision
        AND (synced_revision IS DISTINCT FROM revision OR remote_id IS NULL))
      OR (synced_revision = revision
        AND remote_attempt_at < now() - make_interval(secs => ${seconds}))
    ELSE remote_id IS NOT NULL OR remote_attempt_at IS NOT NULL
  END`;
}

/** Enqueues a job for when the lease of the current sender expires, in case that sender dies. */
async function runAfterLease(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
  id: string,
): Promise<void> {
  const [held] = await app.db.$queryRaw<{ sync_lease_until: Date; organization_id: string }[]>`
    SELECT sync_lease_until, organization_id FROM ${Prisma.raw(kind.table)}
    WHERE id = ${id}::uuid AND sync_lease_until >= now()`;
  if (!held) return;
  const options = {
    group: held.organization_id,
    startAfter: held.sync_lease_until,
    singletonKey: `${id}:lease`,
  };
  await app.jobs.enqueue(app.db, kind.job, { id }, options);
}

/**
 * Sends the current revision again: a sender that lost its lease may have sent an old revision after another sender
 * sent a newer one.
 */
async function sendAgain(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
  id: string,
): Promise<void> {
  const rows = await app.db.$queryRaw<{ id: string; organizationId: string }[]>`
    UPDATE ${Prisma.raw(kind.table)} SET synced_revision = NULL
    WHERE id = ${id}::uuid AND deleted_at IS NULL
    RETURNING id, organization_id AS "organizationId"`;
  await enqueueSyncs(app, app.db, kind, rows);
}

/** @returns whether to continue with a newer revision; the lease is then kept. */
async function recordResult<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  { result, lease }: { result: SyncResult; lease: Lease },
): Promise<boolean> {
  const { silent, newerRevision } = await app.db.$transaction(async (tx) => {
    await kind.lockForResult?.(tx, row);
    const now = await writeResult(tx, kind, row, { result, lease });
    // Its revision was only sent once more, so nothing has changed that listeners need to know.
    const silent = isUpToDate(row) && now.remote_id === row.remoteId;
    const newer = now.revision > row.revision || (now.deleted_at !== null && !row.deletedAt);
    const proceed = newer && result.outcome !== 'UNREACHABLE';
    if (!proceed) await lease.release(tx);
    if (result.outcome === 'UNREACHABLE') {
      // Its own singleton key, so that a change made meanwhile is sent at once and does not wait for the retry.
      const options = {
        group: row.organizationId,
        startAfter: result.retryAt,
        singletonKey: `${row.id}:retry`,
      };
      await app.jobs.enqueue(tx, kind.job, { id: row.id }, options);
    }
    if (!silent) await kind.onResult?.(app, tx, row, result);
    return { silent, newerRevision: proceed };
  });
  if (!silent) await kind.afterResult?.(app, row, result);
  return newerRevision;
}

interface WrittenRow {
  revision: number;
  remote_id: string | null;
  deleted_at: Date | null;
}

/** @throws LeaseLostError if the lease is no longer held. */
async function writeResult(
  tx: Tx,
  kind: Table,
  row: SyncRow,
  { result, lease }: { result: SyncResult; lease: Lease },
): Promise<WrittenRow> {
  const { outcome } = result;
  const synced = outcome === 'SYNCED';
  const removed = outcome === 'REMOVED';
  const status = removed ? row.status : nextSyncStatus(outcome);
  const remoteId = synced ? result.remoteId : null;
  const error = 'message' in result ? result.message : null;
  const retryAt = 'retryAt' in result ? result.retryAt : null;
  const unanswered = 'isUnanswered' in result && result.isUnanswered;
  // An earlier unanswered request stays recorded until its late effects must have been undone.
  const answered =
    removed ||
    (synced && row.remoteAttemptAt === null) ||
    (outcome !== 'UNREACHABLE' && isUpToDate(row));
  const [now] = await tx.$queryRaw<WrittenRow[]>`
    UPDATE ${Prisma.raw(kind.table)} SET
      remote_id = CASE WHEN ${synced || removed} THEN ${remoteId} ELSE remote_id END,
      status = CASE WHEN status = 'ACTIVE' THEN status ELSE ${status}::"SyncStatus" END,
      synced_revision = CASE WHEN ${synced} THEN ${row.revision}::int ELSE synced_revision END,
      refused_revision = CASE WHEN ${outcome === 'REFUSED'} THEN ${row.revision}::int ELSE refused_revision END,
      sync_error = ${error},
      sync_attempts = CASE WHEN ${outcome === 'UNREACHABLE'} THEN sync_attempts + 1 ELSE 0 END,
      sync_retry_at = ${retryAt}::timestamptz,
      remote_attempt_at = CASE
        WHEN ${answered} THEN NULL WHEN ${unanswered} THEN now() ELSE remote_attempt_at END
    WHERE id = ${row.id}::uuid AND ${lease.held}
    RETURNING revision, remote_id, deleted_at`;
  if (!now) throw new LeaseLostError();
  return now;
}
