/** Replays one delivery, all failed deliveries, or all events after a cursor. */
import type { App } from '../app.ts';
import { RequestError, userError } from '../errors.ts';
import { Prisma, type WebhookDelivery, type WebhookEndpoint } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { runInBatches } from '../infra/database/run-in-batches.ts';
import { readEventCursor } from '../live/cursor.ts';
import { logBounds } from '../live/log.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { lockEndpoint, readEndpointId, requireEnabled } from './endpoints.ts';
import { queueEvents } from './messages.ts';
import { announceDeliveries } from './sending/sender.ts';

const BATCH = 200;
/** A delivery that is queued again. Without its claim, an attempt in progress is recorded but changes none of these. */
const REQUEUED = {
  status: 'PENDING',
  tries: 0,
  finishedAt: null,
  claimId: null,
  claimedUntil: null,
} as const;

/** Queues a delivery again with the same event ID, regardless of its status. */
export async function replayWebhookDelivery(
  app: App,
  viewer: Viewer,
  publicDeliveryId: string,
): Promise<WebhookDelivery> {
  const checks = new Checks();
  const id = checks.id('WebhookDelivery', publicDeliveryId, ['id']);
  checks.throwIfAny();
  const delivery = await app.db.$transaction(async (tx) => {
    const found = await tx.webhookDelivery.findFirst({
      where: { ...ownedBy(viewer), id: id! },
      select: { id: true, endpointId: true },
    });
    if (!found) throw userError('NOT_FOUND', 'Webhook delivery not found.', ['id']);
    requireEnabled(await lockEndpoint(tx, viewer, found.endpointId));
    return tx.webhookDelivery.update({
      where: { id: found.id },
      data: { ...REQUEUED, nextAttemptAt: app.now() },
    });
  });
  announceDeliveries(app);
  return delivery;
}

/**
 * Queues all deliveries of an endpoint that were given up.
 *
 * @returns the endpoint and the number of deliveries.
 * @throws RequestError UNAVAILABLE if the process stops
 */
export async function replayFailedWebhooks(
  app: App,
  viewer: Viewer,
  endpointId: string,
): Promise<{ webhookEndpoint: WebhookEndpoint; deliveryCount: number }> {
  const path = ['endpointId'];
  const id = readEndpointId(endpointId, path);
  let webhookEndpoint = null as WebhookEndpoint | null;
  let deliveryCount = 0;
  const requeueSome = (limit: number) =>
    app.db.$transaction(async (tx) => {
      const endpoint = await lockEndpoint(tx, viewer, id, path);
      requireEnabled(endpoint, path);
      const count = await tx.$executeRaw`
        UPDATE webhook_deliveries SET status = 'PENDING', tries = 0, next_attempt_at = ${app.now()},
          finished_at = NULL, claim_id = NULL, claimed_until = NULL
        WHERE id IN (
          SELECT id FROM webhook_deliveries
          WHERE endpoint_id = ${id}::uuid AND status = 'EXHAUSTED' LIMIT ${limit})`;
      return { endpoint, count };
    });
  // There may be a million. If this process ends, those left over can be replayed again.
  await runInBatches(app.closing, async (limit) => {
    const { endpoint, count } = await requeueSome(limit);
    deliveryCount += count;
    if (count < limit) webhookEndpoint = endpoint;
    announceDeliveries(app);
    return count;
  });
  if (!webhookEndpoint) {
    throw new RequestError('UNAVAILABLE', 'The server is stopping. Try again.', {
      retryAfterSeconds: 1,
    });
  }
  return { webhookEndpoint, deliveryCount };
}

/**
 * Starts sending an endpoint all events of its types after a cursor, in the background: those sent before, with the
 * same event IDs, and those it missed. Replaces a replay that is in progress.
 */
export async function replayWebhookEvents(
  app: App,
  viewer: Viewer,
  input: { endpointId: string; after: string },
): Promise<WebhookEndpoint> {
  const path = ['endpointId'];
  const id = readEndpointId(input.endpointId, path);
  const after = readAfter(input.after);
  const { last, expiredThrough } = await logBounds(app, viewer.organizationId);
  if (after > last) {
    throw userError(
      'INVALID_INPUT',
      `The cursor is ahead of the event log, which ends at ${last}.`,
      ['after'],
    );
  }
  if (after !== 0n && after < expiredThrough) {
    throw userError(
      'INVALID_INPUT',
      `Events after this cursor are no longer kept. The oldest possible cursor is ${expiredThrough}.`,
      ['after'],
      { details: { oldestCursor: String(expiredThrough) } },
    );
  }
  const endpoint = await app.db.$transaction(async (tx) => {
    requireEnabled(await lockEndpoint(tx, viewer, id, path), path);
    return tx.webhookEndpoint.update({
      where: { id },
      data: { replayAfter: after, replayThrough: last },
    });
  });
  app.background('replayWebhooks', () => runReplays(app));
  return endpoint;
}

function readAfter(cursor: string): bigint {
  try {
    return readEventCursor(cursor) ?? 0n;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw userError('INVALID_INPUT', error.message, ['after']);
  }
}

/** SQL condition: whether a replay is in progress. */
export function hasReplays(): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM webhook_endpoints WHERE replay_after IS NOT NULL AND disabled_at IS NULL)`;
}

/**
 * Continues all replays in turn, one batch at a time. Each batch and its progress are committed in one transaction. A
 * replay that fails is continued by the next run.
 */
export async function runReplays(app: App): Promise<void> {
  const open = await app.db.webhookEndpoint.findMany({
    where: { replayAfter: { not: null }, disabledAt: null },
    select: { id: true },
    orderBy: { id: 'asc' },
  });
  let ids = open.map(({ id }) => id);
  while (ids.length > 0) {
    const unfinished: string[] = [];
    for (const id of ids) {
      if (app.closing.aborted) return;
      try {
        if (await replayBatch(app, id)) unfinished.push(id);
      } catch (error) {
        app.failures.record('replayWebhooks', error, { level: 'error', endpoint: id });
      }
      announceDeliveries(app);
    }
    ids = unfinished;
  }
}

/** @returns whether there are more events. */
function replayBatch(app: App, id: string): Promise<boolean> {
  return app.db.$transaction(async (tx) => {
    const [locked] = await tx.$queryRaw<unknown[]>`
      SELECT id FROM webhook_endpoints WHERE id = ${id}::uuid AND replay_after IS NOT NULL
      FOR NO KEY UPDATE SKIP LOCKED`;
    if (!locked) return false;
    const endpoint = await tx.webhookEndpoint.findUniqueOrThrow({ where: { id } });
    const { organizationId, replayAfter, replayThrough } = endpoint;
    const events = await tx.event.findMany({
      where: {
        AND: [
          { organizationId, cursor: { gt: replayAfter ?? 0n, lte: replayThrough ?? 0n } },
          { cursor: { gt: 0 } },
        ],
      },
      orderBy: { cursor: 'asc' },
      take: BATCH,
    });
    const last = events.at(-1);
    const options = { organizationId, events, endpoints: [endpoint], replay: true };
    const through = last ? (await queueEvents(app, tx, options)).through : undefined;
    const more = events.length === BATCH || through !== last?.cursor;
    await tx.webhookEndpoint.update({
      where: { id },
      data: more ? { replayAfter: through! } : { replayAfter: null, replayThrough: null },
    });
    return more;
  });
}
