/**
 * Assigns the times of a changed schedule to the waiting contacts of a campaign, in steps that lock the campaign
 * briefly.
 *
 * The plan is stored in the transaction that changes the schedule, and carried out after it; if the process dies,
 * `resumeReplans` does that. A contact without its new time may still be called at the old one, but only if the new
 * schedule allows it, since the dispatcher checks that right before each call.
 */
import type { App, Tx } from '../../app.ts';
import { type Campaign, type CampaignReplan, Prisma } from '../../generated/prisma/client.ts';
import { enqueueRun } from '../calls.ts';
import { type ContactMove, moveContacts } from '../contacts/contact-transitions.ts';
import { announceCampaigns } from '../events.ts';
import { lockCampaign } from '../locks.ts';
import type { Plan } from '../schedule/planner.ts';
import { isCampaignTerminal } from '../status.ts';
import { waitingContacts } from './planning.ts';

/** Number of contacts that get their time in one step. */
export const STEP_CONTACTS = 2_000;
/** Seconds without a step after which a plan is resumed. */
const DEAD_AFTER_SECONDS = 10;

/** Stored form of a plan's segments. */
type StoredSegments = {
  timezone: string | null;
  first: number;
  count: number;
  ms: [number, number];
}[];

/** Stores the plan of a locked campaign, replacing an earlier one. */
export async function storeReplan(tx: Tx, campaign: Campaign, plan: Plan): Promise<void> {
  const [{ last }] = await tx.$queryRaw<[{ last: number | null }]>`
    SELECT max(position) AS last FROM campaign_contacts WHERE campaign_id = ${campaign.id}::uuid`;
  const segments: StoredSegments = plan.segments.map((segment) => ({
    timezone: segment.timezone,
    first: segment.first,
    count: segment.count,
    ms: [segment.from.epochMilliseconds, segment.stepMs],
  }));
  const neverOpen = plan.unplanned.flatMap(({ reason, timezone }) =>
    reason === 'NEVER_OPEN' ? [timezone ?? ''] : [],
  );
  const columns = {
    segments,
    neverOpen,
    nextPosition: 0,
    lastPosition: last ?? -1,
    placed: {},
  };
  await tx.campaignReplan.upsert({
    where: { campaignId: campaign.id },
    create: { campaignId: campaign.id, organizationId: campaign.organizationId, ...columns },
    update: columns,
    select: { campaignId: true },
  });
}

/** Carries out the stored plan of a campaign, if there is one. */
export async function finishReplan(app: App, campaignId: string): Promise<void> {
  for (let more = true; more && !app.closing.aborted; ) {
    more = await app.db.$transaction((tx) => replanStep(app, tx, campaignId), { timeout: 60_000 });
    announceCampaigns(app, [campaignId], []);
  }
}

/** Returns whether contacts remain. */
async function replanStep(app: App, tx: Tx, campaignId: string): Promise<boolean> {
  // Without the segments, which may be megabytes.
  const stored = await tx.campaignReplan.findUnique({
    where: { campaignId },
    select: { organizationId: true },
  });
  if (!stored) return false;
  const campaign = await lockCampaign(tx, {
    id: campaignId,
    organizationId: stored.organizationId,
  });
  // Read again under the lock, since its last holder may have done a step or stored another plan.
  const replan = await tx.campaignReplan.findUnique({ where: { campaignId } });
  if (!replan) return false;
  const open = campaign && !isCampaignTerminal(campaign.status);
  if (open && (await planNext(app, tx, replan))) return true;
  await tx.campaignReplan.delete({ where: { campaignId }, select: { campaignId: true } });
  if (campaign?.status === 'ACTIVE') {
    await tx.campaign.update({ where: { id: campaignId }, data: { nextDispatchAt: app.now() } });
    await enqueueRun(app, tx);
  }
  return false;
}

/** Plans the next contacts in list order. Returns whether there were any. */
async function planNext(app: App, tx: Tx, replan: CampaignReplan): Promise<boolean> {
  const { campaignId, nextPosition, lastPosition } = replan;
  const next = await tx.$queryRaw<
    { id: string; zone: string; position: number; isPending: boolean }[]
  >`
    SELECT id, coalesce(timezone, '') AS zone, position, status = 'PENDING' AS "isPending"
    FROM ${waitingContacts(campaignId, { neverCalled: true })}
    WHERE position BETWEEN ${nextPosition} AND ${lastPosition}
    ORDER BY position LIMIT ${STEP_CONTACTS}`;
  const last = next.at(-1);
  if (!last) return false;
  const placed = { ...(replan.placed as Record<string, number>) };
  const segments = Map.groupBy(replan.segments as StoredSegments, ({ timezone }) => timezone ?? '');
  const moves = next.flatMap(({ id, zone, isPending }): ContactMove<'PLAN'>[] => {
    const place = placed[zone] ?? 0;
    placed[zone] = place + 1;
    const nextEligibleAt = timeOf(segments.get(zone) ?? [], place);
    if (nextEligibleAt) return [{ id, status: 'SCHEDULED', nextEligibleAt }];
    if (replan.neverOpen.includes(zone)) {
      return [{ id, status: 'SKIPPED', skipReason: 'NEVER_OPEN' }];
    }
    // A call was withdrawn after the plan was made, so there is one more contact than planned. A contact without a
    // time becomes due at once, since nothing else would assign one.
    return isPending ? [{ id, status: 'SCHEDULED', nextEligibleAt: app.now() }] : [];
  });
  await moveContacts(tx, 'PLAN', moves, app.now());
  await tx.campaignReplan.update({
    where: { campaignId },
    data: { nextPosition: last.position + 1, placed },
    select: { campaignId: true },
  });
  return true;
}

/** Time at which contact number `place` of a time zone is due; null if the plan has no time for it. */
function timeOf(segments: StoredSegments, place: number): Date | null {
  const segment = segments.find(({ first, count }) => first <= place && place < first + count);
  if (!segment) return null;
  const { first, ms } = segment;
  return new Date(ms[0] + Math.floor((place - first) * ms[1]));
}

/** SQL condition: whether `resumeReplans` has anything to do. */
export function hasUnfinishedReplans(): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM campaign_replans
    WHERE updated_at < now() - make_interval(secs => ${DEAD_AFTER_SECONDS}))`;
}

/** Carries out plans whose process has died. */
export async function resumeReplans(app: App): Promise<void> {
  const before = new Date(Date.now() - DEAD_AFTER_SECONDS * 1000);
  const dead = await app.db.campaignReplan.findMany({
    where: { updatedAt: { lt: before } },
    orderBy: { updatedAt: 'asc' },
    select: { campaignId: true },
    take: 100,
  });
  for (const { campaignId } of dead) {
    if (app.closing.aborted) return;
    await finishReplan(app, campaignId).catch(async (error) => {
      app.failures.record('resumeReplan', error, { campaignId });
      // Moved to the end of the order, so that it does not block the others.
      await app.db.campaignReplan.updateMany({
        where: { campaignId },
        data: { updatedAt: new Date() },
      });
    });
  }
}
