/** Ends campaigns: completes them after the last contact, and cancels their remaining contacts. */
import type { App, Tx } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { runInBatches } from '../infra/database/run-in-batches.ts';
import { cancelWaitingContacts } from './contacts/contact-transitions.ts';
import { recountContacts } from './contacts/recount.ts';
import { announceCampaigns, campaignEvent, type EventList } from './events.ts';
import { statusesBefore } from './status.ts';

/**
 * Completes those of the campaigns `ids` whose contacts are all terminal, and adds their events. The caller holds the
 * row locks. Returns the IDs of the completed campaigns.
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
      status: { in: statusesBefore('COMPLETE', 'COMPLETED') },
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

const MAX_CAMPAIGNS = 100;

/** Ended campaigns that still have waiting contacts. None of these is called: the dispatcher checks the status. */
const WITH_WAITING = Prisma.sql`
  SELECT id FROM campaigns WHERE ended_at IS NOT NULL AND pending_count > 0`;

/** SQL condition: whether `cancelRemainingContacts` has anything to do. */
export function hasContactsToCancel(): Prisma.Sql {
  return Prisma.sql`EXISTS (${WITH_WAITING})`;
}

/**
 * Cancels the waiting contacts of campaigns that were deleted or ended by the dispatcher, in steps that lock one
 * campaign each. This can take minutes for many large campaigns, so no campaign run waits for it.
 */
export async function cancelRemainingContacts(app: App): Promise<void> {
  const campaigns = await app.db.$queryRaw<{ id: string }[]>`
    ${WITH_WAITING} ORDER BY ended_at LIMIT ${MAX_CAMPAIGNS}`;
  for (const { id } of campaigns) {
    if (app.closing.aborted) return;
    try {
      await runInBatches(app.closing, (limit) => cancelSome(app, id, limit));
    } catch (error) {
      app.failures.record('cancelRemainingContacts', error, {
        message: 'Could not cancel the waiting contacts of an ended campaign; will retry',
        campaignId: id,
      });
      // It fails each time while the counters disagree with the contacts.
      await recountContacts(app, id).then(
        () => announceCampaigns(app, [id], []),
        app.failures.recorder('recountContacts', {
          message: 'Could not count the contacts of an ended campaign; will retry',
          campaignId: id,
        }),
      );
    }
  }
}

/** Returns the number of canceled contacts. */
async function cancelSome(app: App, id: string, limit: number): Promise<number> {
  const count = await app.db.$transaction(async (tx) => {
    // A locked campaign is left to a later run.
    const [over] = await tx.$queryRaw<{ id: string }[]>`
      ${WITH_WAITING} AND id = ${id}::uuid FOR NO KEY UPDATE SKIP LOCKED`;
    if (!over) return 0;
    const cancelled = await cancelWaitingContacts(tx, id, app.now(), limit);
    if (cancelled === 0) throw new Error('The campaign counts waiting contacts but has none');
    return cancelled;
  });
  if (count > 0) announceCampaigns(app, [id], []);
  return count;
}
