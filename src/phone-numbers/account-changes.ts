/** Sends new carrier accounts and changed credentials to Ultravox, and undoes what Ultravox refuses. */
import { setTimeout as pause } from 'node:timers/promises';
import type { App, Tx } from '../app.ts';
import { type UserInputError, userError } from '../errors.ts';
import { Prisma, type TelephonyConfig } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { newId } from '../infra/ids.ts';
import { type Lease, newLease, whileRenewing } from '../infra/jobs/lease.ts';
import { isUpToDate } from '../sync/remote-resource.ts';
import { enqueueSync, trySync } from '../sync/service.ts';
import type { Viewer } from '../viewer.ts';
import { type Account, type AccountCarrier, checkOwnership, lockConfig } from './carriers.ts';
import { decryptCarrier, encryptCarrier } from './credentials.ts';
import { accountInUse, telephonyConfigSync } from './sync.ts';

/** A crashed request blocks other changes of the account for so long. */
const LEASE_SECONDS = 20;
const RETRY_MS = 2_000;
/** Interval at which a request looks whether another sender has sent its revision: it doubles up to the second value. */
const WAIT_MS = { min: 50, max: 1_000 };

/** A revision of an account that a request sends to Ultravox, and whose refusal it reports. */
export interface SentAccount {
  id: string;
  provider: AccountCarrier['provider'];
  revision: number;
  /**
   * Held until the request knows the answer and has undone a refused change, so that nobody changes the credentials in
   * between. Null if another request holds it and sends the same revision.
   */
  lease: Lease | null;
}

interface Claim {
  checks: Checks;
  carrier: AccountCarrier;
}

/**
 * Makes the organization the owner of the account, or updates its credentials, in the caller's transaction. The row
 * stays locked until it ends. Problems are added to `checks`. The credentials that Ultravox last accepted are kept with
 * the account, so that `restoreCredentials` can undo the change, even in another process.
 *
 * @returns what to send; null if there are problems, or if there is nothing to send.
 */
export async function claimAccount(
  app: App,
  tx: Tx,
  viewer: Viewer,
  claim: Claim,
): Promise<SentAccount | null> {
  const { account, provider } = claim.carrier;
  let config: TelephonyConfig | null;
  do {
    const id = account && (await createConfig(app, tx, viewer, { provider, account }));
    if (id) return claimRevision(tx, { id, provider, revision: 1 });
    config = await lockConfig(tx, provider);
    // A row that was not created because of another one is created once that has been deleted.
  } while (account && !config);
  const { problems } = claim.checks;
  const before = problems.length;
  checkOwnership(claim.checks, viewer, claim.carrier, config);
  if (!config || problems.length > before) return null;
  return claimExisting(app, tx, config, claim);
}

async function claimExisting(
  app: App,
  tx: Tx,
  config: TelephonyConfig,
  { checks, carrier }: Claim,
): Promise<SentAccount | null> {
  const { account, path } = carrier;
  const changed = account && !isUnchanged(app, config, account) ? account : null;
  if (!changed && isUpToDate(config)) return null;
  const sent = await claimRevision(tx, revisionOf(config, changed ? 1 : 0));
  if (!sent.lease) {
    const isFirst = config.previousCredentials === null;
    if (!changed && isFirst) return sent;
    // Credentials that are refused are replaced by the earlier ones, which an import without credentials may use.
    if (account) checks.add('INVALID_STATE', BUSY, path, busyUntil(app));
    return null;
  }
  if (changed) await changeCredentials(app, tx, config, changed);
  return sent;
}

const BUSY =
  'Another request is changing the credentials of the carrier account. Try again at `retryAt`.';

function busyUntil(app: App): { retryAt: Date } {
  return { retryAt: new Date(app.now().getTime() + RETRY_MS) };
}

function revisionOf({ id, provider, revision }: TelephonyConfig, raisedBy = 0) {
  return {
    id,
    provider: provider as AccountCarrier['provider'],
    revision: revision + raisedBy,
  };
}

/** The lease is null if another request holds it. */
async function claimRevision(tx: Tx, sent: Omit<SentAccount, 'lease'>): Promise<SentAccount> {
  const lease = newLease({
    columns: { table: 'telephony_configs', id: 'change_lease_id', until: 'change_lease_until' },
    row: Prisma.sql`id = ${sent.id}::uuid`,
    seconds: LEASE_SECONDS,
  });
  return { ...sent, lease: (await lease.claim(tx)) ? lease : null };
}

/**
 * Claims the current revision of an account, to repeat a request that may have crashed before it knew the answer.
 *
 * @returns null if Ultravox has accepted it, or if there is no account.
 * @throws UserInputError with a time for a retry if another request changes the credentials.
 */
export async function claimAgain(
  app: App,
  provider: AccountCarrier['provider'],
): Promise<SentAccount | null> {
  return app.db.$transaction(async (tx) => {
    const config = await lockConfig(tx, provider);
    if (!config || isUpToDate(config)) return null;
    const sent = await claimRevision(tx, revisionOf(config));
    if (sent.lease) return sent;
    throw userError('INVALID_STATE', BUSY, ['provider', provider.toLowerCase()], busyUntil(app));
  });
}

async function changeCredentials(
  app: App,
  tx: Tx,
  config: TelephonyConfig,
  { secrets }: Account,
): Promise<void> {
  await tx.telephonyConfig.update({
    where: { id: config.id },
    data: {
      credentials: encryptCarrier(app, config.id, secrets),
      previousCredentials: previousOf(config),
      revision: { increment: 1 },
      ...(config.deletedAt ? { deletedAt: null, status: 'DRAFT', syncedRevision: null } : {}),
    },
  });
  await enqueueSync(app, tx, telephonyConfigSync, config);
}

/**
 * Returns the credentials to keep when they are changed: those that Ultravox last accepted or, if it has accepted none,
 * the first ones. Null if there are none to restore.
 */
function previousOf(config: TelephonyConfig): string | null {
  if (config.deletedAt) return null;
  return config.previousCredentials ?? config.credentials;
}

/**
 * Undoes a change to the credentials that Ultravox refused, in the caller's transaction, which has locked the row or
 * deleted it. Only the request that holds the lease does so.
 *
 * @returns the ID of the row to sync; null if there is nothing to restore.
 */
export async function restoreCredentials(
  app: App,
  tx: Tx,
  config: TelephonyConfig,
  { revision, lease }: SentAccount,
): Promise<string | null> {
  const { id, previousCredentials } = config;
  if (!lease || config.changeLeaseId !== lease.id) return null;
  if (!previousCredentials || config.revision !== revision) return null;
  const restored = await tx.telephonyConfig.updateMany({
    where: { id },
    data: {
      credentials: previousCredentials,
      previousCredentials: null,
      revision: { increment: 1 },
    },
  });
  if (restored.count === 0) return null;
  await enqueueSync(app, tx, telephonyConfigSync, config);
  return id;
}

/** @returns null if the provider already has an account. */
async function createConfig(
  app: App,
  tx: Tx,
  { organizationId }: Viewer,
  { provider, account }: { provider: AccountCarrier['provider']; account: Account },
): Promise<string | null> {
  const id = newId();
  const credentials = encryptCarrier(app, id, account.secrets);
  const created = await tx.telephonyConfig.createMany({
    data: { id, provider, organizationId, accountSid: account.sid, credentials },
    skipDuplicates: true,
  });
  if (created.count === 0) return null;
  await enqueueSync(app, tx, telephonyConfigSync, { id, organizationId });
  return id;
}

/** Whether the credentials are equal. Also false if they are, but sending them again may help. */
function isUnchanged(app: App, config: TelephonyConfig, account: Account): boolean {
  if (config.deletedAt || config.refusedRevision === config.revision) return false;
  const stored = decryptCarrier(app, config) as Record<string, unknown>;
  return Object.entries(account.secrets).every(([name, value]) => stored[name] === value);
}

interface Refusal {
  /** What the message says about the effect. */
  consequence: string;
  /**
   * Undoes what the request has changed, in a transaction that has locked the row of the provider.
   *
   * @returns the ID of the account to sync, if any.
   */
  undo(tx: Tx, config: TelephonyConfig | null): Promise<string | null>;
}

/**
 * Sends the account to Ultravox. If Ultravox cannot be reached, its job sends it later.
 *
 * @throws UserInputError if Ultravox refuses the account; the request is then undone.
 */
export async function sendAccount(
  app: App,
  sent: SentAccount,
  { consequence, undo }: Refusal,
): Promise<void> {
  const send = async (): Promise<void> => {
    const refused = await waitForAnswer(app, sent);
    if (!refused) return;
    const id = await app.db.$transaction(async (tx) =>
      undo(tx, await lockConfig(tx, sent.provider)),
    );
    if (id) await trySync(app, telephonyConfigSync, id);
    throw refusalOf(refused, sent, consequence);
  };
  const { lease } = sent;
  if (!lease) return send();
  const failed = app.failures.recorder('renewAccountChangeLease');
  const renew = () => lease.renew(app.db);
  try {
    await whileRenewing({ seconds: LEASE_SECONDS, renew, failed }, send);
  } finally {
    // A lease that cannot be released expires.
    await lease.release(app.db).catch(app.failures.recorder('releaseAccountChangeLease'));
  }
}

/**
 * Sends the revision, or waits while another sender, such as a retry of an earlier revision, sends it.
 *
 * @returns the account if Ultravox refused this revision; null if it accepted it or did not answer.
 */
async function waitForAnswer(
  app: App,
  { id, revision }: SentAccount,
): Promise<TelephonyConfig | null> {
  const deadline = Date.now() + app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000;
  for (let waitMs = WAIT_MS.min; ; waitMs = Math.min(2 * waitMs, WAIT_MS.max)) {
    await trySync(app, telephonyConfigSync, id);
    const config = await app.db.telephonyConfig.findUnique({ where: { id } });
    if (config?.refusedRevision === revision) return config;
    if (config?.revision !== revision || isUpToDate(config)) return null;
    const isBeingSent = config.syncLeaseUntil && config.syncLeaseUntil.getTime() > Date.now();
    if (!isBeingSent || Date.now() >= deadline || app.closing.aborted) return null;
    await pause(waitMs, undefined, { signal: app.closing }).catch(() => undefined);
  }
}

function refusalOf(
  { provider, ...config }: TelephonyConfig,
  { revision }: SentAccount,
  consequence: string,
): UserInputError {
  const path = ['provider', provider.toLowerCase()];
  const syncError = config.revision === revision ? config.syncError : null;
  if (syncError === accountInUse(provider)) {
    return userError('CARRIER_ACCOUNT_CONFLICT', syncError, path);
  }
  const reason = syncError ? ` Ultravox says: ${syncError}` : '';
  return userError(
    'ULTRAVOX_REFUSED',
    `Ultravox refused the carrier account, ${consequence}${reason}`,
    path,
  );
}
