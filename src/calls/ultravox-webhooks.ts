/**
 * Ultravox's webhooks: verified, stored, acknowledged, and then worked on, each once. The store is
 * keyed by call and event, so that one delivered again changes nothing.
 */
import type { App } from '../app.ts';
import { Prisma, type UltravoxWebhook } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import { verifyWebhook } from '../ultravox/signature.ts';
import { callSchema, type Call as UltravoxCall, webhookDeliverySchema } from '../ultravox/wire.ts';
import { hangUpIfUnwanted, takeInCall } from './intake.ts';
import { placeWaitingCalls } from './placement.ts';
import { afterProgress } from './progress.ts';
import { isEnded } from './status.ts';

export const ULTRAVOX_WEBHOOK_PATH = '/webhooks/ultravox';
const EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'] as const;
const RETENTION_DAYS = 7;

/** The same for every process, and for as long as the encryption key is the same. */
function webhookSecret(app: App): string {
  return app.cipher.derive('ultravox-webhook');
}

/**
 * Takes in one delivery. 204 acknowledges it, after it is stored; 401 when the signature is missing,
 * wrong or too old; 400 when the body is not what Ultravox sends. Any other failure is thrown, and
 * Ultravox delivers again.
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
  if (!verdict.ok) return { status: 401, body: `The webhook was refused: ${verdict.reason}` };
  const delivery = parseDelivery(request.body);
  if (!delivery) return { status: 400, body: 'This is not a webhook of Ultravox' };

  const [stored] = await app.db.$queryRaw<{ id: string }[]>`
    INSERT INTO ultravox_webhooks (id, ultravox_call_id, event, payload)
    VALUES (${newId()}::uuid, ${delivery.call.callId}, ${delivery.event}, ${JSON.stringify(withoutSecrets(delivery.call))}::jsonb)
    ON CONFLICT (ultravox_call_id, event) DO NOTHING
    RETURNING id`;
  if (stored) app.background('processUltravoxWebhook', () => processWebhook(app, stored.id));
  return { status: 204 };
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header;
}

function parseDelivery(body: Buffer): { event: string; call: UltravoxCall } | null {
  try {
    return webhookDeliverySchema.parse(JSON.parse(body.toString('utf8'), storable));
  } catch {
    return null;
  }
}

/** PostgreSQL keeps neither null characters nor halves of a surrogate pair. */
function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\u0000', '').toWellFormed() : value;
}

/** Whoever has a join address can join, and a SIP medium may repeat a password: neither is kept. */
function withoutSecrets({ joinUrl: _joinUrl, ...call }: UltravoxCall) {
  return { ...call, medium: call.medium && mediumWithoutSecrets(call.medium) };
}

function mediumWithoutSecrets(medium: NonNullable<UltravoxCall['medium']>) {
  const { outgoing } = medium.sip ?? {};
  return outgoing ? { ...medium, sip: { outgoing: { ...outgoing, password: undefined } } } : medium;
}

/**
 * Works on a stored webhook unless that has been done. The mark and what it changes are one
 * transaction; what it held is dropped with it.
 */
async function processWebhook(app: App, id: string): Promise<void> {
  const taken = await app.db.$transaction(async (tx) => {
    const [webhook] = await tx.$queryRaw<Pick<UltravoxWebhook, 'id' | 'payload'>[]>`
      SELECT id, payload FROM ultravox_webhooks
      WHERE id = ${id}::uuid AND processed_at IS NULL FOR UPDATE SKIP LOCKED`;
    if (!webhook) return null;
    const result = await takeInCall(app, tx, callSchema.parse(webhook.payload));
    await tx.ultravoxWebhook.update({
      where: { id },
      data: { processedAt: app.now(), payload: {} },
    });
    return result;
  });
  if (!taken) return;
  afterProgress(app, taken.before, taken.after);
  hangUpIfUnwanted(app, taken);
  const hasEnded = isEnded(taken.after.status) && !(taken.before && isEnded(taken.before.status));
  if (hasEnded) await placeWaitingCalls(app);
}

/** Works on what was stored and not finished: the process that took it in died. */
export async function processPendingWebhooks(app: App): Promise<void> {
  const pending = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM ultravox_webhooks
    WHERE processed_at IS NULL AND received_at < now() - interval '2 seconds'
    ORDER BY attempts, received_at LIMIT 200`;
  for (const { id } of pending) {
    try {
      await processWebhook(app, id);
    } catch (error) {
      app.log.error({ err: error, webhook: id }, 'A webhook of Ultravox could not be worked on');
      await app.db.ultravoxWebhook.update({
        where: { id },
        data: { error: String(error).slice(0, 500), attempts: { increment: 1 } },
      });
    }
  }
}

/** A repeat that comes later than this is taken for something new, and still changes nothing. */
export async function dropOldWebhooks(app: App): Promise<void> {
  const before = new Date(app.now().getTime() - RETENTION_DAYS * 86_400_000);
  await app.db.$executeRaw(Prisma.sql`DELETE FROM ultravox_webhooks WHERE received_at < ${before}`);
}

/**
 * Sees to it that Ultravox sends its webhooks to `publicUrl`, signed with our secret. Safe to run
 * again and in several processes: at worst two hooks deliver the same, which changes nothing.
 */
export async function ensureUltravoxWebhook(app: App, publicUrl: string): Promise<void> {
  const url = `${publicUrl.replace(/\/$/, '')}${ULTRAVOX_WEBHOOK_PATH}`;
  const secret = webhookSecret(app);
  for await (const hook of app.ultravox.webhooks.listAll()) {
    if (hook.url !== url || hook.agentId) continue;
    const complete =
      hook.secrets.includes(secret) && EVENTS.every((event) => hook.events.includes(event));
    if (!complete) {
      await app.ultravox.webhooks.update(hook.webhookId, {
        url,
        events: [...EVENTS],
        secrets: [secret],
      });
    }
    return;
  }
  await app.ultravox.webhooks.create({ url, events: [...EVENTS], secrets: [secret] });
}
