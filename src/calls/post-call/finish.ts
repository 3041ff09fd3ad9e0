/** Finishes post-call steps, many in one transaction, and starts those that were waiting for them. */
import type { App, Tx } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { createBatches } from '../../infra/jobs/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { announceEvents, appendStatement, type NewEvent } from '../../live/log.ts';
import { lockCalls } from '../lock.ts';
import { callEvents } from '../updates/append-events.ts';
import {
  type ClaimedStep,
  MAX_DETAIL,
  POST_CALL_STEPS,
  planOf,
  type SaveStep,
  type StepContext,
  type StepHandlers,
} from './steps.ts';
import { wakeWorkers } from './wake.ts';

const BATCH = 20;
/** The steps of a call end shortly after one another, and nobody waits for them. */
const WAIT_MS = 100;

export interface FinishedStep {
  step: ClaimedStep;
  status: 'DONE' | 'SKIPPED' | 'FAILED';
  detail: string | null;
  save: SaveStep | undefined;
}

const batches = perInstance((app: App) =>
  perInstance((handlers: StepHandlers) =>
    createBatches<FinishedStep, null>({
      size: BATCH,
      waitMs: WAIT_MS,
      async work(finished) {
        const saved = await app.db.$transaction((tx) => saveSteps(app, tx, handlers, finished));
        for (const id of saved.organizationIds) announceEvents(app, id);
        wakeWorkers(app, saved.ready);
        return finished.map(() => null);
      },
    }),
  ),
);

/** Finishes a step with its result, unless another attempt has taken over or the call was deleted. */
export async function finishStep(
  app: App,
  handlers: StepHandlers,
  finished: FinishedStep,
): Promise<void> {
  await batches(app)(handlers).add(finished);
}

async function saveSteps(
  app: App,
  tx: Tx,
  handlers: StepHandlers,
  finished: readonly FinishedStep[],
): Promise<{ organizationIds: Set<string>; ready: PostCallStepKind[] }> {
  const calls = new LockedCalls(
    await lockCalls(
      tx,
      Prisma.sql`deleted_at IS NULL AND id = ANY(${[
        ...new Set(finished.map(({ step }) => step.callId)),
      ]}::uuid[])`,
    ),
  );
  const { ended, pending } = await endSteps(
    app,
    tx,
    finished.filter(({ step }) => calls.has(step.callId)),
  );
  const ofCall = Map.groupBy(ended, ({ step }) => step.callId);
  await Promise.all([...ofCall].map(([id, steps]) => calls.saveAll(tx, id, steps)));
  const following: FollowingStep[] = [];
  for (let done: Step[] = ended.map(({ step }) => step); done.length > 0; ) {
    const ready = readySteps(done, pending);
    const nothing = await findNothingToDo(tx, handlers, ready);
    done = [];
    for (const step of ready) {
      const { callId, kind } = step;
      const detail = nothing.get(kind)?.get(callId) ?? null;
      if (detail !== null) {
        following.push({ callId, kind, result: 'SKIPPED', detail });
      } else if (planOf(kind).isImmediate) {
        const result = await handlers[kind].run(app, calls.get(callId), inTransaction(app));
        if (result.status !== 'DONE') {
          throw new Error(`The immediate step ${kind} is ${result.status}`);
        }
        await calls.save(tx, callId, result.save);
        following.push({ callId, kind, result: 'DONE', detail: null });
      } else {
        following.push({ callId, kind, result: null, detail: null });
        continue;
      }
      done.push(step);
      pending.get(callId)?.delete(kind);
    }
  }
  await calls.write(app, tx, following);
  return {
    organizationIds: new Set(calls.events.keys()),
    ready: following.flatMap(({ kind, result }) => (result === null ? kind : [])),
  };
}

type Step = Pick<ClaimedStep, 'callId' | 'kind'>;

/** A step to start, or one that has already ended. */
interface FollowingStep extends Step {
  result: 'DONE' | 'SKIPPED' | null;
  detail: string | null;
}

/** Reasons why there is nothing to do, by kind and call ID. */
async function findNothingToDo(
  tx: Tx,
  handlers: StepHandlers,
  steps: readonly Step[],
): Promise<Map<PostCallStepKind, ReadonlyMap<string, string>>> {
  const found = new Map<PostCallStepKind, ReadonlyMap<string, string>>();
  for (const [kind, list] of Map.groupBy(steps, (step) => step.kind)) {
    const reasons = await handlers[kind].nothingToDo?.(
      tx,
      list.map(({ callId }) => callId),
    );
    if (reasons) found.set(kind, reasons);
  }
  return found;
}

/** Returns the steps whose lease was still held, and the pending steps of their calls afterwards. */
async function endSteps(
  app: App,
  tx: Tx,
  finished: readonly FinishedStep[],
): Promise<{ ended: FinishedStep[]; pending: Map<string, Set<PostCallStepKind>> }> {
  const rows = finished.map(({ step, status, detail }) => ({
    call_id: step.callId,
    kind: step.kind,
    lease_id: step.leaseId,
    status,
    detail: detail === undefined || detail === null ? null : truncateText(detail, MAX_DETAIL),
  }));
  const steps = await tx.$queryRaw<
    { callId: string; kind: PostCallStepKind; isPending: boolean; hasEnded: boolean }[]
  >`
    WITH r AS (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS r(call_id uuid, kind text, lease_id uuid, status text, detail text)
    ), ended AS (
      UPDATE post_call_steps s SET status = r.status::"PostCallStepStatus", detail = r.detail,
        finished_at = ${app.now()}::timestamptz, next_attempt_at = NULL, lease_id = NULL,
        lease_until = NULL, partial_result = NULL
      FROM r
      WHERE s.call_id = r.call_id AND s.kind = r.kind::"PostCallStepKind"
        AND s.lease_id = r.lease_id
      RETURNING s.call_id, s.kind
    )
    -- As they were before.
    SELECT s.call_id AS "callId", s.kind::text, s.status = 'PENDING' AS "isPending",
      e.kind IS NOT NULL AS "hasEnded"
    FROM post_call_steps s LEFT JOIN ended e ON e.call_id = s.call_id AND e.kind = s.kind
    WHERE s.call_id IN (SELECT call_id FROM r)`;
  const keys = new Set(
    steps.flatMap(({ callId, kind, hasEnded }) => (hasEnded ? `${callId}/${kind}` : [])),
  );
  const pending = Map.groupBy(
    steps.filter(({ isPending, hasEnded }) => isPending && !hasEnded),
    ({ callId }) => callId,
  );
  return {
    ended: finished.filter(({ step }) => keys.has(`${step.callId}/${step.kind}`)),
    pending: new Map([...pending].map(([id, list]) => [id, new Set(list.map(({ kind }) => kind))])),
  };
}

/** Context of an immediate step: it ends with the transaction or not at all, so there is nothing to keep. */
const inTransaction = (app: App): StepContext => ({
  signal: app.closing,
  partialResult: null,
  keep: () => Promise.resolve(true),
});

/** Returns the steps that were waiting only for these. */
function readySteps(
  done: readonly Step[],
  pendingOf: ReadonlyMap<string, ReadonlySet<PostCallStepKind>>,
): Step[] {
  return [...Map.groupBy(done, ({ callId }) => callId)].flatMap(([callId, steps]) => {
    const kinds = new Set(steps.map(({ kind }) => kind));
    const pending = pendingOf.get(callId);
    return POST_CALL_STEPS.flatMap(({ kind, after }) =>
      pending?.has(kind) &&
      after.some((other) => kinds.has(other)) &&
      after.every((other) => !pending.has(other))
        ? { callId, kind }
        : [],
    );
  });
}

/** Locked calls, with the changes made by finished steps. */
class LockedCalls {
  readonly events = new Map<string, NewEvent[]>();
  readonly #calls: Map<string, Call>;
  readonly #changed = new Set<string>();

  constructor(calls: readonly Call[]) {
    this.#calls = new Map(calls.map((call) => [call.id, call]));
  }

  has(id: string): boolean {
    return this.#calls.has(id);
  }

  get(id: string): Call {
    return this.#calls.get(id)!;
  }

  /** Saves steps one after another, since each step gets the call as changed by the previous one. */
  async saveAll(tx: Tx, id: string, steps: readonly Pick<FinishedStep, 'save'>[]): Promise<void> {
    for (const { save } of steps) await this.save(tx, id, save);
  }

  async save(tx: Tx, id: string, save: SaveStep | undefined): Promise<void> {
    const call = this.get(id);
    const { change = {}, events = [] } = (await save?.(tx, call)) ?? {};
    if (Object.keys(change).length === 0 && events.length === 0) return;
    this.#changed.add(id);
    this.#calls.set(id, { ...call, ...change, eventCount: call.eventCount + events.length });
    if (events.length === 0) return;
    const { organizationId } = call;
    const list = this.events.get(organizationId) ?? [];
    this.events.set(organizationId, [...list, ...callEvents(call, events)]);
  }

  /** Writes the changes and events, and starts or ends the steps that follow, in one statement. */
  async write(app: App, tx: Tx, following: readonly FollowingStep[]): Promise<void> {
    if (this.#changed.size === 0 && following.length === 0) return;
    const now = Prisma.sql`${app.now()}::timestamptz`;
    const rows = [...this.#changed].map((id) => {
      const call = this.get(id);
      return {
        id,
        answered_by: call.answeredBy,
        answered_by_evidence: call.answeredByEvidence,
        dnc_quote: call.dncQuote,
        summary: call.summary,
        short_summary: call.shortSummary,
        recording_status: call.recordingStatus,
        recording_content_type: call.recordingContentType,
        recording_seconds: call.recordingSeconds,
        analyzed_at: call.analyzedAt,
        event_count: call.eventCount,
      };
    });
    await tx.$executeRaw`
      WITH written AS (
        UPDATE calls c SET answered_by = r.answered_by::"AnsweredBy",
          answered_by_evidence = r.answered_by_evidence, dnc_quote = r.dnc_quote,
          summary = r.summary, short_summary = r.short_summary,
          recording_status = r.recording_status::"RecordingStatus",
          recording_content_type = r.recording_content_type,
          recording_seconds = r.recording_seconds, analyzed_at = r.analyzed_at,
          event_count = r.event_count, updated_at = ${now}
        FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
          id uuid, answered_by text, answered_by_evidence text, dnc_quote text, summary text,
          short_summary text, recording_status text, recording_content_type text,
          recording_seconds float8, analyzed_at timestamptz, event_count int)
        WHERE c.id = r.id
      ), started AS (
        UPDATE post_call_steps s SET
          next_attempt_at = CASE WHEN r.result IS NULL THEN ${now} END,
          status = coalesce(r.result::"PostCallStepStatus", s.status),
          detail = coalesce(r.detail, s.detail),
          attempts = s.attempts + (r.result IS NOT NULL)::int,
          started_at = CASE WHEN r.result IS NULL THEN s.started_at ELSE ${now} END,
          finished_at = CASE WHEN r.result IS NOT NULL THEN ${now} END,
          partial_result = CASE WHEN r.result IS NULL THEN s.partial_result END
        FROM jsonb_to_recordset(${JSON.stringify(following)}::jsonb)
          AS r("callId" uuid, kind text, result text, detail text)
        WHERE s.call_id = r."callId" AND s.kind = r.kind::"PostCallStepKind"
      )
      ${appendStatement(this.events)}`;
  }
}
