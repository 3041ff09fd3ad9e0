/** Ends calls that wait for capacity longer than their caller wants to wait. */
import type { App } from '../../app.ts';
import { endCallLocally } from '../ultravox/apply-update.ts';
import { oldestWorthPlacing } from './claims.ts';
import { updateLockedCall } from './requeue.ts';

const STALE_BATCH = 200;

/**
 * Fails calls that have waited until their deadline, or for more than an hour, so that no phone rings hours
 * after the request.
 */
export async function failStaleCalls(app: App): Promise<void> {
  for (let ids = await staleCalls(app); ids.length > 0; ids = await staleCalls(app)) {
    for (const id of ids) {
      await updateLockedCall(app, id, async (tx, call) => {
        if (call.placement !== 'QUEUED') return call;
        const { placeBefore } = call;
        const waited =
          placeBefore && placeBefore <= app.now() ? 'until `placeBefore`' : 'for more than an hour';
        return endCallLocally(app, tx, call, {
          transition: 'WITHDRAW',
          status: 'FAILED',
          endReason: 'SYSTEM_ERROR',
          failure: `The call waited ${waited} for capacity at Ultravox. Nobody was called.`,
        });
      });
    }
    if (ids.length < STALE_BATCH || app.closing.aborted) return;
  }
}

async function staleCalls(app: App): Promise<string[]> {
  const rows = await app.db.call.findMany({
    where: {
      placement: 'QUEUED',
      owner: null,
      OR: [{ createdAt: { lte: oldestWorthPlacing(app) } }, { placeBefore: { lte: app.now() } }],
    },
    select: { id: true },
    take: STALE_BATCH,
  });
  return rows.map(({ id }) => id);
}
