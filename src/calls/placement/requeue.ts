/** Requeues or ends calls whose request was not sent, or certainly not carried out. */
import type { App } from '../../app.ts';
import type { UserErrorCode } from '../../errors.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { lockCall } from '../lock.ts';
import { announceUpdate } from '../updates/call-update.ts';
import { endCallLocally } from '../updates/local-end.ts';
import { type DialBlockReason, requestedEnd } from './dial-block-reasons.ts';
import { canMove, type EndTransition, moveCalls } from './placement-state.ts';

/** Releases the claim of a call, unless it has been used or released in the meantime. */
export async function releaseClaim(
  app: App,
  id: string,
  notBefore: Date | null = null,
): Promise<void> {
  const where = Prisma.sql`id = ${id}::uuid`;
  await moveCalls(app.db, { transition: 'RELEASE', notBefore }, { where });
}

interface Postponement {
  /** The call is not claimed before this time. */
  notBefore?: Date | null;
  /** Does nothing unless the call was refused at exactly this time, and has not been queued again since. */
  refusedAt?: Date | null;
  /** Revision with which the agent was sent again for the call. */
  resentAgentRevision?: number | null;
}

/** Requeues a call whose request was certainly not carried out, or ends it if its end was requested. */
export async function postponeCall(
  app: App,
  id: string,
  { notBefore = null, refusedAt, resentAgentRevision = null }: Postponement = {},
): Promise<void> {
  await updateLockedCall(app, id, async (tx, call) => {
    if (!canMove(call, 'POSTPONE')) return call;
    const isOutdated =
      call.placement !== 'UNKNOWN' || call.refusedAt?.getTime() !== refusedAt?.getTime();
    if (refusedAt !== undefined && isOutdated) return call;
    if (call.endRequestedAt) {
      const end = await requestedEnd(tx, call);
      return endCallLocally(app, tx, call, { ...end, transition: 'REFUSE' });
    }
    const where = Prisma.sql`id = ${id}::uuid`;
    await moveCalls(tx, { transition: 'POSTPONE', notBefore, resentAgentRevision }, { where });
    return call;
  });
}

/** Fails a call, or ends it as requested. Nobody was called. */
export async function failCall(
  app: App,
  id: string,
  end: { transition: EndTransition; failure: string; failureCode?: UserErrorCode },
): Promise<void> {
  const { transition, failure, failureCode = 'ULTRAVOX_REFUSED' } = end;
  const failed = { status: 'FAILED', endReason: 'SYSTEM_ERROR', failure, failureCode } as const;
  await updateLockedCall(app, id, async (tx, call) =>
    endCallLocally(app, tx, call, {
      // After some failures its owner might call again, so a requested end takes precedence.
      ...(call.endRequestedAt ? await requestedEnd(tx, call) : failed),
      transition,
    }),
  );
}

/** Changes a call in a transaction that locks it, and announces the change. Does nothing if the call does not exist. */
async function updateLockedCall(
  app: App,
  id: string,
  change: (
    tx: Parameters<typeof lockCall>[0],
    call: NonNullable<Awaited<ReturnType<typeof lockCall>>>,
  ) => Promise<Call>,
): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    return call ? [call, await change(tx, call)] : [null, null];
  });
  if (after) announceUpdate(app, before, after);
}

/** Fails a call whose claim was not used because its number must not be dialed. */
export async function failBlockedCall(
  app: App,
  id: string,
  reason: DialBlockReason,
): Promise<void> {
  await updateLockedCall(app, id, (tx, call) =>
    endCallLocally(app, tx, call, { transition: 'WITHDRAW', status: 'FAILED', ...reason }),
  );
}
