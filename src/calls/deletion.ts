/** Permanent deletion of calls, here and at Ultravox. */
import type { App } from '../app.ts';
import type { Call } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { FIRST_ID } from '../infra/ids.ts';
import type { JobContext } from '../infra/jobs/jobs.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { deletedByEarlierRun, ownedBy, type Viewer } from '../viewer.ts';
import { removeUltravoxCallJob } from './jobs.ts';
import { notifyCallsDeleted } from './listeners.ts';
import { deleteTranscripts } from './post-call/transcript.ts';
import { isEnded } from './status.ts';
import { callEvents } from './updates/append-events.ts';

export const MAX_DELETED = 100;
/** Time given to the job of the deletion before the periodic clean-up takes over. */
const REMOVE_AFTER_MS = 10 * 60_000;
const REMOVE_BATCH = 100;

/**
 * Permanently deletes ended calls, with their recordings and transcripts at Ultravox. Deletes none if one of them has
 * not ended.
 *
 * Order: one transaction erases personal data, marks the rows, and enqueues a job for each call; the jobs then remove
 * the calls at Ultravox, and are retried.
 */
export async function deleteCalls(
  app: App,
  viewer: Viewer,
  ids: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  checks.notEmpty(ids, ['ids']);
  const uuids = checks.ids('Call', ids, ['ids']);
  const wanted = uuids.filter((uuid) => uuid !== undefined).sort();
  const earlier = deletedByEarlierRun(viewer);
  if (earlier && checks.problems.length === 0) {
    const deleted = await app.db.call.count({ where: { ...earlier, id: { in: wanted } } });
    if (deleted === wanted.length) return wanted;
  }
  await app.db.$transaction(async (tx) => {
    await tx.$queryRaw`
      SELECT id FROM calls WHERE id = ANY(${wanted}::uuid[])
        AND organization_id = ${viewer.organizationId}::uuid ORDER BY id FOR UPDATE`;
    const calls = await tx.call.findMany({
      where: { ...ownedBy(viewer), id: { in: wanted }, deletedAt: null },
    });
    const found = new Map(calls.map((call) => [call.id, call]));
    uuids.forEach((uuid, index) => {
      if (!uuid) return;
      const call = found.get(uuid);
      if (!call) checks.add('NOT_FOUND', 'Call not found.', ['ids', index]);
      else if (!isEnded(call.status)) {
        checks.add('INVALID_STATE', `The call is ${call.status}. End it first.`, ['ids', index]);
      }
    });
    checks.throwIfAny();
    await tx.call.updateMany({
      where: { id: { in: wanted } },
      data: {
        deletedAt: app.now(),
        phoneNumber: null,
        variables: {},
        metadata: {},
        metadataEntries: [],
        settings: {},
        joinUrl: null,
        failure: null,
        summary: null,
        shortSummary: null,
        recordingStatus: null,
        nextCheckAt: null,
        eventCount: { increment: 1 },
      },
    });
    await deleteTranscripts(tx, wanted);
    await tx.postCallStep.deleteMany({ where: { callId: { in: wanted } } });
    await notifyCallsDeleted(app, tx, wanted);
    await app.jobs.enqueueMany(
      tx,
      removeUltravoxCallJob,
      calls
        .filter((call) => call.ultravoxId)
        .map(({ id }) => ({ payload: { id }, group: viewer.organizationId })),
    );
    await appendEvents(
      tx,
      viewer.organizationId,
      calls.flatMap((call) => callEvents(call, [{ type: 'CALL_DELETED', data: {} }])),
    );
  });
  announceEvents(app, viewer.organizationId);
  return wanted;
}

/**
 * Job of `deleteCalls`: removes a call at Ultravox, then erases its stored webhooks. A call that Ultravox
 * does not have counts as removed.
 */
export async function removeUltravoxCall(
  app: App,
  { id }: { id: string },
  { signal }: JobContext,
): Promise<void> {
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.deletedAt || !call.ultravoxId) return;
  try {
    await app.ultravox.calls.delete(call.ultravoxId, { signal });
  } catch (error) {
    if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
  }
  await app.db.ultravoxWebhook.updateMany({
    where: { ultravoxCallId: call.ultravoxId },
    data: { payload: {}, error: null, failedAt: null, processedAt: app.now() },
  });
  await app.db.call.update({ where: { id }, data: { ultravoxRemovedAt: app.now() } });
}

/**
 * Enqueues the removal of deleted calls whose job gave up, or whose Ultravox ID became known after the deletion. Goes
 * through all of them, so that calls that Ultravox refuses to delete do not block the others.
 */
export async function removeDeletedCalls(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - REMOVE_AFTER_MS);
  let after = { id: FIRST_ID, deletedAt: new Date(0) };
  for (;;) {
    const calls = await app.db.$queryRaw<Pick<Call, 'id' | 'organizationId' | 'deletedAt'>[]>`
      SELECT id, organization_id AS "organizationId", deleted_at AS "deletedAt" FROM calls
      WHERE deleted_at IS NOT NULL AND ultravox_removed_at IS NULL AND ultravox_id IS NOT NULL
        AND deleted_at < ${before}::timestamptz
        AND (deleted_at, id) > (${after.deletedAt}::timestamptz, ${after.id}::uuid)
      ORDER BY deleted_at, id LIMIT ${REMOVE_BATCH}`;
    await app.jobs.enqueueMany(
      app.db,
      removeUltravoxCallJob,
      calls.map(({ id, organizationId }) => ({
        payload: { id },
        group: organizationId,
        singletonKey: id,
      })),
    );
    const last = calls.at(-1);
    if (calls.length < REMOVE_BATCH || !last?.deletedAt || app.closing.aborted) return;
    after = { id: last.id, deletedAt: last.deletedAt };
  }
}
