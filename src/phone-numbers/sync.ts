/** Keeps the carrier accounts that Ultravox holds in step with ours, and lets SIP calls in. */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { TelephonyConfig } from '../generated/prisma/client.ts';
import { defineJob } from '../infra/jobs.ts';
import { orGone } from '../sync/gone.ts';
import { defineSyncJob, type SyncKind } from '../sync/service.ts';
import { decryptTelnyx, decryptTwilio } from './credentials.ts';

/** Any agent may take calls; who is calling, and which number, end up in the call's context. */
const COMMON = {
  callCreationAllowAllAgents: true,
  requestContextMapping: { From: 'from', To: 'to' },
};

/**
 * There is one account per provider and it has no id of its own, so the provider's name stands for
 * one: the account is there or it is not, and sending it twice does no harm.
 */
export const telephonyConfigSync: SyncKind<TelephonyConfig> = {
  table: 'telephony_configs',
  job: defineSyncJob('syncTelephonyConfig'),

  load: (app, id) => app.db.telephonyConfig.findUnique({ where: { id } }),

  async find(app, row) {
    // One with another account was set up by hand, and is not ours to remove.
    const held = await heldAccount(app, row);
    return held === row.accountSid ? [remoteName(row)] : [];
  },

  async create(app, row) {
    // Ultravox may hold an account that was set up by hand: ours takes its place.
    if ((await heldAccount(app, row)) !== null) {
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
    await orGone(app.ultravox.telephonyConfigs.delete(remoteName(row)));
  },

  async settled(_app, tx, row, result) {
    if (result.outcome !== 'REMOVED') return;
    // Gone for good, unless a number was imported while it was being removed.
    const gone = await tx.telephonyConfig.deleteMany({
      where: { id: row.id, deletedAt: { not: null } },
    });
    if (gone.count === 0) {
      await tx.telephonyConfig.updateMany({ where: { id: row.id }, data: { status: 'CREATING' } });
    }
  },
};

async function update(app: App, row: TelephonyConfig): Promise<void> {
  if (row.provider === 'TWILIO') {
    await app.ultravox.telephonyConfigs.update('twilio', twilioConfig(app, row));
  } else {
    await app.ultravox.telephonyConfigs.update('telnyx', telnyxConfig(app, row));
  }
}

/** The account that Ultravox has for this provider now, or null. */
async function heldAccount(app: App, row: TelephonyConfig): Promise<string | null> {
  const held = await orGone(app.ultravox.telephonyConfigs.get(remoteName(row)));
  return held?.accountSid ?? null;
}

function remoteName(row: TelephonyConfig): 'twilio' | 'telnyx' {
  return row.provider === 'TWILIO' ? 'twilio' : 'telnyx';
}

function twilioConfig(app: App, row: TelephonyConfig) {
  return { ...COMMON, accountSid: row.accountSid, ...decryptTwilio(app, row) };
}

function telnyxConfig(app: App, row: TelephonyConfig) {
  return { ...COMMON, accountSid: row.accountSid, ...decryptTelnyx(app, row) };
}

/** Enqueued with every SIP number; tried again until Ultravox has heard it. */
export const allowSipCallsJob = defineJob({ name: 'allowSipCalls', payload: z.object({}) });

/** Lets incoming SIP calls reach any agent. Other SIP settings of the account stay as they are. */
export async function allowSipCalls(app: App): Promise<void> {
  const config = await app.ultravox.sip.get();
  if (config.allowAllAgents) return;
  await app.ultravox.sip.update({ allowAllAgents: true });
}
