/** Applies the state of a call as Ultravox reports it in a creation response, a webhook or a look-up. */
import type { App, Tx } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { billedSeconds, billingStatusOf, costOf, isBillingUpdate } from '../billing.ts';
import { acceptance } from '../placement/placement-state.ts';
import { summaryChange } from '../post-call/summary.ts';
import { isEnded, stepsTowards } from '../status.ts';
import { buildUpdate } from '../updates/call-update.ts';
import { type CallUpdate, writeUpdates } from '../updates/write-updates.ts';

/**
 * Applies the state of a call at Ultravox. Repeated and outdated states change nothing. The caller has locked the
 * row, and calls `announceUpdate` with the row before and after once it has committed.
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

/** Returns the update that results from applying states of a call at Ultravox one after another. */
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
  // Also if the ID is known: a webhook, which has no join URL, may arrive before the response.
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
  // A summary that arrives earlier is part of CALL_ANALYZED.
  const summarized = Object.keys(summary).length > 0 && call.analyzedAt !== null;
  return buildUpdate(app, call, { steps, change, billed, summarized });
}

function instant(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
