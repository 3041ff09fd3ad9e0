/** Records attempts of deliveries, and schedules the next one. */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { newId } from '../../infra/ids.ts';
import type { PostResult } from '../../infra/outgoing/guarded-post.ts';
import type { ClaimedDelivery, Endpoint } from '../claimed-delivery.ts';
import { recordFailure, recordSuccess } from '../endpoint-health.ts';
import { nextAttemptAt, retryAfter } from './retry.ts';

const GONE = 410;

export interface AttemptResult {
  startedAt: Date;
  durationMs: number;
  answer: PostResult;
  /** Whether the single signature was made with the newest secret; null without a secret. */
  signedWith: boolean | null;
}

/**
 * Records an attempt. Any 2xx status means delivered. An endpoint that answers 410 at its current address, or fails for
 * five days, is disabled. The state of the delivery remains if the attempt has lost its claim: the delivery was replayed
 * or given up, or another process sends it.
 */
export async function recordAttempt(
  app: App,
  endpoint: Endpoint,
  delivery: ClaimedDelivery,
  result: AttemptResult,
): Promise<void> {
  const now = app.now();
  const { answer } = result;
  const delivered = answer.status !== null && answer.status >= 200 && answer.status < 300;
  // A new address may accept what the previous one no longer does.
  const gone = answer.status === GONE && (await isCurrentAddress(app, endpoint));
  const notBefore = delivered || answer.status === null ? null : retryAfter(answer.retryAfter, now);
  const tries = delivery.tries + 1;
  const next = delivered || gone ? null : nextAttemptAt(tries, { now, notBefore });
  const status = delivered ? 'DELIVERED' : next ? 'RETRYING' : 'EXHAUSTED';
  const error = errorOf(answer, delivered);
  const isClaimed = Prisma.sql`claim_id = ${delivery.claimId}::uuid`;
  const recorded = await app.db.$executeRaw`
    WITH counted AS (
      UPDATE webhook_deliveries SET attempt_count = attempt_count + 1,
        status = CASE WHEN ${isClaimed} THEN ${status}::"WebhookDeliveryStatus" ELSE status END,
        tries = CASE WHEN ${isClaimed} THEN ${tries}::int ELSE tries END,
        next_attempt_at = CASE WHEN ${isClaimed} THEN ${next}::timestamptz ELSE next_attempt_at END,
        finished_at = CASE WHEN ${isClaimed} THEN ${next ? null : now}::timestamptz ELSE finished_at END,
        claimed_until = CASE WHEN ${isClaimed} THEN NULL ELSE claimed_until END,
        claim_id = CASE WHEN ${isClaimed} THEN NULL ELSE claim_id END
      WHERE id = ${delivery.id}::uuid
      RETURNING id, organization_id, attempt_count)
    INSERT INTO webhook_attempts (id, organization_id, delivery_id, number, started_at, duration_ms,
      status_code, error, response_body)
    SELECT ${newId()}::uuid, organization_id, id, attempt_count, ${result.startedAt},
      ${result.durationMs}::int, ${answer.status}::int, ${error},
      ${answer.status === null ? null : answer.answer} FROM counted`;
  // Deleted with its endpoint.
  if (recorded === 0) return;
  if (delivered)
    await recordSuccess(app, endpoint, { tries: delivery.tries, signedWith: result.signedWith });
  else await recordFailure(app, endpoint, { gone, notBefore, now });
}

async function isCurrentAddress(app: App, { id, url }: Endpoint): Promise<boolean> {
  return (await app.db.webhookEndpoint.count({ where: { id, url } })) > 0;
}

function errorOf(answer: PostResult, delivered: boolean): string | null {
  if (answer.status === null) return answer.error;
  if (delivered) return null;
  if (answer.status >= 300 && answer.status < 400) {
    return `The receiver responded with a redirect (${answer.status}), which is not followed.`;
  }
  return `The receiver responded with status ${answer.status}.`;
}
