/** Signatures of webhooks. */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Tolerance for a sender whose clock is ahead of this machine's. */
const CLOCK_SKEW_SECONDS = 10;

/** Lowercase hex digest over the raw body followed directly by the timestamp header. */
export function signWebhook(secret: string, rawBody: Buffer | string, timestamp: string): string {
  return createHmac('sha256', secret).update(rawBody).update(timestamp).digest('hex');
}

export type WebhookVerification =
  | { ok: true }
  | {
      ok: false;
      reason: 'missing_header' | 'bad_timestamp' | 'too_old' | 'in_the_future' | 'bad_signature';
    };

/**
 * Checks that a delivery is recent and signed with one of `secrets`. `rawBody` must be the bytes as
 * received. Without secrets, every delivery is rejected.
 */
export function verifyWebhook(delivery: {
  rawBody: Buffer | string;
  timestampHeader: string | null | undefined;
  signatureHeader: string | null | undefined;
  secrets: readonly string[];
  now: Date;
  toleranceSeconds?: number;
}): WebhookVerification {
  const { rawBody, timestampHeader, signatureHeader, secrets, now } = delivery;
  if (!timestampHeader || !signatureHeader) return { ok: false, reason: 'missing_header' };

  // The signature is checked first, because an unsigned timestamp proves nothing.
  const claimed = signatureHeader.split(',').map((digest) => Buffer.from(digest.trim(), 'utf8'));
  let signed = false;
  for (const secret of secrets) {
    // An empty secret would accept a signature that anybody can compute.
    if (secret === '') continue;
    const expected = Buffer.from(signWebhook(secret, rawBody, timestampHeader), 'utf8');
    for (const digest of claimed) {
      // Every pair is compared, so the time taken does not reveal which one matched.
      const equal = digest.length === expected.length && timingSafeEqual(digest, expected);
      signed = equal || signed;
    }
  }
  if (!signed) return { ok: false, reason: 'bad_signature' };

  const sentAt = parseTimestamp(timestampHeader);
  if (sentAt === null) return { ok: false, reason: 'bad_timestamp' };
  const ageSeconds = (now.getTime() - sentAt) / 1000;
  const toleranceSeconds = delivery.toleranceSeconds ?? 60;
  if (ageSeconds > toleranceSeconds) return { ok: false, reason: 'too_old' };
  if (-ageSeconds > Math.min(CLOCK_SKEW_SECONDS, toleranceSeconds)) {
    return { ok: false, reason: 'in_the_future' };
  }
  return { ok: true };
}

/** Parses ISO 8601 as Python writes it. Without a time zone it is UTC, not the time zone of this machine. */
function parseTimestamp(text: string): number | null {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)([.,]\d+)?(Z|[+-]\d\d:?\d\d)?$/i.exec(
    text.trim(),
  );
  if (!match) return null;
  const [, date, time, fraction, zone] = match;
  const milliseconds = fraction ? `.${fraction.slice(1, 4)}` : '';
  const offset = zone ? zone.toUpperCase().replace(/^([+-]\d\d)(\d\d)$/, '$1:$2') : 'Z';
  const instant = Date.parse(`${date}T${time}${milliseconds}${offset}`);
  return Number.isNaN(instant) ? null : instant;
}
