/** Applies the state of a call as Ultravox reports it in a creation response, a webhook or a look-up. */
import type { App, Tx } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import {
  billedSeconds,
  billingStatusOf,
  compareBills,
  costOf,
  isUnknownBillingStatus,
} from '../billing.ts';
import { acceptance } from '../placement/placement-state.ts';
import { summaryChange } from '../post-call/summary.ts';
import { durationLimitsOf } from '../settings.ts';
import { isEnded, stepsTowards } from '../status.ts';
import { buildUpdate } from '../updates/call-update.ts';
import { type CallUpdate, type WrittenColumns, writeUpdates } from '../updates/write-updates.ts';
import { joinedAndEnded } from './reported-times.ts';

/** A state of a call at Ultravox. */
export interface Report {
  seen: UltravoxCall;
  /** `BILL`: the final bill, though perhaps an old one. `LOOK_UP`: the current state. Default: neither. */
  source?: 'BILL' | 'LOOK_UP' | undefined;
}

/**
 * Applies the state of a call at Ultravox. Repeated and outdated states change nothing. The caller has locked the
 * row, and calls `announceUpdate` with the row before and after once it has committed.
 */
export async function applyUltravoxCall(
  app: App,
  tx: Tx,
  call: Call,
  report: Report,
): Promise<Call> {
  const update = updateOf(app, call, report);
  await writeUpdates(app, tx, [update]);
  return update.after;
}

/** Returns the update that results from applying states of a call at Ultravox one after another. */
export function updateOf(app: App, call: Call, ...reports: readonly Report[]): CallUpdate {
  let update: CallUpdate = { before: call, after: call, events: [] };
  for (const report of reports) {
    const { after, events } = updateOfOne(app, update.after, report);
    // A look-up that an earlier one of the reports requested.
    const nextCheckAt = isLookUpDue(app, update) ? update.after.nextCheckAt : after.nextCheckAt;
    update = {
      before: call,
      after: after === update.after ? after : { ...after, nextCheckAt },
      events: [...update.events, ...events],
    };
  }
  return update;
}

function isLookUpDue({ now }: App, { before, after }: CallUpdate): boolean {
  return before !== after && after.nextCheckAt !== null && after.nextCheckAt <= now();
}

function updateOfOne(app: App, call: Call, { seen, source }: Report): CallUpdate {
  // The agent may have changed since the call was created here.
  const limits = call.ultravoxId === null ? durationLimitsOf(seen, {}, call) : null;
  const steps = stepsTowards(
    {
      status: call.status,
      direction: call.direction,
      medium: call.medium,
      endRequested: call.endRequestedAt !== null,
    },
    {
      ...joinedAndEnded(app, call, seen),
      endReason: seen.endReason,
      terminationReason: seen.sipDetails?.terminationReason ?? null,
      rangFullTime: hasRungFor((limits ?? call).joinTimeoutSeconds, seen),
    },
  );
  const change: WrittenColumns = {};
  if (limits) Object.assign(change, acceptance(call, seen.callId, app.now()), limits);
  const summary = summaryChange(call, seen);
  Object.assign(change, summary);
  // Also if the ID is known: a webhook, which has no join URL, may arrive before the response.
  const joinable = call.medium === 'WEBRTC' && !call.joinUrl && !isEnded(call.status);
  if (joinable && seen.joinUrl) change.joinUrl = seen.joinUrl;
  const bill = billChange(app, call, { seen, source });
  Object.assign(change, bill);
  const billed = bill.costAmount !== undefined && bill.costAmount !== null;
  // A summary that arrives earlier is part of CALL_ANALYZED.
  const summarized = Object.keys(summary).length > 0 && call.analyzedAt !== null;
  return buildUpdate(app, call, { steps, change, billed, summarized });
}

/** The columns of a new bill, or the request for a look-up that shows whether the bill is newer. */
function billChange(app: App, call: Call, { seen, source }: Report): WrittenColumns {
  const isFinal = source === 'BILL';
  const status = billingStatusOf(seen.billingStatus, { isFinal });
  const seconds = billedSeconds(seen.billedDuration);
  // Ultravox has a call that was assumed never to have been created, and therefore counted as free.
  const isFound = call.ultravoxId === null && call.billingStatus !== 'PENDING';
  const known = isFound
    ? ({ status: 'PENDING', seconds: 0 } as const)
    : { status: call.billingStatus, seconds: call.billedDurationSeconds ?? 0 };
  const verdict = compareBills(known, { status, seconds });
  if (verdict === 'LOOK_UP' && source !== 'LOOK_UP') return { nextCheckAt: app.now() };
  if (verdict === 'IGNORED') {
    return isFound
      ? {
          billingStatus: 'PENDING',
          billedDurationSeconds: null,
          costAmount: null,
          costCurrency: null,
        }
      : {};
  }
  if (isFinal && isUnknownBillingStatus(seen.billingStatus)) {
    app.failures.record('unknownBillingStatus', new Error(seen.billingStatus), {
      message: 'Ultravox reported an unknown billing status; the call counts as free',
      call: call.id,
    });
  }
  return {
    billingStatus: status,
    billedDurationSeconds: seconds,
    costAmount: new Prisma.Decimal(
      status === 'BILLED' ? costOf(seconds, app.config.PRICE_PER_MINUTE) : 0,
    ),
    costCurrency: app.config.PRICE_CURRENCY,
  };
}

/** Ultravox may start its timer before it notes the creation, or round. */
const TIMER_TOLERANCE_MS = 1_000;

function hasRungFor(seconds: number, { created, ended }: UltravoxCall): boolean {
  if (ended === null) return false;
  return Date.parse(ended) - Date.parse(created) >= seconds * 1_000 - TIMER_TOLERANCE_MS;
}
