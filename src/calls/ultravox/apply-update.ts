/**
 * Applies an update from Ultravox to a call: a creation response, a webhook or a look-up. The row is
 * locked, and every change of status is an event in the same transaction.
 */
import type { App, Tx } from '../../app.ts';
import type { UserErrorCode } from '../../errors.ts';
import {
  type Call,
  type CallEndReason,
  type CallStatus,
  Prisma,
} from '../../generated/prisma/client.ts';
import type { Json } from '../../infra/bus.ts';
import { announceEvents, type NewEvent } from '../../live/log.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { billedSeconds, billingStatusOf, costOf, isBillingUpdate } from '../billing.ts';
import { notifyCallEnded } from '../listeners.ts';
import {
  acceptance,
  canMove,
  type EndTransition,
  endOfPlacement,
  holdsSlot,
} from '../placement/placement-state.ts';
import { wakeFirstSteps } from '../post-call/start.ts';
import { summaryChange } from '../post-call/summary.ts';
import { endOfLostCall, isEnded, type Step, stepsTowards } from '../status.ts';
import { type CallUpdate, writeUpdates } from './write-updates.ts';

/** Builds the first event of a call. The caller inserts the row with `eventCount` 1. */
export function createdEvent(
  call: Pick<Call, 'id' | 'agentId' | 'campaignId' | 'status' | 'createdAt'>,
): NewEvent {
  return {
    type: 'CALL_CREATED',
    callId: call.id,
    agentId: call.agentId,
    ...(call.campaignId ? { campaignId: call.campaignId } : {}),
    sequence: 1,
    data: { status: call.status, endReason: null },
    at: call.createdAt,
  };
}

/**
 * Applies the state of a call at Ultravox. Repeated and older states change nothing. The caller has
 * locked the row, and calls `announceUpdate` with the row before and after once it has committed.
 */
export async function applyUltravoxCall(
  app: App,
  tx: Tx,
  call: Call,
  seen: UltravoxCall,
): Promise<Call> {
  const update = updateOf(app, call, seen);
  await writeUpdates(app, tx, [update]);
  return update.after;
}

/** Returns what the states of a call at Ultravox make of it, one after another. */
export function updateOf(app: App, call: Call, ...states: readonly UltravoxCall[]): CallUpdate {
  let update: CallUpdate = { before: call, after: call, events: [] };
  for (const seen of states) {
    const { after, events } = updateOfOne(app, update.after, seen);
    update = { before: call, after, events: [...update.events, ...events] };
  }
  return update;
}

function updateOfOne(app: App, call: Call, seen: UltravoxCall): CallUpdate {
  const steps = stepsTowards(
    {
      status: call.status,
      direction: call.direction,
      medium: call.medium,
      endRequested: call.endRequestedAt !== null,
    },
    {
      joinedAt: instant(seen.joined),
      endedAt: instant(seen.ended),
      endReason: seen.endReason,
      terminationReason: seen.sipDetails?.terminationReason ?? null,
    },
  );
  const change: Partial<Call> = {};
  if (call.ultravoxId === null) Object.assign(change, acceptance(call, seen.callId, app.now()));
  const summary = summaryChange(call, seen);
  Object.assign(change, summary);
  // Also when the ID is known: a webhook, which has no join URL, may arrive before the response.
  const joinable = call.medium === 'WEBRTC' && !call.joinUrl && !isEnded(call.status);
  if (joinable && seen.joinUrl) change.joinUrl = seen.joinUrl;
  const billing = billingStatusOf(seen.billingStatus);
  const billed = isBillingUpdate(call.billingStatus, billing);
  if (billed) {
    const seconds = billedSeconds(seen.billedDuration);
    const cost = billing === 'BILLED' ? costOf(seconds, app.config.PRICE_PER_MINUTE) : '0';
    change.billingStatus = billing;
    change.billedDurationSeconds = seconds;
    change.costAmount = new Prisma.Decimal(cost);
    change.costCurrency = app.config.PRICE_CURRENCY;
  }
  // One that comes before is part of CALL_ANALYZED.
  const summarized = Object.keys(summary).length > 0 && call.analyzedAt !== null;
  return changed(app, call, { steps, change, billed, summarized });
}

/**
 * Ends a call that was never dialed, or whose end is unknown. The caller holds the lock. A call from whose
 * placement the transition does not lead is left alone.
 */
export async function endCallLocally(
  app: App,
  tx: Tx,
  call: Call,
  end: {
    /** What the end means for the placement; null: nothing. */
    transition: EndTransition | null;
    status: CallStatus;
    endReason: CallEndReason;
    failure?: string;
    failureCode?: UserErrorCode;
  },
): Promise<Call> {
  const { transition, failure, failureCode, ...step } = end;
  if (isEnded(call.status) || (transition && !canMove(call, transition))) return call;
  const update = changed(app, call, {
    steps: [{ ...step, at: app.now() }],
    change: {
      ...(transition ? endOfPlacement(call, transition) : {}),
      ...(failure ? { failure } : {}),
      ...(failureCode ? { failureCode } : {}),
    },
    billed: false,
    summarized: false,
  });
  await writeUpdates(app, tx, [update]);
  return update.after;
}

/**
 * Closes a call whose end Ultravox did not report. The caller holds the lock. A call that waits to be
 * placed, again perhaps, is left alone.
 */
export async function closeLostCall(app: App, tx: Tx, call: Call, failure: string): Promise<Call> {
  if (!holdsSlot(call) || call.placement === 'CLAIMED') return call;
  const transition = call.placement === 'SENDING' ? 'LOSE_ANSWER' : null;
  return endCallLocally(app, tx, call, { transition, ...endOfLostCall(call.status), failure });
}

interface Change {
  steps: readonly Step[];
  change: Partial<Call>;
  billed: boolean;
  summarized: boolean;
}

/** The call with the columns of `change` and the steps, and the events of all that. */
function changed(app: App, call: Call, { steps, change, billed, summarized }: Change): CallUpdate {
  if (steps.length === 0 && Object.keys(change).length === 0) {
    return { before: call, after: call, events: [] };
  }
  const now = app.now();
  const next: Call = { ...call, ...change, updatedAt: now };
  const events: NewEvent[] = [];
  const record = (type: NewEvent['type'], at: Date, data: Record<string, Json>): void => {
    next.eventCount += 1;
    events.push({
      type,
      callId: call.id,
      agentId: call.agentId,
      ...(call.campaignId ? { campaignId: call.campaignId } : {}),
      sequence: next.eventCount,
      data,
      at,
    });
  };
  for (const step of steps) {
    const at = step.at ?? now;
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
  next.nextCheckAt = nextCheck(app, next, now);
  next.lostAt = lostAt(app, next);
  return { before: call, after: next, events };
}

const GIVE_UP_BILLING_MS = 24 * 3_600_000;

/** Returns when the reconciler looks a call up unless an update arrives before. */
export function nextCheck(app: App, call: Call, now: Date): Date | null {
  const every = app.config.CALL_CHECK_SECONDS * 1000;
  if (!call.endedAt) return new Date(now.getTime() + every);
  if (call.billingStatus !== 'PENDING' || !call.ultravoxId) return null;
  const age = now.getTime() - call.endedAt.getTime();
  return age > GIVE_UP_BILLING_MS ? null : new Date(now.getTime() + Math.max(every, age / 2));
}

/** Returns when a call counts as lost: its latest possible end, and CALL_LOST_AFTER_SECONDS. */
function lostAt(app: App, call: Call): Date | null {
  if (call.endedAt) return null;
  const start = call.answeredAt ?? call.ringingAt ?? call.claimedAt ?? call.createdAt;
  // The answer may not have been reported yet.
  const seconds = call.maxDurationSeconds + (call.answeredAt ? 0 : call.joinTimeoutSeconds);
  return new Date(start.getTime() + (seconds + app.config.CALL_LOST_AFTER_SECONDS) * 1000);
}

/**
 * Wakes subscribers after the commit, if the update added events, and listeners and the steps that follow, if
 * the call has ended.
 */
export function announceUpdate(app: App, before: Call | null, after: Call): void {
  if (before && before.eventCount === after.eventCount) return;
  if (after.endedAt && !before?.endedAt) {
    wakeFirstSteps(app, after);
    notifyCallEnded(app, { call: after, heldSlot: before === null || holdsSlot(before) });
  }
  announceEvents(app, after.organizationId);
}

function instant(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
