/**
 * Tracks failures of webhook endpoints, and disables endpoints that keep failing. A request may end after its endpoint
 * got another address; its outcome then says nothing about the new one, and is not counted.
 */
import type { App, Tx } from '../app.ts';
import { Prisma, type WebhookDisabledReason } from '../generated/prisma/client.ts';
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
  await app.db.webhookEndpoint.updateMany({ where: { id, url }, data });
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
 * Disables an endpoint and gives up its pending deliveries, which can be replayed. Its cursor is that of the consumer,
 * not the end of the log: nothing is queued for events that the consumer handles from now on.
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
  await tx.$executeRaw(Prisma.sql`
    UPDATE webhook_deliveries SET status = 'EXHAUSTED', next_attempt_at = NULL, finished_at = ${now},
      claim_id = NULL, claimed_until = NULL
    WHERE endpoint_id = ${id}::uuid AND next_attempt_at IS NOT NULL`);
  return true;
}
