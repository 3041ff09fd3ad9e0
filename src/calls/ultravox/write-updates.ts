/** Writes what updates make of calls, many calls at once, and everything that follows in the transaction. */
import type { App, Tx } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { appendEventsOf, type NewEvent } from '../../live/log.ts';
import { notifyCallsEnded } from '../listeners.ts';
import { holdsSlot, PLACEMENT_OF_ROWS } from '../placement/placement-state.ts';
import { startPostCallSteps } from '../post-call/start.ts';

/** What an update makes of a locked call. */
export interface CallUpdate {
  before: Call;
  /** The same object as `before` if nothing changes. */
  after: Call;
  /** Of the changes of status and of the bill, in order. */
  events: readonly NewEvent[];
}

/** The caller has locked the calls, gives at most one update for each, and announces the events. */
export async function writeUpdates(
  app: App,
  tx: Tx,
  updates: readonly CallUpdate[],
): Promise<void> {
  const changed = updates.filter(({ before, after }) => before !== after);
  if (changed.length === 0) return;
  await writeCalls(
    tx,
    changed.map(({ after }) => after),
  );
  const ended = changed.filter(({ before, after }) => after.endedAt && !before.endedAt);
  if (ended.length > 0) {
    await startPostCallSteps(
      app,
      tx,
      ended.map(({ after }) => after),
    );
    await notifyCallsEnded(
      app,
      tx,
      ended.map(({ before, after }) => ({ call: after, heldSlot: holdsSlot(before) })),
    );
  }
  const events = new Map<string, NewEvent[]>();
  for (const update of changed) {
    const { organizationId } = update.after;
    events.set(organizationId, [...(events.get(organizationId) ?? []), ...update.events]);
  }
  await appendEventsOf(tx, events);
}

/** Writes every column that updates from Ultravox, or an end without one, may change. */
async function writeCalls(tx: Tx, calls: readonly Call[]): Promise<void> {
  const rows = calls.map((call) => ({
    id: call.id,
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
  await tx.$executeRaw`
    UPDATE calls c SET
      status = r.status::"CallStatus", end_reason = r.end_reason::"CallEndReason",
      join_url = r.join_url, failure = r.failure, failure_code = r.failure_code,
      ${PLACEMENT_OF_ROWS},
      next_check_at = r.next_check_at, lost_at = r.lost_at, event_count = r.event_count,
      billing_status = r.billing_status::"CallBillingStatus",
      billed_duration_seconds = r.billed_duration_seconds, cost_amount = r.cost_amount,
      cost_currency = r.cost_currency, summary = r.summary, short_summary = r.short_summary,
      ringing_at = r.ringing_at, answered_at = r.answered_at, ended_at = r.ended_at,
      updated_at = r.updated_at
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, status text, end_reason text, join_url text, ultravox_id text, failure text,
      failure_code text, placement text, claimed_at timestamptz, place_not_before timestamptz,
      next_check_at timestamptz, lost_at timestamptz, event_count int, billing_status text,
      billed_duration_seconds int, cost_amount numeric, cost_currency text, summary text,
      short_summary text, ringing_at timestamptz, answered_at timestamptz, ended_at timestamptz,
      updated_at timestamptz)
    WHERE c.id = r.id`;
}
