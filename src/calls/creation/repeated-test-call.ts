/** Finds the test call of a request that is repeated with its idempotency key. */
import type { App } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { newId } from '../../infra/ids.ts';
import { newObjectId, ownedBy, type Viewer } from '../../viewer.ts';

/**
 * Returns the ID of the call to start, and the call itself if an earlier run created it and it can still be joined. If
 * the call of an earlier run is over, for example because Ultravox had no capacity, the next run starts another call.
 */
export async function testCallOf(
  app: App,
  viewer: Viewer,
): Promise<{ id: string; earlier: Call | null }> {
  const { idempotency } = viewer;
  if (!idempotency) return { id: newId(), earlier: null };
  const idOf = (run: number) =>
    newObjectId({ ...viewer, idempotency: { ...idempotency, seed: `${idempotency.seed}/${run}` } });
  const find = (run: number) =>
    app.db.call.findFirst({ where: { ...ownedBy(viewer), id: idOf(run) } });
  const run = await firstWithout(async (run) => Boolean((await find(run))?.endedAt));
  return { id: idOf(run), earlier: await find(run) };
}

/** The first number from 0 for which `holds` is false. `holds` must be true for all smaller numbers. */
async function firstWithout(holds: (number: number) => Promise<boolean>): Promise<number> {
  let low = 0;
  let high = 0;
  while (await holds(high)) {
    low = high + 1;
    high = 2 * low;
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
