/** The part of the event log that is about calls. */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Event, Prisma } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import { publicId } from '../infra/ids.ts';
import type { EventFilter } from '../live/feed.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

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
  campaignId?: string | null;
  types?: readonly CallEventTypeName[] | null;
}

/** The same condition twice: for rows of the table, and for rows already in hand. */
export function callEventFilter({
  callId,
  agentId,
  campaignId,
  types,
}: CallEventFilter): EventFilter {
  const wanted = new Set<EventType>(
    (types?.length ? types : (Object.keys(CALL_EVENT_TYPES) as CallEventTypeName[])).map(
      (type) => CALL_EVENT_TYPES[type],
    ),
  );
  const where: Prisma.EventWhereInput = {
    type: { in: [...wanted] },
    ...(callId ? { callId } : {}),
    ...(agentId ? { agentId } : {}),
    ...(campaignId ? { campaignId } : {}),
  };
  return {
    where,
    matches: (event) =>
      wanted.has(event.type) &&
      (!callId || event.callId === callId) &&
      (!agentId || event.agentId === agentId) &&
      (!campaignId || event.campaignId === campaignId),
  };
}

/**
 * Refuses to watch what will never show anything. Deleted calls, agents and campaigns can be
 * watched: what happened to them is still in the log.
 *
 * @throws RequestError BAD_USER_INPUT for what is not there for this viewer.
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
    throw noneToWatch('call', publicId('cal', callId));
  }
  if (agentId && !(await app.db.agent.count({ where: { ...own, id: agentId } }))) {
    throw noneToWatch('agent', publicId('agt', agentId));
  }
  const another =
    onlyCallId !== undefined || (onlyCampaignId !== undefined && campaignId !== onlyCampaignId);
  if (
    campaignId &&
    (another || !(await app.db.campaign.count({ where: { ...own, id: campaignId } })))
  ) {
    throw noneToWatch('campaign', publicId('cmp', campaignId));
  }
}

function noneToWatch(what: string, id: string): RequestError {
  return new RequestError('BAD_USER_INPUT', `There is no ${what} ${id} that you may see.`);
}
