/**
 * Runs the post-call steps. The rows of `post_call_steps` are the queue: each worker claims due steps with a lease,
 * many at a time, and runs them concurrently.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { isDatabaseUnavailable } from '../../infra/database/database-errors.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { newId } from '../../infra/ids.ts';
import { repeat } from '../../infra/jobs/repeat.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import { CALL_COLUMNS } from '../lock.ts';
import { finishStep } from './finish.ts';
import {
  type ClaimedStep,
  MAX_DETAIL,
  planOf,
  type SaveStep,
  StepFailure,
  type StepHandlers,
} from './steps.ts';
import { LANES, type Lane, onWake, sharedRunsOf, wakeWorkers } from './wake.ts';

/** Maximum number of concurrent steps of a lane in a process, in total and for one organization. */
const MAX_STEPS: Record<Lane, { all: number; organization: number }> = {
  FAST: { all: 48, organization: 24 },
  SLOW: { all: 16, organization: 8 },
};
/**
 * Number of oldest due steps, and of oldest ones on request, among which a fair choice between organizations is made.
 */
const MAX_CANDIDATES = 500;
const LEASE_SECONDS = 30;
/** Time limit of an attempt. */
const ATTEMPT_MS = 300_000;
/** Time after the process begins to stop at which attempts are aborted. */
const GRACE_MS = 10_000;
const MAX_DELAY_SECONDS = 3600;
/** Longer than a step normally waits to be run together with others. */
const OVERDUE_MS = 2_000;
/** Pause between attempts to reach the database. */
const DATABASE_RETRY_MS = 500;

interface LaneState {
  readonly running: Set<ClaimedStep>;
  isClaiming: boolean;
  /** Whether to claim again, because a wake-up came during a claim. */
  claimAgain: boolean;
}

/** The lanes of this process. */
const lanes = perInstance((_app: App): Record<Lane, LaneState> => {
  const empty = (): LaneState => ({ running: new Set(), isClaiming: false, claimAgain: false });
  return { FAST: empty(), SLOW: empty() };
});

/** Makes this process run steps until the app closes. Safe in any number of processes. */
export function startPostCallRunner(app: App, handlers: StepHandlers): void {
  onWake(app, (lane) => runLane(app, handlers, lane));
}

/** SQL condition: whether a step belongs to a lane. Each lane has an index with this condition. */
const OF_LANE: Record<Lane, Prisma.Sql> = {
  FAST: Prisma.sql`kind <> 'ANALYSIS'`,
  SLOW: Prisma.sql`kind = 'ANALYSIS'`,
};

function isDue(now: Date): Prisma.Sql {
  return Prisma.sql`next_attempt_at <= ${now}::timestamptz
    AND (lease_until IS NULL OR lease_until < now())`;
}

/** SQL condition: whether a step has been due for so long that no process seems about to run it. */
export function hasOverdueSteps(app: App): Prisma.Sql {
  const before = new Date(app.now().getTime() - OVERDUE_MS);
  // Both values of `on_request`, so that PostgreSQL uses the index for the time.
  const overdue = LANES.map(
    (lane) => Prisma.sql`EXISTS (
      SELECT 1 FROM post_call_steps
      WHERE ${OF_LANE[lane]} AND on_request IN (false, true) AND ${isDue(before)})`,
  );
  return Prisma.sql`(${Prisma.join(overdue, ' OR ')})`;
}

/** Runs due steps that no process is working on, because its process died or a wake-up was lost. */
export async function runPostCallSteps(app: App, handlers: StepHandlers): Promise<void> {
  for (const lane of LANES) await runLane(app, handlers, lane);
}

/** Claims as many steps as the lane has room for. Further steps are claimed when one ends. */
async function runLane(app: App, handlers: StepHandlers, lane: Lane): Promise<void> {
  const state = lanes(app)[lane];
  state.claimAgain = true;
  if (state.isClaiming) return;
  state.isClaiming = true;
  let mayHaveMore = false;
  try {
    while (state.claimAgain && !app.closing.aborted) {
      state.claimAgain = false;
      if (!(await fillLane(app, handlers, lane))) continue;
      // Its steps may have hidden those of other organizations until now.
      state.claimAgain = true;
      mayHaveMore = true;
    }
  } finally {
    state.isClaiming = false;
    // After the last `announceStart`, because of which the other processes leave requested runs to this one.
    if (mayHaveMore) sharedRunsOf(app, lane)?.handOver();
  }
}

/** Returns whether more steps, of one organization or of all, may be waiting for room. */
async function fillLane(app: App, handlers: StepHandlers, lane: Lane): Promise<boolean> {
  const { running } = lanes(app)[lane];
  const free = MAX_STEPS[lane].all - running.size;
  // Requested runs are left to the other processes, and steps are claimed here when one ends.
  if (free <= 0) return false;
  const runs = sharedRunsOf(app, lane);
  runs?.announceStart();
  const { claimed, nextDueInMs } = await claimSteps(app, lane, free);
  for (const step of claimed) running.add(step);
  if (nextDueInMs !== null) runs?.requestLocally(nextDueInMs);
  const mayHaveMore = claimed.some((step) => isLaneFull(app, lane, step));
  for (const step of claimed) {
    app.background('runPostCallStep', async () => {
      try {
        await runStep(app, handlers, step);
      } finally {
        const wasFull = isLaneFull(app, lane, step);
        running.delete(step);
        if (wasFull) runs?.requestNow();
      }
    });
  }
  return mayHaveMore;
}

/** Whether there is no room for another step like this one. */
function isLaneFull(app: App, lane: Lane, { call }: ClaimedStep): boolean {
  const ofOrganization = runningByOrganization(app, lane).get(call.organizationId) ?? 0;
  const { all, organization } = MAX_STEPS[lane];
  return ofOrganization >= organization || lanes(app)[lane].running.size >= all;
}

/** Number of steps running in this process, by organization. */
function runningByOrganization(app: App, lane: Lane): Map<string, number> {
  const steps = Map.groupBy(lanes(app)[lane].running, ({ call }) => call.organizationId);
  return new Map([...steps].map(([id, { length }]) => [id, length]));
}

interface Claim {
  claimed: ClaimedStep[];
  /** Milliseconds until the next step of the lane is due; null if none is planned. */
  nextDueInMs: number | null;
}

/**
 * Claims due steps, preferring organizations with the fewest, including running ones. Within an organization, steps on
 * request come last.
 */
async function claimSteps(app: App, lane: Lane, free: number): Promise<Claim> {
  const now = app.now();
  const leaseId = newId();
  const { organization: most } = MAX_STEPS[lane];
  const running = [...runningByOrganization(app, lane)];
  const full = running.flatMap(([id, count]) => (count >= most ? id : []));
  const oldest = (onRequest: Prisma.Sql): Prisma.Sql => Prisma.sql`(
    SELECT call_id, kind, organization_id, on_request, next_attempt_at FROM post_call_steps
    WHERE ${OF_LANE[lane]} AND on_request = ${onRequest} AND ${isDue(now)}
      AND organization_id <> ALL(${full}::uuid[])
    ORDER BY next_attempt_at LIMIT ${MAX_CANDIDATES})`;
  const next = (onRequest: Prisma.Sql): Prisma.Sql => Prisma.sql`(
    SELECT next_attempt_at FROM post_call_steps
    WHERE ${OF_LANE[lane]} AND on_request = ${onRequest} AND next_attempt_at > ${now}::timestamptz
    ORDER BY next_attempt_at LIMIT 1)`;
  const [no, yes] = [Prisma.sql`false`, Prisma.sql`true`];
  const rows = await app.rows.$queryRaw<(ClaimedRow & { laterAt: Date | null })[]>`
    WITH due AS (
      SELECT call_id, kind, coalesce(busy.count, 0) + row_number() OVER (
        PARTITION BY organization_id ORDER BY on_request, next_attempt_at) AS place
      FROM (${oldest(no)} UNION ALL ${oldest(yes)}) oldest
      LEFT JOIN unnest(${running.map(([id]) => id)}::uuid[],
        ${running.map(([, count]) => count)}::int[]) AS busy(id, count) ON busy.id = organization_id
    ), chosen AS (
      SELECT s.call_id, s.kind FROM due
      JOIN post_call_steps s ON s.call_id = due.call_id AND s.kind = due.kind
      WHERE due.place <= ${most} AND s.status = 'PENDING'
        AND s.next_attempt_at <= ${now}::timestamptz
        AND (s.lease_until IS NULL OR s.lease_until < now())
      ORDER BY due.place LIMIT ${free} FOR UPDATE OF s SKIP LOCKED
    )
    , claimed AS (
      UPDATE post_call_steps s SET lease_id = ${leaseId}::uuid, lease_until = ${LEASE_END},
        attempts = s.attempts + 1, started_at = coalesce(s.started_at, ${now}::timestamptz)
      FROM chosen c WHERE s.call_id = c.call_id AND s.kind = c.kind
      RETURNING s.call_id, s.kind, s.attempts, s.started_at, s.partial_result
    )
    SELECT later.at AS "laterAt", steps.* FROM (SELECT least(${next(no)}, ${next(yes)}) AS at) later
    LEFT JOIN (
      SELECT claimed.kind::text AS "stepKind", claimed.attempts AS "stepAttempts",
        claimed.started_at AS "stepStartedAt", claimed.partial_result AS "partialResult",
        ${CALL_COLUMNS}
      FROM claimed JOIN calls ON calls.id = claimed.call_id WHERE calls.deleted_at IS NULL
    ) steps ON true`;
  const laterAt = rows[0]?.laterAt;
  return {
    claimed: rows.flatMap(({ laterAt: _laterAt, ...row }) =>
      row.id === null ? [] : claimedStep(row, leaseId),
    ),
    nextDueInMs: laterAt ? laterAt.getTime() - now.getTime() : null,
  };
}

type ClaimedRow = Call & {
  stepKind: PostCallStepKind;
  stepAttempts: number;
  stepStartedAt: Date;
  partialResult: unknown;
};

function claimedStep(row: ClaimedRow, leaseId: string): ClaimedStep {
  const { stepKind, stepAttempts, stepStartedAt, partialResult, ...call } = row;
  return {
    callId: call.id,
    kind: stepKind,
    attempts: stepAttempts,
    startedAt: stepStartedAt,
    partialResult,
    leaseId,
    call,
  };
}

const LEASE_END = Prisma.sql`clock_timestamp() + make_interval(secs => ${LEASE_SECONDS}::float8)`;

async function runStep(app: App, handlers: StepHandlers, step: ClaimedStep): Promise<void> {
  const { callId, kind, leaseId } = step;
  const stopRenewing = repeat((LEASE_SECONDS * 1000) / 3, () =>
    app.db.$executeRaw`
      UPDATE post_call_steps SET lease_until = ${LEASE_END}
      WHERE call_id = ${callId}::uuid AND kind = ${kind}::"PostCallStepKind"
        AND lease_id = ${leaseId}::uuid`.catch(app.failures.recorder('renewPostCallStep')),
  );
  const stopping = stopSignal(app);
  try {
    const signal = AbortSignal.any([AbortSignal.timeout(ATTEMPT_MS), stopping.signal]);
    await attempt(app, handlers, step, signal);
  } catch (error) {
    if (!isExpected(error)) {
      app.failures.record('postCallStep', error, {
        message: `A step after a call failed; will retry: ${kind}`,
        level: 'error',
        call: callId,
      });
    }
    await retryOrGiveUp(app, handlers, step, {
      detail: detailOf(error),
      afterSeconds: isExpected(error) ? error.retryAfterSeconds : null,
    });
  } finally {
    stopRenewing();
    stopping.end();
  }
}

/** A signal that is aborted some time after the process begins to stop. */
function stopSignal(app: App): { signal: AbortSignal; end: () => void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    timer = setTimeout(() => controller.abort(), GRACE_MS);
  };
  if (app.closing.aborted) stop();
  else app.closing.addEventListener('abort', stop, { once: true });
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer);
      app.closing.removeEventListener('abort', stop);
    },
  };
}

async function attempt(
  app: App,
  handlers: StepHandlers,
  step: ClaimedStep,
  signal: AbortSignal,
): Promise<void> {
  const result = await handlers[step.kind].run(app, step.call, {
    signal,
    partialResult: step.partialResult,
    keep: (partialResult) => keep(app, step, partialResult, signal),
  });
  if (result.status !== 'NOT_YET') {
    const detail = 'detail' in result ? result.detail : null;
    await finishStep(app, handlers, { step, status: result.status, detail, save: result.save });
    return;
  }
  const { detail, otherwise, save } = result;
  await retryOrGiveUp(app, handlers, step, {
    detail,
    giveUp: { status: otherwise, seconds: planOf(step.kind).waitSeconds, save },
  });
}

async function keep(
  app: App,
  { callId, kind, leaseId }: ClaimedStep,
  partialResult: object,
  signal: AbortSignal,
): Promise<boolean> {
  for (;;) {
    try {
      const count = await app.db.$executeRaw`
        UPDATE post_call_steps SET partial_result = ${JSON.stringify(partialResult)}::jsonb
        WHERE call_id = ${callId}::uuid AND kind = ${kind}::"PostCallStepKind"
          AND lease_id = ${leaseId}::uuid`;
      return count > 0;
    } catch (error) {
      if (signal.aborted || !isDatabaseUnavailable(error)) throw error;
    }
    await pause(DATABASE_RETRY_MS);
  }
}

/** Schedules another attempt after a longer delay, or finishes the step once its time limit is reached. */
async function retryOrGiveUp(
  app: App,
  handlers: StepHandlers,
  step: ClaimedStep,
  retry: {
    detail: string;
    afterSeconds?: number | null;
    giveUp?: { status: 'SKIPPED' | 'FAILED'; seconds: number; save?: SaveStep | undefined };
  },
): Promise<void> {
  const delayMs = Math.max(retry.afterSeconds ?? 0, delaySeconds(step.attempts)) * 1000;
  const at = new Date(app.now().getTime() + delayMs);
  const giveUp = retry.giveUp ?? {
    status: 'FAILED',
    seconds: planOf(step.kind).giveUpSeconds,
    save: handlers[step.kind].saveGivenUp,
  };
  // Restarting a step also restarts its time limit.
  if (at.getTime() > step.startedAt.getTime() + giveUp.seconds * 1000) {
    const { status, save } = giveUp;
    await finishStep(app, handlers, { step, status, detail: retry.detail, save });
    return;
  }
  await app.db.$executeRaw`
    UPDATE post_call_steps SET lease_id = NULL, lease_until = NULL,
      next_attempt_at = ${at}::timestamptz, detail = ${truncateText(retry.detail, MAX_DETAIL)}
    WHERE call_id = ${step.callId}::uuid AND kind = ${step.kind}::"PostCallStepKind"
      AND lease_id = ${step.leaseId}::uuid`;
  wakeWorkers(app, [step.kind], delayMs);
}

/** 1, 2, 4 … seconds up to an hour, each extended by up to a fifth, so that many steps do not return at once. */
function delaySeconds(attempts: number): number {
  const delay = Math.min(2 ** Math.min(attempts - 1, 20), MAX_DELAY_SECONDS);
  return delay * (1 + Math.random() / 5);
}

function isExpected(error: unknown): error is UltravoxError | StepFailure {
  return error instanceof UltravoxError || error instanceof StepFailure;
}

/** Describes a failed attempt to users, without any address or ID of Ultravox. */
function detailOf(error: unknown): string {
  if (error instanceof StepFailure) return error.message;
  if (error instanceof UltravoxError) {
    const status = error.status === null ? '' : ` (status ${error.status})`;
    return `Ultravox: ${error.detail}${status}`;
  }
  return 'An internal error occurred. The step will be retried.';
}
