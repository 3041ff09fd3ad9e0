/** Applies the responses of Ultravox to creation requests. */
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { hiddenFromPlanner } from '../../infra/database/hidden-from-planner.ts';
import { type Batches, createBatches } from '../../infra/jobs/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { lockCall, readCalls } from '../lock.ts';
import { announceEnd, announceUpdate } from '../updates/call-update.ts';
import { writeAndAnnounce } from '../updates/write-updates.ts';
import { applyUltravoxCall, updateOf } from './apply-update.ts';
import { hangUpIfNotIngested } from './ingest.ts';

const BATCH = 50;
/**
 * Delay for calls placed on behalf of another feature, for whose response nobody waits. A webhook with the same
 * content arrives at about the same time, and has usually been applied by then.
 */
const WAIT_MS = 100;

interface Response {
  id: string;
  seen: UltravoxCall;
}

const batches = perInstance((app: App) => ({
  now: batchesOf(app, 0),
  soon: batchesOf(app, WAIT_MS),
}));

const batchesOf = (app: App, waitMs: number): Batches<Response, null> =>
  createBatches({
    size: BATCH,
    waitMs,
    async work(responses) {
      const seen = new Map(responses.map((response) => [response.id, response.seen]));
      const read = await readCalls(
        app.rows,
        Prisma.sql`id = ANY(${hiddenFromPlanner([...seen.keys()], 'uuid[]')})`,
      );
      const updates = read.flatMap(({ call, version }) => {
        const response = seen.get(call.id)!;
        return isOf(call, response) ? { ...updateOf(app, call, { seen: response }), version } : [];
      });
      const { ids } = await writeAndAnnounce(app, updates);
      for (const { before, after } of updates) {
        if (ids.has(before.id)) announceEnd(app, before, after);
      }
      for (const { call } of read) {
        if (!ids.has(call.id)) await applyLocked(app, call.id, seen.get(call.id)!);
      }
      return responses.map(() => null);
    },
  });

/** Applies a response to a call that has been changed since the request, usually by a webhook. */
async function applyLocked(app: App, id: string, seen: UltravoxCall): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    if (!call || !isOf(call, seen)) return [null, null];
    return [call, await applyUltravoxCall(app, tx, call, { seen })];
  });
  if (after) announceUpdate(app, before, after);
  // In the background: if it fails, the creation must not count as failed.
  else app.background('hangUpIfNotIngested', () => hangUpIfNotIngested(app, seen));
}

/** Whether a response is about the call that is known, and not about a second one that Ultravox has made for it. */
function isOf({ ultravoxId }: Pick<Call, 'ultravoxId'>, seen: UltravoxCall): boolean {
  return ultravoxId === null || ultravoxId === seen.callId;
}

/**
 * Applies the response to the creation of a call, batched with others that arrive at the same time: immediately if a
 * request waits for it, otherwise after a short delay.
 */
export async function applyCreationResponse(
  app: App,
  response: Response,
  { isAwaited }: { isAwaited: boolean },
): Promise<void> {
  const { now, soon } = batches(app);
  await (isAwaited ? now : soon).add(response);
}
