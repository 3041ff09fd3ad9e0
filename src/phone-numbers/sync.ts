/** Syncs carrier accounts with Ultravox, and allows inbound SIP calls there. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import type { TelephonyConfig } from '../generated/prisma/client.ts';
import { defineJob, type JobContext } from '../infra/jobs/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import { defineSyncJob, RefusedError, type SyncContext, type SyncKind } from '../sync/sync-kind.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { decryptTelnyx, decryptTwilio } from './credentials.ts';

/** Any agent may take calls. The caller and the called number become part of the call's context. */
const COMMON = {
  callCreationAllowAllAgents: true,
  requestContextMapping: { From: 'from', To: 'to' },
};

/**
 * Ultravox has one account per provider, without an ID: the name of the provider is the remote ID, and creating the
 * account twice does no harm.
 */
export const telephonyConfigSync: SyncKind<TelephonyConfig> = {
  table: 'telephony_configs',
  job: defineSyncJob('syncTelephonyConfig'),

  load: (app, id) => app.db.telephonyConfig.findUnique({ where: { id } }),

  async find(app, row) {
    return (await accountAtUltravox(app, row)) === 'SAME' ? [remoteName(row)] : [];
  },

  async create(app, row) {
    const found = await accountAtUltravox(app, row);
    if (found !== null) {
      await updateAccount(app, row, found);
      return remoteName(row);
    }
    // Recorded before the request, so that an account created by an unanswered request counts as created here.
    await app.db.telephonyConfig.updateMany({ where: { id: row.id }, data: { createdHere: true } });
    try {
      if (row.provider === 'TWILIO') {
        await app.ultravox.telephonyConfigs.create('twilio', twilioConfig(app, row));
      } else {
        await app.ultravox.telephonyConfigs.create('telnyx', telnyxConfig(app, row));
      }
    } catch (error) {
      if (error instanceof UltravoxError && !error.outcomeUnknown) {
        const data = { createdHere: false };
        await app.db.telephonyConfig.updateMany({ where: { id: row.id }, data });
      }
      throw error;
    }
    return remoteName(row);
  },

  async update(app, row) {
    await updateAccount(app, row, await accountAtUltravox(app, row));
  },

  async remove(app, row) {
    if (!row.createdHere || (await accountAtUltravox(app, row)) !== 'SAME') return;
    await nullIfNotFound(app.ultravox.telephonyConfigs.delete(remoteName(row)));
  },

  async onResult(_app, tx, row, result) {
    if (result.outcome === 'SYNCED') await keepAccepted(tx, row);
    if (result.outcome !== 'REMOVED') return;
    // The row is deleted unless a number was imported while the account was being removed.
    const deleted = await tx.telephonyConfig.deleteMany({
      where: { id: row.id, deletedAt: { not: null } },
    });
    if (deleted.count === 0) {
      await tx.telephonyConfig.updateMany({
        where: { id: row.id },
        data: { status: 'CREATING', createdHere: false, previousCredentials: null },
      });
    }
  },
};

/** Keeps the credentials that Ultravox accepted, to restore them if it refuses newer ones set in the meantime. */
async function keepAccepted(tx: Tx, { id, revision, credentials }: TelephonyConfig): Promise<void> {
  await tx.telephonyConfig.updateMany({
    where: { id, revision, previousCredentials: { not: null } },
    data: { previousCredentials: null },
  });
  await tx.telephonyConfig.updateMany({
    where: { id, revision: { gt: revision }, previousCredentials: { not: null } },
    data: { previousCredentials: credentials },
  });
}

/** @throws RefusedError if Ultravox holds another account, which must not be replaced. */
async function updateAccount(
  app: SyncContext,
  row: TelephonyConfig,
  found: 'SAME' | 'OTHER' | null,
): Promise<void> {
  if (found === 'OTHER') throw new RefusedError(accountInUse(row.provider));
  if (row.provider === 'TWILIO') {
    await app.ultravox.telephonyConfigs.update('twilio', twilioConfig(app, row));
  } else {
    await app.ultravox.telephonyConfigs.update('telnyx', telnyxConfig(app, row));
  }
}

/** The message is the same for every other account, so that nothing about it is revealed. */
export function accountInUse(provider: TelephonyConfig['provider']): string {
  return `Ultravox supports one ${provider === 'TWILIO' ? 'Twilio' : 'Telnyx'} account, and another one is in use. Import the number with a SIP trunk of your carrier (\`provider.sip\`) instead.`;
}

/**
 * Whether Ultravox holds the account of the row, another one, or none (null). An account that was configured by hand is
 * the same if it has the same SID and its key starts as Ultravox reports: a caller that knows only the SID cannot
 * replace the key.
 */
async function accountAtUltravox(
  app: SyncContext,
  row: TelephonyConfig,
): Promise<'SAME' | 'OTHER' | null> {
  const config = await nullIfNotFound(app.ultravox.telephonyConfigs.get(remoteName(row)));
  if (!config) return null;
  if (config.accountSid !== row.accountSid) return 'OTHER';
  if (row.createdHere || row.remoteId) return 'SAME';
  const [key, prefix] =
    'authTokenPrefix' in config
      ? [decryptTwilio(app, row).authToken, config.authTokenPrefix]
      : [decryptTelnyx(app, row).publicKey, config.publicKeyPrefix];
  return prefix?.prefix && key.startsWith(prefix.prefix) ? 'SAME' : 'OTHER';
}

function remoteName(row: TelephonyConfig): 'twilio' | 'telnyx' {
  return row.provider === 'TWILIO' ? 'twilio' : 'telnyx';
}

function twilioConfig(app: SyncContext, row: TelephonyConfig) {
  return { ...COMMON, accountSid: row.accountSid, ...decryptTwilio(app, row) };
}

function telnyxConfig(app: SyncContext, row: TelephonyConfig) {
  return { ...COMMON, accountSid: row.accountSid, ...decryptTelnyx(app, row) };
}

/** Enqueued with every imported SIP number. */
export const allowSipCallsJob = defineJob({
  name: 'allowSipCalls',
  payload: z.object({}),
  concurrency: 1,
});

/** Allows inbound SIP calls to any agent. Other SIP settings of the account stay unchanged. */
export async function allowSipCalls(
  app: App,
  _payload: unknown,
  { signal }: JobContext,
): Promise<void> {
  const config = await app.ultravox.sip.get({ signal });
  if (config.allowAllAgents) return;
  await app.ultravox.sip.update({ allowAllAgents: true }, { signal });
}
