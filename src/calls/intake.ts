/**
 * Takes in what Ultravox tells of calls by itself: finds the call it is about, makes the ones that
 * somebody else began (an incoming call), and moves them on.
 */
import type { App, Tx } from '../app.ts';
import type { Agent, Call, CallMedium } from '../generated/prisma/client.ts';
import { newId, parsePublicId } from '../infra/ids.ts';
import { appendEvents } from '../live/log.ts';
import type { Call as UltravoxCall } from '../ultravox/wire.ts';
import { applyUltravoxCall, createdEvent, lockCall } from './progress.ts';
import { hangUp } from './service.ts';
import { boundsOf } from './settings.ts';
import { isEnded } from './status.ts';

export interface Taken {
  before: Call | null;
  after: Call;
  /** What Ultravox said. */
  seen: UltravoxCall;
}

/**
 * Takes over what Ultravox says of a call, within the caller's transaction. Null when the call is
 * none of ours: made by hand in the same Ultravox account, for instance.
 */
export async function takeInCall(app: App, tx: Tx, seen: UltravoxCall): Promise<Taken | null> {
  // Whoever looks for the call first makes it; the others wait here and then find it.
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${seen.callId}, 7411))`;
  const id = await findCallId(tx, seen);
  if (id) {
    const before = await lockCall(tx, id);
    if (!before) return null;
    if (before.deletedAt) {
      // Deleted before it was known here: now it can be removed there.
      if (!before.ultravoxId) {
        await tx.call.update({ where: { id }, data: { ultravoxId: seen.callId } });
      }
      return null;
    }
    return { before, after: await applyUltravoxCall(app, tx, before, seen), seen };
  }
  const agent = await findAgent(tx, seen);
  if (!agent || parsePublicId(seen.metadata.callId ?? '')) return null;
  const made = await insertInboundCall(app, tx, agent, seen);
  return { before: null, after: await applyUltravoxCall(app, tx, made, seen), seen };
}

/** By Ultravox's id, else by ours in the metadata, which nobody but us sets on a signed webhook. */
async function findCallId(tx: Tx, seen: UltravoxCall): Promise<string | null> {
  const known = await tx.call.findUnique({
    where: { ultravoxId: seen.callId },
    select: { id: true },
  });
  if (known) return known.id;
  const ours = parsePublicId(seen.metadata.callId ?? '');
  if (ours?.prefix !== 'cal') return null;
  const call = await tx.call.findUnique({
    where: { id: ours.uuid },
    select: { id: true, ultravoxId: true },
  });
  return call && call.ultravoxId === null ? call.id : null;
}

async function findAgent(tx: Tx, seen: UltravoxCall): Promise<Agent | null> {
  const ultravoxId = seen.agentId ?? seen.agent?.agentId;
  return ultravoxId ? tx.agent.findUnique({ where: { ultravoxId } }) : null;
}

async function insertInboundCall(
  app: App,
  tx: Tx,
  agent: Agent,
  seen: UltravoxCall,
): Promise<Call> {
  const { from, to } = partiesOf(seen);
  const number = await findNumber(tx, agent, to);
  const createdAt = new Date(seen.created);
  const call = await tx.call.create({
    data: {
      id: newId(),
      organizationId: agent.organizationId,
      agentId: agent.id,
      phoneNumberId: number?.id ?? null,
      direction: 'INBOUND',
      medium: mediumOf(seen),
      status: 'CREATED',
      phoneNumber: from,
      ownNumber: number?.phoneNumber ?? to,
      recordingEnabled: seen.recordingEnabled,
      ...boundsOf({ maxDuration: seen.maxDuration, joinTimeout: seen.joinTimeout }, {}),
      ultravoxId: seen.callId,
      // It counts against Ultravox's limits like any other.
      placingAt: createdAt,
      nextCheckAt: app.now(),
      eventCount: 1,
      createdAt,
    },
  });
  await appendEvents(tx, call.organizationId, [createdEvent(call)]);
  return call;
}

/**
 * Who called whom. For Twilio and Telnyx the carrier's request is there as we asked for it when
 * their accounts were configured (`from`, `to`); for SIP, Ultravox names the caller itself.
 */
export function partiesOf(seen: UltravoxCall): { from: string | null; to: string | null } {
  const context = (seen.requestContext ?? {}) as Record<string, unknown>;
  const read = (...keys: string[]): string | null => {
    for (const key of keys) {
      const value = key
        .split('.')
        .reduce<unknown>(
          (at, part) => (at as Record<string, unknown> | undefined)?.[part],
          context,
        );
      const text = context[key] ?? value;
      const number = typeof text === 'string' ? phoneNumberIn(text) : null;
      if (number) return number;
    }
    return null;
  };
  return {
    from: read('from', 'From', 'ultravox.sip.caller_id', 'ultravox.sip.from_uri'),
    to: read('to', 'To', 'ultravox.sip.to_uri', 'to_uri'),
  };
}

/** The E.164 number in a number or in the user part of a SIP URI. */
function phoneNumberIn(text: string): string | null {
  return /^(?:sips?:)?(\+[1-9]\d{1,14})(?:@|$)/.exec(text.trim())?.[1] ?? null;
}

/** The number that was called; if that is not told, the only one that leads to the agent. */
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
 * Hangs up a call that is live at Ultravox and should not be: somebody wanted it ended while it
 * rang, or was told that nobody was called. One that was merely settled, because nothing could be
 * learnt of it, is let talk.
 */
export function hangUpIfUnwanted(app: App, { before, after, seen }: Taken): void {
  const live = seen.joined !== null && seen.ended === null;
  const answeredNow = before?.status !== 'IN_PROGRESS' && after.status === 'IN_PROGRESS';
  const unwanted = isEnded(after.status) && after.endReason !== 'UNKNOWN';
  if (live && (unwanted || (after.endRequestedAt && answeredNow))) {
    app.background('hangUp', () => hangUp(app, after));
  }
}
