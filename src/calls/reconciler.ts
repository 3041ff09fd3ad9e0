/**
 * Settles what no webhook told: calls whose placing was interrupted, whose end or bill was never
 * reported, and incoming calls nobody announced. Every call reaches an end through here.
 */
import type { App } from '../app.ts';
import type { Call } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { UltravoxError } from '../ultravox/error.ts';
import type { Call as UltravoxCall } from '../ultravox/wire.ts';
import { hangUpIfUnwanted, takeInCall } from './intake.ts';
import { placeWaitingCalls } from './placement.ts';
import { afterProgress, endCallLocally, lockCall, nextCheck, settleCall } from './progress.ts';
import { hangUp } from './service.ts';
import { isEnded } from './status.ts';

const BATCH = 50;
const AT_ONCE = 10;
/** Nobody else takes a call up within this time. */
const CLAIM_SECONDS = 60;
const LOOK_AGAIN_MS = 5_000;
/** How far back the first look for unknown calls goes, and how much later ones overlap. */
const FIRST_LOOK_BACK_MS = 24 * 3_600_000;
const OVERLAP_MS = 5 * 60_000;
const MAX_DISCOVERED = 2_000;

/** Looks up every call that is due, as many times as there are full batches. */
export async function checkCalls(app: App): Promise<void> {
  for (;;) {
    const due = await claimDueCalls(app);
    for (let start = 0; start < due.length; start += AT_ONCE) {
      await Promise.all(due.slice(start, start + AT_ONCE).map((call) => checkOne(app, call)));
    }
    if (due.length < BATCH || app.closing.aborted) return;
  }
}

async function claimDueCalls(app: App): Promise<Call[]> {
  const now = app.now();
  const again = new Date(now.getTime() + CLAIM_SECONDS * 1000);
  const rows = await app.db.$queryRaw<{ id: string }[]>`
    UPDATE calls SET next_check_at = ${again} WHERE id IN (
      SELECT id FROM calls WHERE next_check_at <= ${now}
      ORDER BY next_check_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)
    RETURNING id`;
  return app.db.call.findMany({ where: { id: { in: rows.map(({ id }) => id) } } });
}

async function checkOne(app: App, call: Call): Promise<void> {
  try {
    const seen = await lookUp(app, call);
    if (seen) await takeIn(app, call, seen);
    else await notFound(app, call);
  } catch (error) {
    if (!(error instanceof UltravoxError)) {
      app.log.error({ err: error, call: call.id }, 'A call could not be looked up');
      return;
    }
    await unreachable(app, call, error);
  }
}

/** By Ultravox's id; without one, by ours in the metadata it was asked to keep. */
async function lookUp(app: App, call: Call): Promise<UltravoxCall | null> {
  if (!call.ultravoxId) {
    const page = await app.ultravox.calls.list({
      metadata: { callId: publicId('cal', call.id) },
      pageSize: 10,
    });
    const wanted = publicId('cal', call.id);
    return page.results.find(({ metadata }) => metadata.callId === wanted) ?? null;
  }
  try {
    return await app.ultravox.calls.get(call.ultravoxId);
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_found') return null;
    throw error;
  }
}

async function takeIn(app: App, call: Call, seen: UltravoxCall): Promise<void> {
  const taken = await app.db.$transaction((tx) => takeInCall(app, tx, seen));
  const after = taken?.after ?? call;
  if (taken) {
    afterProgress(app, taken.before, after);
    hangUpIfUnwanted(app, taken);
    // Asked for while it was live, and Ultravox has not done it: asked again.
    if (after.endRequestedAt && taken.before?.status === 'IN_PROGRESS' && !isEnded(after.status)) {
      await hangUp(app, after);
    }
  }
  if (!isEnded(after.status) && after.settleBy && after.settleBy <= app.now()) {
    await settleOverdue(app, after);
    return;
  }
  if (isEnded(after.status) && !isEnded(call.status)) await placeWaitingCalls(app);
  await app.db.call.updateMany({
    where: { id: call.id, endedAt: after.endedAt, billingStatus: after.billingStatus },
    data: { nextCheckAt: nextCheck(app, after, app.now()) },
  });
}

/**
 * Ultravox still calls it live, after the latest instant at which it must have ended. It is told to
 * hang up, and the call is settled here: it holds its slot no longer.
 */
async function settleOverdue(app: App, call: Call): Promise<void> {
  app.log.warn({ call: call.id }, 'A call is live beyond its longest duration; it is settled');
  await hangUp(app, call).catch((error: unknown) => {
    app.log.warn({ err: error, call: call.id }, 'An overdue call could not be hung up');
  });
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    if (!locked) return [null, null];
    const failure = 'Ultravox did not report its end in time.';
    return [locked, await settleCall(app, tx, locked, failure)];
  });
  if (after) afterProgress(app, before, after);
  await placeWaitingCalls(app);
}

/**
 * Ultravox does not know the call. One that it once knew was removed there. One whose placing was
 * interrupted may still turn up, until there has been time enough.
 */
async function notFound(app: App, call: Call): Promise<void> {
  const known = call.ultravoxId !== null;
  const placedAt = (call.sendingAt ?? call.placingAt ?? call.createdAt).getTime();
  // Never before the request itself has surely ended.
  const seconds = Math.max(
    app.config.CALL_SETTLE_SECONDS,
    app.config.ULTRAVOX_TIMEOUT_SECONDS + 10,
  );
  const timeUp = Date.now() - placedAt > seconds * 1000;
  if (!known && !timeUp) {
    const nextCheckAt = new Date(app.now().getTime() + LOOK_AGAIN_MS);
    await app.db.call.updateMany({ where: { id: call.id }, data: { nextCheckAt } });
    return;
  }
  const [before, after] = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, call.id);
    // Given back, placed again or found meanwhile: what we looked up is not about that.
    const same =
      locked?.ultravoxId === call.ultravoxId &&
      locked.placingAt?.getTime() === call.placingAt?.getTime();
    if (!locked || !same) return [null, null];
    if (known) {
      const settled = await settleCall(app, tx, locked, 'Ultravox no longer knows this call.');
      await tx.call.update({ where: { id: call.id }, data: { nextCheckAt: null } });
      return [locked, settled];
    }
    const end = {
      status: 'FAILED',
      endReason: 'SYSTEM_ERROR',
      failure:
        'Placing the call was interrupted, and Ultravox has no trace of it. Nobody was called.',
    } as const;
    return [locked, await endCallLocally(app, tx, locked, end)];
  });
  if (!after) return;
  afterProgress(app, before, after);
  await placeWaitingCalls(app);
}

/** Ultravox cannot be asked. Past the latest instant at which it must have ended, we stop waiting. */
async function unreachable(app: App, call: Call, error: UltravoxError): Promise<void> {
  const now = app.now();
  app.log.warn(
    { call: call.id, error: error.message },
    'A call could not be looked up; trying again',
  );
  if (call.settleBy && call.settleBy <= now && !isEnded(call.status)) {
    const [before, after] = await app.db.$transaction(async (tx) => {
      const locked = await lockCall(tx, call.id);
      if (!locked) return [null, null];
      const failure = 'Its end was never reported, and Ultravox could not be asked.';
      return [locked, await settleCall(app, tx, locked, failure)];
    });
    if (after) afterProgress(app, before, after);
    return;
  }
  const wait = Math.max(LOOK_AGAIN_MS, (error.retryAfterSeconds ?? 0) * 1000);
  const soon = now.getTime() + Math.min(wait, app.config.CALL_CHECK_SECONDS * 1000);
  const nextCheckAt = new Date(Math.min(soon, call.settleBy?.getTime() ?? soon));
  await app.db.call.updateMany({
    where: { id: call.id },
    data: { nextCheckAt: nextCheckAt > now ? nextCheckAt : new Date(soon) },
  });
}

/** Up to where a process has looked for calls that it does not know. */
const discoveredUpTo = new WeakMap<App, Date>();

/** Looks through Ultravox's newest calls for those that no webhook announced. */
export async function discoverCalls(app: App): Promise<void> {
  const startedAt = new Date();
  const from = discoveredUpTo.get(app) ?? new Date(startedAt.getTime() - FIRST_LOOK_BACK_MS);
  let batch: UltravoxCall[] = [];
  let count = 0;
  let complete = true;
  for await (const seen of app.ultravox.calls.listAll({
    fromDate: from.toISOString(),
    sort: '-created',
    pageSize: 100,
  })) {
    batch.push(seen);
    count += 1;
    if (batch.length === 100) batch = await takeInUnknown(app, batch);
    if (count >= MAX_DISCOVERED) {
      complete = false;
      break;
    }
  }
  await takeInUnknown(app, batch);
  if (complete) discoveredUpTo.set(app, new Date(startedAt.getTime() - OVERLAP_MS));
}

/** One query tells which are new; the known ones are left to the checks above. */
async function takeInUnknown(app: App, batch: readonly UltravoxCall[]): Promise<UltravoxCall[]> {
  const known = await app.db.call.findMany({
    where: { ultravoxId: { in: batch.map(({ callId }) => callId) } },
    select: { ultravoxId: true },
  });
  const knownIds = new Set(known.map(({ ultravoxId }) => ultravoxId));
  for (const seen of batch) {
    if (knownIds.has(seen.callId)) continue;
    try {
      const taken = await app.db.$transaction((tx) => takeInCall(app, tx, seen));
      if (!taken) continue;
      afterProgress(app, taken.before, taken.after);
      hangUpIfUnwanted(app, taken);
    } catch (error) {
      app.log.error({ err: error, ultravoxCall: seen.callId }, 'A call could not be taken in');
    }
  }
  return [];
}
