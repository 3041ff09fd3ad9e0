/**
 * Takes note of calls that have ended: what becomes of their contacts, which slots are free, whether
 * a campaign is complete or has to stop. The calls themselves are the list of what is to be done
 * (`settled_at` is null), so nothing is lost with a process or a job, and each is settled once.
 */
import type { App, Tx } from '../app.ts';
import {
  type Call,
  type Campaign,
  type CampaignContact,
  Prisma,
} from '../generated/prisma/client.ts';
import { appendEventsOf } from '../live/log.ts';
import {
  calledBefore,
  completeFinished,
  EventList,
  limitPauses,
  type NewDecision,
  recordDecisions,
} from './progress.ts';
import { BREAKER_CALLS, countsForBreaker, decideRetry } from './retry.ts';
import { windowOfCampaign } from './schedule.ts';
import { contactAfterCall, isCampaignTerminal } from './status.ts';
import { newTally, type Tally, tripBreakers, writeTallies } from './tally.ts';
import { windowsFor } from './window.ts';

const BATCH = 500;
const MAX_CAMPAIGNS = 500;
/** Calls among which it looks: more than the campaigns have that somebody else holds at a time. */
const MAX_SEEN = 5_000;

export interface Settled {
  calls: number;
  campaignIds: string[];
  organizationIds: string[];
  /** Calls are left whose campaigns somebody else has locked, or more than fit into one go. */
  more: boolean;
}

/** What becomes of a contact, as the statement that writes it reads it. */
interface ContactRow {
  id: string;
  status: string;
  skip_reason: string | null;
  next: Date | null;
  scheduled_at: Date | null;
  end_reason: string | null;
  finished_at: Date | null;
  /** The attempt was never dialled. */
  undone: boolean;
}

type EndedCall = Call & { campaignContact: CampaignContact | null };

export async function settleEndedCalls(app: App): Promise<Settled> {
  return app.db.$transaction(async (tx) => {
    const { count } = await unsettled(tx);
    if (count === 0) return { calls: 0, campaignIds: [], organizationIds: [], more: false };
    await limitPauses(tx);
    // What somebody else has locked keeps nobody else from being settled.
    const locked = await tx.$queryRaw<{ id: string }[]>`
      WITH ${UNSETTLED}
      SELECT id FROM campaigns WHERE id IN (SELECT campaign_id FROM unsettled)
      LIMIT ${MAX_CAMPAIGNS} FOR NO KEY UPDATE SKIP LOCKED`;
    const ids = locked.map(({ id }) => id);
    const campaigns = await tx.campaign.findMany({ where: { id: { in: ids } } });
    // Read after the lock: whoever had it before may have settled some of them. By their own ids,
    // since the way there by the campaign leads past all calls that it ever made.
    const open = await tx.$queryRaw<{ id: string }[]>`
      WITH ${UNSETTLED}
      SELECT id FROM (
        SELECT id, ended_at FROM unsettled WHERE campaign_id = ANY(${ids}::uuid[])
        ORDER BY ended_at LIMIT ${BATCH}) oldest
      ORDER BY id`;
    await tx.$queryRaw`
      SELECT 1 FROM calls WHERE id = ANY(${open.map(({ id }) => id)}::uuid[])
      ORDER BY id FOR NO KEY UPDATE`;
    const calls = await tx.call.findMany({
      where: { id: { in: open.map(({ id }) => id) } },
      include: { campaignContact: true },
      orderBy: [{ endedAt: 'asc' }, { id: 'asc' }],
    });
    const events = await settle(app, tx, campaigns, calls);
    return {
      calls: calls.length,
      campaignIds: ids,
      organizationIds: [...events.byOrganization.keys()],
      more: calls.length < count,
    };
  });
}

/**
 * By themselves and limited: the planner takes them for a good part of all calls, and joined to
 * campaigns it would look for them among all that those ever made.
 */
const UNSETTLED = Prisma.sql`
  unsettled AS MATERIALIZED (
    SELECT id, campaign_id, ended_at FROM calls
    WHERE campaign_id IS NOT NULL AND ended_at IS NOT NULL AND settled_at IS NULL
    ORDER BY ended_at LIMIT ${MAX_SEEN})`;

async function unsettled(tx: Tx): Promise<{ count: number }> {
  const [row] = await tx.$queryRaw<{ count: bigint }[]>`
    WITH ${UNSETTLED} SELECT count(*) AS count FROM unsettled`;
  return { count: Number(row?.count ?? 0) };
}

async function settle(
  app: App,
  tx: Tx,
  campaigns: readonly Campaign[],
  calls: readonly EndedCall[],
): Promise<EventList> {
  const now = app.now();
  const events = new EventList();
  if (calls.length === 0) return events;
  const tallies = new Map(campaigns.map((campaign) => [campaign.id, newTally(campaign)]));
  const decisions: NewDecision[] = [];
  const rows: ContactRow[] = [];
  for (const call of calls) {
    const tally = tallies.get(call.campaignId ?? '');
    const contact = call.campaignContact;
    if (!tally || !contact) throw new Error(`Call ${call.id} has no campaign to settle it with`);
    const row = afterCall(tally, contact, call, now, decisions);
    if (!row) continue;
    rows.push(row);
    tally.undone ||= row.undone;
  }

  await writeContacts(tx, rows, now);
  const undone = new Set(rows.filter((row) => row.undone).map(({ id }) => id));
  await tx.$executeRaw`
    UPDATE calls SET settled_at = ${now}::timestamptz,
      told_at = CASE WHEN ringing_at IS NULL THEN ${now}::timestamptz END,
      attempt = CASE WHEN campaign_contact_id = ANY(${[...undone]}::uuid[]) THEN NULL ELSE attempt END
    WHERE id = ANY(${calls.map(({ id }) => id)}::uuid[])`;
  await tripBreakers(tx, tallies, now, decisions, events);
  await writeTallies(tx, [...tallies.values()], now);
  await recordDecisions(tx, now, decisions);
  await completeFinished(tx, [...tallies.keys()], now, events);
  await appendEventsOf(tx, events.byOrganization);
  return events;
}

/** What becomes of a contact whose call is over; null when it does not wait for that call. */
function afterCall(
  tally: Tally,
  contact: CampaignContact,
  call: Call,
  now: Date,
  decisions: NewDecision[],
): ContactRow | null {
  const { campaign } = tally;
  if (contact.status !== 'CALLING') return null;
  const about = {
    organizationId: contact.organizationId,
    campaignId: campaign.id,
    campaignContactId: contact.id,
    callId: call.id,
  };
  tally.calling--;

  if (call.failureCode === 'DO_NOT_CALL') {
    tally.skipped++;
    decisions.push({ ...about, outcome: 'SKIPPED', reason: 'DO_NOT_CALL' });
    return {
      ...done(contact, call, 'SKIPPED', now),
      skip_reason: 'DO_NOT_CALL',
      end_reason: contact.endReason,
      undone: true,
    };
  }
  const why = call.failureCode && REFUSES_ALL[call.failureCode];
  if (why && !isCampaignTerminal(campaign.status)) {
    // Nobody would be called any more, so the contact is not made to pay for it.
    tally.pending++;
    tally.pause = `Ultravox refuses calls ${why}: ${call.failure ?? ''}`;
    decisions.push({ ...about, outcome: 'WAITS', reason: 'ULTRAVOX_WAITS' });
    return {
      ...done(contact, call, 'SCHEDULED', now),
      next: contact.scheduledAt && contact.scheduledAt < now ? contact.scheduledAt : now,
      end_reason: contact.endReason,
      finished_at: null,
      undone: true,
    };
  }
  const decision = retryOf(campaign, contact, call, now);
  if (
    call.status !== 'CANCELLED' &&
    countsForBreaker(call.endReason ?? 'UNKNOWN', decision.retry)
  ) {
    tally.recentEnds = [call.status, ...tally.recentEnds].slice(0, BREAKER_CALLS);
  }
  const status = contactAfterCall(contact.status, call.status, { retry: decision.retry });
  switch (status) {
    case 'SCHEDULED': {
      if (!decision.retry) throw new Error('A contact waits for a retry that was not decided');
      const at = new Date(decision.at.epochMilliseconds);
      tally.pending++;
      decisions.push({ ...about, outcome: 'RETRIES', reason: 'CALL_ENDED', until: at });
      return {
        ...done(contact, call, status, now),
        next: at,
        scheduled_at: at,
        finished_at: null,
      };
    }
    case 'COMPLETED':
      tally.completed++;
      decisions.push({ ...about, outcome: status, reason: 'CALL_ENDED' });
      return done(contact, call, status, now);
    case 'CANCELLED':
      tally.cancelled++;
      decisions.push({ ...about, outcome: status, reason: 'CALL_ENDED' });
      return done(contact, call, status, now);
    case 'FAILED':
      tally.failed++;
      decisions.push({
        ...about,
        outcome: status,
        reason: decision.retry ? 'CALL_ENDED' : WHY_NOT_RETRIED[decision.because],
      });
      return done(contact, call, status, now);
    default:
      throw new Error(`Call ${call.id} is ${call.status}, which ends nothing`);
  }
}

/** Why Ultravox would refuse any other call as well, by how this one failed. */
const REFUSES_ALL: Partial<Record<string, string>> = {
  PAYMENT_REQUIRED: 'for lack of credit or a subscription',
  // Not that it is away, which calls of campaigns wait for.
  ULTRAVOX_UNAVAILABLE: 'with this API key',
};

const WHY_NOT_RETRIED = {
  OFF: 'RETRIES_OFF',
  NOT_RETRIED: 'NOT_RETRIED',
  ATTEMPTS_USED_UP: 'RETRIES_USED_UP',
  NEVER_OPEN: 'NEVER_OPEN',
  OVER: 'CAMPAIGN_OVER',
} as const;

type Retry =
  | { retry: true; at: Temporal.Instant }
  | { retry: false; because: keyof typeof WHY_NOT_RETRIED };

function retryOf(campaign: Campaign, contact: CampaignContact, call: Call, now: Date): Retry {
  if (isCampaignTerminal(campaign.status)) return { retry: false, because: 'OVER' };
  return decideRetry({
    endReason: call.endReason ?? 'UNKNOWN',
    attempts: contact.attempts,
    // By our own clock: what Ultravox reports may be earlier or later.
    endedAt: Temporal.Instant.fromEpochMilliseconds(now.getTime()),
    retryFailed: campaign.retryFailed,
    maxRetryAttempts: campaign.maxRetryAttempts,
    delaySeconds: campaign.retryDelaySeconds,
    windows: windowsFor(windowOfCampaign(campaign), contact.timezone),
  });
}

function done(contact: CampaignContact, call: Call, status: string, now: Date): ContactRow {
  return {
    id: contact.id,
    status,
    skip_reason: null,
    next: null,
    scheduled_at: contact.scheduledAt,
    end_reason: call.endReason,
    finished_at: now,
    undone: false,
  };
}

/** An attempt that was never dialled is taken off again, also from its day. */
async function writeContacts(tx: Tx, rows: readonly ContactRow[], now: Date): Promise<void> {
  await tx.$executeRaw`
    WITH changes AS (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
        id uuid, status text, skip_reason text, next timestamptz, scheduled_at timestamptz,
        end_reason text, finished_at timestamptz, undone boolean)
    ), written AS (
      UPDATE campaign_contacts cc SET status = r.status::"CampaignContactStatus",
        skip_reason = r.skip_reason::"CampaignSkipReason", next_eligible_at = r.next,
        scheduled_at = r.scheduled_at, end_reason = r.end_reason::"CallEndReason",
        finished_at = r.finished_at, updated_at = ${now}::timestamptz,
        attempts = cc.attempts - CASE WHEN r.undone THEN 1 ELSE 0 END,
        called_at = CASE WHEN r.undone THEN ${calledBefore} ELSE cc.called_at END
      FROM changes r WHERE cc.id = r.id
      RETURNING cc.campaign_id, cc.attempt_day, r.undone
    )
    UPDATE campaign_days d SET attempts = d.attempts - u.count
    FROM (SELECT campaign_id, attempt_day, count(*) FROM written WHERE undone GROUP BY 1, 2) u
    WHERE d.campaign_id = u.campaign_id AND d.day = u.attempt_day`;
}
