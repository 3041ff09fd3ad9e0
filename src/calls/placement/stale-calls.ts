/** Ends calls that have waited to be placed past their deadline. */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { endCallLocally } from '../updates/local-end.ts';
import { oldestPlaceableCreatedAt } from './claims.ts';
import { updateLockedCall } from './requeue.ts';

const STALE_BATCH = 200;

interface StaleCall {
  id: string;
  /** Whether its deadline has passed. */
  isLate: boolean;
}

/**
 * Fails calls that have waited past their deadline or for more than an hour, so that no phone rings hours after the
 * request. A call that cannot be changed is left to a later run.
 */
export async function failStaleCalls(app: App): Promise<void> {
  const failed: string[] = [];
  for (let found = STALE_BATCH; found === STALE_BATCH && !app.closing.aborted; ) {
    const calls = await staleCalls(app, failed);
    found = calls.length;
    for (const call of calls) {
      await failStale(app, call).catch((error: unknown) => {
        failed.push(call.id);
        app.failures.record('failStaleCall', error, {
          message: 'A call that has waited too long could not be ended; it is tried again',
          callId: call.id,
        });
      });
    }
  }
}

async function failStale(app: App, { id, isLate }: StaleCall): Promise<void> {
  const waited = isLate ? 'until `placeBefore`' : 'for more than an hour';
  await updateLockedCall(app, id, async (tx, call) => {
    if (call.placement !== 'QUEUED') return call;
    return endCallLocally(app, tx, call, {
      transition: 'WITHDRAW',
      status: 'FAILED',
      endReason: 'SYSTEM_ERROR',
      failure: `The call waited ${waited} to be placed. Nobody was called.`,
    });
  });
}

/** Finds stale calls. Deadlines are compared with the database clock, since the clock of one process may be fast. */
async function staleCalls(app: App, except: readonly string[]): Promise<StaleCall[]> {
  const isLate = Prisma.sql`place_before <= clock_timestamp()`;
  return app.db.$queryRaw<StaleCall[]>`
    SELECT id, coalesce(${isLate}, false) AS "isLate" FROM calls
    WHERE placement = 'QUEUED' AND owner IS NULL AND id <> ALL(${[...except]}::uuid[])
      AND (created_at <= ${oldestPlaceableCreatedAt(app)}::timestamptz OR ${isLate})
    LIMIT ${STALE_BATCH}`;
}
