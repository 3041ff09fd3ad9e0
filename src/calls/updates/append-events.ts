/** Appends events to the log of one call. */
import type { Tx } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { appendEvents, type NewEvent } from '../../live/log.ts';

export type NewCallEvent = Pick<NewEvent, 'type' | 'data' | 'at'>;

/** Builds an event of a call. */
export function callEvent(
  call: Pick<Call, 'id' | 'agentId' | 'campaignId'>,
  event: NewCallEvent & { sequence: number },
): NewEvent {
  return {
    ...event,
    callId: call.id,
    agentId: call.agentId,
    ...(call.campaignId ? { campaignId: call.campaignId } : {}),
  };
}

/** Builds the first event of a call. The caller inserts the row with `eventCount` 1. */
export function createdEvent(
  call: Pick<Call, 'id' | 'agentId' | 'campaignId' | 'status' | 'createdAt'>,
): NewEvent {
  return callEvent(call, {
    type: 'CALL_CREATED',
    sequence: 1,
    data: { status: call.status, endReason: null },
    at: call.createdAt,
  });
}

/** Builds events that do not change the status, numbered after the call's latest event. `call` is its current state. */
export function callEvents(call: Call, events: readonly NewCallEvent[]): NewEvent[] {
  const { status, endReason, eventCount } = call;
  return events.map((event, index) =>
    callEvent(call, {
      ...event,
      sequence: eventCount + index + 1,
      data: { status, endReason, ...event.data },
    }),
  );
}

/**
 * Appends events that do not change the status, numbered after the call's latest event. The caller has locked the
 * call, passes its current state, and calls `announceEvents` after the commit.
 *
 * @returns the call with its new number of events.
 */
export async function appendCallEvents(
  tx: Tx,
  call: Call,
  events: readonly NewCallEvent[],
): Promise<Call> {
  if (events.length === 0) return call;
  await tx.call.update({
    where: { id: call.id },
    data: { eventCount: { increment: events.length } },
    select: { id: true },
  });
  await appendEvents(tx, call.organizationId, callEvents(call, events));
  return { ...call, eventCount: call.eventCount + events.length };
}
