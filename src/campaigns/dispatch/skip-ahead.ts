/**
 * Skips, defers and ends due contacts that cannot be called, behind those of which a dispatch cycle found that.
 *
 * A cycle holds the limits of all campaigns, so it looks at no more contacts than it has slots. Most of a list may
 * have to be left alone, such as after an import of the do-not-call list, or overnight in another time zone: this
 * clears them outside of the cycle, in short steps that lock one campaign each.
 */
import type { App } from '../../app.ts';
import { type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { appendEventsOf } from '../../live/log.ts';
import { completeFinished } from '../completion.ts';
import { announceCampaigns, EventList } from '../events.ts';
import { freeCampaigns } from '../locks.ts';
import { isInside } from '../schedule/calling-window.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { NotCalled } from './contact-decisions.ts';
import { contactWindow } from './contact-window.ts';
import { firstDueContacts } from './due-contacts.ts';

/** Contacts of one step, which takes some hundredths of a second. */
const STEP_CONTACTS = 1_000;
/** Steps over all campaigns; the next dispatch cycle, for which others wait, asks for more. */
const MAX_STEPS = 4;

/** `campaignIds`: those whose due contacts could not all be called in a cycle. */
export async function skipAhead(app: App, campaignIds: readonly string[]): Promise<void> {
  let left = [...campaignIds];
  for (let steps = 0; steps < MAX_STEPS && left.length > 0 && !app.closing.aborted; steps += 1) {
    const [id, ...others] = left;
    const isLikelyMore = await skipStep(app, id!).catch((error: unknown) => {
      // The cycles get past its contacts as well, more slowly.
      app.failures.record('skipAhead', error, { campaignId: id! });
      return false;
    });
    left = isLikelyMore ? [...others, id!] : others;
  }
}

/** Returns whether the contacts behind those of the step are likely to be like them. */
async function skipStep(app: App, campaignId: string): Promise<boolean> {
  const { moved, organizationIds } = await app.db.$transaction(async (tx) => {
    const events = new EventList();
    const nothing = { moved: 0, organizationIds: [] };
    // One that is locked is left to the next cycle.
    const [campaign] = await tx.$queryRaw<Campaign[]>`
      ${freeCampaigns(Prisma.sql`id = ${campaignId}::uuid AND status = 'ACTIVE'`)}`;
    if (!campaign) return nothing;
    const now = app.now();
    const window = windowOfCampaign(campaign, app.config.CALLING_WINDOW_MARGIN_SECONDS);
    const instant = Temporal.Instant.fromEpochMilliseconds(now.getTime());
    // All of them wait for it.
    if (!isInside(window, instant)) return nothing;
    const hours = contactWindow(campaign, window, now);
    const notCalled = new NotCalled();
    for (const contact of await firstDueContacts(tx, campaignId, STEP_CONTACTS, now)) {
      notCalled.add(campaign, hours(contact.timezone), contact);
    }
    if (notCalled.count === 0) return nothing;
    await notCalled.write(tx, now);
    await completeFinished(tx, [campaignId], now, events);
    await appendEventsOf(tx, events.byOrganization);
    return { moved: notCalled.count, organizationIds: [...events.byOrganization.keys()] };
  });
  if (moved > 0) announceCampaigns(app, [campaignId], organizationIds);
  return moved >= STEP_CONTACTS / 2;
}
