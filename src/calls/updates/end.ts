/** Ends calls on request, also at Ultravox if they are live. */
import type { App } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import { lockCall } from '../lock.ts';
import { canMove } from '../placement/placement-state.ts';
import { CANCELLED, isEnded } from '../status.ts';
import { applyUltravoxCall } from '../ultravox/apply-update.ts';
import { appendCallEvents } from './append-events.ts';
import { announceUpdate, nextCheck } from './call-update.ts';
import { endCallLocally, type LocalEnd } from './local-end.ts';

/** End of a call that was not sent. */
export const CANCELLATION = { transition: 'WITHDRAW', ...CANCELLED } as const;

/**
 * Records a request to end a call. The caller hangs up the returned call if it is IN_PROGRESS.
 *
 * @param withdrawn how to end the call if it is not dialed yet.
 */
export async function requestEnd(app: App, id: string, withdrawn: LocalEnd): Promise<Call> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, id);
    if (!locked) throw new Error(`Call ${id} does not exist`);
    if (isEnded(locked.status)) return [locked, locked];
    if (canMove(locked, 'WITHDRAW')) {
      return [locked, await endCallLocally(app, tx, locked, withdrawn)];
    }
    if (locked.endRequestedAt) return [locked, locked];
    const endRequestedAt = app.now();
    const changed = { ...locked, endRequestedAt };
    // A call that may not be at Ultravox yet keeps the time of its look-up.
    const nextCheckAt = locked.ultravoxId
      ? nextCheck(app, changed, endRequestedAt)
      : locked.nextCheckAt;
    await tx.call.update({ where: { id: locked.id }, data: { endRequestedAt, nextCheckAt } });
    const requested = [{ type: 'CALL_END_REQUESTED', data: {}, at: endRequestedAt }] as const;
    return [locked, await appendCallEvents(tx, changed, requested)];
  });
  announceUpdate(app, before, after);
  return after;
}

/**
 * Hangs up a live call at Ultravox. A call that is no longer live is looked up instead. If Ultravox cannot be
 * reached, the reconciler tries again.
 */
export async function hangUp(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  try {
    if (!(await endAtUltravox(app, call.ultravoxId))) await refreshCall(app, call);
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    app.log.warn({ call: call.id, error: error.message }, 'Could not hang up a call; will retry');
  }
}

/** Ends a call by its Ultravox ID. Returns false if it is not live. */
export async function endAtUltravox(app: App, ultravoxId: string): Promise<boolean> {
  try {
    await app.ultravox.calls.hangUp(ultravoxId);
    return true;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_live') return false;
    throw error;
  }
}

/** Looks a call up at Ultravox and applies its state. */
export async function refreshCall(app: App, call: Call): Promise<void> {
  if (!call.ultravoxId) return;
  const seen = await app.ultravox.calls.get(call.ultravoxId);
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    if (!locked) throw new Error(`Call ${call.id} does not exist`);
    return [locked, await applyUltravoxCall(app, tx, locked, { seen, source: 'LOOK_UP' })];
  });
  announceUpdate(app, before, after);
}
