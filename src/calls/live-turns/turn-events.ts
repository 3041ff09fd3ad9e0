/** Turns in the event log: each turn of a watched call is appended exactly once. */
import type { App, Tx } from '../../app.ts';
import type { Call, CallTurn, Event } from '../../generated/prisma/client.ts';
import type { Json } from '../../infra/bus.ts';
import { announceEvents } from '../../live/log.ts';
import { lockCall } from '../lock.ts';
import type { Turn } from '../post-call/turns.ts';
import { appendCallEvents, type NewCallEvent } from '../updates/append-events.ts';

const TYPE = 'CALL_TRANSCRIPT_TURN';

/** Returns the turn that an event holds. Null for other events and if the turn was erased. */
export function turnOf({ data, callId, organizationId }: Event): CallTurn | null {
  const { turn } = data as { turn?: Turn };
  if (!turn || !callId) return null;
  return { ...turn, callId, organizationId } as CallTurn;
}

/**
 * Appends the turns of a live call that have no event yet. Does nothing once the call has ended: the missing
 * turns are then appended with the transcript.
 */
export async function appendTurns(app: App, callId: string, turns: readonly Turn[]): Promise<void> {
  const call = await app.db.$transaction(async (tx) => {
    const locked = await lockCall(tx, callId);
    if (!locked || locked.endedAt || locked.deletedAt) return null;
    await appendCallEvents(tx, locked, await missingTurns(tx, locked, turns));
    return locked;
  });
  if (call) announceEvents(app, call.organizationId);
}

/**
 * Returns events for the turns that have none yet. The caller holds the lock on the call, so that no two processes
 * append the same turn.
 */
export async function missingTurns(
  tx: Tx,
  call: Call,
  turns: readonly Turn[],
): Promise<NewCallEvent[]> {
  const known = await tx.$queryRaw<{ position: number }[]>`
    SELECT (data->>'position')::int AS position FROM events
    WHERE call_id = ${call.id}::uuid AND type = ${TYPE}::"EventType"`;
  const positions = new Set(known.map(({ position }) => position));
  const missing = turns.filter(({ position }) => !positions.has(position));
  // The position is kept when the turn is erased.
  return missing.map((turn) => ({
    type: TYPE,
    data: { position: turn.position, turn: turn as unknown as Json },
  }));
}
