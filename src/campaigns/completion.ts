/** Ends of campaigns: completion after the last contact, cancellation of the contacts left over. */
import type { App, Tx } from '../app.ts';
import { LONG_TRANSACTION } from '../infra/database/long-transaction.ts';
import { cancelWaitingContacts } from './contacts/contact-transitions.ts';
import { announceCampaigns, campaignEvent, type EventList } from './events.ts';

/**
 * Completes the campaigns among `ids` whose contacts are all terminal, and adds their events. The
 * caller holds the row locks. Returns the ids of the completed campaigns.
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
      // More contacts are about to join.
      enrollments: { none: { status: 'JOINING' } },
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

/**
 * Cancels the waiting contacts of ended campaigns, one campaign per transaction. The dispatcher leaves
 * this to us because it holds the lock of the limits.
 */
export async function cancelRemainingContacts(app: App): Promise<void> {
  for (;;) {
    const done = await app.db.$transaction(async (tx) => {
      const [over] = await tx.$queryRaw<{ id: string }[]>`
        SELECT id FROM campaigns
        WHERE ended_at IS NOT NULL AND pending_count > 0
        ORDER BY ended_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`;
      if (over) await cancelWaitingContacts(tx, over.id, app.now());
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
