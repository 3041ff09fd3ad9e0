/** Writes the updates of many calls, and everything that follows from them, in one statement. */
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { RawReader } from '../../infra/rows/row-reader.ts';
import { appendStatement, type NewEvent } from '../../live/log.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { HAS_WAITING_CALLS } from '../placement/limits.ts';
import { PLACEMENT_OF_ROWS } from '../placement/placement-state.ts';
import { startPostCallSteps } from '../post-call/start.ts';

/** A call before and after an update. */
export interface CallUpdate {
  before: Call;
  /** The same object as `before` if nothing changes. */
  after: Call;
  /** Events of the status changes and of the bill, in order. */
  events: readonly NewEvent[];
  /** Version of the row from which `before` was read. If absent, the caller has locked the row. */
  version?: string;
  /** IDs of the webhooks that caused the update. They are marked as processed with it. */
  webhookIds?: readonly string[];
}

/** A webhook that is stored together with the updates. */
export interface NewWebhook {
  id: string;
  event: string;
  /** The part of the webhook that is stored. */
  call: UltravoxCall;
}

export interface WrittenUpdates {
  /** IDs of the calls that were written or needed no change. */
  ids: Set<string>;
  /** IDs of the new webhooks. The others had already been stored. */
  stored: Set<string>;
  /** Whether any call is waiting for a slot, such as one that an ended call has just freed. */
  callsWait: boolean;
}

/**
 * Writes updates, at most one for each call, with their events, the first post-call steps of calls that end, and the
 * marks of their webhooks. The caller announces the events.
 *
 * An update with a version is skipped if the row has changed since it was read, or is locked: this statement never
 * waits for a lock.
 *
 * @param arrived webhooks to store in the same statement, whether their update is skipped or not.
 */
export async function writeUpdates(
  app: App,
  db: RawReader,
  updates: readonly CallUpdate[],
  arrived: readonly NewWebhook[] = [],
): Promise<WrittenUpdates> {
  const webhooks = updates.flatMap(({ before, webhookIds = [] }) =>
    webhookIds.map((id) => ({ id, call_id: before.id })),
  );
  const changed = updates.filter(({ before, after }) => before !== after);
  if (changed.length === 0 && webhooks.length === 0 && arrived.length === 0) {
    const ids = new Set(updates.map(({ before }) => before.id));
    return { ids, stored: new Set(), callsWait: false };
  }
  const events = Map.groupBy(
    changed.flatMap(({ after, events: own }) => own.map((event) => ({ after, event }))),
    ({ after }) => after.organizationId,
  );
  const ended = changed.filter(({ before, after }) => after.endedAt && !before.endedAt);
  const written = Prisma.sql`r.call_id IN (SELECT id FROM written)`;
  const [result] = await db.$queryRaw<{ ids: string[]; stored: string[]; callsWait: boolean }[]>`
    WITH r AS (${rowsOf(updates)}), current AS (
      SELECT c.id FROM calls c JOIN r ON r.id = c.id
      WHERE r.version IS NULL OR c.xmin::text = r.version
      ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
    ), written AS (
      UPDATE calls c SET ${ASSIGNMENTS} FROM r JOIN current ON current.id = r.id
      WHERE c.id = r.id AND r.changes
      RETURNING c.id
    ), appended AS (${appendStatement(
      new Map([...events].map(([id, list]) => [id, list.map(({ event }) => event)])),
      written,
    )}
    ), started AS (${startPostCallSteps(
      app,
      ended.map(({ after }) => after),
      written,
    )}
    ), ${arrived.length > 0 ? storeWebhooks(app, arrived, webhooks) : markProcessed(app, webhooks)}
    SELECT ARRAY(SELECT id FROM current) AS ids, ARRAY(SELECT id FROM stored) AS stored,
      ${HAS_WAITING_CALLS} AS "callsWait"`;
  return {
    ids: new Set(result?.ids),
    stored: new Set(result?.stored),
    callsWait: result?.callsWait ?? false,
  };
}

type CallOfWebhook = { id: string; call_id: string };

/** SQL for WITH: marks stored webhooks as processed if their calls are in `current`. */
function markProcessed(app: App, webhooks: readonly CallOfWebhook[]): Prisma.Sql {
  return Prisma.sql`stored AS (
    UPDATE ultravox_webhooks w SET processed_at = ${app.now()}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(webhooks)}::jsonb) AS r(id uuid, call_id uuid)
    WHERE w.id = r.id AND r.call_id IN (SELECT id FROM current)
    RETURNING w.id
  )`;
}

/**
 * SQL for WITH: stores webhooks, marked as processed if their calls are in `current`. Every process uses the same
 * order, so that processes that store the same webhooks at the same time do not deadlock.
 */
function storeWebhooks(
  app: App,
  arrived: readonly NewWebhook[],
  webhooks: readonly CallOfWebhook[],
): Prisma.Sql {
  const callOf = new Map(webhooks.map(({ id, call_id }) => [id, call_id]));
  const rows = arrived.map((one) => ({ ...one, call_id: callOf.get(one.id) }));
  return Prisma.sql`stored AS (
    INSERT INTO ultravox_webhooks (id, ultravox_call_id, event, payload, processed_at)
    SELECT id, call->>'callId', event, call - 'joinUrl',
      CASE WHEN call_id IN (SELECT id FROM current) THEN ${app.now()}::timestamptz END
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, event text, call jsonb, call_id uuid)
    ORDER BY call->>'callId', event
    ON CONFLICT (ultravox_call_id, event) DO NOTHING
    RETURNING id
  )`;
}

/** SQL query: one row for each update, with every column that an update or a local end may change. */
function rowsOf(updates: readonly CallUpdate[]): Prisma.Sql {
  const rows = updates.map(({ before, after: call, version }) => ({
    id: call.id,
    version,
    changes: before !== call,
    status: call.status,
    end_reason: call.endReason,
    join_url: call.joinUrl,
    ultravox_id: call.ultravoxId,
    failure: call.failure,
    failure_code: call.failureCode,
    placement: call.placement,
    claimed_at: call.claimedAt,
    place_not_before: call.placeNotBefore,
    next_check_at: call.nextCheckAt,
    lost_at: call.lostAt,
    event_count: call.eventCount,
    billing_status: call.billingStatus,
    billed_duration_seconds: call.billedDurationSeconds,
    cost_amount: call.costAmount,
    cost_currency: call.costCurrency,
    summary: call.summary,
    short_summary: call.shortSummary,
    ringing_at: call.ringingAt,
    answered_at: call.answeredAt,
    ended_at: call.endedAt,
    updated_at: call.updatedAt,
  }));
  return Prisma.sql`
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, version text, changes boolean, status text, end_reason text, join_url text,
      ultravox_id text, failure text, failure_code text, placement text, claimed_at timestamptz,
      place_not_before timestamptz, next_check_at timestamptz, lost_at timestamptz, event_count int,
      billing_status text, billed_duration_seconds int, cost_amount numeric, cost_currency text,
      summary text, short_summary text, ringing_at timestamptz, answered_at timestamptz,
      ended_at timestamptz, updated_at timestamptz)`;
}

/** Assigns the columns of `rowsOf`. */
const ASSIGNMENTS = Prisma.sql`
  status = r.status::"CallStatus", end_reason = r.end_reason::"CallEndReason",
  join_url = r.join_url, failure = r.failure, failure_code = r.failure_code,
  ${PLACEMENT_OF_ROWS},
  next_check_at = r.next_check_at, lost_at = r.lost_at, event_count = r.event_count,
  billing_status = r.billing_status::"CallBillingStatus",
  billed_duration_seconds = r.billed_duration_seconds, cost_amount = r.cost_amount,
  cost_currency = r.cost_currency, summary = r.summary, short_summary = r.short_summary,
  ringing_at = r.ringing_at, answered_at = r.answered_at, ended_at = r.ended_at,
  updated_at = r.updated_at`;
