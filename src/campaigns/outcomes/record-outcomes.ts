/**
 * Records the outcomes of ended calls: the next state of each contact, free slots, completion, circuit
 * breaker. The attempts themselves are the work list (`outcome_recorded_at` is null), so no outcome depends on a
 * process or a job, and each is recorded once.
 */
import type { App, Tx } from '../../app.ts';
import { answeredByMayChange } from '../../calls/post-call/findings.ts';
import { type Campaign, type CampaignContact, Prisma } from '../../generated/prisma/client.ts';
import { isDatabaseOutage } from '../../infra/database/database-errors.ts';
import { FailedItems, processByBisection } from '../../infra/jobs/failed-items.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { appendEventsOf } from '../../live/log.ts';
import { revokeCampaignClaims } from '../calls.ts';
import { completeFinished } from '../completion.ts';
import { type ContactMove, moveContacts } from '../contacts/contact-transitions.ts';
import { recordDecisions } from '../contacts/decisions.ts';
import { campaignEvent, EventList } from '../events.ts';
import { lockFreeCampaigns } from '../locks.ts';
import { type CampaignOutcome, campaignOutcome } from './campaign-outcome.ts';
import { ENDED_CALL, type EndedCall, type Outcome, outcomeOf } from './outcome.ts';

const BATCH = 500;
const MAX_CAMPAIGNS = 500;
/** Larger than the number of calls whose campaigns are ever locked elsewhere at the same time. */
const MAX_SEEN = 5_000;

export interface RecordedOutcomes {
  calls: number;
  campaignIds: string[];
  organizationIds: string[];
  /** Whether calls remain, because their campaigns are locked elsewhere or the batch was full. */
  hasMore: boolean;
}

/** An ended call whose outcome is not recorded yet, with the data that decides about its contact. */
interface UnrecordedCall extends EndedCall {
  campaignId: string;
  ringingAt: Date | null;
  endedAt: Date;
  contactId: string;
  contactStatus: CampaignContact['status'];
  attempts: number;
  timezone: string | null;
}

/** Calls whose outcomes cannot be recorded; held back so that they do not block the others. */
const failedCallsOf = perInstance((_app: App) => new FailedItems());

/** @param count number of ended calls without a recorded outcome. Default: unknown, possibly more than are found */
export async function recordOutcomes(app: App, count = MAX_SEEN): Promise<RecordedOutcomes> {
  if (count === 0) return { calls: 0, campaignIds: [], organizationIds: [], hasMore: false };
  const unrecorded = unrecordedNow(app);
  try {
    return await recordSome(app, unrecorded, count);
  } catch (error) {
    if (isDatabaseOutage(error)) throw error;
    return recordInParts(app, unrecorded, count);
  }
}

/** Records as much as possible of a batch that fails as a whole. */
async function recordInParts(
  app: App,
  unrecorded: Prisma.Sql,
  count: number,
): Promise<RecordedOutcomes> {
  const batch = await app.db.$queryRaw<{ id: string }[]>`
    WITH ${unrecorded} SELECT id FROM unrecorded ORDER BY ended_at LIMIT ${BATCH}`;
  const parts: RecordedOutcomes[] = [];
  await processByBisection(
    batch.map(({ id }) => id),
    async (ids) => {
      const these = unrecordedWhere(Prisma.sql`a.call_id = ANY(${[...ids]}::uuid[])`);
      parts.push(await recordSome(app, these, ids.length));
    },
    (id, error) => {
      if (isDatabaseOutage(error)) throw error;
      failedCallsOf(app).add(id);
      app.failures.record('recordOutcome', error, {
        level: 'error',
        message: 'Could not record the outcome of a call; will retry',
        callId: id,
      });
    },
  );
  const recorded = parts.reduce((sum, part) => sum + part.calls, 0);
  return {
    calls: recorded,
    campaignIds: [...new Set(parts.flatMap(({ campaignIds }) => campaignIds))],
    organizationIds: [...new Set(parts.flatMap(({ organizationIds }) => organizationIds))],
    hasMore: recorded < count,
  };
}

async function recordSome(
  app: App,
  unrecorded: Prisma.Sql,
  count: number,
): Promise<RecordedOutcomes> {
  return app.db.$transaction(async (tx) => {
    // Campaigns locked elsewhere do not block the others.
    const campaigns = await tx.$queryRaw<Campaign[]>`
      WITH ${unrecorded} ${lockFreeCampaigns(Prisma.sql`id IN (
        SELECT DISTINCT campaign_id FROM unrecorded LIMIT ${MAX_CAMPAIGNS})`)}`;
    const ids = campaigns.map(({ id }) => id);
    const calls = ids.length > 0 ? await lockUnrecorded(tx, unrecorded, ids) : [];
    const events = await recordBatch(app, tx, campaigns, calls);
    return {
      calls: calls.length,
      campaignIds: ids,
      organizationIds: [...events.byOrganization.keys()],
      hasMore: calls.length < count,
    };
  });
}

/**
 * Locks the attempts of these campaigns' ended calls, and returns the calls, oldest first. Read after locking the
 * campaigns, since the last lock holder may have recorded some of them.
 */
async function lockUnrecorded(
  tx: Tx,
  unrecorded: Prisma.Sql,
  campaignIds: readonly string[],
): Promise<UnrecordedCall[]> {
  // By call ID: the index on the campaign would visit every call it ever made.
  const calls = await tx.$queryRaw<UnrecordedCall[]>`
    WITH ${unrecorded}, oldest AS MATERIALIZED (
      SELECT id FROM unrecorded WHERE campaign_id = ANY(${[...campaignIds]}::uuid[])
      ORDER BY ended_at LIMIT ${BATCH})
    SELECT ${ENDED_CALL}, k.ringing_at AS "ringingAt", k.ended_at AS "endedAt",
      a.campaign_id AS "campaignId", cc.id AS "contactId", cc.status AS "contactStatus", cc.attempts, cc.timezone
    FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
    JOIN campaign_contacts cc ON cc.id = a.campaign_contact_id
    WHERE a.call_id IN (SELECT id FROM oldest)
    ORDER BY a.call_id FOR NO KEY UPDATE OF a`;
  return calls.sort((a, b) => a.endedAt.getTime() - b.endedAt.getTime() || (a.id < b.id ? -1 : 1));
}

/** SQL condition: the outcome depends on whether a person or a voicemail answered, which is not known yet. */
const WAITS_FOR_ANSWERED_BY = Prisma.sql`(
  ${answeredByMayChange('calls')}
  AND EXISTS (SELECT 1 FROM campaigns p
    WHERE p.id = a.campaign_id AND p.ended_at IS NULL AND p.retry_failed AND (
      (p.retry_voicemail AND calls.status = 'COMPLETED') OR calls.end_reason = 'CONNECTION_ERROR')))`;

/** All calls except those that are held back. */
function unrecordedNow(app: App): Prisma.Sql {
  return unrecordedWhere(Prisma.sql`a.call_id <> ALL(${failedCallsOf(app).ids()}::uuid[])`);
}

/**
 * SQL: a relation `unrecorded` for WITH. Materialized and limited, because the planner overestimates these rows and,
 * when joining campaigns, would scan every call they ever made.
 */
function unrecordedWhere(condition: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
  unrecorded AS MATERIALIZED (
    SELECT k.id, a.campaign_id, k.ended_at FROM campaign_attempts a
    CROSS JOIN LATERAL (
      SELECT id, ended_at FROM calls
      WHERE id = a.call_id AND ended_at IS NOT NULL AND NOT ${WAITS_FOR_ANSWERED_BY} LIMIT 1) k
    WHERE a.outcome_recorded_at IS NULL AND ${condition}
    ORDER BY k.ended_at LIMIT ${MAX_SEEN})`;
}

/** SQL expression: the number of ended calls whose outcomes are to be recorded. */
export function unrecordedCalls(app: App): Prisma.Sql {
  return Prisma.sql`(WITH ${unrecordedNow(app)} SELECT count(*)::int FROM unrecorded)`;
}

async function recordBatch(
  app: App,
  tx: Tx,
  campaigns: readonly Campaign[],
  calls: readonly UnrecordedCall[],
): Promise<EventList> {
  const now = app.now();
  const events = new EventList();
  if (calls.length === 0) return events;
  const byId = new Map(campaigns.map((campaign) => [campaign.id, campaign]));
  const decided = calls.map((call) => {
    const campaign = byId.get(call.campaignId);
    if (!campaign) throw new Error(`Call ${call.id} has no campaign`);
    const { contactId: id, contactStatus: status, attempts, timezone } = call;
    const contact = { id, status, attempts, timezone };
    const outcome = outcomeOf(campaign, contact, call, {
      now,
      marginSeconds: app.config.CALLING_WINDOW_MARGIN_SECONDS,
    });
    return { campaignId: campaign.id, call, outcome };
  });
  const outcomes = decided.flatMap(({ outcome, ...rest }) =>
    outcome ? [{ ...rest, outcome }] : [],
  );
  const without = decided.flatMap(({ call, outcome }) => (outcome ? [] : call));
  const ofCampaign = Map.groupBy(outcomes, ({ campaignId }) => campaignId);
  const changes = [...ofCampaign].map(([id, ended]) => campaignOutcome(byId.get(id)!, ended));

  if (without.length > 0) await markRecorded(tx, without, now);
  await moveContacts(tx, 'END', movesOf(outcomes, 'END'), now);
  await moveContacts(tx, 'RELEASE', movesOf(outcomes, 'RELEASE'), now);
  await updateCampaigns(tx, changes, now);
  await recordDecisions(
    tx,
    now,
    changes.flatMap(({ decision }) => decision ?? []),
  );
  for (const { campaign, pauses } of changes) {
    if (!pauses) continue;
    events.add(campaign.organizationId, campaignEvent('CAMPAIGN_PAUSED', campaign, now));
  }
  const finished = campaigns.filter(
    ({ id, pendingCount, callingCount }) =>
      pendingCount + callingCount <= (ofCampaign.get(id)?.length ?? 0),
  );
  if (finished.length > 0) {
    await completeFinished(
      tx,
      finished.map(({ id }) => id),
      now,
      events,
    );
  }
  await appendEventsOf(tx, events.byOrganization);
  return events;
}

function movesOf<T extends Outcome['transition']>(
  outcomes: readonly { outcome: Outcome }[],
  transition: T,
): ContactMove<T>[] {
  return outcomes.flatMap(({ outcome }) =>
    outcome.transition === transition ? [outcome.move as ContactMove<T>] : [],
  );
}

/** Marks calls for which no contact waits. For the other calls, moving the contact marks the call. */
async function markRecorded(
  tx: Tx,
  calls: readonly Pick<UnrecordedCall, 'id' | 'ringingAt'>[],
  now: Date,
): Promise<void> {
  const neverRang = calls.filter(({ ringingAt }) => ringingAt === null).map(({ id }) => id);
  await tx.$executeRaw`
    UPDATE campaign_attempts SET outcome_recorded_at = ${now}::timestamptz,
      -- A call that never rang adds nothing to the statistics of its contact.
      stats_recorded_at = CASE WHEN call_id = ANY(${neverRang}::uuid[]) THEN ${now}::timestamptz END
    WHERE call_id = ANY(${calls.map(({ id }) => id)}::uuid[])`;
}

/** Writes status and next dispatch of the campaigns. The counters are updated with the contacts. */
async function updateCampaigns(
  tx: Tx,
  changes: readonly CampaignOutcome[],
  now: Date,
): Promise<void> {
  const rows = changes.map(({ campaign, released }) => ({
    id: campaign.id,
    status: campaign.status,
    status_reason: campaign.statusReason,
    hold: campaign.holdReason,
    recent_ends: campaign.recentEnds,
    released,
  }));
  await tx.$executeRaw`
    UPDATE campaigns c SET
      status = r.status::"CampaignStatus", status_reason = r.status_reason,
      hold_reason = r.hold::"CampaignDecisionReason",
      recent_ends = r.recent_ends::"CallStatus"[],
      next_dispatch_at = CASE
        WHEN r.status <> 'ACTIVE' THEN NULL
        WHEN r.hold = 'DAILY_CAP_REACHED' AND r.released THEN ${now}::timestamptz
        WHEN r.hold IS NOT NULL THEN c.next_dispatch_at
        -- Keeps its place in the round robin.
        ELSE least(c.next_dispatch_at, ${now}::timestamptz) END,
      updated_at = ${now}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, status text, status_reason text, hold text, recent_ends text[], released boolean)
    WHERE c.id = r.id`;
  const paused = changes.filter(({ pauses }) => pauses).map(({ campaign }) => campaign.id);
  if (paused.length > 0) await revokeCampaignClaims(tx, paused);
}
