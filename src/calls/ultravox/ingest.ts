/** Ingests updates that Ultravox sends unprompted: finds their call, or creates an inbound one. */
import type { App, Tx } from '../../app.ts';
import type { Agent, Call, CallMedium } from '../../generated/prisma/client.ts';
import { parsePublicId } from '../../ids.ts';
import { newId } from '../../infra/ids.ts';
import { appendEvents } from '../../live/log.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { lockCall } from '../lock.ts';
import { acceptance, reportedCall } from '../placement/placement-state.ts';
import { durationLimitsOf } from '../settings.ts';
import { isEnded } from '../status.ts';
import { createdEvent } from '../updates/append-events.ts';
import { endAtUltravox, hangUp } from '../updates/end.ts';
import { applyUltravoxCall, type Report } from './apply-update.ts';
import { calledNumberOf, callerOf } from './parties.ts';
import { createdAtOf } from './reported-times.ts';

export interface IngestedCall {
  before: Call | null;
  after: Call;
  /** The call as reported by Ultravox; if there are several reports, the latest state. */
  seen: UltravoxCall;
}

/**
 * Applies a reported call in the caller's transaction. Null if the call is not ours, such as one created by hand in
 * the same Ultravox account, or if it was deleted.
 */
export async function ingestCall(
  app: App,
  tx: Tx,
  { seen, source }: Report,
): Promise<IngestedCall | null> {
  // Serialized, so that two updates of an unknown call do not both create it.
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${seen.callId}, 7411))`;
  const id = await findCallId(tx, seen);
  if (id) {
    const before = await lockCall(tx, id);
    if (!before) return null;
    if (before.deletedAt) {
      // Deleted before its Ultravox ID was known: now it can be removed at Ultravox.
      if (!before.ultravoxId) {
        await tx.call.update({
          where: { id },
          data: acceptance(before, seen.callId, app.now()),
        });
      }
      return null;
    }
    return { before, after: await applyUltravoxCall(app, tx, before, { seen, source }), seen };
  }
  const agent = await findAgent(tx, seen);
  if (!agent || parsePublicId(seen.metadata.callId ?? '')) return null;
  const made = await insertInboundCall(app, tx, agent, seen);
  return { before: null, after: await applyUltravoxCall(app, tx, made, { seen, source }), seen };
}

/** Finds a call by its Ultravox ID, else by our ID in the metadata, which only we set. */
async function findCallId(tx: Tx, seen: UltravoxCall): Promise<string | null> {
  const known = await tx.call.findUnique({
    where: { ultravoxId: seen.callId },
    select: { id: true },
  });
  if (known) return known.id;
  const ours = parsePublicId(seen.metadata.callId ?? '');
  if (ours?.type !== 'Call') return null;
  const call = await tx.call.findUnique({
    where: { id: ours.uuid },
    select: { id: true, ultravoxId: true },
  });
  return call && call.ultravoxId === null ? call.id : null;
}

async function findAgent(tx: Tx, seen: UltravoxCall): Promise<Agent | null> {
  const remoteId = seen.agentId ?? seen.agent?.agentId;
  return remoteId ? tx.agent.findUnique({ where: { remoteId } }) : null;
}

async function insertInboundCall(
  app: App,
  tx: Tx,
  agent: Agent,
  seen: UltravoxCall,
): Promise<Call> {
  const to = calledNumberOf(seen);
  const number = await findNumber(tx, agent, to);
  const ownNumber = number?.phoneNumber ?? to;
  const createdAt = createdAtOf(app, seen);
  const call = await tx.call.create({
    data: {
      id: newId(),
      organizationId: agent.organizationId,
      agentId: agent.id,
      phoneNumberId: number?.id ?? null,
      direction: 'INBOUND',
      medium: mediumOf(seen),
      status: 'CREATED',
      phoneNumber: callerOf(seen, ownNumber),
      ownNumber,
      recordingEnabled: seen.recordingEnabled,
      ...durationLimitsOf({ maxDuration: seen.maxDuration, joinTimeout: seen.joinTimeout }, {}),
      ...reportedCall(seen.callId, createdAt),
      nextCheckAt: app.now(),
      eventCount: 1,
      createdAt,
    },
  });
  await appendEvents(tx, call.organizationId, [createdEvent(call)]);
  return call;
}

/** Finds the called number. If it was not reported, returns the agent's inbound number if it has only one. */
async function findNumber(tx: Tx, agent: Agent, to: string | null) {
  const { organizationId } = agent;
  if (to) {
    return tx.phoneNumber.findFirst({
      where: { organizationId, phoneNumber: to, releasedAt: null },
    });
  }
  const candidates = await tx.phoneNumber.findMany({
    where: { organizationId, inboundAgentId: agent.id, releasedAt: null },
    take: 2,
  });
  return candidates.length === 1 ? (candidates[0] ?? null) : null;
}

function mediumOf(seen: UltravoxCall): CallMedium {
  if (seen.medium?.twilio) return 'TWILIO';
  if (seen.medium?.telnyx) return 'TELNYX';
  if (seen.medium?.sip) return 'SIP';
  return 'WEBRTC';
}

/**
 * Hangs up a live call that is ours but was not ingested. Either it was deleted here after it had been closed as never
 * dialed or lost, or it is a second call that Ultravox created for the same row, because it listed the first one only
 * after the request had been repeated. The person who answers must not hear the agent twice.
 */
export async function hangUpIfNotIngested(app: App, seen: UltravoxCall): Promise<void> {
  if (seen.ended !== null) return;
  const ours = parsePublicId(seen.metadata.callId ?? '');
  const known = [
    { ultravoxId: seen.callId },
    ...(ours?.type === 'Call' ? [{ id: ours.uuid }] : []),
  ];
  const calls = await app.db.call.findMany({
    where: { OR: known },
    select: { id: true, ultravoxId: true, deletedAt: true },
  });
  const call = calls.find(({ ultravoxId }) => ultravoxId === seen.callId) ?? calls[0];
  if (!call?.ultravoxId) return;
  const isSecond = call.ultravoxId !== seen.callId;
  if (!isSecond && !call.deletedAt) return;
  if (isSecond) {
    app.failures.record('duplicateCall', new Error('Ultravox created two calls for one request'), {
      level: 'error',
      message:
        'Ultravox created two calls for one request; the second is hung up once it is answered',
      call: call.id,
      ultravoxCallIds: [call.ultravoxId, seen.callId],
    });
  }
  if (seen.joined !== null) await endAtUltravox(app, seen.callId);
}

/**
 * Hangs up a call that is live but should not be: its end was requested while it rang, or it had ended here as never
 * dialed. A call that was closed as lost continues. If Ultravox has reported the end, the report of a live call is old.
 */
export function hangUpIfUnwanted(app: App, { before, after, seen }: IngestedCall): void {
  const live = seen.joined !== null && seen.ended === null;
  const answeredNow = before?.status !== 'IN_PROGRESS' && after.status === 'IN_PROGRESS';
  const neverDialed = after.ringingAt === null && after.answeredAt === null;
  const unwanted = isEnded(after.status) && after.endReason !== 'UNKNOWN' && neverDialed;
  if (live && (unwanted || (after.endRequestedAt && answeredNow))) {
    app.background('hangUp', () => hangUp(app, after));
  }
}
