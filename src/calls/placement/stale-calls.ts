/** Ends calls that have waited to be placed past their deadline. */
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { lockCalls } from '../lock.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { buildLocalEnd, type LocalEnd, whetherCalled } from '../updates/local-end.ts';
import { writeUpdates } from '../updates/write-updates.ts';
import { waitsTooLong } from './limits.ts';

const STALE_BATCH = 200;

interface StaleCall {
  id: string;
  /** Whether its deadline has passed. */
  isLate: boolean;
}

/**
 * Fails calls that have waited past their deadline or for too long, so that no phone rings hours after the request. A call that cannot be changed is left to a later run.
 */
export async function failStaleCalls(app: App): Promise<void> {
  const failed: string[] = [];
  for (let found = STALE_BATCH; found === STALE_BATCH && !app.closing.aborted; ) {
    const calls = await staleCalls(app, failed);
    found = calls.length;
    // One of them cannot be changed: the others must not wait for it.
    await failCalls(app, calls).catch(async () => {
      for (const call of calls) {
        await failCalls(app, [call]).catch((error: unknown) => {
          failed.push(call.id);
          app.failures.record('failStaleCall', error, {
            message: 'Could not end a call that has waited too long; will retry',
            callId: call.id,
          });
        });
      }
    });
  }
}

/** Fails those of the calls that are still waiting, in one transaction. */
async function failCalls(app: App, stale: readonly StaleCall[]): Promise<void> {
  const late = new Set(stale.filter(({ isLate }) => isLate).map(({ id }) => id));
  const ids = stale.map(({ id }) => id);
  const updates = await app.db.$transaction(async (tx) => {
    const where = Prisma.sql`id = ANY(${ids}::uuid[]) AND placement = 'QUEUED'`;
    const calls = await lockCalls(tx, where);
    const ended = calls.map((call) =>
      buildLocalEnd(app, call, endOf(app, call, late.has(call.id))),
    );
    await writeUpdates(app, tx, ended);
    return ended;
  });
  for (const { before, after } of updates) announceUpdate(app, before, after);
}

function endOf(app: App, call: Call, isLate: boolean): LocalEnd {
  const tooLong = call.medium === 'WEBRTC' ? 'for too long' : 'for more than an hour';
  const waited = isLate ? 'until `placeBefore`' : tooLong;
  return {
    transition: 'WITHDRAW',
    status: 'FAILED',
    endReason: 'SYSTEM_ERROR',
    failure: `The call waited ${waited} to be placed. ${whetherCalled(app, call)}`,
  };
}

/** Finds stale calls. Deadlines are compared with the database clock, since the clock of one process may be fast. */
async function staleCalls(app: App, except: readonly string[]): Promise<StaleCall[]> {
  const isLate = Prisma.sql`place_before <= clock_timestamp()`;
  return app.db.$queryRaw<StaleCall[]>`
    SELECT id, coalesce(${isLate}, false) AS "isLate" FROM calls
    WHERE placement = 'QUEUED' AND owner IS NULL AND id <> ALL(${[...except]}::uuid[])
      AND (${waitsTooLong(app.now())} OR ${isLate})
    LIMIT ${STALE_BATCH}`;
}
