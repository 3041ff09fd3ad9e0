/** Ends steps after calls, many in one transaction, and begins those that have waited for them. */
import type { App, Tx } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { createBatches } from '../../infra/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { announceEvents } from '../../live/log.ts';
import { lockCalls } from '../lock.ts';
import { type ClaimedStep, POST_CALL_STEPS, type SaveStep, type StepHandlers } from './steps.ts';
import { wakeWorkers } from './wake.ts';

const BATCH = 20;
const MAX_DETAIL = 500;

export interface FinishedStep {
  step: ClaimedStep;
  status: 'DONE' | 'SKIPPED' | 'FAILED';
  detail: string | null;
  save: SaveStep | undefined;
}

const batches = perInstance((app: App) =>
  createBatches<FinishedStep & { handlers: StepHandlers }, null>({
    size: BATCH,
    async work(finished) {
      const handlers = finished[0]?.handlers;
      if (!handlers) return [];
      const saved = await app.db.$transaction((tx) => saveSteps(app, tx, handlers, finished));
      for (const id of saved.organizationIds) announceEvents(app, id);
      wakeWorkers(app, saved.ready);
      return finished.map(() => null);
    },
  }),
);

/** Ends a step with what it found, unless another attempt has taken over or the call is deleted. */
export async function finishStep(
  app: App,
  handlers: StepHandlers,
  finished: FinishedStep,
): Promise<void> {
  await batches(app).add({ ...finished, handlers });
}

async function saveSteps(
  app: App,
  tx: Tx,
  handlers: StepHandlers,
  finished: readonly FinishedStep[],
): Promise<{ organizationIds: Set<string>; ready: PostCallStepKind[] }> {
  const calls = await lockCalls(
    tx,
    Prisma.sql`deleted_at IS NULL AND id = ANY(${[
      ...new Set(finished.map(({ step }) => step.callId)),
    ]}::uuid[])`,
  );
  const byId = new Map(calls.map((call) => [call.id, call]));
  const ended = await endSteps(
    app,
    tx,
    finished.filter(({ step }) => byId.has(step.callId)),
  );
  for (const { step, save } of ended) await save?.(tx, byId.get(step.callId)!);
  const ready = await startFollowing(app, tx, handlers, { ended, byId });
  return { organizationIds: new Set(calls.map(({ organizationId }) => organizationId)), ready };
}

/** Returns those whose lease was still held. */
async function endSteps(
  app: App,
  tx: Tx,
  finished: readonly FinishedStep[],
): Promise<FinishedStep[]> {
  const rows = finished.map(({ step, status, detail }) => ({
    call_id: step.callId,
    kind: step.kind,
    lease_id: step.leaseId,
    status,
    detail: detail?.slice(0, MAX_DETAIL) ?? null,
  }));
  const ended = await tx.$queryRaw<{ callId: string; kind: PostCallStepKind }[]>`
    UPDATE post_call_steps s SET status = r.status::"PostCallStepStatus", detail = r.detail,
      finished_at = ${app.now()}::timestamptz, next_attempt_at = NULL, lease_id = NULL,
      lease_until = NULL
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      AS r(call_id uuid, kind text, lease_id uuid, status text, detail text)
    WHERE s.call_id = r.call_id AND s.kind = r.kind::"PostCallStepKind" AND s.lease_id = r.lease_id
    RETURNING s.call_id AS "callId", s.kind::text`;
  const keys = new Set(ended.map(({ callId, kind }) => `${callId}/${kind}`));
  return finished.filter(({ step }) => keys.has(`${step.callId}/${step.kind}`));
}

/**
 * Starts the steps that have waited for these alone, and does at once what needs nothing from outside.
 *
 * @returns the kinds that are due.
 */
async function startFollowing(
  app: App,
  tx: Tx,
  handlers: StepHandlers,
  { ended, byId }: { ended: readonly FinishedStep[]; byId: ReadonlyMap<string, Call> },
): Promise<PostCallStepKind[]> {
  const finishedKinds = new Set(ended.map(({ step }) => step.kind));
  const waiting = POST_CALL_STEPS.filter(({ after }) =>
    after.some((kind) => finishedKinds.has(kind)),
  );
  if (waiting.length === 0) return [];
  const rows = await tx.postCallStep.findMany({
    where: { callId: { in: [...new Set(ended.map(({ step }) => step.callId))] } },
    select: { callId: true, kind: true, status: true },
  });
  const ready: { callId: string; kind: PostCallStepKind; isImmediate: boolean }[] = [];
  for (const [callId, steps] of Map.groupBy(rows, (row) => row.callId)) {
    const pending = new Set(
      steps.flatMap(({ kind, status }) => (status === 'PENDING' ? kind : [])),
    );
    for (const { kind, after, isImmediate = false } of waiting) {
      const isReady = pending.has(kind) && after.every((other) => !pending.has(other));
      if (isReady) ready.push({ callId, kind, isImmediate });
    }
  }
  if (ready.length === 0) return [];
  await tx.$executeRaw`
    UPDATE post_call_steps s SET
      next_attempt_at = CASE WHEN NOT r."isImmediate" THEN ${app.now()}::timestamptz END,
      status = CASE WHEN r."isImmediate" THEN 'DONE' ELSE s.status END,
      attempts = s.attempts + r."isImmediate"::int,
      started_at = CASE WHEN r."isImmediate" THEN ${app.now()}::timestamptz ELSE s.started_at END,
      finished_at = CASE WHEN r."isImmediate" THEN ${app.now()}::timestamptz END
    FROM jsonb_to_recordset(${JSON.stringify(ready)}::jsonb)
      AS r("callId" uuid, kind text, "isImmediate" boolean)
    WHERE s.call_id = r."callId" AND s.kind = r.kind::"PostCallStepKind"`;
  for (const { callId, kind } of ready.filter(({ isImmediate }) => isImmediate)) {
    const call = byId.get(callId)!;
    const result = await handlers[kind](app, call, { signal: app.closing });
    await result.save?.(tx, call);
  }
  return ready.flatMap(({ kind, isImmediate }) => (isImmediate ? [] : kind));
}
