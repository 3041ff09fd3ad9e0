/**
 * Tracks failures of webhook endpoints, and disables endpoints that keep failing. A request may end after its endpoint
 * got another address; its outcome then says nothing about the new one, and is not counted.
 */
import type { App, Tx } from '../app.ts';
import { Prisma, type WebhookDisabledReason } from '../generated/prisma/client.ts';
import { BATCH_ROWS, runInBatches } from '../infra/database/run-in-batches.ts';
import { handledThrough } from '../live/consumers.ts';
import { announceEvents, appendEvents } from '../live/log.ts';
import type { Endpoint } from './claimed-delivery.ts';

/** Name of the consumer of the event log that queues deliveries. */
export const WEBHOOK_CONSUMER = 'webhooks';

/** Time after which a failing endpoint is disabled. */
const DISABLE_AFTER_MS = 5 * 86_400_000;

/** Failure state of an endpoint whose address has not failed. */
export const NO_FAILURES = {
  failingSince: null,
  consecutiveFailures: 0,
  pausedUntil: null,
} as const;

/** State of an enabled endpoint without failures. A CRM webhook gets it when its address changes. */
export const HEALTHY = {
  disabledAt: null,
  disabledReason: null,
  disabledCursor: null,
  ...NO_FAILURES,
} as const;

/** State of a deleted endpoint, which is also disabled. `removeDeletedEndpoints` removes it later. */
export function deletedState(now: Date) {
  return {
    deletedAt: now,
    disabledAt: now,
    disabledReason: 'REQUESTED',
    replayAfter: null,
    // The agent may get another CRM webhook.
    agentId: null,
  } as const;
}

/** Records that the endpoint received a delivery, after `tries` failed attempts. */
export async function recordSuccess(
  app: App,
  endpoint: Endpoint,
  { tries, signedWith }: { tries: number; signedWith: boolean | null },
): Promise<void> {
  const accepted = signedWith === true && !endpoint.newSecretAccepted && tries > 0;
  const { id, url, secret } = endpoint;
  if (accepted) {
    // Unless the secret has been replaced in the meantime.
    const data = { newSecretAccepted: true };
    await app.db.webhookEndpoint.updateMany({ where: { id, url, secret }, data });
  }
  if (endpoint.consecutiveFailures === 0) return;
  const data = { consecutiveFailures: 0, failingSince: null };
  // A disabled endpoint keeps the reason.
  await app.db.webhookEndpoint.updateMany({ where: { id, url, disabledAt: null }, data });
}

/** Records a failed attempt, and disables an endpoint that answered 410 or has failed for five days. */
export async function recordFailure(
  app: App,
  { id, url, organizationId }: Endpoint,
  { gone, notBefore, now }: { gone: boolean; notBefore: Date | null; now: Date },
): Promise<void> {
  const [row] = await app.db.$queryRaw<{ failing_since: Date }[]>`
    UPDATE webhook_endpoints SET consecutive_failures = consecutive_failures + 1,
      failing_since = coalesce(failing_since, ${now}),
      paused_until = greatest(paused_until, ${notBefore}::timestamptz)
    WHERE id = ${id}::uuid AND url = ${url} AND disabled_at IS NULL
    RETURNING failing_since`;
  if (!row) return;
  const failing = now.getTime() - row.failing_since.getTime() >= DISABLE_AFTER_MS;
  if (!gone && !failing) return;
  await app.db.$transaction(async (tx) => {
    const disabled = await disableEndpoint(tx, { id, url, now }, gone ? 'GONE' : 'FAILING');
    if (!disabled) return;
    await appendEvents(tx, organizationId, [
      { type: 'WEBHOOK_ENDPOINT_DISABLED', data: { endpointId: id }, at: now },
    ]);
  });
  announceEvents(app, organizationId);
}

/**
 * Disables an endpoint and gives up its pending deliveries, which can be replayed. There may be a million: those beyond
 * a batch are left to `giveUpRemainingDeliveries`. The cursor is that of the consumer, not the end of the log: nothing is
 * queued for events that the consumer handles from now on.
 *
 * @returns false if it was already disabled, or if `url` is given and is no longer its address.
 */
export async function disableEndpoint(
  tx: Tx,
  { id, url, now }: { id: string; url?: string; now: Date },
  reason: WebhookDisabledReason,
): Promise<boolean> {
  const handled = handledThrough(WEBHOOK_CONSUMER, Prisma.sql`e.organization_id`);
  const count = await tx.$executeRaw`
    UPDATE webhook_endpoints e SET disabled_at = ${now},
      disabled_reason = ${reason}::"WebhookDisabledReason",
      disabled_cursor = least(replay_after, greatest(start_cursor, ${handled})),
      replay_after = NULL, replay_through = NULL, updated_at = ${now}
    WHERE id = ${id}::uuid AND disabled_at IS NULL
      AND (${url ?? null}::text IS NULL OR url = ${url ?? null})`;
  if (count === 0) return false;
  await giveUpDeliveries(tx, { id, now, limit: BATCH_ROWS });
  return true;
}

/** SQL condition: whether a disabled endpoint has pending deliveries. */
export function hasDeliveriesToGiveUp(): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM webhook_endpoints e WHERE ${HAS_DELIVERIES_TO_GIVE_UP})`;
}

/** Gives up the deliveries of disabled endpoints that were too many, or locked, when the endpoint was disabled. */
export async function giveUpRemainingDeliveries(app: App): Promise<void> {
  const endpoints = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM webhook_endpoints e WHERE ${HAS_DELIVERIES_TO_GIVE_UP}`;
  for (const { id } of endpoints) {
    await runInBatches(app.closing, (limit) =>
      app.db.$transaction(async (tx) => {
        // It may have been enabled, and its deliveries replayed.
        const disabled = await tx.$queryRaw<unknown[]>`
          SELECT 1 FROM webhook_endpoints WHERE id = ${id}::uuid AND disabled_at IS NOT NULL FOR SHARE`;
        return disabled.length > 0 ? giveUpDeliveries(tx, { id, now: app.now(), limit }) : 0;
      }),
    );
  }
}

/** SQL condition on endpoint `e`. The deliveries of deleted endpoints are removed instead. */
const HAS_DELIVERIES_TO_GIVE_UP = Prisma.sql`e.disabled_at IS NOT NULL AND e.deleted_at IS NULL AND EXISTS (
  SELECT 1 FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.next_attempt_at IS NOT NULL)`;

/** Gives up some pending deliveries of an endpoint, and returns their number. The caller has locked the endpoint. */
function giveUpDeliveries(
  tx: Tx,
  { id, now, limit }: { id: string; now: Date; limit: number },
): Promise<number> {
  return tx.$executeRaw`
    UPDATE webhook_deliveries SET status = 'EXHAUSTED', next_attempt_at = NULL, finished_at = ${now},
      claim_id = NULL, claimed_until = NULL
    WHERE id IN (
      SELECT id FROM webhook_deliveries
      WHERE endpoint_id = ${id}::uuid AND next_attempt_at IS NOT NULL
      LIMIT ${limit} FOR UPDATE SKIP LOCKED)`;
}
