/** Removes old webhooks, and expired transcripts from those that are kept. */
import type { App } from '../app.ts';
import type { CallListener } from '../calls/listeners.ts';
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
