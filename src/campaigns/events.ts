/** Campaign events: built during a transaction, announced after its commit. */
import type { App } from '../app.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import { announceEvents, type NewEvent } from '../live/log.ts';

/** Bus topic on which changes to a campaign are announced. */
export function campaignTopic(id: string): string {
  return `campaigns:${id}`;
}

/** Events to append at the end of a transaction, by organization. */
export class EventList {
  readonly byOrganization = new Map<string, NewEvent[]>();

  add(organizationId: string, event: NewEvent): void {
    const list = this.byOrganization.get(organizationId);
    if (list) list.push(event);
    else this.byOrganization.set(organizationId, [event]);
  }

  addAll(events: ReadonlyMap<string, readonly NewEvent[]>): void {
    for (const [organizationId, list] of events) {
      for (const event of list) this.add(organizationId, event);
    }
  }
}

/** Builds the event log entry of a change. `campaign` is the row after the change. */
export function campaignEvent(
  type: Extract<EventType, `CAMPAIGN_${string}`>,
  campaign: Pick<Campaign, 'id' | 'agentId' | 'status' | 'statusReason'>,
  at: Date,
): NewEvent {
  return {
    type,
    campaignId: campaign.id,
    agentId: campaign.agentId,
    data: { status: campaign.status, reason: campaign.statusReason },
    at,
  };
}

/** Wakes the subscribers of these campaigns and of the organizations' event logs. Call it after the commit. */
export function announceCampaigns(
  app: App,
  campaignIds: Iterable<string>,
  organizationIds: Iterable<string>,
): void {
  for (const id of new Set(campaignIds)) app.bus.publish(campaignTopic(id), null);
  for (const id of new Set(organizationIds)) announceEvents(app, id);
}
