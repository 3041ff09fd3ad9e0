/** What one pass of the dispatcher looks at: campaigns it has locked, and who is due in them. */
import type { App, Tx } from '../app.ts';
import { BUSY_LINES } from '../calls/limits.ts';
import {
  type Agent,
  type Campaign,
  type CampaignContact,
  Prisma,
} from '../generated/prisma/client.ts';
import { bestOf, type CallerId, callerIds } from '../phone-numbers/service.ts';
import { campaignDay, type Gate, gateOf } from './gate.ts';
import { campaignEvent, type EventList } from './progress.ts';
import { campaignAfter } from './status.ts';

/** Those that one pass looks at because they are due. */
export const MAX_CAMPAIGNS = 100;
const MAX_WAITING = 200;

/** A campaign that is locked until the transaction ends, and what this pass makes of it. */
export interface Turn {
  campaign: Campaign;
  agent: Agent;
  numbers: CallerId[];
  /** Its calendar day. */
  day: string;
  /** Null when it is not active. */
  gate: Gate | null;
  /** Attempts that count for its day. */
  attemptsToday: number;
  dialled: number;
  skipped: number;
  /** Calls taken back, whose contacts wait again; and those whose campaign is over. */
  withdrawn: number;
  dropped: number;
  rotationIndex: number;
}

/** A call of a campaign that was claimed once, surely not dialled, and given back. */
export interface WaitingCall {
  id: string;
  campaignId: string;
  campaignContactId: string;
  organizationId: string;
  phoneNumberId: string | null;
  timezone: string | null;
  attemptDay: Date | null;
}

export interface DueContact extends CampaignContact {
  /** Whether its number is on the do-not-call list. */
  listed: boolean;
  /** From which number the newest call to it would have been, if that was taken back. */
  keptNumberId: string | null;
}

export async function waitingCalls(tx: Tx): Promise<WaitingCall[]> {
  return tx.$queryRaw<WaitingCall[]>`
    SELECT c.id, c.campaign_id AS "campaignId", c.campaign_contact_id AS "campaignContactId",
      c.organization_id AS "organizationId", c.phone_number_id AS "phoneNumberId", cc.timezone,
      cc.attempt_day AS "attemptDay"
    FROM calls c JOIN campaign_contacts cc ON cc.id = c.campaign_contact_id
    WHERE c.status = 'CREATED' AND c.placing_at IS NULL AND c.end_requested_at IS NULL
    ORDER BY c.created_at, c.id LIMIT ${MAX_WAITING}`;
}

/**
 * Locks the campaigns of these calls and, if there is room for calls, those that are due: of each
 * organization in turn the one that was looked at longest ago. Campaigns whose start has come
 * become active. What somebody else has locked is left to a later pass, which they wake.
 */
export async function takeTurns(
  app: App,
  tx: Tx,
  now: Date,
  waiting: readonly WaitingCall[],
  free: number,
  events: EventList,
): Promise<Map<string, Turn>> {
  const due =
    free > 0
      ? Prisma.sql`(c.status = 'SCHEDULED' OR (c.status = 'ACTIVE' AND NOT EXISTS (
          SELECT 1 FROM full_organizations f WHERE f.organization_id = c.organization_id)))`
      : Prisma.sql`c.status = 'SCHEDULED'`;
  const locked = await tx.$queryRaw<{ id: string }[]>`
    WITH full_organizations AS (
      SELECT organization_id FROM ${BUSY_LINES}
      GROUP BY organization_id HAVING count(*) >= ${app.config.ORGANIZATION_MAX_CONCURRENT_CALLS}
    )
    SELECT id FROM campaigns WHERE id IN (
      SELECT unnest(${waiting.map(({ campaignId }) => campaignId)}::uuid[])
      UNION ALL (
        SELECT id FROM (
          SELECT c.id, c.next_dispatch_at, row_number() OVER (
            PARTITION BY c.organization_id ORDER BY c.next_dispatch_at, c.id) AS turn
          FROM campaigns c WHERE c.next_dispatch_at <= ${now}::timestamptz AND ${due}
        ) ranked
        ORDER BY turn, next_dispatch_at, id LIMIT ${MAX_CAMPAIGNS}))
    FOR NO KEY UPDATE SKIP LOCKED`;
  if (locked.length === 0) return new Map();
  const campaigns = await tx.campaign.findMany({
    where: { id: { in: locked.map(({ id }) => id) } },
    include: { agent: true, phoneNumbers: { orderBy: { position: 'asc' } } },
    orderBy: [{ nextDispatchAt: 'asc' }, { id: 'asc' }],
  });
  const numbers = await callerIds(
    tx,
    {
      agentIds: campaigns.filter((one) => one.phoneNumbers.length === 0).map((one) => one.agentId),
      ids: campaigns.flatMap((one) => one.phoneNumbers.map(({ phoneNumberId }) => phoneNumberId)),
    },
    { lock: true },
  );
  const byId = new Map(numbers.map((number) => [number.id, number]));
  const started = startingNow(campaigns, now, events);
  if (started.length > 0) {
    await tx.campaign.updateMany({
      where: { id: { in: started } },
      data: { status: 'ACTIVE', startedAt: now },
    });
  }
  const turns = new Map(
    campaigns.map(({ agent, phoneNumbers, ...campaign }): [string, Turn] => [
      campaign.id,
      {
        campaign,
        agent,
        numbers: bestOf(
          phoneNumbers.length > 0
            ? phoneNumbers.flatMap(({ phoneNumberId }) => byId.get(phoneNumberId) ?? [])
            : numbers.filter(({ outboundAgentId }) => outboundAgentId === agent.id),
        ),
        day: campaignDay(campaign, now),
        gate: null,
        attemptsToday: 0,
        dialled: 0,
        skipped: 0,
        withdrawn: 0,
        dropped: 0,
        rotationIndex: campaign.rotationIndex,
      },
    ]),
  );
  const attempts = await attemptsToday(tx, turns);
  for (const turn of turns.values()) {
    turn.attemptsToday = attempts.get(turn.campaign.id) ?? 0;
    if (turn.campaign.status !== 'ACTIVE') continue;
    turn.gate = gateOf({
      campaign: turn.campaign,
      agent: turn.agent,
      now,
      numbers: turn.numbers.length,
      attemptsToday: turn.attemptsToday,
    });
  }
  return turns;
}

/** Marks those whose start has come. @returns their ids. */
function startingNow(campaigns: readonly Campaign[], now: Date, events: EventList): string[] {
  const ids: string[] = [];
  for (const campaign of campaigns) {
    if (campaign.status !== 'SCHEDULED' || !campaign.nextDispatchAt) continue;
    if (campaign.nextDispatchAt > now) continue;
    const step = campaignAfter(campaign.status, 'START');
    if (!step.allowed) continue;
    campaign.status = step.status;
    ids.push(campaign.id);
    events.add(campaign.organizationId, campaignEvent('CAMPAIGN_STARTED', campaign, now));
  }
  return ids;
}

async function attemptsToday(
  tx: Tx,
  turns: ReadonlyMap<string, Turn>,
): Promise<Map<string, number>> {
  const days = [...turns.values()].map(({ campaign, day }) => ({ campaign_id: campaign.id, day }));
  const rows = await tx.$queryRaw<{ campaign_id: string; attempts: number }[]>`
    SELECT d.campaign_id, d.attempts
    FROM jsonb_to_recordset(${JSON.stringify(days)}::jsonb) AS r(campaign_id uuid, day date)
    JOIN campaign_days d ON d.campaign_id = r.campaign_id AND d.day = r.day`;
  return new Map(rows.map((row) => [row.campaign_id, row.attempts]));
}

/** How many lines are taken in each organization that has a turn. */
export async function busyLines(
  tx: Tx,
  turns: ReadonlyMap<string, Turn>,
): Promise<Map<string, number>> {
  const ids = [...new Set([...turns.values()].map(({ campaign }) => campaign.organizationId))];
  const rows = await tx.$queryRaw<{ organization_id: string; count: bigint }[]>`
    SELECT organization_id, count(*) AS count FROM ${BUSY_LINES}
    WHERE organization_id = ANY(${ids}::uuid[]) GROUP BY organization_id`;
  return new Map(rows.map((row) => [row.organization_id, Number(row.count)]));
}

/**
 * Who is due, at most `free`: the organization with the fewest calls comes first (of two with as many
 * the one that began fewer in the last minute), in it the campaign with the fewest, and in that
 * whoever has waited longest, as far as its gate and the organization have room. So they take turns,
 * also when there is only ever one line at a time.
 */
export async function dueContacts(
  tx: Tx,
  turns: ReadonlyMap<string, Turn>,
  lines: { busy: ReadonlyMap<string, number>; most: number },
  free: number,
  now: Date,
): Promise<DueContact[]> {
  const allowed = [...turns.values()].flatMap(({ campaign, gate }, place) => {
    const busy = lines.busy.get(campaign.organizationId) ?? 0;
    const room = lines.most - busy;
    if (!gate?.open || room <= 0) return [];
    return {
      id: campaign.id,
      organization_id: campaign.organizationId,
      place,
      calling: campaign.callingCount,
      allowance: Math.min(gate.calls, free, room),
      busy,
      room,
    };
  });
  if (allowed.length === 0) return [];
  const due = await tx.$queryRaw<Pick<DueContact, 'id' | 'listed' | 'keptNumberId'>[]>`
    WITH turns AS (
      SELECT d.id, d.phone_number, a.calling + d.turn AS turn, a.place, a.organization_id,
        a.busy, a.room
      FROM jsonb_to_recordset(${JSON.stringify(allowed)}::jsonb) AS a(
        id uuid, organization_id uuid, place int, calling int, allowance int, busy int, room int)
      CROSS JOIN LATERAL (
        SELECT cc.id, cc.phone_number,
          row_number() OVER (ORDER BY cc.next_eligible_at, cc.position) AS turn
        FROM (
          SELECT id, phone_number, next_eligible_at, position FROM campaign_contacts
          WHERE campaign_id = a.id AND next_eligible_at <= ${now}::timestamptz
          ORDER BY next_eligible_at, position LIMIT a.allowance
        ) cc
      ) d
    ), recent AS (
      SELECT organization_id, count(*) AS calls FROM calls
      WHERE placing_at > statement_timestamp() - interval '1 minute' GROUP BY 1
    ), numbered AS (
      SELECT t.*, row_number() OVER (
        PARTITION BY t.organization_id ORDER BY t.turn, t.place) AS organization_turn
      FROM turns t
    ), fair AS (
      SELECT n.*, row_number() OVER (ORDER BY n.busy + n.organization_turn,
        coalesce(r.calls, 0) + n.organization_turn, n.turn, n.place) AS number
      FROM numbered n LEFT JOIN recent r USING (organization_id)
      WHERE n.organization_turn <= n.room
    )
    SELECT chosen.id, EXISTS (
      SELECT 1 FROM do_not_call_entries e
      WHERE e.organization_id = chosen.organization_id AND e.phone_number = chosen.phone_number
    ) AS listed, (
      SELECT CASE WHEN k.attempt IS NULL THEN k.phone_number_id END FROM calls k
      WHERE k.campaign_contact_id = chosen.id ORDER BY k.created_at DESC, k.id DESC LIMIT 1
    ) AS "keptNumberId"
    FROM fair chosen WHERE chosen.number <= ${free} ORDER BY chosen.number`;
  const contacts = await tx.campaignContact.findMany({
    where: { id: { in: due.map(({ id }) => id) } },
  });
  const byId = new Map(contacts.map((contact) => [contact.id, contact]));
  return due.flatMap((one) => {
    const contact = byId.get(one.id);
    return contact ? [{ ...contact, ...one }] : [];
  });
}
