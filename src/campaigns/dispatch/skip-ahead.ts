/**
 * Skips, defers and ends due contacts that cannot be called, in the campaigns where a dispatch cycle found such
 * contacts.
 *
 * A cycle holds the limits of all campaigns, so it looks at no more contacts than it has slots. Much of a list may not
 * be callable, for example after an import of the do-not-call list, or overnight in another time zone. This clears such
 * contacts outside of the cycle, in short steps that lock one campaign each.
 */
import type { App } from '../../app.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { appendEventsOf } from '../../live/log.ts';
import { completeFinished } from '../completion.ts';
import { announceCampaigns, EventList } from '../events.ts';
import { lockFreeCampaigns } from '../locks.ts';
import { isInside } from '../schedule/calling-window.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { UncalledContacts } from './contact-decisions.ts';
import { contactWindow } from './contact-window.ts';
import { firstDueContacts } from './due-contacts.ts';
import { moveUncalled } from './write-cycle.ts';

/** Contacts per step. A step takes a few hundredths of a second. */
const STEP_CONTACTS = 1_000;
/** Maximum number of steps over all campaigns. Others wait for the next dispatch cycle, which requests more. */
const MAX_STEPS = 4;

/** `campaignIds`: campaigns in which a cycle could not call all due contacts. */
export async function skipAhead(app: App, campaignIds: readonly string[]): Promise<void> {
  let left = [...campaignIds];
  for (let steps = 0; steps < MAX_STEPS && left.length > 0 && !app.closing.aborted; steps += 1) {
    const [id, ...others] = left;
    const isLikelyMore = await skipStep(app, id!).catch((error: unknown) => {
      // The cycles also get past its contacts, only more slowly.
      app.failures.record('skipAhead', error, { campaignId: id! });
      return false;
    });
    left = isLikelyMore ? [...others, id!] : others;
  }
}

/** Returns whether the contacts after those of the step are likely to be like them. */
async function skipStep(app: App, campaignId: string): Promise<boolean> {
  const { moved, organizationIds } = await app.db.$transaction(async (tx) => {
    const events = new EventList();
    const nothing = { moved: 0, organizationIds: [] };
    // A locked campaign is left to the next cycle.
    const [campaign] = await tx.$queryRaw<Campaign[]>`
      ${lockFreeCampaigns(Prisma.sql`id = ${campaignId}::uuid AND status = 'ACTIVE'`)}`;
    if (!campaign) return nothing;
    const now = app.now();
    const window = windowOfCampaign(campaign, app.config.CALLING_WINDOW_MARGIN_SECONDS);
    const instant = now.toTemporalInstant();
    // While the window is closed, all of its contacts wait.
    if (!isInside(window, instant)) return nothing;
    const hours = contactWindow(campaign, window, now);
    const uncalled = new UncalledContacts();
    for (const contact of await firstDueContacts(tx, campaignId, STEP_CONTACTS, now)) {
      uncalled.add(campaign, hours(contact.timezone), contact);
    }
    if (uncalled.count === 0) return nothing;
    await moveUncalled(tx, uncalled, now);
    await completeFinished(tx, [campaignId], now, events);
    await appendEventsOf(tx, events.byOrganization);
    return { moved: uncalled.count, organizationIds: [...events.byOrganization.keys()] };
  });
  if (moved > 0) announceCampaigns(app, [campaignId], organizationIds);
  return moved >= STEP_CONTACTS / 2;
}
