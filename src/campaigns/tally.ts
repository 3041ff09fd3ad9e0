/** What the ends of its calls mean for a campaign: its counters, and whether it may go on. */
import type { Tx } from '../app.ts';
import { recallClaims } from '../calls/claims.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import type { CallStatus } from '../generated/prisma/enums.ts';
import { campaignEvent, type EventList, type NewDecision } from './progress.ts';
import { BREAKER_CALLS, breakerTrips } from './retry.ts';
import { campaignAfter } from './status.ts';

export interface Tally {
  campaign: Campaign;
  /** As long as its breaker has not tripped: its calls since it was started, newest first. */
  recentEnds: CallStatus[];
  pause: string | null;
  pending: number;
  calling: number;
  completed: number;
  failed: number;
  skipped: number;
  cancelled: number;
  /** Whether an attempt turned out to be none. */
  undone: boolean;
}

export function newTally(campaign: Campaign): Tally {
  return {
    campaign,
    recentEnds: [...campaign.recentEnds],
    pause: null,
    pending: 0,
    calling: 0,
    completed: 0,
    failed: 0,
    skipped: 0,
    cancelled: 0,
    undone: false,
  };
}

/** Pauses campaigns that fail too often, and those that Ultravox refuses to call for. */
export async function tripBreakers(
  tx: Tx,
  tallies: ReadonlyMap<string, Tally>,
  now: Date,
  decisions: NewDecision[],
  events: EventList,
): Promise<void> {
  for (const tally of tallies.values()) {
    const { campaign } = tally;
    if (campaign.status !== 'ACTIVE') {
      tally.pause = null;
      continue;
    }
    if (breakerTrips(tally.recentEnds)) {
      const failed = tally.recentEnds.filter((end) => end === 'FAILED').length;
      tally.pause = `${failed} of its last ${BREAKER_CALLS} calls failed. Look at \`endReason\` of its contacts, mend the cause and resume it.`;
    }
    // What waits or is called now may still go on; with nothing left it is complete instead.
    const left = campaign.pendingCount + tally.pending + campaign.callingCount + tally.calling;
    if (left === 0) tally.pause = null;
    if (tally.pause === null) continue;
    const step = campaignAfter(campaign.status, 'PAUSE');
    if (!step.allowed) throw new Error(step.message);
    const after = { ...campaign, status: step.status, statusReason: tally.pause };
    events.add(campaign.organizationId, campaignEvent('CAMPAIGN_PAUSED', after, now));
    decisions.push({
      organizationId: campaign.organizationId,
      campaignId: campaign.id,
      outcome: 'WAITS',
      reason: breakerTrips(tally.recentEnds) ? 'TOO_MANY_FAILURES' : 'CAMPAIGN_PAUSED',
    });
  }
  const paused = [...tallies.values()].filter(({ pause }) => pause !== null);
  if (paused.length === 0) return;
  await recallClaims(
    tx,
    paused.map(({ campaign }) => campaign.id),
  );
}

export async function writeTallies(tx: Tx, tallies: readonly Tally[], now: Date): Promise<void> {
  const rows = tallies.map((tally) => ({
    id: tally.campaign.id,
    pause: tally.pause,
    recent_ends: tally.recentEnds,
    pending: tally.pending,
    calling: tally.calling,
    completed: tally.completed,
    failed: tally.failed,
    skipped: tally.skipped,
    cancelled: tally.cancelled,
    undone: tally.undone,
  }));
  await tx.$executeRaw`
    UPDATE campaigns c SET
      pending_count = c.pending_count + r.pending, calling_count = c.calling_count + r.calling,
      completed_count = c.completed_count + r.completed, failed_count = c.failed_count + r.failed,
      skipped_count = c.skipped_count + r.skipped,
      cancelled_count = c.cancelled_count + r.cancelled,
      recent_ends = r.recent_ends::"CallStatus"[],
      status = CASE WHEN r.pause IS NULL THEN c.status ELSE 'PAUSED' END,
      status_reason = coalesce(r.pause, c.status_reason),
      hold_reason = CASE WHEN r.pause IS NULL THEN c.hold_reason END,
      next_dispatch_at = CASE
        WHEN r.pause IS NOT NULL OR c.status <> 'ACTIVE' THEN NULL
        WHEN c.hold_reason = 'DAILY_CAP_REACHED' AND r.undone THEN ${now}::timestamptz
        WHEN c.hold_reason IS NOT NULL THEN c.next_dispatch_at
        -- Whoever has waited longer keeps the place.
        ELSE least(c.next_dispatch_at, ${now}::timestamptz) END,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, pause text, recent_ends text[], pending int, calling int, completed int, failed int,
      skipped int, cancelled int, undone boolean)
    WHERE c.id = r.id`;
}
