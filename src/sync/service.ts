/**
 * Keeps rows and their remote resources at Ultravox in step.
 *
 * A change is committed with a higher `revision` and a job. Then, outside any transaction, the
 * current content is sent and `syncedRevision` follows. One sender at a time holds a lease on the
 * row and continues until no newer revision exists, so the last edit is the last one sent. If a
 * sender dies, its lease expires and the job continues.
 *
 * Ultravox has no idempotency key. Before the first creation request, the attempt is recorded; once
 * one is recorded, the resource is looked for by our id before another one is created. Because a
 * request that timed out may still be carried out later, stray resources are looked for again some
 * time after an attempt without an answer, and all but the one in use are removed.
 */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { FIRST_ID } from '../infra/ids.ts';
import { type Lease, LeaseLostError, leaseIsFree, newLease } from '../infra/jobs/lease.ts';
import { isUpToDate, send } from './remote-resource.ts';
import { nextSyncStatus } from './status.ts';
import type { SyncKind, SyncResult, SyncRow } from './sync-kind.ts';

type Table = Pick<SyncKind<SyncRow>, 'table'>;

/** Seconds for which only the request that made a change sends it, before the job does. */
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

/** The same for many rows, in one statement. */
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
 * @returns null when there was nothing to do, or when another sender holds the lease (which then
 *   also sends what has changed meanwhile).
 */
export async function runSync<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  id: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<SyncResult | null> {
  const context = signal ? { ...app, ultravox: app.ultravox.withSignal(signal) } : app;
  const lease = leaseOn(app, kind, id);
  const set = Prisma.sql`
    status = CASE WHEN status = 'ACTIVE' THEN status ELSE 'CREATING'::"SyncStatus" END`;
  if (!(await lease.claim(app.db, { when: isOutOfStep(app), set }))) {
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
 * The same for the request that has just committed the change: the change stands whatever happens
 * here, so nothing is thrown. The job does what could not be done now.
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
      message: 'Could not sync a row right after its change; its job tries again',
      level: 'error',
      id,
    });
    return null;
  }
}

/** SQL condition: whether rows of a kind have been out of step for a while. */
export function needsSweep(app: App, kind: Table): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM ${Prisma.raw(kind.table)} WHERE ${isLeftOutOfStep(app, kind)})`;
}

/**
 * Enqueues every row of a kind that is out of step and that no sender holds: a fallback in case a
 * job is lost. All of them, so that rows which cannot be synced do not keep others waiting.
 */
export async function sweepSync(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
): Promise<void> {
  for (let after = FIRST_ID; ; ) {
    const rows = await app.db.$queryRaw<{ id: string; organizationId: string }[]>`
      SELECT id, organization_id AS "organizationId" FROM ${Prisma.raw(kind.table)}
      WHERE ${isLeftOutOfStep(app, kind)} AND id > ${after}::uuid
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

function isLeftOutOfStep(app: App, kind: Table): Prisma.Sql {
  return Prisma.sql`${leaseIsFree(leaseColumns(kind))}
    AND updated_at < now() - interval '30 seconds' AND ${isOutOfStep(app)}`;
}

function leaseColumns({ table }: Table) {
  return { table, id: 'sync_lease_id', until: 'sync_lease_until' };
}

function leaseOn(app: App, kind: Table, id: string): Lease {
  return newLease({
    columns: leaseColumns(kind),
    row: Prisma.sql`id = ${id}::uuid`,
    // Longer than any one request may take, so that no request outlives its lease.
    seconds: app.config.ULTRAVOX_TIMEOUT_SECONDS + 10,
  });
}

/**
 * SQL condition: the row has a revision that was neither sent nor refused, or is deleted and has
 * remote resources left, or had a creation request without an answer that must have ended by now.
 */
function isOutOfStep(app: App): Prisma.Sql {
  const seconds = app.config.ULTRAVOX_TIMEOUT_SECONDS + 60;
  return Prisma.sql`CASE WHEN deleted_at IS NULL
    THEN (synced_revision IS DISTINCT FROM revision AND refused_revision IS DISTINCT FROM revision)
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
 * A sender that lost its lease may have sent an old revision after another sender sent a newer one.
 * The current revision is sent again.
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

/** @returns whether a newer revision exists, for which the lease is kept. */
async function recordResult<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  { result, lease }: { result: SyncResult; lease: Lease },
): Promise<boolean> {
  // Only strays were looked for: nothing has changed that subscribers need.
  const silent = isUpToDate(row);
  const newerRevision = await app.db.$transaction(async (tx) => {
    const now = await writeResult(tx, kind, row, { result, lease });
    const newer = now.revision > row.revision || (now.deleted_at !== null && !row.deletedAt);
    const proceed = newer && result.outcome !== 'UNREACHABLE';
    if (!proceed) await lease.release(tx);
    if (result.outcome === 'UNREACHABLE' && result.retryAt) {
      // Its own singleton key: a change made meanwhile is sent at once and does not wait for this.
      const options = {
        group: row.organizationId,
        startAfter: result.retryAt,
        singletonKey: `${row.id}:retry`,
      };
      await app.jobs.enqueue(tx, kind.job, { id: row.id }, options);
    }
    if (!silent) await kind.onResult?.(app, tx, row, result);
    return proceed;
  });
  if (!silent) await kind.afterResult?.(app, row, result);
  return newerRevision;
}

/** @throws LeaseLostError when the lease is no longer held. */
async function writeResult(
  tx: Tx,
  kind: Table,
  row: SyncRow,
  { result, lease }: { result: SyncResult; lease: Lease },
): Promise<{ revision: number; deleted_at: Date | null }> {
  const { outcome } = result;
  const synced = outcome === 'SYNCED';
  const removed = outcome === 'REMOVED';
  const status = removed ? row.status : nextSyncStatus(row.status, outcome);
  const remoteId = synced ? result.remoteId : null;
  const error = 'message' in result ? result.message : null;
  // An earlier attempt without an answer stays recorded until strays were looked for.
  const answered = removed || (synced && (row.remoteAttemptAt === null || isUpToDate(row)));
  const [now] = await tx.$queryRaw<{ revision: number; deleted_at: Date | null }[]>`
    UPDATE ${Prisma.raw(kind.table)} SET
      remote_id = CASE WHEN ${synced || removed} THEN ${remoteId} ELSE remote_id END,
      status = ${status}::"SyncStatus",
      synced_revision = CASE WHEN ${synced} THEN ${row.revision}::int ELSE synced_revision END,
      refused_revision = CASE WHEN ${outcome === 'REFUSED'} THEN ${row.revision}::int ELSE refused_revision END,
      sync_error = ${error},
      sync_attempts = CASE WHEN ${outcome === 'UNREACHABLE'} THEN sync_attempts + 1 ELSE 0 END,
      remote_attempt_at = CASE WHEN ${answered} THEN NULL ELSE remote_attempt_at END
    WHERE id = ${row.id}::uuid AND ${lease.held}
    RETURNING revision, deleted_at`;
  if (!now) throw new LeaseLostError();
  return now;
}
