/** Signing secrets of endpoints: encrypted at rest, with an overlap after a rotation. */
import { crmWebhookSecretOf } from '../agents/service.ts';
import type { App } from '../app.ts';
import type { Endpoint } from './claimed-delivery.ts';
import type { SigningSecrets } from './signature.ts';

/** Hours for which the previous secret stays valid after a rotation. */
export const ROTATION_HOURS = 24;

export function encryptSecret(app: App, endpointId: string, secret: string): string {
  return app.cipher.encrypt(secret, contextOf(endpointId));
}

/** Returns the signing secret of an endpoint; null for a CRM webhook, whose secret is stored with the agent. */
export function decryptSecret(
  app: App,
  { id, secret }: { id: string; secret: string | null },
): string | null {
  return secret === null ? null : app.cipher.decrypt(secret, contextOf(id));
}

/**
 * Returns the secrets that sign an attempt; null if a CRM webhook has none.
 *
 * After a rotation, the Standard Webhooks header contains a signature for each secret. `X-Truedy-Signature` has room
 * for only one: it uses the previous secret on the first try, the new one on the next, and so on, until the receiver
 * accepts the new one.
 */
export function signingSecretsOf(
  app: App,
  endpoint: Endpoint,
  tries: number,
): (SigningSecrets & { current: boolean }) | null {
  const { id, agent, previousSecret, previousSecretUntil } = endpoint;
  if (agent) {
    const own = crmWebhookSecretOf(app, agent);
    return own === null ? null : { all: [own], single: own, current: true };
  }
  const newest = decryptSecret(app, endpoint);
  if (newest === null) return null;
  const overlaps = previousSecret && previousSecretUntil && previousSecretUntil > app.now();
  if (!overlaps) return { all: [newest], single: newest, current: true };
  const previous = app.cipher.decrypt(previousSecret, contextOf(id));
  const current = endpoint.newSecretAccepted || tries % 2 === 1;
  return { all: [newest, previous], single: current ? newest : previous, current };
}

function contextOf(endpointId: string): string {
  return `webhook_endpoints.secret:${endpointId}`;
}
