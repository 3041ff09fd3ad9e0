/**
 * Calls that were claimed once, surely not dialled and given back: because Ultravox was full or out
 * of reach, their process died, or they were recalled. All is asked again before they are dialled,
 * under the attempt that they have; those that may not be are taken back, and the attempt with them.
 */
import { claimOf } from '../calls/claims.ts';
import { withdrawCalls } from '../calls/progress.ts';
import type { CampaignDecisionReason } from '../generated/prisma/enums.ts';
import { closes, instant, type Pass, windowsOf } from './pass.ts';
import { calledBefore } from './progress.ts';
import { isCampaignTerminal } from './status.ts';
import type { Turn, WaitingCall } from './turns.ts';
import { isInside } from './window.ts';

/**
 * Which of the calls that were given back may be dialled now, and why the others may not. Their own
 * attempts are among those that slots and the day's cap count.
 */
export function sortWaiting(
  { turns, now }: Pass,
  waiting: readonly WaitingCall[],
): {
  claimable: { call: WaitingCall; placeBefore: Date | null }[];
  withdrawn: { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[];
} {
  const claimable: { call: WaitingCall; placeBefore: Date | null }[] = [];
  const withdrawn: { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[] = [];
  for (const call of waiting) {
    const turn = turns.get(call.campaignId);
    if (!turn) continue;
    const reason = whyNotAgain(turn, call, now);
    if (reason) {
      turn.attemptsToday--;
      if (isCampaignTerminal(turn.campaign.status)) turn.dropped++;
      else turn.withdrawn++;
      withdrawn.push({ call, turn, reason });
    } else claimable.push({ call, placeBefore: closes(turn, call.timezone, now) });
  }
  return { claimable, withdrawn };
}

function whyNotAgain(turn: Turn, call: WaitingCall, now: Date): CampaignDecisionReason | null {
  const { gate, campaign } = turn;
  if (!gate) return campaign.status === 'PAUSED' ? 'CAMPAIGN_PAUSED' : 'CAMPAIGN_OVER';
  if (!gate.open) {
    if ('pause' in gate) return 'NO_PHONE_NUMBER';
    if ('fail' in gate) return 'CAMPAIGN_OVER';
    if (gate.hold === 'WINDOW_CLOSED' || gate.hold === 'AGENT_NOT_READY') return gate.hold;
  }
  if (!turn.numbers.some(({ id }) => id === call.phoneNumberId)) return 'NO_PHONE_NUMBER';
  if (campaign.maxCallsPerDay !== null) {
    const today = call.attemptDay?.toISOString().slice(0, 10) === turn.day;
    if (!today || turn.attemptsToday > campaign.maxCallsPerDay) return 'DAILY_CAP_REACHED';
  }
  // Fewer lines than when they were claimed.
  const lines = campaign.callingCount - turn.withdrawn - turn.dropped;
  if (lines > campaign.maxConcurrentCalls) return 'CONCURRENCY_REACHED';
  return isInside(windowsOf(turn, call.timezone), instant(now)) ? null : 'CONTACT_WINDOW_CLOSED';
}

/** Claims again what was given back, oldest first. */
export async function reclaim(
  { app, tx }: Pass,
  claimable: readonly { call: WaitingCall; placeBefore: Date | null }[],
  free: number,
  busy: Map<string, number>,
  left: (organizationId: string) => number,
): Promise<string[]> {
  const chosen: { id: string; place_before: Date | null }[] = [];
  for (const { call, placeBefore } of claimable) {
    if (chosen.length === free) break;
    if (left(call.organizationId) <= 0) continue;
    busy.set(call.organizationId, (busy.get(call.organizationId) ?? 0) + 1);
    chosen.push({ id: call.id, place_before: placeBefore });
  }
  if (chosen.length === 0) return [];
  const claimed = await tx.$queryRaw<{ id: string }[]>`
    UPDATE calls SET place_before = r.place_before, ${claimOf(app)}
    FROM jsonb_to_recordset(${JSON.stringify(chosen)}::jsonb) AS r(id uuid, place_before timestamptz)
    WHERE calls.id = r.id AND status = 'CREATED' AND placing_at IS NULL
      AND end_requested_at IS NULL
    RETURNING calls.id`;
  return claimed.map(({ id }) => id);
}

/** Ends calls that were never dialled and may not be now. Their attempts never were. */
export async function takeBack(
  { app, tx, now, decisions, events }: Pass,
  withdrawn: readonly { call: WaitingCall; turn: Turn; reason: CampaignDecisionReason }[],
): Promise<void> {
  if (withdrawn.length === 0) return;
  const taken = await withdrawCalls(
    app,
    tx,
    withdrawn.map(({ call }) => call.id),
  );
  events.addAll(taken.events);
  const rows: { id: string; status: string; next: Date | null; finished: Date | null }[] = [];
  for (const { call, turn, reason } of withdrawn) {
    if (!taken.ids.has(call.id)) {
      // Ended by somebody else meanwhile, who has it settled.
      turn.attemptsToday++;
      if (isCampaignTerminal(turn.campaign.status)) turn.dropped--;
      else turn.withdrawn--;
      continue;
    }
    const { status, organizationId, id: campaignId } = turn.campaign;
    const over = isCampaignTerminal(status);
    rows.push({
      id: call.campaignContactId,
      status: over ? 'CANCELLED' : 'SCHEDULED',
      next: over ? null : now,
      finished: over ? now : null,
    });
    decisions.push({
      organizationId,
      campaignId,
      campaignContactId: call.campaignContactId,
      callId: call.id,
      outcome: over ? 'CANCELLED' : 'WAITS',
      reason,
    });
  }
  await tx.$executeRaw`
    WITH taken AS (
      UPDATE campaign_contacts cc SET status = r.status::"CampaignContactStatus",
        attempts = cc.attempts - 1, attempt_day = NULL,
        -- Before those who have waited less.
        next_eligible_at = CASE WHEN r.next IS NOT NULL THEN least(r.next, cc.scheduled_at) END,
        called_at = ${calledBefore}, finished_at = r.finished, updated_at = ${now}::timestamptz
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS r(id uuid, status text, next timestamptz, finished timestamptz)
      JOIN campaign_contacts old ON old.id = r.id
      WHERE cc.id = r.id
      RETURNING cc.campaign_id, old.attempt_day AS day
    )
    UPDATE campaign_days d SET attempts = d.attempts - t.count
    FROM (SELECT campaign_id, day, count(*) FROM taken GROUP BY 1, 2) t
    WHERE d.campaign_id = t.campaign_id AND d.day = t.day`;
}
