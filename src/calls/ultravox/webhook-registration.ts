/** The registration of our webhook at Ultravox. It is checked regularly, since it may be changed or deleted there. */
import type { App } from '../../app.ts';
import { oneAtATime } from '../../infra/jobs/one-at-a-time.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { nullIfNotFound } from '../../sync/null-if-not-found.ts';

export const ULTRAVOX_WEBHOOK_PATH = '/webhooks/ultravox';
const EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'] as const;
/** Minimum time between checks after webhooks with a bad signature, which anybody can send. */
const BAD_SIGNATURE_MS = 60_000;

/** Secret of the webhook: the same in every process as long as the encryption key stays the same. */
export const webhookSecret = perInstance((app: App) => app.cipher.derive('ultravox-webhook'));

interface Registration {
  publicUrl: string | undefined;
  badSignatureAt: number;
  check: () => Promise<void>;
}

const registration = perInstance((app: App): Registration => {
  const own: Registration = {
    publicUrl: app.config.PUBLIC_URL,
    badSignatureAt: Number.NEGATIVE_INFINITY,
    check: oneAtATime(async () => {
      if (own.publicUrl) await ensureUltravoxWebhook(app, own.publicUrl);
    }),
  };
  return own;
});

/** Registers the webhook at PUBLIC_URL or, without one, at the address on which this process listens. */
export async function registerUltravoxWebhook(app: App, ownUrl: string): Promise<void> {
  const own = registration(app);
  own.publicUrl ??= ownUrl;
  await own.check();
}

/**
 * Registers the webhook again if it was changed or deleted at Ultravox. Does nothing if this process does not know the
 * address, which is a worker without PUBLIC_URL.
 */
export async function checkUltravoxWebhook(app: App): Promise<void> {
  await registration(app).check();
}

/** Checks the registration in the background, at most once a minute: its secret may have been replaced. */
export function checkAfterBadSignature(app: App): void {
  const own = registration(app);
  const now = performance.now();
  if (now - own.badSignatureAt < BAD_SIGNATURE_MS) return;
  own.badSignatureAt = now;
  app.background('ensureUltravoxWebhook', () =>
    own.check().catch(app.failures.recorder('ensureUltravoxWebhook')),
  );
}

/**
 * Makes sure that Ultravox sends its webhooks to `publicUrl`, signed with our secret. Safe to repeat, and to run in
 * several processes: of webhooks that they create at the same time, all of them keep the same one.
 */
export async function ensureUltravoxWebhook(app: App, publicUrl: string): Promise<void> {
  const url = `${publicUrl.replace(/\/$/, '')}${ULTRAVOX_WEBHOOK_PATH}`;
  const wanted = { url, events: [...EVENTS], secrets: [webhookSecret(app)] };
  const { webhooks } = app.ultravox;
  const options = { signal: app.closing };
  let own = await webhooksTo(app, url);
  if (own.length === 0) {
    await webhooks.create(wanted, options);
    own = await webhooksTo(app, url);
  }
  const [kept, ...others] = own;
  const isComplete =
    wanted.secrets.every((secret) => kept?.secrets.includes(secret)) &&
    wanted.events.every((event) => kept?.events.includes(event));
  if (kept && !isComplete) await webhooks.update(kept.webhookId, wanted, options);
  for (const { webhookId } of others) await nullIfNotFound(webhooks.delete(webhookId, options));
}

/** The webhooks of the account to an address, the one to keep first. */
async function webhooksTo({ ultravox, closing }: App, url: string) {
  const hooks = await Array.fromAsync(ultravox.webhooks.listAll({}, { signal: closing }));
  return hooks
    .filter((hook) => hook.url === url && !hook.agentId)
    .sort((a, b) => (a.webhookId < b.webhookId ? -1 : 1));
}
