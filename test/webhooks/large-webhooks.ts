/** Adds webhooks with large bodies, which PostgreSQL makes much faster than they can be sent to it. */
import { newId } from '../../src/infra/ids.ts';
import type { TestServer } from '../support/servers/server.ts';

/** @returns the UUIDs of the deliveries. */
export async function addWebhooks(
  { app }: Pick<TestServer, 'app'>,
  endpointId: string,
  { count, bytes, nextAttemptAt }: { count: number; bytes: number; nextAttemptAt: Date | null },
): Promise<string[]> {
  const { organizationId } = await app.db.webhookEndpoint.findUniqueOrThrow({
    where: { id: endpointId },
  });
  const createdAt = new Date();
  const ids = Array.from({ length: count }, () => ({ id: newId(), messageId: newId() }));
  await app.db.$executeRaw`
    INSERT INTO webhook_messages (id, organization_id, type, body, created_at)
    SELECT id, ${organizationId}::uuid, 'webhook.test', '{"text":"' || repeat('x', ${bytes}::int) || '"}',
      ${createdAt}
    FROM unnest(${ids.map(({ messageId }) => messageId)}::uuid[]) AS id`;
  await app.db.webhookDelivery.createMany({
    data: ids.map((delivery) => ({
      ...{ ...delivery, organizationId, endpointId, nextAttemptAt, createdAt },
      status: nextAttemptAt ? 'PENDING' : 'EXHAUSTED',
    })),
  });
  return ids.map(({ id }) => id);
}
