/** Removes old webhooks and deleted endpoints, and what was deleted or has expired from webhooks that are kept. */
import type { App, Tx } from '../app.ts';
import type { CallListener } from '../calls/listeners.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { runInBatches } from '../infra/database/run-in-batches.ts';
import { RESULTS_EVENT } from './catalog.ts';

/** Deletes messages, with their deliveries, once their events are no longer kept. */
export async function dropOldDeliveries(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - app.config.EVENT_RETENTION_DAYS * 86_400_000);
  await runInBatches(
    app.closing,
    (limit) => app.db.$executeRaw`
      DELETE FROM webhook_messages WHERE id IN (
        SELECT m.id FROM webhook_messages m WHERE m.created_at < ${before}
          AND NOT EXISTS (
            SELECT 1 FROM webhook_deliveries d
            WHERE d.message_id = m.id AND d.next_attempt_at IS NOT NULL)
        LIMIT ${limit})`,
  );
}

/** SQL condition: whether an endpoint was deleted. */
export function hasDeletedEndpoints(): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NOT NULL AND deleted_at IS NOT NULL)`;
}

/** Removes deleted endpoints, after their deliveries, of which there may be a million. */
export async function removeDeletedEndpoints(app: App): Promise<void> {
  const deleted = await app.db.webhookEndpoint.findMany({
    where: { disabledAt: { not: null }, deletedAt: { not: null } },
    select: { id: true },
  });
  for (const { id } of deleted) {
    await runInBatches(
      app.closing,
      (limit) => app.db.$executeRaw`
        DELETE FROM webhook_deliveries WHERE id IN (
          SELECT id FROM webhook_deliveries WHERE endpoint_id = ${id}::uuid
          LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    );
    await app.db.webhookEndpoint.deleteMany({ where: { id, deliveries: { none: {} } } });
  }
}

/** Removes expired transcripts from sent and pending messages, and responses that may repeat them. */
export const webhookCallListener: CallListener = {
  async transcriptsExpired(_app, tx, callIds) {
    const messages = await tx.webhookMessage.findMany({
      where: { callId: { in: [...callIds] }, type: RESULTS_EVENT },
      select: { id: true },
    });
    if (messages.length === 0) return;
    const ids = messages.map(({ id }) => id);
    await tx.$executeRaw`
      UPDATE webhook_messages SET body = jsonb_set(body::jsonb, '{data,transcript}', '[]', false)::text
      WHERE id = ANY(${ids}::uuid[])`;
    await tx.webhookAttempt.updateMany({
      where: { delivery: { messageId: { in: ids } } },
      data: { responseBody: null },
    });
  },
};

/** Erases everything but the IDs from messages about deleted calls, whether sent or not. */
export async function eraseDeletedCalls(tx: Tx, callIds: readonly string[]): Promise<void> {
  if (callIds.length === 0) return;
  // One statement for all, since many calls may have been deleted together, with a dozen messages each.
  await tx.$executeRaw`
    UPDATE webhook_messages m SET body = json_build_object('id', b.body->'id', 'event', b.body->'event',
      'timestamp', b.body->'timestamp', 'data', json_build_object('eventId', b.data->'eventId',
        'cursor', b.data->'cursor', 'occurredAt', b.data->'occurredAt',
        'call', CASE WHEN b.data->'call'->'id' IS NOT NULL
          THEN json_build_object('id', b.data->'call'->'id', 'deleted', true) END))::text
    FROM (
      SELECT id, body::json AS body, body::json->'data' AS data FROM webhook_messages
      WHERE call_id = ANY(${callIds}::uuid[])) b
    WHERE m.id = b.id`;
  await tx.$executeRaw`
    UPDATE webhook_attempts a SET response_body = NULL
    FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.message_id
    WHERE a.delivery_id = d.id AND a.response_body IS NOT NULL
      AND m.call_id = ANY(${callIds}::uuid[])`;
}
