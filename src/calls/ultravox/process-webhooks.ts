/**
 * Processes webhooks of Ultravox. Those that arrive together are stored and applied in one statement, without waiting
 * for locks. Webhooks that cannot be applied this way are only stored, and then processed one by one, so that a
 * webhook that fails, or whose call is locked, does not delay the others.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { Prisma, type UltravoxWebhook } from '../../generated/prisma/client.ts';
import { parsePublicId } from '../../ids.ts';
import { hiddenFromPlanner } from '../../infra/database/hidden-from-planner.ts';
import { toStorableText, truncateText } from '../../infra/database/storable-text.ts';
import { announceEvents } from '../../live/log.ts';
import { callSchema, type Call as UltravoxCall } from '../../ultravox/wire.ts';
import { type ReadCall, readCalls } from '../lock.ts';
import { placeWaitingCalls } from '../placement/placement.ts';
import { isEnded } from '../status.ts';
import { announceEnd } from '../updates/call-update.ts';
import {
  type CallUpdate,
  type NewWebhook,
  type WrittenUpdates,
  writeAndAnnounce,
} from '../updates/write-updates.ts';
import { type Report, updateOf } from './apply-update.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, type IngestedCall, ingestCall } from './ingest.ts';

const LOCKED_RETRY_MS = 30;
/** Maximum wait for a lock, since each waiting transaction holds a connection. */
const LOCK_WAIT = '2s';
const FIRST_RETRY_SECONDS = 3;
const MAX_RETRY_SECONDS = 3_600;
/** Amounts to almost five hours of retries. */
const MAX_ATTEMPTS = 15;

interface KnownUpdate extends CallUpdate {
  seen: UltravoxCall;
  webhookIds: readonly string[];
}

/**
 * Stores webhooks and, in the same statement, applies those whose call is known and not locked. The others are
 * processed afterwards, in the background.
 */
export async function receiveWebhooks(app: App, webhooks: readonly NewWebhook[]): Promise<void> {
  const { done, stored, callsWait } = await applyAndStore(app, webhooks);
  const processed = new Set(done.flatMap(({ webhookIds }) => webhookIds));
  const left = webhooks.filter(({ id }) => !processed.has(id));
  app.background('processUltravoxWebhooks', async () => {
    followUp(app, done, callsWait);
    const [fresh, repeated] = [true, false].map((isFresh) =>
      left.filter(({ id }) => stored.has(id) === isFresh),
    );
    if (fresh?.length) await processStored(app, fresh);
    await lookUpBills(app, repeated ?? []);
  });
}

async function applyAndStore(
  app: App,
  webhooks: readonly NewWebhook[],
): Promise<{ done: KnownUpdate[] } & Omit<WrittenUpdates, 'ids'>> {
  try {
    const updates = updatesOf(app, webhooks, await readCalls(app.rows, callsOf(webhooks)));
    const { ids, ...written } = await writeAndAnnounce(app, updates, webhooks);
    return { done: updates.filter(({ before }) => ids.has(before.id)), ...written };
  } catch (error) {
    // One of them cannot be applied. All are processed one by one afterwards.
    app.failures.record('applyWebhooksTogether', error);
    return { done: [], ...(await writeAndAnnounce(app, [], webhooks)) };
  }
}

/**
 * Requests a look-up of billed calls whose bill is reported again. The new webhook is not stored, since they are keyed
 * by call and event, but its figures may be different.
 */
async function lookUpBills(app: App, repeated: readonly NewWebhook[]): Promise<void> {
  const bills = repeated.filter(({ event }) => event === 'call.billed');
  if (bills.length === 0) return;
  await app.db.call.updateMany({
    where: {
      ultravoxId: { in: bills.map(({ call }) => call.callId) },
      billingStatus: { in: ['BILLED', 'FREE'] },
      deletedAt: null,
    },
    data: { nextCheckAt: app.now() },
  });
}

/** Processes webhooks that were stored together. Usually their calls had just been changed or were locked. */
async function processStored(app: App, webhooks: readonly NewWebhook[]): Promise<void> {
  let left = webhooks;
  try {
    for (const delay of [0, LOCKED_RETRY_MS]) {
      await pause(delay);
      left = await ingestKnown(app, left);
      if (left.length === 0) return;
    }
  } catch (error) {
    app.failures.record('applyWebhooksTogether', error);
  }
  await Promise.all(left.map(({ id }) => tryWebhook(app, id)));
}

/**
 * SQL condition on calls: known, not deleted, and the subject of one of these webhooks. Avoids IS NULL, which would
 * read the index on `ultravox_id`, including all calls that were never created.
 */
function callsOf(webhooks: readonly NewWebhook[]): Prisma.Sql {
  const ultravoxIds = webhooks.map(({ call }) => call.callId);
  const ourIds = webhooks.flatMap(({ call }) => ourIdOf(call));
  return Prisma.sql`deleted_at IS NULL AND (
    ultravox_id = ANY(${hiddenFromPlanner(ultravoxIds, 'text[]')})
    OR (coalesce(ultravox_id, '') = '' AND id = ANY(${hiddenFromPlanner(ourIds, 'uuid[]')})))`;
}

/** Applies webhooks to known calls that are not locked. Returns the remaining webhooks. */
async function ingestKnown(app: App, webhooks: readonly NewWebhook[]): Promise<NewWebhook[]> {
  const updates = updatesOf(app, webhooks, await readCalls(app.rows, callsOf(webhooks)));
  const { ids, callsWait } = await writeAndAnnounce(app, updates);
  const done = updates.filter(({ before }) => ids.has(before.id));
  followUp(app, done, callsWait);
  const processed = new Set(done.flatMap(({ webhookIds }) => webhookIds));
  return webhooks.filter(({ id }) => !processed.has(id));
}

/** Returns the updates that webhooks make to their calls. */
function updatesOf(
  app: App,
  webhooks: readonly NewWebhook[],
  calls: readonly ReadCall[],
): KnownUpdate[] {
  return calls.flatMap(({ call, version }) => {
    // If the Ultravox ID of a call is unknown, the first webhook that names the call determines it.
    const ultravoxId =
      call.ultravoxId ??
      webhooks.find((webhook) => ourIdOf(webhook.call).includes(call.id))?.call.callId;
    const own = webhooks.filter((webhook) => webhook.call.callId === ultravoxId);
    const states = own.map((webhook) => webhook.call);
    const seen =
      states.find(({ ended }) => ended !== null) ??
      states.find(({ joined }) => joined !== null) ??
      states[0];
    if (!seen) return [];
    const webhookIds = own.map(({ id }) => id);
    return { seen, ...updateOf(app, call, ...own.map(reportOf)), version, webhookIds };
  });
}

function reportOf({ event, call }: Pick<NewWebhook, 'event' | 'call'>): Report {
  return { seen: call, source: event === 'call.billed' ? 'BILL' : undefined };
}

/** Our call ID from the metadata, which only we set, as a list of at most one. */
function ourIdOf(seen: UltravoxCall): string[] {
  const ours = parsePublicId(seen.metadata.callId ?? '');
  return ours?.type === 'Call' ? [ours.uuid] : [];
}

/** Does what follows the commit, except for announcing the events. `callsWait`: whether calls may be waiting for a slot. */
function followUp(app: App, ingested: readonly IngestedCall[], callsWait: boolean): void {
  for (const one of ingested) {
    announceEnd(app, one.before, one.after);
    hangUpIfUnwanted(app, one);
  }
  const hasEnded = ({ before, after }: IngestedCall): boolean =>
    isEnded(after.status) && !(before && isEnded(before.status));
  if (callsWait && ingested.some(hasEnded)) {
    app.background('placeWaitingCalls', () => placeWaitingCalls(app));
  }
}

/** Processes one stored webhook. A failure is recorded on the row and retried later. */
async function tryWebhook(app: App, id: string): Promise<void> {
  try {
    await processWebhook(app, id);
  } catch (error) {
    await recordFailure(app, id, error);
  }
}

/**
 * Does nothing if the webhook is already processed or locked by another process. Its changes and the `processed_at`
 * mark are written in one transaction. The payload is kept for a while, for the webhooks that we send ourselves.
 */
async function processWebhook(app: App, id: string): Promise<void> {
  const { ingested, seen } = await app.db.$transaction(async (tx) => {
    const [webhook] = await tx.$queryRaw<Pick<UltravoxWebhook, 'event' | 'payload'>[]>`
      SELECT event, payload FROM ultravox_webhooks
      WHERE id = ${id}::uuid AND processed_at IS NULL AND failed_at IS NULL
      FOR UPDATE SKIP LOCKED`;
    if (!webhook) return { ingested: null, seen: null };
    await tx.$executeRaw`SELECT set_config('lock_timeout', ${LOCK_WAIT}, true)`;
    const call = callSchema.parse(webhook.payload);
    const result = await ingestCall(app, tx, reportOf({ event: webhook.event, call }));
    await tx.ultravoxWebhook.update({
      where: { id },
      data: {
        processedAt: app.now(),
        error: null,
        nextAttemptAt: null,
        ...(result && !result.after.deletedAt ? {} : { payload: {} }),
      },
    });
    return { ingested: result, seen: call };
  });
  if (ingested) {
    announceEvents(app, ingested.after.organizationId);
    followUp(app, [ingested], true);
  } else if (seen) app.background('hangUpIfNotIngested', () => hangUpIfNotIngested(app, seen));
}

/**
 * Schedules the next attempt after 3, 6, 12 … 3,600 seconds, or marks the webhook as failed after the last one. The
 * call does not depend on it: the reconciler looks up calls without updates.
 */
async function recordFailure(app: App, id: string, error: unknown): Promise<void> {
  const now = app.now();
  const [webhook] = await app.db.$queryRaw<{ event: string; callId: string; failed: boolean }[]>`
    UPDATE ultravox_webhooks SET
      error = ${truncateText(toStorableText(String(error)), 500)},
      attempts = attempts + 1,
      next_attempt_at = CASE WHEN attempts + 1 < ${MAX_ATTEMPTS} THEN ${now}::timestamptz
        + make_interval(secs => least(${MAX_RETRY_SECONDS}, ${FIRST_RETRY_SECONDS} * 2 ^ attempts)) END,
      failed_at = CASE WHEN attempts + 1 >= ${MAX_ATTEMPTS} THEN ${now}::timestamptz END
    WHERE id = ${id}::uuid AND processed_at IS NULL AND failed_at IS NULL
    RETURNING event, ultravox_call_id AS "callId", failed_at IS NOT NULL AS failed`;
  if (!webhook) return;
  const { failed, ...details } = webhook;
  if (failed) {
    app.log.error(
      { err: error, webhookId: id, ...details },
      'Could not process a webhook of Ultravox; no attempts are left',
    );
  } else {
    app.failures.record('processUltravoxWebhook', error, {
      message: 'Could not process a webhook of Ultravox; will retry',
      webhookId: id,
      ...details,
    });
  }
}

function isPending(app: App): Prisma.Sql {
  return Prisma.sql`processed_at IS NULL AND failed_at IS NULL
    AND received_at < now() - interval '2 seconds'
    AND (next_attempt_at IS NULL OR next_attempt_at <= ${app.now()}::timestamptz)`;
}

/** SQL condition: whether `processPendingWebhooks` has anything to do. */
export function hasPendingWebhooks(app: App): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM ultravox_webhooks WHERE ${isPending(app)})`;
}

/** Processes webhooks that are due for a retry, and those whose process died after storing them. */
export async function processPendingWebhooks(app: App): Promise<void> {
  const pending = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM ultravox_webhooks WHERE ${isPending(app)}
    ORDER BY attempts, received_at LIMIT 200`;
  for (const { id } of pending) await tryWebhook(app, id);
}
