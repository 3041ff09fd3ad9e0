/** Starts and restarts the post-call steps. */
import type { App, Tx } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { POST_CALL_STEPS } from './steps.ts';
import { wakeWorkers } from './wake.ts';

/**
 * Delay of the first attempts after the end of a call. It gives Ultravox time to write its summary, and lets calls
 * that end close together be processed together.
 */
const FIRST_DELAY_MS = 1_500;

/** Whether an ended call needs post-call steps: somebody may have talked. */
export function mayHaveBeenAnswered(
  call: Pick<Call, 'ultravoxId' | 'answeredAt' | 'endReason'>,
): boolean {
  // It is unknown whether a lost call was answered.
  return call.ultravoxId !== null && (call.answeredAt !== null || call.endReason === 'UNKNOWN');
}

/**
 * SQL: the INSERT that creates all steps of calls that end in the caller's statement. A call that was not answered
 * gets none, and costs nothing.
 *
 * @param only condition on the rows `r`, such as that the call `r.call_id` was changed.
 */
export function startPostCallSteps(app: App, calls: readonly Call[], only: Prisma.Sql): Prisma.Sql {
  const answered = calls.filter(mayHaveBeenAnswered);
  const firstAt = new Date(app.now().getTime() + FIRST_DELAY_MS);
  const rows = answered.flatMap(({ id, organizationId }) =>
    POST_CALL_STEPS.map(({ kind, after }) => ({
      call_id: id,
      organization_id: organizationId,
      kind,
      next_attempt_at: after.length === 0 ? firstAt : null,
    })),
  );
  return Prisma.sql`
    INSERT INTO post_call_steps (call_id, organization_id, kind, next_attempt_at)
    SELECT call_id, organization_id, kind::"PostCallStepKind", next_attempt_at
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      call_id uuid, organization_id uuid, kind text, next_attempt_at timestamptz)
    WHERE ${only} ON CONFLICT DO NOTHING`;
}

const FIRST = POST_CALL_STEPS.flatMap(({ kind, after }) => (after.length === 0 ? kind : []));

/** Wakes the workers for the first steps of a call that has ended. Call it after the commit. */
export function wakeFirstSteps(app: App, call: Call): void {
  if (mayHaveBeenAnswered(call)) wakeWorkers(app, FIRST, FIRST_DELAY_MS);
}

/**
 * Locks the running attempts of a step, and returns what they have kept. Until the caller's transaction ends, no
 * attempt of the step starts, ends or keeps anything for these calls.
 */
export async function lockRunningSteps(
  tx: Tx,
  callIds: readonly string[],
  kind: PostCallStepKind,
): Promise<{ callId: string; partialResult: unknown }[]> {
  const steps = await tx.$queryRaw<
    { callId: string; partialResult: unknown; isRunning: boolean }[]
  >`
    SELECT call_id AS "callId", partial_result AS "partialResult",
      status = 'PENDING' AND coalesce(lease_until > clock_timestamp(), false) AS "isRunning"
    FROM post_call_steps
    WHERE call_id = ANY(${callIds}::uuid[]) AND kind = ${kind}::"PostCallStepKind"
    ORDER BY call_id FOR NO KEY UPDATE`;
  return steps.filter(({ isRunning }) => isRunning);
}

/**
 * Restarts a step from the beginning, and the steps that follow it. They run after the steps of calls that have just
 * ended. A running attempt is abandoned, but the next one gets what it has kept. The caller has locked the calls, and wakes the runner after the commit.
 */
export async function restartSteps(
  app: App,
  tx: Tx,
  calls: readonly Pick<Call, 'id' | 'organizationId'>[],
  kind: PostCallStepKind,
): Promise<void> {
  const following = POST_CALL_STEPS.filter(({ after }) => after.includes(kind));
  const fresh = {
    status: 'PENDING',
    attempts: 0,
    detail: null,
    startedAt: null,
    finishedAt: null,
    leaseId: null,
    leaseUntil: null,
    onRequest: true,
  } as const;
  const now = app.now();
  const callId = { in: calls.map(({ id }) => id) };
  await tx.postCallStep.createMany({
    data: calls.flatMap(({ id, organizationId }) =>
      [kind, ...following.map((step) => step.kind)].map((each) => ({
        callId: id,
        organizationId,
        kind: each,
      })),
    ),
    skipDuplicates: true,
  });
  await tx.postCallStep.updateMany({
    where: { callId, kind },
    data: { ...fresh, nextAttemptAt: now },
  });
  await tx.postCallStep.updateMany({
    where: { callId, kind: { in: following.map((step) => step.kind) } },
    data: { ...fresh, nextAttemptAt: null },
  });
}
