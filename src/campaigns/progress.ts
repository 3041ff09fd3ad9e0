/** What the parts of the engine have in common: ends of campaigns, their events, their pictures. */
import type { App, Tx } from '../app.ts';
import { type Campaign, type CampaignDecision, Prisma } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import { newId } from '../infra/ids.ts';
import { announceEvents, type NewEvent } from '../live/log.ts';

/** A hundred thousand contacts are copied, planned or let go in one go. */
export const LONG_TRANSACTION = { timeout: 300_000, maxWait: 10_000 };

/** The topic on which processes hear that a campaign has come on. */
export const CAMPAIGNS_TOPIC = 'campaigns';

/** Events gathered for the end of a transaction, by organization. */
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

/** A change of a campaign for the event log. The caller has the row as it is after it. */
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

/** After a commit: wakes whoever watches these campaigns or the event log. */
export function announceCampaigns(
  app: App,
  campaignIds: Iterable<string>,
  organizationIds: Iterable<string>,
): void {
  for (const id of new Set(campaignIds)) app.bus.publish(CAMPAIGNS_TOPIC, id);
  for (const id of new Set(organizationIds)) announceEvents(app, id);
}

export type NewDecision = Omit<
  CampaignDecision,
  'id' | 'campaignContactId' | 'callId' | 'until' | 'at'
> &
  Partial<Pick<CampaignDecision, 'campaignContactId' | 'callId' | 'until'>>;

/** Keeps why somebody was or was not called. */
export async function recordDecisions(
  tx: Tx,
  at: Date,
  decisions: readonly NewDecision[],
): Promise<void> {
  if (decisions.length === 0) return;
  await tx.campaignDecision.createMany({
    data: decisions.map((decision) => ({ ...decision, id: newId(), at })),
  });
}

/**
 * Completes those of the campaigns whose last contact is terminal. The caller has them locked, and
 * appends the events.
 *
 * @returns the ids of those that are complete now.
 */
export async function completeFinished(
  tx: Tx,
  ids: readonly string[],
  now: Date,
  events: EventList,
): Promise<string[]> {
  const completed = await tx.campaign.updateManyAndReturn({
    where: {
      id: { in: [...ids] },
      status: { in: ['ACTIVE', 'PAUSED'] },
      pendingCount: 0,
      callingCount: 0,
      totalCount: { gt: 0 },
    },
    data: {
      status: 'COMPLETED',
      statusReason: null,
      endedAt: now,
      nextDispatchAt: null,
      holdReason: null,
    },
  });
  for (const campaign of completed) {
    events.add(campaign.organizationId, campaignEvent('CAMPAIGN_COMPLETED', campaign, now));
  }
  return completed.map(({ id }) => id);
}

/** When a contact `cc` was called before its present attempt. */
export const calledBefore = Prisma.sql`(
  SELECT max(k.created_at) FROM calls k
  WHERE k.campaign_contact_id = cc.id AND k.attempt < cc.attempts)`;

/**
 * Lets go of all contacts that wait, for a campaign that is over. Those being called are called to
 * the end. The caller has the campaign locked.
 */
export async function cancelWaitingContacts(
  tx: Tx,
  campaign: Pick<Campaign, 'id' | 'organizationId'>,
  now: Date,
): Promise<void> {
  const cancelled = await tx.$executeRaw`
    UPDATE campaign_contacts SET status = 'CANCELLED', next_eligible_at = NULL,
      finished_at = ${now}::timestamptz, updated_at = ${now}::timestamptz
    WHERE campaign_id = ${campaign.id}::uuid AND status IN ('PENDING', 'SCHEDULED')`;
  await tx.campaign.update({
    where: { id: campaign.id },
    data: { pendingCount: { decrement: cancelled }, cancelledCount: { increment: cancelled } },
  });
}

/**
 * The contacts that still wait in campaigns that are over, one campaign after the other. The
 * dispatcher leaves them to this, since it holds what all others wait for.
 */
export async function letGo(app: App): Promise<void> {
  for (;;) {
    const done = await app.db.$transaction(async (tx) => {
      const [over] = await tx.$queryRaw<{ id: string; organizationId: string }[]>`
        SELECT id, organization_id AS "organizationId" FROM campaigns
        WHERE ended_at IS NOT NULL AND pending_count > 0
        ORDER BY ended_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`;
      if (over) await cancelWaitingContacts(tx, over, app.now());
      return over ? [over] : [];
    }, LONG_TRANSACTION);
    announceCampaigns(
      app,
      done.map(({ id }) => id),
      [],
    );
    if (done.length === 0 || app.closing.aborted) return;
  }
}

/** A process that hangs, or is cut off, lets go of what it holds after a while. */
export async function limitPauses(tx: Tx, seconds = 15): Promise<void> {
  await tx.$queryRaw`
    SELECT set_config('idle_in_transaction_session_timeout', ${`${seconds}s`}, true)`;
}

/**
 * Locks a campaign for the rest of the transaction. Not against being referred to: an event of one of
 * its calls is written while the counter of the log is held, which whoever waits here may need next.
 */
export async function lockCampaign(
  tx: Tx,
  where: { id: string; organizationId: string },
): Promise<Campaign | null> {
  // Plans are made between two statements, and files read.
  await limitPauses(tx, 120);
  await tx.$queryRaw`
    SELECT 1 FROM campaigns WHERE id = ${where.id}::uuid
      AND organization_id = ${where.organizationId}::uuid FOR NO KEY UPDATE`;
  return tx.campaign.findFirst({ where: { ...where, deletedAt: null } });
}
