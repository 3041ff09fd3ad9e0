/**
 * Moves a call on by what Ultravox tells of it: from the answer to its creation, from a webhook, or
 * from a look-up. The row is locked while it moves, and each state passed is an event of the log in
 * the same transaction.
 */
import type { App, Tx } from '../app.ts';
import type { UserErrorCode } from '../errors.ts';
import type { Call, CallEndReason, CallStatus, Prisma } from '../generated/prisma/client.ts';
import type { Json } from '../infra/bus.ts';
import { announceEvents, appendEvents, type NewEvent } from '../live/log.ts';
import type { Call as UltravoxCall } from '../ultravox/wire.ts';
import { billedSeconds, billingStatusOf, costOf, isBillingNews } from './billing.ts';
import { runCampaignsJob } from './jobs.ts';
import { isEnded, type Step, settledEnd, stepsTowards } from './status.ts';

/** The first event of a call's log, beside which its row is inserted with `eventCount` 1. */
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

/** Locks a call for the rest of the transaction. */
export async function lockCall(tx: Tx, id: string): Promise<Call | null> {
  await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${id}::uuid FOR UPDATE`;
  return tx.call.findUnique({ where: { id } });
}

/**
 * Takes over what Ultravox says of a call. May be given the same, or something older, any number of
 * times: then nothing changes. The caller has locked the row, and calls `afterProgress` with the
 * row before and the row after once the transaction is committed.
 */
export async function applyUltravoxCall(
  app: App,
  tx: Tx,
  call: Call,
  seen: UltravoxCall,
): Promise<Call> {
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
  const change: Prisma.CallUncheckedUpdateInput = {};
  if (call.ultravoxId === null) change.ultravoxId = seen.callId;
  // Not only with the id: a webhook, which has no address, may come before the answer.
  const joinable = call.medium === 'WEBRTC' && !call.joinUrl && !isEnded(call.status);
  if (joinable && seen.joinUrl) change.joinUrl = seen.joinUrl;
  const billing = billingStatusOf(seen.billingStatus);
  const billed = isBillingNews(call.billingStatus, billing);
  if (billed) {
    const seconds = billedSeconds(seen.billedDuration);
    Object.assign(change, {
      billingStatus: billing,
      billedDurationSeconds: seconds,
      costAmount: billing === 'BILLED' ? costOf(seconds, app.config.PRICE_PER_MINUTE) : '0',
      costCurrency: app.config.PRICE_CURRENCY,
    });
  }
  return takeSteps(app, tx, call, steps, change, billed);
}

/** Ends a call that was never dialled, or whose fate cannot be learnt. The caller holds the lock. */
export async function endCallLocally(
  app: App,
  tx: Tx,
  call: Call,
  end: {
    status: CallStatus;
    endReason: CallEndReason;
    failure?: string;
    failureCode?: UserErrorCode;
  },
): Promise<Call> {
  if (isEnded(call.status)) return call;
  const { failure, failureCode, ...step } = end;
  const why = { ...(failure ? { failure } : {}), ...(failureCode ? { failureCode } : {}) };
  return takeSteps(app, tx, call, [{ ...step, at: app.now() }], why, false);
}

/**
 * Takes back calls of campaigns that wait and were never dialled: the attempt never was. Those that
 * have ended or were claimed meanwhile are left alone.
 *
 * @returns the calls taken back, and the events to append for each organization.
 */
export async function withdrawCalls(
  app: App,
  tx: Tx,
  ids: readonly string[],
): Promise<{ ids: Set<string>; events: Map<string, NewEvent[]> }> {
  const now = app.now();
  const events = new Map<string, NewEvent[]>();
  await tx.$queryRaw`
    SELECT 1 FROM calls WHERE id = ANY(${[...ids]}::uuid[]) ORDER BY id FOR NO KEY UPDATE`;
  const withdrawn = await tx.call.updateManyAndReturn({
    where: { id: { in: [...ids] }, status: 'CREATED', placingAt: null },
    data: {
      status: 'CANCELLED',
      endReason: 'CANCELLED',
      failure: 'Its campaign took it back before it was dialled. Nobody was called.',
      endedAt: now,
      settledAt: now,
      attempt: null,
      nextCheckAt: null,
      settleBy: null,
      eventCount: { increment: 1 },
    },
  });
  for (const call of withdrawn) {
    const list = events.get(call.organizationId) ?? [];
    events.set(call.organizationId, list);
    list.push({
      type: 'CALL_CANCELLED',
      callId: call.id,
      agentId: call.agentId,
      ...(call.campaignId ? { campaignId: call.campaignId } : {}),
      sequence: call.eventCount,
      data: { status: call.status, endReason: call.endReason },
      at: now,
    });
  }
  return { ids: new Set(withdrawn.map(({ id }) => id)), events };
}

/** Settles a call that Ultravox no longer tells of. */
export async function settleCall(app: App, tx: Tx, call: Call, failure: string): Promise<Call> {
  return endCallLocally(app, tx, call, { ...settledEnd(call.status), failure });
}

async function takeSteps(
  app: App,
  tx: Tx,
  call: Call,
  steps: readonly Step[],
  change: Prisma.CallUncheckedUpdateInput,
  billed: boolean,
): Promise<Call> {
  if (steps.length === 0 && Object.keys(change).length === 0) return call;
  const now = app.now();
  const next: Call = { ...call };
  if (typeof change.ultravoxId === 'string') next.ultravoxId = change.ultravoxId;
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
    if (step.status === 'RINGING') change.ringingAt = next.ringingAt = at;
    if (step.status === 'IN_PROGRESS') change.answeredAt = next.answeredAt = at;
    if (isEnded(step.status)) {
      change.endedAt = next.endedAt = at;
      change.endReason = next.endReason = step.endReason;
      change.joinUrl = null;
    }
    record(`CALL_${step.status}`, at, { status: step.status, endReason: step.endReason });
  }
  if (billed) {
    record('CALL_BILLED', now, {
      status: next.status,
      endReason: next.endReason,
      billedDurationSeconds: Number(change.billedDurationSeconds ?? 0),
      costAmount: String(change.costAmount ?? '0'),
      costCurrency: String(change.costCurrency ?? ''),
    });
    next.billingStatus = change.billingStatus as Call['billingStatus'];
  }
  const updated = await tx.call.update({
    where: { id: call.id },
    data: {
      ...change,
      status: next.status,
      eventCount: next.eventCount,
      nextCheckAt: nextCheck(app, next, now),
      settleBy: settleBy(app, next),
    },
  });
  // Also of a call that somebody asked for by itself: campaigns get its line.
  const held = call.campaignId !== null || call.placingAt !== null;
  if (held && updated.endedAt && !call.endedAt) await app.jobs.enqueue(tx, runCampaignsJob, {});
  if (events.length > 0) await appendEvents(tx, call.organizationId, events);
  return updated;
}

const GIVE_UP_BILLING_MS = 24 * 3_600_000;

/** When the reconciler has to look at a call that nothing more is heard of. */
export function nextCheck(app: App, call: Call, now: Date): Date | null {
  const every = app.config.CALL_CHECK_SECONDS * 1000;
  if (!call.endedAt) return new Date(now.getTime() + every);
  if (call.billingStatus !== 'PENDING' || !call.ultravoxId) return null;
  const age = now.getTime() - call.endedAt.getTime();
  return age > GIVE_UP_BILLING_MS ? null : new Date(now.getTime() + Math.max(every, age / 2));
}

/** The latest instant at which it must have ended, and some time for the news of it. */
function settleBy(app: App, call: Call): Date | null {
  if (call.endedAt) return null;
  const start = call.answeredAt ?? call.ringingAt ?? call.placingAt ?? call.createdAt;
  // Not known to be answered is not the same as not answered: it may be talking by now.
  const seconds = call.maxDurationSeconds + (call.answeredAt ? 0 : call.joinTimeoutSeconds);
  return new Date(start.getTime() + (seconds + app.config.CALL_SETTLE_SECONDS) * 1000);
}

/** What follows from a change once it is committed: subscribers, slots, requested hang-ups. */
export function afterProgress(app: App, before: Call | null, after: Call): void {
  if (before && before.eventCount === after.eventCount) return;
  announceEvents(app, after.organizationId);
}

function instant(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
