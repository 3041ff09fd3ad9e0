/**
 * Applies an update to a call, whatever its source: its new columns, its events, and what to wake after the commit.
 * Every change of status is recorded as an event in the same transaction.
 */
import type { App } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import type { Json } from '../../infra/bus.ts';
import { announceEvents, type NewEvent } from '../../live/log.ts';
import { notifyCallEnded } from '../listeners.ts';
import { holdsSlot } from '../placement/placement-state.ts';
import { wakeFirstSteps } from '../post-call/start.ts';
import { isEnded, type Step } from '../status.ts';
import { callEvent } from './append-events.ts';
import type { CallUpdate, WrittenColumns } from './write-updates.ts';

/** Changes that an update makes to a call. */
export interface Change {
  steps: readonly Step[];
  /** `nextCheckAt` replaces the usual time of the next look-up. */
  change: WrittenColumns;
  billed: boolean;
  summarized: boolean;
}

/** Builds the update of a change: the call with the columns and the steps applied, and the resulting events. */
export function buildUpdate(
  app: App,
  call: Call,
  { steps, change, billed, summarized }: Change,
): CallUpdate {
  if (steps.length === 0 && Object.keys(change).length === 0) {
    return { before: call, after: call, events: [] };
  }
  const now = app.now();
  const next: Call = { ...call, ...change, updatedAt: now };
  const events: NewEvent[] = [];
  const record = (type: NewEvent['type'], at: Date, data: Record<string, Json>): void => {
    next.eventCount += 1;
    events.push(callEvent(call, { type, sequence: next.eventCount, data, at }));
  };
  for (const step of steps) {
    // The clock of Ultravox may be ahead, and it reports only when the ringing was over at the latest.
    const at = step.status === 'RINGING' ? earlier(now, step.at) : (step.at ?? now);
    next.status = step.status;
    if (step.status === 'RINGING') next.ringingAt = at;
    if (step.status === 'IN_PROGRESS') next.answeredAt = at;
    if (isEnded(step.status)) {
      next.endedAt = at;
      next.endReason = step.endReason;
      next.joinUrl = null;
    }
    record(`CALL_${step.status}`, at, { status: step.status, endReason: step.endReason });
  }
  if (billed) {
    record('CALL_BILLED', now, {
      status: next.status,
      endReason: next.endReason,
      billedDurationSeconds: next.billedDurationSeconds ?? 0,
      costAmount: next.costAmount?.toString() ?? '0',
      costCurrency: next.costCurrency ?? '',
    });
  }
  if (summarized) {
    record('CALL_SUMMARIZED', now, { status: next.status, endReason: next.endReason });
  }
  next.nextCheckAt = change.nextCheckAt ?? nextCheck(app, next, now);
  next.lostAt = lostAt(app, next);
  return { before: call, after: next, events };
}

function earlier(a: Date, b: Date | null): Date {
  return b && b < a ? b : a;
}

const GIVE_UP_BILLING_MS = 24 * 3_600_000;
/** A hang-up may fail, and the webhook that says that a ringing call was answered may be lost. */
const CHECK_REQUESTED_END_MS = 5_000;

/** Time at which the reconciler looks up a call unless an update arrives first. Null: never. */
export function nextCheck(app: App, call: Call, now: Date): Date | null {
  const every = app.config.CALL_CHECK_SECONDS * 1000;
  if (!call.endedAt) {
    const wait = call.endRequestedAt ? Math.min(every, CHECK_REQUESTED_END_MS) : every;
    return new Date(now.getTime() + wait);
  }
  if (call.billingStatus !== 'PENDING' || !call.ultravoxId) return null;
  const age = now.getTime() - call.endedAt.getTime();
  return age > GIVE_UP_BILLING_MS ? null : new Date(now.getTime() + Math.max(every, age / 2));
}

/** Time after which a call counts as lost: its latest possible end plus CALL_LOST_AFTER_SECONDS. Null once ended. */
function lostAt(app: App, call: Call): Date | null {
  if (call.endedAt) return null;
  const start = call.answeredAt ?? call.ringingAt ?? call.claimedAt ?? call.createdAt;
  // The call may have been answered without a report yet.
  const seconds = call.maxDurationSeconds + (call.answeredAt ? 0 : call.joinTimeoutSeconds);
  return new Date(start.getTime() + (seconds + app.config.CALL_LOST_AFTER_SECONDS) * 1000);
}

/**
 * Wakes subscribers if the update added events, and wakes listeners and the post-call steps if the call has ended.
 * Call it after the commit.
 */
export function announceUpdate(app: App, before: Call | null, after: Call): void {
  announceEnd(app, before, after);
  if (before?.eventCount !== after.eventCount) announceEvents(app, after.organizationId);
}

/** Wakes listeners and the post-call steps if the call has ended. Call it after the commit. */
export function announceEnd(app: App, before: Call | null, after: Call): void {
  if (!after.endedAt || before?.endedAt) return;
  wakeFirstSteps(app, after);
  notifyCallEnded(app, { call: after, heldSlot: before === null || holdsSlot(before) });
}
