/** Call events in the event log: their types, filters and visibility. */
import { checkWatchedAgent } from '../agents/watched-agent.ts';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event, Prisma } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import { publicId } from '../ids.ts';
import type { EventFilter } from '../live/log.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

/** Event types of the graph, with their types in the log. */
export const CALL_EVENT_TYPES = {
  CREATED: 'CALL_CREATED',
  RINGING: 'CALL_RINGING',
  IN_PROGRESS: 'CALL_IN_PROGRESS',
  COMPLETED: 'CALL_COMPLETED',
  FAILED: 'CALL_FAILED',
  CANCELLED: 'CALL_CANCELLED',
  BILLED: 'CALL_BILLED',
  DELETED: 'CALL_DELETED',
  ANALYZED: 'CALL_ANALYZED',
  SUMMARIZED: 'CALL_SUMMARIZED',
  RECORDING_READY: 'CALL_RECORDING_READY',
  RECORDING_FAILED: 'CALL_RECORDING_FAILED',
  RECORDING_EXPIRED: 'CALL_RECORDING_EXPIRED',
  END_REQUESTED: 'CALL_END_REQUESTED',
  TRANSCRIPT_TURN: 'CALL_TRANSCRIPT_TURN',
} as const satisfies Record<string, EventType>;

/** Types known to this version: during an upgrade, a newer version may append others. */
export const KNOWN_TYPES: readonly EventType[] = Object.values(CALL_EVENT_TYPES);

/** All types except turns, which are read only for subscribers that ask for them. */
const DEFAULT_TYPES: ReadonlySet<EventType> = new Set(
  Object.values(CALL_EVENT_TYPES).filter((type) => type !== 'CALL_TRANSCRIPT_TURN'),
);

export type CallEventTypeName = keyof typeof CALL_EVENT_TYPES;

export function callEventTypeOf(event: Event): CallEventTypeName {
  return event.type.slice('CALL_'.length) as CallEventTypeName;
}

export interface CallEventFilter {
  callId?: string | null;
  agentId?: string | null;
  campaignId?: string | null;
  types?: readonly CallEventTypeName[] | null;
}

/** Builds a filter as both a query and a predicate on loaded events. */
export function callEventFilter({
  callId,
  agentId,
  campaignId,
  types,
}: CallEventFilter): EventFilter {
  const wanted: ReadonlySet<EventType> = types?.length
    ? new Set(types.map((type) => CALL_EVENT_TYPES[type]))
    : DEFAULT_TYPES;
  const where: Prisma.EventWhereInput = {
    type: { in: [...wanted] },
    ...(callId ? { callId } : {}),
    ...(agentId ? { agentId } : {}),
    ...(campaignId ? { campaignId } : {}),
  };
  return {
    where,
    isRare: Boolean(callId || agentId || campaignId),
    matches: (event) =>
      wanted.has(event.type) &&
      (!callId || event.callId === callId) &&
      (!agentId || event.agentId === agentId) &&
      (!campaignId || event.campaignId === campaignId),
  };
}

/**
 * Checks that the viewer may see the call, agent and campaign of a subscription. Deleted ones are allowed,
 * since their events are still in the log.
 *
 * @throws RequestError BAD_USER_INPUT if one of them does not exist for this viewer.
 */
export async function checkWatched(
  app: App,
  viewer: Viewer,
  {
    callId,
    agentId,
    campaignId,
  }: { callId: string | null; agentId: string | null; campaignId: string | null },
): Promise<void> {
  const own = ownedBy(viewer);
  const { onlyCallId, onlyCampaignId } = viewer;
  const ofCampaign = onlyCampaignId ? { campaignId: onlyCampaignId } : {};
  const hidden = onlyCallId !== undefined && callId !== onlyCallId;
  if (
    callId &&
    (hidden || !(await app.db.call.count({ where: { ...own, ...ofCampaign, id: callId } })))
  ) {
    throw notFound('Call', publicId('Call', callId));
  }
  // A limited token only gets events of its call or campaign, and must not reveal which agents exist.
  if (agentId && !onlyCallId && !onlyCampaignId) await checkWatchedAgent(app, viewer, agentId);
  const another =
    onlyCallId !== undefined || (onlyCampaignId !== undefined && campaignId !== onlyCampaignId);
  if (
    campaignId &&
    (another || !(await app.db.campaign.count({ where: { ...own, id: campaignId } })))
  ) {
    throw notFound('Campaign', publicId('Campaign', campaignId));
  }
}

function notFound(what: string, id: string): RequestError {
  return new RequestError('BAD_USER_INPUT', `${what} ${id} not found.`);
}
