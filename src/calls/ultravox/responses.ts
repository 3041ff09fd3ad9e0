import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { createBatches } from '../../infra/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { lockCall, readCalls } from '../lock.ts';
import { announceUpdate, applyUltravoxCall, updateOf } from './apply-update.ts';
import { writeUpdates } from './write-updates.ts';

const BATCH = 50;

interface Response {
  id: string;
  seen: UltravoxCall;
}

const batches = perInstance((app: App) =>
  createBatches<Response, null>({
    size: BATCH,
    async work(responses) {
      const seen = new Map(responses.map((response) => [response.id, response.seen]));
      const read = await readCalls(app.db, Prisma.sql`id = ANY(${[...seen.keys()]}::uuid[])`);
      const updates = read.map(({ call, version }) => ({
        ...updateOf(app, call, seen.get(call.id)!),
        version,
      }));
      const written = await writeUpdates(app, app.db, updates);
      for (const { before, after } of updates) {
        if (written.ids.has(before.id)) announceUpdate(app, before, after);
        // Mostly a webhook came first.
        else await applyLocked(app, before.id, seen.get(before.id)!);
      }
      return responses.map(() => null);
    },
  }),
);

async function applyLocked(app: App, id: string, seen: UltravoxCall): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    return call ? [call, await applyUltravoxCall(app, tx, call, seen)] : [null, null];
  });
  if (after) announceUpdate(app, before, after);
}

/** Applies the response to the creation of a call, with those that arrive at the same time. */
export async function applyCreationResponse(app: App, response: Response): Promise<void> {
  await batches(app).add(response);
}
