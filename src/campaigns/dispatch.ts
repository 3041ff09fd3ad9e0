/**
 * Decides who is called now. One transaction looks at what is due, asks every question again (state,
 * window, the day's cap, the limits of the campaign, of the organization and of Ultravox, the
 * do-not-call list, agent and numbers), and writes down what it decided: calls that are claimed
 * already, contacts, counters, decisions and events. Dialling comes after the commit.
 *
 * All processes take turns at it by the lock of the limits. Each statement is about all campaigns
 * and contacts at once, so their number does not grow with either. Whatever dies in between leaves
 * claims, which are given back to this dispatcher, or calls that are looked up at Ultravox.
 */
import type { App } from '../app.ts';
import { recallClaims } from '../calls/claims.ts';
import { holdLimits } from '../calls/limits.ts';
import { newId } from '../infra/ids.ts';
import { appendEventsOf } from '../live/log.ts';
import { type Dial, newCall, numberFor, writeDials } from './dials.ts';
import { reclaim, sortWaiting, takeBack } from './given-back.ts';
import { type PutOff, skipListed, writePutOffs } from './leave-out.ts';
import { instant, type Pass, windowsOf } from './pass.ts';
import { campaignEvent, completeFinished, EventList, recordDecisions } from './progress.ts';
import { campaignAfter } from './status.ts';
import {
  busyLines,
  type DueContact,
  dueContacts,
  MAX_CAMPAIGNS,
  type Turn,
  takeTurns,
  waitingCalls,
} from './turns.ts';
import { isInside, nextInside } from './window.ts';

export interface Dispatched {
  /** Claimed calls, to be placed. */
  callIds: string[];
  campaignIds: string[];
  organizationIds: string[];
  /** Whether another pass may find more to do at once. */
  again: boolean;
  /** When the limits may have room again, if it was they that stopped it. */
  roomAt: Date | null;
}

/** One pass. The caller announces it and places the calls. */
export async function dispatchCalls(app: App): Promise<Dispatched> {
  return app.db.$transaction(async (tx) => {
    const room = await holdLimits(app, tx);
    // Once it is our turn, for which we may have waited.
    const now = app.now();
    const events = new EventList();
    // Calls that somebody asked for one by one go first.
    const free = Math.max(0, room.free - room.ahead);
    const waiting = await waitingCalls(tx);
    const turns = await takeTurns(app, tx, now, waiting, free, events);
    const pass: Pass = { app, tx, now, turns, decisions: [], events };
    if (turns.size === 0) {
      const stopped = free === 0 || waiting.length > 0;
      return { ...nothing, roomAt: stopped ? room.againAt(0) : null };
    }

    const busy = await busyLines(tx, turns);
    const most = app.config.ORGANIZATION_MAX_CONCURRENT_CALLS;
    const left = (organizationId: string) => most - (busy.get(organizationId) ?? 0);
    const { claimable, withdrawn } = sortWaiting(pass, waiting);
    const reclaimed = await reclaim(pass, claimable, free, busy, left);
    await takeBack(pass, withdrawn);

    const stillFree = free - reclaimed.length;
    const due = stillFree > 0 ? await dueContacts(tx, turns, { busy, most }, stillFree, now) : [];
    const { dials, listed, putOffs } = decide(pass, due);
    await writeDials(pass, dials);
    await skipListed(pass, listed);
    await writePutOffs(pass, putOffs);
    await writeTurns(pass);
    await recordDecisions(tx, now, pass.decisions);
    await completeFinished(tx, [...turns.keys()], now, events);
    await appendEventsOf(tx, events.byOrganization);

    const claimed = reclaimed.length + dials.length;
    const done = claimed + listed.size + putOffs.length + withdrawn.length;
    // As many as fit into a pass: others may be due behind them. They are not due any more, but for
    // those whose organization has no room, which its next end wakes.
    const passedOn = [...turns.values()].filter(
      ({ campaign: { nextDispatchAt, organizationId } }) =>
        nextDispatchAt !== null && nextDispatchAt <= now && left(organizationId) > 0,
    );
    return {
      callIds: [...reclaimed, ...dials.map(({ call }) => call.id)],
      campaignIds: [...turns.keys()],
      organizationIds: [...events.byOrganization.keys()],
      again: claimed < free && (done > 0 || passedOn.length >= MAX_CAMPAIGNS),
      roomAt: claimed >= free ? room.againAt(claimed) : null,
    };
  });
}

const nothing = { callIds: [], campaignIds: [], organizationIds: [], again: false };

/** What becomes of each contact that is due. */
function decide(
  { app, now, turns, decisions }: Pass,
  due: readonly DueContact[],
): { dials: Dial[]; listed: Set<string>; putOffs: PutOff[] } {
  const dials: Dial[] = [];
  const listed = new Set<string>();
  const putOffs = new Map<string, PutOff>();
  for (const contact of due) {
    const turn = turns.get(contact.campaignId);
    if (!turn) continue;
    const about = {
      organizationId: contact.organizationId,
      campaignId: contact.campaignId,
      campaignContactId: contact.id,
    };
    if (contact.listed) {
      listed.add(contact.campaignId);
      continue;
    }
    const windows = windowsOf(turn, contact.timezone);
    if (contact.timezone && !isInside(windows, instant(now))) {
      const next = nextInside(windows, instant(now));
      const until = next ? new Date(next.epochMilliseconds) : null;
      const { timezone } = contact;
      putOffs.set(`${contact.campaignId} ${timezone}`, { turn, timezone, until });
      continue;
    }
    const callId = newId();
    const number = numberFor(turn, contact, callId);
    turn.dialled++;
    dials.push({ call: newCall(app, turn, contact, callId, number, now), day: turn.day });
    decisions.push({ ...about, callId, outcome: 'DIALLED', reason: 'DUE' });
  }
  return { dials, listed, putOffs: [...putOffs.values()] };
}

/** What the pass makes of the campaigns themselves, all in one statement. */
async function writeTurns(pass: Pass): Promise<void> {
  const { tx, now, turns } = pass;
  const rows: Record<string, unknown>[] = [];
  for (const turn of turns.values()) {
    const { campaign } = turn;
    const row: Record<string, unknown> = {
      id: campaign.id,
      rotation_index: turn.rotationIndex,
      dialled: turn.dialled,
      skipped: turn.skipped,
      withdrawn: turn.withdrawn,
      dropped: turn.dropped,
      ...stateAfter(pass, turn),
    };
    rows.push(row);
  }
  await tx.$executeRaw`
    UPDATE campaigns c SET
      status = r.status::"CampaignStatus", status_reason = r.status_reason,
      ended_at = coalesce(c.ended_at, r.ended_at), rotation_index = r.rotation_index,
      hold_reason = r.hold::"CampaignDecisionReason",
      pending_count = c.pending_count - r.dialled - r.skipped + r.withdrawn,
      calling_count = c.calling_count + r.dialled - r.withdrawn - r.dropped,
      skipped_count = c.skipped_count + r.skipped,
      cancelled_count = c.cancelled_count + r.dropped,
      next_dispatch_at = CASE
        WHEN r.next IS NOT NULL THEN r.next
        WHEN NOT r.goes_on THEN NULL
        WHEN c.calling_count + r.dialled - r.withdrawn >= c.max_concurrent_calls THEN NULL
        ELSE (SELECT CASE
            WHEN min(next_eligible_at) > ${now}::timestamptz THEN min(next_eligible_at)
            -- Whoever was served goes behind those who were not.
            WHEN count(*) > 0 AND r.dialled > 0 THEN ${now}::timestamptz
            WHEN count(*) > 0 THEN least(c.next_dispatch_at, ${now}::timestamptz) END
          FROM (SELECT next_eligible_at FROM campaign_contacts
            WHERE campaign_id = c.id AND next_eligible_at IS NOT NULL
            ORDER BY next_eligible_at, position LIMIT 1) first)
        END,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, status text, status_reason text, ended_at timestamptz, rotation_index int, hold text,
      next timestamptz, goes_on boolean, dialled int, skipped int, withdrawn int, dropped int)
    WHERE c.id = r.id`;
  const stopped = [...turns.values()].filter(
    ({ gate }) => gate && !gate.open && ('fail' in gate || 'pause' in gate),
  );
  if (stopped.length === 0) return;
  await recallClaims(
    tx,
    stopped.map(({ campaign }) => campaign.id),
  );
}

/** The columns of a campaign that its gate decides. */
function stateAfter(
  { now, decisions, events }: Pass,
  { campaign, gate }: Turn,
): Record<string, unknown> {
  const about = { organizationId: campaign.organizationId, campaignId: campaign.id };
  const same = { status: campaign.status, status_reason: campaign.statusReason };
  if (!gate) {
    return { ...same, next: campaign.nextDispatchAt, goes_on: false, hold: campaign.holdReason };
  }
  if (gate.open) return { ...same, next: null, goes_on: true, hold: null };
  if ('pause' in gate || 'fail' in gate) {
    const [action, reason] =
      'pause' in gate ? (['PAUSE', gate.pause] as const) : (['FAIL', gate.fail] as const);
    const step = campaignAfter(campaign.status, action);
    if (!step.allowed) throw new Error(step.message);
    const after = { ...campaign, status: step.status, statusReason: reason };
    const type = action === 'PAUSE' ? 'CAMPAIGN_PAUSED' : 'CAMPAIGN_FAILED';
    events.add(campaign.organizationId, campaignEvent(type, after, now));
    decisions.push(
      action === 'PAUSE'
        ? { ...about, outcome: 'WAITS', reason: 'NO_PHONE_NUMBER' }
        : { ...about, outcome: 'CANCELLED', reason: 'CAMPAIGN_OVER' },
    );
    return {
      status: step.status,
      status_reason: reason,
      ended_at: action === 'FAIL' ? now : null,
      next: null,
      goes_on: false,
      hold: null,
    };
  }
  if (gate.hold && gate.hold !== campaign.holdReason) {
    decisions.push({ ...about, outcome: 'WAITS', reason: gate.hold, until: gate.until });
  }
  return { ...same, next: gate.until, goes_on: false, hold: gate.hold };
}
