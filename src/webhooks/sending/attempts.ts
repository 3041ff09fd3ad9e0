/** Records attempts of deliveries, and schedules the next one. */
import type { App } from '../../app.ts';
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
 * Records an attempt, unless another process has taken over its claim. Any 2xx status means delivered. An endpoint that
 * answers 410 at its current address, or fails for five days, is disabled.
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
  const recorded = await app.db.$executeRaw`
    WITH done AS (
      UPDATE webhook_deliveries SET status = ${status}::"WebhookDeliveryStatus",
        attempt_count = attempt_count + 1, tries = ${tries}, next_attempt_at = ${next},
        finished_at = ${next ? null : now}, claim_id = NULL, claimed_until = NULL
      WHERE id = ${delivery.id}::uuid AND claim_id = ${delivery.claimId}::uuid
      RETURNING id, organization_id, attempt_count)
    INSERT INTO webhook_attempts (id, organization_id, delivery_id, number, started_at, duration_ms,
      status_code, error, response_body)
    SELECT ${newId()}::uuid, organization_id, id, attempt_count, ${result.startedAt},
      ${result.durationMs}::int, ${answer.status}::int, ${error},
      ${answer.status === null ? null : answer.answer} FROM done`;
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
    return `The receiver answered with a redirect (${answer.status}), which is not followed.`;
  }
  return `The receiver answered ${answer.status}.`;
}
