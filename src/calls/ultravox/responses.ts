import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { createBatches } from '../../infra/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { lockCalls } from '../lock.ts';
import { announceUpdate, updateOf } from './apply-update.ts';
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
      const updates = await app.db.$transaction(async (tx) => {
        const calls = await lockCalls(tx, Prisma.sql`id = ANY(${[...seen.keys()]}::uuid[])`);
        const applied = calls.map((call) => updateOf(app, call, seen.get(call.id)!));
        await writeUpdates(app, tx, applied);
        return applied;
      });
      for (const { before, after } of updates) announceUpdate(app, before, after);
      return responses.map(() => null);
    },
  }),
);

/** Applies the response to the creation of a call, with those that arrive at the same time. */
export async function applyCreationResponse(app: App, response: Response): Promise<void> {
  await batches(app).add(response);
}
