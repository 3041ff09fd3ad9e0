/** Ends calls whose end Ultravox does not report. */
import type { App, Tx } from '../../app.ts';
import type { UserErrorCode } from '../../errors.ts';
import {
  type Call,
  type CallEndReason,
  type CallStatus,
  Prisma,
} from '../../generated/prisma/client.ts';
import {
  canMove,
  type EndTransition,
  endOfPlacement,
  holdsSlot,
} from '../placement/placement-state.ts';
import { endOfLostCall, isEnded } from '../status.ts';
import { buildUpdate } from './call-update.ts';
import { type CallUpdate, type WrittenColumns, writeUpdates } from './write-updates.ts';

export interface LocalEnd {
  /** Transition of the placement; null leaves it unchanged. */
  transition: EndTransition | null;
  status: CallStatus;
  endReason: CallEndReason;
  /** Default: now. */
  at?: Date;
  failure?: string;
  failureCode?: UserErrorCode;
}

/**
 * Ends a call that was never dialed, or whose end is unknown. The caller holds the lock. Does nothing if the
 * transition is not allowed from the call's placement.
 */
export async function endCallLocally(app: App, tx: Tx, call: Call, end: LocalEnd): Promise<Call> {
  const update = buildLocalEnd(app, call, end);
  await writeUpdates(app, tx, [update]);
  return update.after;
}

/** Builds the update of `endCallLocally`. */
export function buildLocalEnd(app: App, call: Call, end: LocalEnd): CallUpdate {
  const { transition, failure, failureCode, at = app.now(), ...step } = end;
  const isNeverCreated = transition !== null && transition !== 'LOSE_RESPONSE';
  if (isEnded(call.status) || (transition && !canMove(call, transition))) {
    return { before: call, after: call, events: [] };
  }
  return buildUpdate(app, call, {
    steps: [{ ...step, at }],
    change: {
      ...(transition ? endOfPlacement(call, transition) : {}),
      // The outcome of a lost call is unknown, so it may still be billed.
      ...(isNeverCreated ? freeOfCharge(app) : {}),
      // A request that was refused may still be carried out: the reconciler looks for the call.
      ...(isNeverCreated && call.refusedAt ? { nextCheckAt: app.now() } : {}),
      ...(failure ? { failure } : {}),
      ...(failureCode ? { failureCode } : {}),
    },
    billed: false,
    summarized: false,
  });
}

/** Time after which a request that was refused is no longer carried out; null if none was refused. */
export function refusedUntil({ config }: App, { refusedAt }: Pick<Call, 'refusedAt'>): Date | null {
  return refusedAt && new Date(refusedAt.getTime() + config.CALL_REFUSED_AFTER_SECONDS * 1000);
}

/** Says whether anybody was called, for the failure of a call that ends while it waits. */
export function whetherCalled(app: App, call: Pick<Call, 'refusedAt'>): string {
  const until = refusedUntil(app, call);
  return until && until > app.now()
    ? 'An earlier request was refused, but may still be carried out: the person may have been called, and is then hung up on.'
    : 'Nobody was called.';
}

/** The bill of a call that was never created at Ultravox. */
function freeOfCharge({ config }: App): WrittenColumns {
  return {
    billingStatus: 'FREE',
    billedDurationSeconds: 0,
    costAmount: new Prisma.Decimal(0),
    costCurrency: config.PRICE_CURRENCY,
  };
}

/**
 * Closes a call whose end Ultravox did not report. The caller holds the lock. Does nothing if the call is waiting to
 * be placed, possibly again.
 */
export async function closeLostCall(app: App, tx: Tx, call: Call, failure: string): Promise<Call> {
  if (!holdsSlot(call) || call.placement === 'CLAIMED') return call;
  return endCallLocally(app, tx, call, {
    transition: call.placement === 'SENDING' ? 'LOSE_RESPONSE' : null,
    ...endOfLostCall(call.status),
    at: latestEnd(app, call),
    failure,
  });
}

/** Now, or the latest time at which an answered call can have ended, if that was before. */
function latestEnd(app: App, { answeredAt, maxDurationSeconds }: Call): Date {
  const now = app.now();
  if (!answeredAt) return now;
  return new Date(Math.min(now.getTime(), answeredAt.getTime() + maxDurationSeconds * 1000));
}
