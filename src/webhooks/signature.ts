/** Builds the headers by which a receiver verifies a webhook: Standard Webhooks and `X-Truedy-*`. */
import { createHmac } from 'node:crypto';

const PREFIX = 'whsec_';

/** Returns a signing secret of 24 random bytes. */
export function newWebhookSecret(bytes: Buffer): string {
  return `${PREFIX}${bytes.subarray(0, 24).toString('base64')}`;
}

export interface SigningSecrets {
  /** All valid secrets; `webhook-signature` has a signature for each. */
  all: readonly string[];
  /** The secret for `X-Truedy-Signature`, which holds only one digest. */
  single: string;
}

/** Returns the headers of one attempt. Without secrets, only those that need none. */
export function webhookHeaders(
  message: { id: string; body: string },
  secrets: SigningSecrets | null,
  now: Date,
): Record<string, string> {
  const { id, body } = message;
  const timestamp = String(Math.floor(now.getTime() / 1000));
  return {
    'content-type': 'application/json',
    'user-agent': 'Truedy-Webhooks/1',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'x-truedy-timestamp': timestamp,
    ...(secrets
      ? {
          'webhook-signature': secrets.all
            .map((secret) => `v1,${hmac(keyOf(secret), `${id}.${timestamp}.${body}`, 'base64')}`)
            .join(' '),
          'x-truedy-signature': hmac(secrets.single, `${timestamp}.${body}`, 'hex'),
        }
      : {}),
  };
}

/** In Standard Webhooks, base64 follows the prefix. A secret of any other form is used as the key itself. */
function keyOf(secret: string): Buffer | string {
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : null;
  if (encoded === null || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return secret;
  return Buffer.from(encoded, 'base64');
}

function hmac(key: Buffer | string, text: string, encoding: 'hex' | 'base64'): string {
  return createHmac('sha256', key).update(text).digest(encoding);
}
