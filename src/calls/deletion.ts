/** Permanent deletion of calls, here and at Ultravox. */
import type { App } from '../app.ts';
import { Checks } from '../infra/checks.ts';
import type { JobContext } from '../infra/jobs/jobs.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { deletedEarlier, ownedBy, type Viewer } from '../viewer.ts';
import { removeUltravoxCallJob } from './jobs.ts';
import { notifyCallsDeleted } from './listeners.ts';
import { deleteTranscripts } from './post-call/transcript.ts';
import { isEnded } from './status.ts';

const MAX_DELETE = 100;
/** Time left to the job of the deletion itself. */
const REMOVE_AFTER_MS = 10 * 60_000;

/**
 * Permanently deletes ended calls, with recordings and transcripts at Ultravox. Deletes none if one of
 * them has not ended.
 *
 * Order: personal data is erased and the rows are marked in one transaction, with a job for each call; the
 * jobs remove the calls at Ultravox and are retried.
 */
export async function deleteCalls(
  app: App,
  viewer: Viewer,
  ids: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  if (ids.length === 0) checks.add('REQUIRED', 'Specify at least one ID.', ['ids']);
  const uuids = checks.ids({ type: 'Call', max: MAX_DELETE }, ids, ['ids']) ?? [];
  const wanted = uuids.filter((uuid) => uuid !== undefined).sort();
  const earlier = deletedEarlier(viewer);
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
        answeredByEvidence: null,
        dncQuote: null,
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
      calls.map((call) => ({
        type: 'CALL_DELETED' as const,
        callId: call.id,
        agentId: call.agentId,
        sequence: call.eventCount + 1,
        data: { status: call.status, endReason: call.endReason },
      })),
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

/** Removes deleted calls whose job gave up, or whose Ultravox ID became known after the deletion. */
export async function removeDeletedCalls(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - REMOVE_AFTER_MS);
  const calls = await app.db.call.findMany({
    where: { deletedAt: { lt: before }, ultravoxRemovedAt: null, ultravoxId: { not: null } },
    select: { id: true, organizationId: true },
    orderBy: { deletedAt: 'asc' },
    take: 100,
  });
  await app.jobs.enqueueMany(
    app.db,
    removeUltravoxCallJob,
    calls.map(({ id, organizationId }) => ({
      payload: { id },
      group: organizationId,
      singletonKey: id,
    })),
  );
}
