/**
 * Receives webhooks of Ultravox: verifies, stores and acknowledges them. Each is processed once
 * (`process-webhooks.ts`). They are keyed by call and event, so a repeated delivery changes nothing.
 */
import type { App, Tx } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { runInBatches } from '../../infra/database/run-in-batches.ts';
import { parseStorableJson } from '../../infra/database/storable-text.ts';
import { newId } from '../../infra/ids.ts';
import { createBatches } from '../../infra/jobs/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { verifyWebhook } from '../../ultravox/signature.ts';
import {
  type Call as UltravoxCall,
  type WebhookDelivery,
  webhookDeliverySchema,
} from '../../ultravox/wire.ts';
import type { NewWebhook } from '../updates/write-updates.ts';
import { receiveWebhooks } from './process-webhooks.ts';
import { checkAfterBadSignature, webhookSecret } from './webhook-registration.ts';

const RETENTION_DAYS = 7;
const PAYLOAD_RETENTION_MS = 3_600_000;

/**
 * Receives one delivery. Responds with 204 once it is stored, 401 if the signature is missing, wrong or too old, and
 * 400 if the body is not a webhook. Any other failure is thrown, and Ultravox delivers again.
 */
export async function receiveUltravoxWebhook(
  app: App,
  request: { headers: Record<string, string | string[] | undefined>; body: Buffer },
): Promise<{ status: number; body?: string }> {
  const verdict = verifyWebhook({
    rawBody: request.body,
    timestampHeader: single(request.headers['x-ultravox-webhook-timestamp']),
    signatureHeader: single(request.headers['x-ultravox-webhook-signature']),
    secrets: [webhookSecret(app)],
    now: new Date(),
    toleranceSeconds: app.config.ULTRAVOX_WEBHOOK_TOLERANCE_SECONDS,
  });
  if (!verdict.ok) {
    if (verdict.reason === 'bad_signature') checkAfterBadSignature(app);
    return { status: 401, body: `The webhook was refused: ${verdict.reason}` };
  }
  let delivery: WebhookDelivery;
  try {
    delivery = parseDelivery(request.body);
  } catch (error) {
    app.failures.record('parseUltravoxWebhook', error, {
      message: 'A webhook of Ultravox is invalid and was refused',
    });
    return { status: 400, body: 'This is not a webhook of Ultravox' };
  }
  const { event } = delivery;
  const call = { ...withoutSecrets(delivery.call), joinUrl: null };
  await webhookBatches(app).add({ id: newId(), event, call });
  return { status: 204 };
}

const BATCH = 100;

/** Batches deliveries that arrive at the same time. */
const webhookBatches = perInstance((app: App) =>
  createBatches<NewWebhook, null>({
    size: BATCH,
    async work(webhooks) {
      await receiveWebhooks(app, webhooks);
      return webhooks.map(() => null);
    },
  }),
);

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}

/** @throws if the body is not JSON, or not a webhook. */
function parseDelivery(body: Buffer): WebhookDelivery {
  return webhookDeliverySchema.parse(parseStorableJson(body.toString('utf8')));
}

/** Removes what must not be stored: the join URL lets anybody join, and a SIP medium may contain a password. */
function withoutSecrets({ joinUrl: _joinUrl, ...call }: UltravoxCall) {
  return { ...call, medium: call.medium && mediumWithoutSecrets(call.medium) };
}

function mediumWithoutSecrets(medium: NonNullable<UltravoxCall['medium']>) {
  const { outgoing } = medium.sip ?? {};
  return outgoing ? { ...medium, sip: { outgoing: { ...outgoing, password: undefined } } } : medium;
}

/** Number of stored webhooks that were given up after too many attempts. */
export function countFailedWebhooks(app: App): Promise<number> {
  return app.db.ultravoxWebhook.count({ where: { failedAt: { not: null } } });
}

/** Recent webhook payloads for these calls, keyed by Ultravox call ID and event. */
export async function recentPayloads(
  tx: Tx,
  ultravoxIds: readonly string[],
): Promise<Map<string, Prisma.JsonObject>> {
  const rows = await tx.ultravoxWebhook.findMany({
    where: { ultravoxCallId: { in: [...ultravoxIds] } },
    select: { ultravoxCallId: true, event: true, payload: true },
  });
  return new Map(
    rows
      .map(({ ultravoxCallId, event, payload }) => {
        const { callbacks: _callbacks, ...shown } = payload as Prisma.JsonObject;
        return [`${ultravoxCallId}/${event}`, shown] as const;
      })
      .filter(([, payload]) => Object.keys(payload).length > 0),
  );
}

/**
 * Erases payloads one hour after they were processed, and deletes webhooks after one week. A delivery repeated later
 * is processed once more, which changes nothing.
 */
export async function dropOldWebhooks(app: App): Promise<void> {
  const now = app.now().getTime();
  await emptyPayloads(app, new Date(now - PAYLOAD_RETENTION_MS));
  const before = new Date(now - RETENTION_DAYS * 86_400_000);
  const old = [
    Prisma.sql`processed_at < ${before}`,
    Prisma.sql`processed_at IS NULL AND received_at < ${before}`,
  ];
  for (const isOld of old) {
    await runInBatches(
      app.closing,
      (limit) => app.db.$executeRaw`
        DELETE FROM ultravox_webhooks WHERE id IN (
          SELECT id FROM ultravox_webhooks WHERE ${isOld} LIMIT ${limit})`,
    );
  }
}

/** Empties payloads in order of processing time, so that no step scans the rows of earlier steps. */
async function emptyPayloads(app: App, before: Date): Promise<void> {
  let from = new Date(0);
  await runInBatches(app.closing, async (limit) => {
    const [done] = await app.db.$queryRaw<{ rows: number; through: Date | null }[]>`
      WITH due AS (
        SELECT id, processed_at FROM ultravox_webhooks
        WHERE processed_at >= ${from} AND processed_at < ${before} AND payload <> '{}'
        ORDER BY processed_at LIMIT ${limit}
      ), emptied AS (
        UPDATE ultravox_webhooks w SET payload = '{}' FROM due WHERE w.id = due.id
      )
      SELECT count(*)::int AS rows, max(processed_at) AS through FROM due`;
    from = done?.through ?? from;
    return done?.rows ?? 0;
  });
}
