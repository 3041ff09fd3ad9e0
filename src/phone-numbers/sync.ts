/** Syncs carrier accounts with Ultravox, and allows incoming SIP calls there. */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { TelephonyConfig } from '../generated/prisma/client.ts';
import { defineJob, type JobContext } from '../infra/jobs/jobs.ts';
import { nullIfNotFound } from '../sync/null-if-not-found.ts';
import { defineSyncJob, type SyncContext, type SyncKind } from '../sync/sync-kind.ts';
import { decryptTelnyx, decryptTwilio } from './credentials.ts';

/** Any agent may take calls. The caller and the called number become part of the call's context. */
const COMMON = {
  callCreationAllowAllAgents: true,
  requestContextMapping: { From: 'from', To: 'to' },
};

/**
 * Ultravox has one account per provider, without an id: the name of the provider is the remote id, and
 * creating the account twice does no harm.
 */
export const telephonyConfigSync: SyncKind<TelephonyConfig> = {
  table: 'telephony_configs',
  job: defineSyncJob('syncTelephonyConfig'),

  load: (app, id) => app.db.telephonyConfig.findUnique({ where: { id } }),

  async find(app, row) {
    // Another account was configured by hand and must not be removed.
    const sid = await remoteAccountSid(app, row);
    return sid === row.accountSid ? [remoteName(row)] : [];
  },

  async create(app, row) {
    // Replaces an account that was configured by hand.
    if ((await remoteAccountSid(app, row)) !== null) {
      await update(app, row);
    } else if (row.provider === 'TWILIO') {
      await app.ultravox.telephonyConfigs.create('twilio', twilioConfig(app, row));
    } else {
      await app.ultravox.telephonyConfigs.create('telnyx', telnyxConfig(app, row));
    }
    return remoteName(row);
  },

  update,

  async remove(app, row) {
    await nullIfNotFound(app.ultravox.telephonyConfigs.delete(remoteName(row)));
  },

  async onResult(_app, tx, row, result) {
    if (result.outcome !== 'REMOVED') return;
    // The row is deleted unless a number was imported while the account was being removed.
    const deleted = await tx.telephonyConfig.deleteMany({
      where: { id: row.id, deletedAt: { not: null } },
    });
    if (deleted.count === 0) {
      await tx.telephonyConfig.updateMany({ where: { id: row.id }, data: { status: 'CREATING' } });
    }
  },
};

async function update(app: SyncContext, row: TelephonyConfig): Promise<void> {
  if (row.provider === 'TWILIO') {
    await app.ultravox.telephonyConfigs.update('twilio', twilioConfig(app, row));
  } else {
    await app.ultravox.telephonyConfigs.update('telnyx', telnyxConfig(app, row));
  }
}

/** The account that Ultravox has for the provider; null when it has none. */
async function remoteAccountSid(app: SyncContext, row: TelephonyConfig): Promise<string | null> {
  const config = await nullIfNotFound(app.ultravox.telephonyConfigs.get(remoteName(row)));
  return config?.accountSid ?? null;
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

/** Allows incoming SIP calls to any agent. Other SIP settings of the account stay unchanged. */
export async function allowSipCalls(
  app: App,
  _payload: unknown,
  { signal }: JobContext,
): Promise<void> {
  const config = await app.ultravox.sip.get({ signal });
  if (config.allowAllAgents) return;
  await app.ultravox.sip.update({ allowAllAgents: true }, { signal });
}
