/** Calls that are deleted for good, here and at Ultravox. */
import type { App } from '../app.ts';
import { Checks } from '../infra/checks.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { removeUltravoxCallJob } from './jobs.ts';
import { isEnded } from './status.ts';

const MAX_DELETE = 100;
/** The job of the deletion itself comes first. */
const REMOVE_AFTER_MS = 10 * 60_000;

/**
 * Deletes calls for good, recording and transcript at Ultravox included. All or none: a call that
 * has not ended keeps the others too.
 *
 * Order: the rows are emptied of everything personal and marked in one transaction, with a job for
 * each; the jobs remove them at Ultravox, as often as it takes.
 */
export async function deleteCalls(
  app: App,
  viewer: Viewer,
  ids: readonly string[],
): Promise<string[]> {
  const checks = new Checks();
  if (ids.length === 0) checks.add('REQUIRED', 'Give at least one id.', ['ids']);
  const uuids = checks.ids('cal', 'Call', ids, ['ids'], { max: MAX_DELETE }) ?? [];
  const wanted = uuids.filter((uuid) => uuid !== undefined).sort();
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
      if (!call) checks.add('NOT_FOUND', 'There is no such call.', ['ids', index]);
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
        nextCheckAt: null,
        eventCount: { increment: 1 },
      },
    });
    for (const call of calls) {
      if (call.ultravoxId) await app.jobs.enqueue(tx, removeUltravoxCallJob, { id: call.id });
    }
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
 * The job behind `deleteCalls`. A call that Ultravox does not know counts as removed. Then what it
 * had sent of it goes too, should it still wait to be worked on.
 */
export async function removeUltravoxCall(app: App, { id }: { id: string }): Promise<void> {
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.deletedAt || !call.ultravoxId) return;
  try {
    await app.ultravox.calls.delete(call.ultravoxId);
  } catch (error) {
    if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
  }
  await app.db.ultravoxWebhook.updateMany({
    where: { ultravoxCallId: call.ultravoxId },
    data: { payload: {}, error: null, processedAt: app.now() },
  });
  await app.db.call.update({ where: { id }, data: { ultravoxRemovedAt: app.now() } });
}

/** Deleted calls whose job gave up, or that turned up at Ultravox only after they were deleted. */
export async function removeDeletedCalls(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - REMOVE_AFTER_MS);
  const calls = await app.db.call.findMany({
    where: { deletedAt: { lt: before }, ultravoxRemovedAt: null, ultravoxId: { not: null } },
    select: { id: true },
    orderBy: { deletedAt: 'asc' },
    take: 100,
  });
  for (const { id } of calls) {
    await app.jobs.enqueue(app.db, removeUltravoxCallJob, { id }, { singletonKey: id });
  }
}
