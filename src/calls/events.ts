/** The part of the event log that is about calls. */
import type { Event, Prisma } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import type { EventFilter } from '../live/feed.ts';

/** The graph's word for each type in the log. */
export const CALL_EVENT_TYPES = {
  CREATED: 'CALL_CREATED',
  RINGING: 'CALL_RINGING',
  IN_PROGRESS: 'CALL_IN_PROGRESS',
  COMPLETED: 'CALL_COMPLETED',
  FAILED: 'CALL_FAILED',
  CANCELLED: 'CALL_CANCELLED',
  BILLED: 'CALL_BILLED',
  DELETED: 'CALL_DELETED',
} as const satisfies Record<string, EventType>;

export type CallEventTypeName = keyof typeof CALL_EVENT_TYPES;

export function callEventTypeOf(event: Event): CallEventTypeName {
  return event.type.slice('CALL_'.length) as CallEventTypeName;
}

export interface CallEventFilter {
  callId?: string | null;
  agentId?: string | null;
  types?: readonly CallEventTypeName[] | null;
}

/** The same condition twice: for rows of the table, and for rows already in hand. */
export function callEventFilter({ callId, agentId, types }: CallEventFilter): EventFilter {
  const wanted = new Set<EventType>(
    (types?.length ? types : (Object.keys(CALL_EVENT_TYPES) as CallEventTypeName[])).map(
      (type) => CALL_EVENT_TYPES[type],
    ),
  );
  const where: Prisma.EventWhereInput = {
    type: { in: [...wanted] },
    ...(callId ? { callId } : {}),
    ...(agentId ? { agentId } : {}),
  };
  return {
    where,
    matches: (event) =>
      wanted.has(event.type) &&
      (!callId || event.callId === callId) &&
      (!agentId || event.agentId === agentId),
  };
}
