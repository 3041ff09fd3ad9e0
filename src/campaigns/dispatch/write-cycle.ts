/** Writes the decisions of a dispatch cycle in a fixed number of statements. */
import type { App, Tx } from '../../app.ts';
import {
  claimedCallsToInsert,
  claimReleasedCalls,
  withdrawCalls,
} from '../../calls/placement/owned-calls.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { appendStatement } from '../../live/log.ts';
import { CALL_OWNER, revokeCampaignClaims } from '../calls.ts';
import { dialContacts, moveContacts } from '../contacts/contact-transitions.ts';
import { recordDecisions } from '../contacts/decisions.ts';
import { campaignEvent, EventList } from '../events.ts';
import { buildAttempts } from './attempts.ts';
import type { CampaignUpdate } from './campaign-updates.ts';
import type { ContactDecisions, UncalledContacts } from './contact-decisions.ts';
import type { DispatchCycle } from './cycle-input.ts';
import type { ReleasedDecisions } from './released-calls.ts';

export interface CycleDecisions {
  released: ReleasedDecisions;
  contacts: ContactDecisions;
  campaigns: readonly CampaignUpdate[];
}

/** Returns the appended events. */
export async function writeCycle(
  app: App,
  tx: Tx,
  cycle: DispatchCycle,
  { released, contacts, campaigns }: CycleDecisions,
): Promise<EventList> {
  const { now } = cycle;
  const events = new EventList();
  for (const { starts, campaign } of campaigns) {
    if (starts) events.add(campaign.organizationId, startEvent(cycle, campaign.id));
  }
  await claimReleasedCalls(
    tx,
    released.claims.map(({ call, placeBefore }) => ({ id: call.id, placeBefore })),
  );
  await withdrawReleased(app, tx, { now, released }, events);
  await writeAttempts(app, tx, { cycle, contacts }, events);
  await moveUncalled(tx, contacts.uncalled, now);
  for (const { event, campaign } of campaigns) {
    if (event) events.add(campaign.organizationId, campaignEvent(event, campaign, now));
  }
  await updateCampaigns(tx, campaigns, events, now);
  await recordDecisions(
    tx,
    now,
    campaigns.flatMap(({ decision }) => decision ?? []),
  );
  return events;
}

function startEvent({ campaigns, now }: DispatchCycle, id: string) {
  return campaignEvent('CAMPAIGN_STARTED', campaigns.get(id)!.campaign, now);
}

/** Withdraws released calls: their contacts wait again, end, or are canceled with their campaign. */
async function withdrawReleased(
  app: App,
  tx: Tx,
  { now, released }: { now: Date; released: ReleasedDecisions },
  events: EventList,
): Promise<void> {
  const ids = released.withdrawals.map(({ call }) => call.id);
  if (ids.length === 0) return;
  const withdrawn = await withdrawCalls(app, tx, ids);
  // The cycle has the calls locked, so none of them can have been claimed or ended.
  if (withdrawn.ids.size < ids.length) throw new Error('Released calls could not be withdrawn');
  events.addAll(withdrawn.events);
  const moves = released.withdrawals.map(({ call, reason, status }) => ({
    id: call.campaignContactId,
    status,
    callId: call.id,
    reason,
    // A refused request may be carried out until then, and the contact must not be called twice.
    ...(call.placeNotBefore ? { nextEligibleAt: call.placeNotBefore } : {}),
  }));
  await moveContacts(tx, 'RELEASE', moves, now);
}

/** Skips, ends and defers contacts that are not called. */
export async function moveUncalled(
  tx: Tx,
  { skipped, dropped, deferred }: UncalledContacts,
  now: Date,
): Promise<void> {
  await moveContacts(tx, 'SKIP', skipped, now);
  await moveContacts(tx, 'DROP_RETRY', dropped, now);
  await moveContacts(tx, 'DEFER', deferred, now);
}

/** Inserts the calls with their claims, and counts the attempts. */
async function writeAttempts(
  app: App,
  tx: Tx,
  { cycle, contacts }: { cycle: DispatchCycle; contacts: ContactDecisions },
  events: EventList,
): Promise<void> {
  const { attempts } = contacts;
  if (attempts.length === 0) return;
  const calls = claimedCallsToInsert(app, CALL_OWNER, buildAttempts(cycle, attempts));
  events.addAll(calls.events);
  const moves = attempts.map(({ callId, contact }) => ({
    id: contact.id,
    status: 'CALLING' as const,
    callId,
    attemptDay: cycle.campaigns.get(contact.campaignId)!.day,
  }));
  await dialContacts(tx, moves, calls.insert, cycle.now);
}

/** Columns of a campaign that a cycle writes, apart from the counters. */
const WRITTEN = [
  'status',
  'status_reason',
  'started_at',
  'ended_at',
  'rotation_index',
  'hold_reason',
  'next_dispatch_at',
];

/** SQL: the written columns of a table, such as `c.status, c.status_reason`. */
function writtenColumns(table: string): Prisma.Sql {
  return Prisma.raw(WRITTEN.map((column) => `${table}.${column}`).join(', '));
}

/**
 * Writes status, hold and next dispatch of the campaigns that change, and the events of the cycle, in one statement.
 * The counters are updated with the contacts.
 */
async function updateCampaigns(
  tx: Tx,
  updates: readonly CampaignUpdate[],
  events: EventList,
  now: Date,
): Promise<void> {
  const rows = updates.map(({ campaign, nextDispatchAt, starts, placedCalls }) => ({
    id: campaign.id,
    status: campaign.status,
    status_reason: campaign.statusReason,
    started_at: starts ? now : campaign.startedAt,
    ended_at: campaign.endedAt,
    rotation_index: campaign.rotationIndex,
    hold_reason: campaign.holdReason,
    next_due: nextDispatchAt === 'NEXT_DUE',
    next: nextDispatchAt === 'NEXT_DUE' ? null : nextDispatchAt,
    placed_calls: placedCalls,
  }));
  await tx.$executeRaw`
    WITH appended AS (${appendStatement(events.byOrganization)}),
    updates AS (
      SELECT r.*, CASE
          WHEN NOT r.next_due THEN r.next
          WHEN c.calling_count >= c.max_concurrent_calls THEN NULL
          ELSE (SELECT CASE
              WHEN min(next_eligible_at) > ${now}::timestamptz THEN min(next_eligible_at)
              -- A campaign that placed calls goes behind those that did not.
              WHEN count(*) > 0 AND r.placed_calls THEN ${now}::timestamptz
              WHEN count(*) > 0 THEN least(c.next_dispatch_at, ${now}::timestamptz) END
            FROM (SELECT next_eligible_at FROM campaign_contacts
              WHERE campaign_id = c.id AND next_eligible_at IS NOT NULL
              ORDER BY next_eligible_at, position LIMIT 1) first)
          END AS next_dispatch_at
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
        id uuid, status "CampaignStatus", status_reason text, started_at timestamptz,
        ended_at timestamptz, rotation_index int, hold_reason "CampaignDecisionReason",
        next timestamptz, next_due boolean, placed_calls boolean)
      JOIN campaigns c ON c.id = r.id
    )
    UPDATE campaigns c
    SET (${Prisma.raw(WRITTEN.join(', '))}) = (${writtenColumns('u')}),
      updated_at = ${now}::timestamptz
    FROM updates u
    WHERE c.id = u.id AND (${writtenColumns('c')}) IS DISTINCT FROM (${writtenColumns('u')})`;
  const stopped = updates.filter(({ stops }) => stops).map(({ campaign }) => campaign.id);
  if (stopped.length > 0) await revokeCampaignClaims(tx, stopped);
}
