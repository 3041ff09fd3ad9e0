/** The registration of our webhook at Ultravox. It is checked regularly, since it may be changed or deleted there. */
import type { App } from '../../app.ts';
import { oneAtATime } from '../../infra/jobs/one-at-a-time.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { nullIfNotFound } from '../../sync/null-if-not-found.ts';

export const ULTRAVOX_WEBHOOK_PATH = '/webhooks/ultravox';
const EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'] as const;
/** Minimum time between checks after webhooks with a bad signature, which anybody can send. */
const BAD_SIGNATURE_MS = 60_000;
/** How often each process confirms the webhook at its address. */
export const CONFIRM_SECONDS = 300;
/** Time after which an address that no process has confirmed is a former one. One confirmation may fail. */
const UNCONFIRMED_MS = 3 * CONFIRM_SECONDS * 1000;

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
 * Confirms the webhook, and then removes the webhooks at former addresses of this deployment. Does nothing if this
 * process does not know the address, which is a worker without PUBLIC_URL.
 */
export async function checkUltravoxWebhook(app: App): Promise<void> {
  await confirmUltravoxWebhook(app);
  const { publicUrl } = registration(app);
  if (publicUrl) await removeFormerWebhooks(app, publicUrl);
}

/** Registers the webhook again if it was changed or deleted at Ultravox, and records that its address is in use. */
export async function confirmUltravoxWebhook(app: App): Promise<void> {
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
  const url = webhookUrl(publicUrl);
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
  if (kept) {
    const { webhookId } = kept;
    const confirmedAt = app.now();
    await app.db.webhookRegistration.upsert({
      where: { webhookId },
      create: { webhookId, url, confirmedAt },
      update: { confirmedAt },
    });
  }
}

/**
 * Removes the webhooks at other addresses that this deployment has registered and that no process has confirmed for a
 * while: during a rolling change of PUBLIC_URL, processes with both addresses run. A webhook that was changed at Ultravox
 * since then, or does not have our secret, is left alone and forgotten.
 */
async function removeFormerWebhooks(app: App, publicUrl: string): Promise<void> {
  const { db, ultravox } = app;
  const confirmedAt = { lt: new Date(app.now().getTime() - UNCONFIRMED_MS) };
  const where = { url: { not: webhookUrl(publicUrl) }, confirmedAt };
  const former = await db.webhookRegistration.findMany({ where });
  if (former.length === 0) return;
  const hooks = new Map((await allWebhooks(app)).map((hook) => [hook.webhookId, hook]));
  for (const { webhookId, url } of former) {
    const hook = hooks.get(webhookId);
    if (hook?.url === url && !hook.agentId && hook.secrets.includes(webhookSecret(app))) {
      await nullIfNotFound(ultravox.webhooks.delete(webhookId, { signal: app.closing }));
      app.log.info({ url }, 'Removed the webhook at a former address from Ultravox');
    }
    await db.webhookRegistration.deleteMany({ where: { webhookId } });
  }
}

function webhookUrl(publicUrl: string): string {
  return `${publicUrl.replace(/\/$/, '')}${ULTRAVOX_WEBHOOK_PATH}`;
}

function allWebhooks({ ultravox, closing }: App) {
  return Array.fromAsync(ultravox.webhooks.listAll({}, { signal: closing }));
}

/** The webhooks of the account to an address, the one to keep first. */
async function webhooksTo(app: App, url: string) {
  const hooks = await allWebhooks(app);
  return hooks
    .filter((hook) => hook.url === url && !hook.agentId)
    .sort((a, b) => (a.webhookId < b.webhookId ? -1 : 1));
}
