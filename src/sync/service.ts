/**
 * Keeps a row and its copy at Ultravox in step, for everything that has one: agents, tools, voices,
 * knowledge bases and their sources.
 *
 * A change is committed first, with a higher `revision` and a job; then, outside any transaction,
 * the newest content is sent and `syncedRevision` follows. One sender at a time holds a lease on
 * the row and goes on until no newer revision is there, so the last edit is the last sent. A sender
 * that dies leaves its lease to run out and the job to the next.
 *
 * Ultravox knows no idempotency key. Before the first attempt to create a copy the attempt is
 * recorded; once one is recorded, the copy is looked for by our id before another is made. A request
 * that was given up may still be carried out later: some time after an attempt of which nobody knows
 * what came, copies are looked for once more, and all but the one in use are removed.
 */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import { Prisma, type SyncStatus } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import { defineJob, type JobDefinition } from '../infra/jobs.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { nextSyncStatus, syncRetrySeconds } from './status.ts';

/** The columns every synced table has. */
export interface SyncRow {
  id: string;
  organizationId: string;
  status: SyncStatus;
  revision: number;
  syncedRevision: number | null;
  syncAttempts: number;
  ultravoxId: string | null;
  remoteAttemptAt: Date | null;
  deletedAt: Date | null;
}

export interface SyncKind<Row extends SyncRow> {
  readonly table:
    | 'agents'
    | 'tools'
    | 'voices'
    | 'knowledge_bases'
    | 'knowledge_sources'
    | 'telephony_configs';
  readonly job: JobDefinition<SyncJob>;
  /** The row as it is now, with all that its copy is made from; null when it is gone. */
  load(app: App, id: string): Promise<Row | null>;
  /** Ids at Ultravox of copies that carry the row's id. */
  find(app: App, row: Row): Promise<string[]>;
  /** @returns the id of the new copy. */
  create(app: App, row: Row): Promise<string>;
  /** Makes the copy what the row is now. Not found means that it has to be created again. */
  update(app: App, row: Row, ultravoxId: string): Promise<void>;
  /** Removes a copy. Not found counts as removed. */
  remove(app: App, row: Row, ultravoxId: string): Promise<void>;
  /** In the transaction that records what came of it. Events go here. */
  settled?(app: App, tx: Tx, row: Row, result: SyncResult): Promise<void>;
  /** After that transaction. */
  announced?(app: App, row: Row, result: SyncResult): Promise<void>;
}

export type SyncResult =
  | { outcome: 'SYNCED'; ultravoxId: string }
  | { outcome: 'REMOVED' }
  | { outcome: 'REFUSED' | 'UNREACHABLE'; message: string; retryAt: Date | null };

/**
 * Thrown by a kind's `create` or `update` when something it refers to is not at Ultravox yet. It
 * waits like an unreachable Ultravox; whatever it waits for enqueues it again once it is there.
 */
export class NotReadyError extends Error {
  override name = 'NotReadyError';
}

const syncJob = z.object({ id: z.uuid() });
export type SyncJob = z.output<typeof syncJob>;

/** The job that brings one row in step; each kind has its own. */
export function defineSyncJob(name: string): JobDefinition<SyncJob> {
  return defineJob({ name, payload: syncJob, retryLimit: 3 });
}

/** How long the request that made a change has for sending it itself, before the job does. */
const INLINE_SECONDS = 5;

/** Goes into the transaction that raised `revision` or set `deletedAt`. */
export async function enqueueSync(
  app: App,
  tx: Tx,
  kind: Pick<SyncKind<SyncRow>, 'job'>,
  id: string,
): Promise<void> {
  const startAfter = new Date(app.now().getTime() + INLINE_SECONDS * 1000);
  await app.jobs.enqueue(tx, kind.job, { id }, { startAfter, singletonKey: `${id}:change` });
}

/**
 * Brings a row in step now. Returns null when there was nothing to do, or when somebody else is at
 * it (who then also takes along what changed meanwhile). Never throws for what Ultravox answers:
 * that is recorded on the row, and tried again if that can help.
 */
export async function runSync<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  id: string,
): Promise<SyncResult | null> {
  const lease = newLease(app, kind, id);
  if (!(await lease.claim())) {
    await comeBackAfterLease(app, kind, id);
    return null;
  }
  try {
    for (;;) {
      const row = await kind.load(app, id);
      if (!row) return null;
      const result = await send(app, kind, row, lease);
      const again = await settle(app, kind, row, result, lease);
      if (!again) return result;
    }
  } catch (error) {
    if (!(error instanceof LeaseLostError)) throw error;
    await sendAgain(app, kind, id);
    return null;
  }
}

/**
 * The same, for the request that has just committed the change: the change stands whatever comes of
 * this, so nothing is thrown. The job does what could not be done now.
 */
export async function trySync<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  id: string,
): Promise<SyncResult | null> {
  try {
    return await runSync(app, kind, id);
  } catch (error) {
    app.log.error({ err: error, id }, 'A row could not be brought to Ultravox at once');
    return null;
  }
}

/**
 * A sender that was held up for longer than its lease may have sent something old after somebody
 * else had sent something newer. What is newest is sent once more.
 */
async function sendAgain(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
  id: string,
): Promise<void> {
  await app.db.$executeRaw`
    UPDATE ${Prisma.raw(kind.table)} SET synced_revision = NULL
    WHERE id = ${id}::uuid AND deleted_at IS NULL`;
  await enqueueSync(app, app.db, kind, id);
}

/** Should whoever holds the lease have died: the job that goes on once it has run out. */
async function comeBackAfterLease(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
  id: string,
): Promise<void> {
  const [held] = await app.db.$queryRaw<{ sync_lease_until: Date }[]>`
    SELECT sync_lease_until FROM ${Prisma.raw(kind.table)}
    WHERE id = ${id}::uuid AND sync_lease_until >= now()`;
  if (!held) return;
  const options = { startAfter: held.sync_lease_until, singletonKey: `${id}:lease` };
  await app.jobs.enqueue(app.db, kind.job, { id }, options);
}

interface Lease {
  readonly id: string;
  claim(): Promise<boolean>;
  /** Extends the lease before a request goes out; throws when it was lost meanwhile. */
  renew(): Promise<void>;
  /**
   * The same, and in the same statement records that a copy may be about to be made: after a crash
   * it is looked for, and not made twice.
   */
  renewForCreation(): Promise<void>;
}

function newLease(app: App, kind: Pick<SyncKind<SyncRow>, 'table'>, id: string): Lease {
  const table = Prisma.raw(kind.table);
  const leaseId = newId();
  // Longer than any one request may take, so that no request outlives the lease it was sent under.
  const seconds = app.config.ULTRAVOX_TIMEOUT_SECONDS + 10;
  return {
    id: leaseId,
    async claim() {
      const claimed = await app.db.$executeRaw`
        UPDATE ${table} SET
          sync_lease_id = ${leaseId}::uuid,
          sync_lease_until = now() + make_interval(secs => ${seconds}),
          status = CASE WHEN status = 'ACTIVE' THEN status ELSE 'CREATING'::"SyncStatus" END
        WHERE id = ${id}::uuid
          AND (sync_lease_until IS NULL OR sync_lease_until < now())
          AND ${outOfStep(app)}`;
      return claimed === 1;
    },
    async renew() {
      const renewed = await app.db.$executeRaw`
        UPDATE ${table} SET sync_lease_until = now() + make_interval(secs => ${seconds})
        WHERE id = ${id}::uuid AND sync_lease_id = ${leaseId}::uuid`;
      if (renewed !== 1) throw new LeaseLostError();
    },
    async renewForCreation() {
      const renewed = await app.db.$executeRaw`
        UPDATE ${table} SET remote_attempt_at = now(), ultravox_id = NULL,
          sync_lease_until = now() + make_interval(secs => ${seconds})
        WHERE id = ${id}::uuid AND sync_lease_id = ${leaseId}::uuid`;
      if (renewed !== 1) throw new LeaseLostError();
    },
  };
}

/**
 * What there is to do for a row: a revision that is neither there nor refused, copies of a deleted
 * row, or an attempt of which nobody knows what came, once it has surely come to an end.
 */
function outOfStep(app: App): Prisma.Sql {
  return Prisma.sql`CASE WHEN deleted_at IS NULL
    THEN (synced_revision IS DISTINCT FROM revision AND refused_revision IS DISTINCT FROM revision)
      OR (synced_revision = revision
        AND remote_attempt_at < now() - make_interval(secs => ${tidySeconds(app)}))
    ELSE ultravox_id IS NOT NULL OR remote_attempt_at IS NOT NULL
  END`;
}

function tidySeconds(app: App): number {
  return app.config.ULTRAVOX_TIMEOUT_SECONDS + 60;
}

/** Whether all that is left to do is to look for copies that should not be there. */
function isInStep(row: SyncRow): boolean {
  return row.deletedAt === null && row.syncedRevision === row.revision && row.ultravoxId !== null;
}

class LeaseLostError extends Error {
  override name = 'LeaseLostError';
}

async function send<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<SyncResult> {
  try {
    if (row.deletedAt) return await removeCopies(app, kind, row, lease);
    if (isInStep(row)) return await removeExtraCopies(app, kind, row, lease);
    let ultravoxId = row.ultravoxId ?? (await adoptCopy(app, kind, row, lease));
    if (ultravoxId) {
      try {
        await lease.renew();
        await kind.update(app, row, ultravoxId);
        return { outcome: 'SYNCED', ultravoxId };
      } catch (error) {
        if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
      }
    }
    await lease.renewForCreation();
    ultravoxId = await kind.create(app, row);
    return { outcome: 'SYNCED', ultravoxId };
  } catch (error) {
    return failure(app, row, error);
  }
}

/** After an attempt whose outcome nobody recorded: the copy it may have made, if there is one. */
async function adoptCopy<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<string | null> {
  if (!row.remoteAttemptAt) return null;
  await lease.renew();
  const [found, ...extra] = await kind.find(app, row);
  for (const ultravoxId of extra) {
    await lease.renew();
    await kind.remove(app, row, ultravoxId);
  }
  return found ?? null;
}

async function removeExtraCopies<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<SyncResult> {
  await lease.renew();
  for (const ultravoxId of await kind.find(app, row)) {
    if (ultravoxId === row.ultravoxId) continue;
    await lease.renew();
    await kind.remove(app, row, ultravoxId);
  }
  return { outcome: 'SYNCED', ultravoxId: row.ultravoxId ?? '' };
}

async function removeCopies<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  lease: Lease,
): Promise<SyncResult> {
  await lease.renew();
  const copies = new Set(await kind.find(app, row));
  if (row.ultravoxId) copies.add(row.ultravoxId);
  for (const ultravoxId of copies) {
    await lease.renew();
    await kind.remove(app, row, ultravoxId);
  }
  return { outcome: 'REMOVED' };
}

function failure(app: App, row: SyncRow, error: unknown): SyncResult {
  const retryIn = (seconds: number): Date => new Date(app.now().getTime() + seconds * 1000);
  const retryAt = retryIn(syncRetrySeconds(row.syncAttempts + 1));
  if (error instanceof NotReadyError) {
    return { outcome: 'UNREACHABLE', message: error.message, retryAt };
  }
  if (error instanceof LeaseLostError) throw error;
  if (!(error instanceof UltravoxError)) {
    // Ours to mend. The row is committed and waits, as it would for an Ultravox that is away.
    app.log.error({ err: error, id: row.id }, 'A row could not be brought to Ultravox');
    return { outcome: 'UNREACHABLE', message: 'Something went wrong on our side.', retryAt };
  }
  if (error.kind === 'invalid' || error.kind === 'conflict') {
    return { outcome: 'REFUSED', message: error.detail, retryAt: null };
  }
  return {
    outcome: 'UNREACHABLE',
    message: error.detail,
    retryAt: error.retryAfterSeconds === null ? retryAt : retryIn(error.retryAfterSeconds),
  };
}

/** @returns whether a newer revision is waiting and the lease is kept for it. */
async function settle<Row extends SyncRow>(
  app: App,
  kind: SyncKind<Row>,
  row: Row,
  result: SyncResult,
  lease: Lease,
): Promise<boolean> {
  const table = Prisma.raw(kind.table);
  const synced = result.outcome === 'SYNCED';
  const status =
    result.outcome === 'REMOVED' ? row.status : nextSyncStatus(row.status, result.outcome);
  const error = 'message' in result ? result.message : null;
  const removed = result.outcome === 'REMOVED';
  const newId = synced ? result.ultravoxId : null;
  // An earlier attempt whose outcome nobody knows stays recorded, until copies were looked for.
  const clean = removed || (synced && (row.remoteAttemptAt === null || isInStep(row)));
  const again = await app.db.$transaction(async (tx) => {
    const [now] = await tx.$queryRaw<{ revision: number; deleted_at: Date | null }[]>`
      UPDATE ${table} SET
        ultravox_id = CASE WHEN ${synced || removed} THEN ${newId} ELSE ultravox_id END,
        status = ${status}::"SyncStatus",
        synced_revision = CASE WHEN ${synced} THEN ${row.revision}::int ELSE synced_revision END,
        refused_revision = CASE WHEN ${result.outcome === 'REFUSED'} THEN ${row.revision}::int ELSE refused_revision END,
        sync_error = ${error},
        sync_attempts = CASE WHEN ${result.outcome === 'UNREACHABLE'} THEN sync_attempts + 1 ELSE 0 END,
        remote_attempt_at = CASE WHEN ${clean} THEN NULL ELSE remote_attempt_at END
      WHERE id = ${row.id}::uuid AND sync_lease_id = ${lease.id}::uuid
      RETURNING revision, deleted_at`;
    if (!now) throw new LeaseLostError();
    const newer = now.revision > row.revision || (now.deleted_at !== null && !row.deletedAt);
    const goOn = newer && result.outcome !== 'UNREACHABLE';
    if (!goOn) {
      await tx.$executeRaw`
        UPDATE ${table} SET sync_lease_id = NULL, sync_lease_until = NULL WHERE id = ${row.id}::uuid`;
    }
    if (result.outcome === 'UNREACHABLE' && result.retryAt) {
      // Beside the job of a change: one that comes meanwhile does not wait for this.
      const options = { startAfter: result.retryAt, singletonKey: `${row.id}:retry` };
      await app.jobs.enqueue(tx, kind.job, { id: row.id }, options);
    }
    if (!isInStep(row)) await kind.settled?.(app, tx, row, result);
    return goOn;
  });
  if (!isInStep(row)) await kind.announced?.(app, row, result);
  return again;
}

/**
 * Enqueues every row of a kind that is out of step and that nobody is at: the net below the jobs.
 * One statement for all, a job for each row found.
 */
export async function sweepSync(
  app: App,
  kind: Pick<SyncKind<SyncRow>, 'table' | 'job'>,
): Promise<void> {
  const rows = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM ${Prisma.raw(kind.table)}
    WHERE (sync_lease_until IS NULL OR sync_lease_until < now())
      AND updated_at < now() - interval '30 seconds'
      AND ${outOfStep(app)}
    ORDER BY updated_at LIMIT 500`;
  for (const { id } of rows) {
    await app.jobs.enqueue(app.db, kind.job, { id }, { singletonKey: `${id}:sweep` });
  }
}
