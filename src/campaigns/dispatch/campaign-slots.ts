/** Loads the campaigns of a dispatch cycle: locks them and counts the slots they may use. */
import type { App, Tx } from '../../app.ts';
import { SLOTS_IN_USE } from '../../calls/placement/limits.ts';
import { releasedCallsOf } from '../../calls/placement/owned-calls.ts';
import { callFoundLate } from '../../calls/placement/placement-state.ts';
import { type Agent, type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { type CallerId, callerIds, preferReady } from '../../phone-numbers/service.ts';
import { CALL_OWNER } from '../calls.ts';
import { freeCampaigns } from '../locks.ts';
import { campaignDay } from './eligibility.ts';

/** Most due campaigns in one cycle. */
export const MAX_CAMPAIGNS = 100;
const MAX_RELEASED = 200;

/** A campaign that is locked until the transaction ends. */
export interface CampaignSlots {
  campaign: Campaign;
  agent: Agent;
  /** Caller IDs, in the order of the pool. */
  numbers: readonly CallerId[];
  /** Calendar day in the zone of the campaign, such as `2026-11-20`. */
  day: string;
  /** Attempts of that day; 0 if the campaign has no daily cap. */
  attemptsToday: number;
}

/** A call of a campaign whose claim was released: it was certainly not sent. */
export interface ReleasedCall {
  id: string;
  campaignId: string;
  campaignContactId: string;
  organizationId: string;
  phoneNumberId: string | null;
  /** The contact's own time zone. */
  timezone: string | null;
  /** Calendar day on which the attempt counts. */
  attemptDay: string | null;
  /** It is not claimed again before this instant. */
  placeNotBefore: Date | null;
  /** An earlier call for the contact that ended here as never dialed and that Ultravox reported afterwards. */
  foundCallId: string | null;
}

/** Which campaigns a cycle is about: a condition on the SQL expression of their id. */
export type CampaignScope = (id: Prisma.Sql) => Prisma.Sql;

export const campaignsExcept =
  (ids: readonly string[]): CampaignScope =>
  (id) =>
    Prisma.sql`${id} <> ALL(${ids}::uuid[])`;

export const onlyCampaign =
  (campaignId: string): CampaignScope =>
  (id) =>
    Prisma.sql`${id} = ${campaignId}::uuid`;

/** Campaigns that are due or have released calls. */
export async function campaignsToDispatch(app: App, scope: CampaignScope): Promise<string[]> {
  const rows = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM (
      SELECT id, next_dispatch_at FROM campaigns
      WHERE next_dispatch_at <= ${app.now()}::timestamptz
      UNION
      SELECT p.id, p.next_dispatch_at FROM ${releasedCallsOf(CALL_OWNER)} AS c
      JOIN campaigns p ON p.id = c.campaign_id) AS due
    WHERE ${scope(Prisma.sql`id`)}
    ORDER BY next_dispatch_at NULLS FIRST, id LIMIT ${MAX_CAMPAIGNS}`;
  return rows.map(({ id }) => id);
}

/** Locks released calls, oldest first. Calls locked elsewhere are left to a later cycle. */
export async function lockReleasedCalls(tx: Tx, scope: CampaignScope): Promise<ReleasedCall[]> {
  return tx.$queryRaw<ReleasedCall[]>`
    SELECT c.id, c.campaign_id AS "campaignId", c.campaign_contact_id AS "campaignContactId",
      c.organization_id AS "organizationId", c.phone_number_id AS "phoneNumberId", cc.timezone,
      cc.attempt_day::text AS "attemptDay", c.place_not_before AS "placeNotBefore",
      ${callFoundLate(Prisma.sql`c.campaign_contact_id`)} AS "foundCallId"
    FROM ${releasedCallsOf(CALL_OWNER)} AS c
    JOIN campaign_contacts cc ON cc.id = c.campaign_contact_id
    WHERE ${scope(Prisma.sql`c.campaign_id`)}
    ORDER BY c.created_at, c.id LIMIT ${MAX_RELEASED}
    FOR NO KEY UPDATE OF c SKIP LOCKED`;
}

/**
 * Locks the campaigns of these calls and, when `free` is not 0, those that are due: round robin over
 * organizations, least recently dispatched first, without organizations that have no slot left.
 * Campaigns locked elsewhere are skipped; the holder of the lock enqueues another run.
 */
export async function acquireSlots(
  app: App,
  tx: Tx,
  {
    now,
    released,
    free,
    scope,
  }: { now: Date; released: readonly ReleasedCall[]; free: number; scope: CampaignScope },
): Promise<CampaignSlots[]> {
  const due =
    free > 0
      ? Prisma.sql`(c.status = 'SCHEDULED' OR (c.status = 'ACTIVE' AND NOT EXISTS (
          SELECT 1 FROM full_organizations f WHERE f.organization_id = c.organization_id)))`
      : Prisma.sql`c.status = 'SCHEDULED'`;
  const campaigns = await tx.$queryRaw<Campaign[]>`
    WITH full_organizations AS (
      SELECT organization_id FROM ${SLOTS_IN_USE} AS used
      GROUP BY organization_id HAVING count(*) >= ${app.config.ORGANIZATION_MAX_CONCURRENT_CALLS}
    )
    ${freeCampaigns(Prisma.sql`id IN (
      SELECT unnest(${released.map(({ campaignId }) => campaignId)}::uuid[])
      UNION ALL (
        SELECT id FROM (
          SELECT c.id, c.next_dispatch_at, row_number() OVER (
            PARTITION BY c.organization_id ORDER BY c.next_dispatch_at, c.id) AS rank
          FROM campaigns c WHERE c.next_dispatch_at <= ${now}::timestamptz AND ${due}
            AND ${scope(Prisma.sql`c.id`)}
        ) ranked
        ORDER BY rank, next_dispatch_at, id LIMIT ${MAX_CAMPAIGNS}))`)}`;
  if (campaigns.length === 0) return [];
  campaigns.sort((a, b) => dueTime(a) - dueTime(b) || (a.id < b.id ? -1 : 1));
  const agents = await tx.agent.findMany({
    where: { id: { in: [...new Set(campaigns.map(({ agentId }) => agentId))] } },
  });
  const agentOf = new Map(agents.map((agent) => [agent.id, agent]));
  const numbersOf = await numbersOfCampaigns(tx, campaigns);
  const slots = campaigns.map((campaign) => ({
    campaign,
    agent: agentOf.get(campaign.agentId)!,
    numbers: numbersOf(campaign),
    day: campaignDay(campaign, now),
  }));
  const attempts = await countAttempts(tx, slots);
  return slots.map((one) => ({ ...one, attemptsToday: attempts.get(one.campaign.id) ?? 0 }));
}

function dueTime({ nextDispatchAt }: Campaign): number {
  return nextDispatchAt?.getTime() ?? Number.POSITIVE_INFINITY;
}

/** Locks the caller IDs of campaigns, and returns a function for those of one. */
async function numbersOfCampaigns(
  tx: Tx,
  campaigns: readonly Campaign[],
): Promise<(campaign: Campaign) => CallerId[]> {
  const rows = await tx.campaignPhoneNumber.findMany({
    where: { campaignId: { in: campaigns.map(({ id }) => id) } },
    orderBy: { position: 'asc' },
  });
  const ownOf = Map.groupBy(rows, ({ campaignId }) => campaignId);
  const numbers = await callerIds(
    tx,
    {
      agentIds: campaigns.filter(({ id }) => !ownOf.has(id)).map(({ agentId }) => agentId),
      ids: rows.map(({ phoneNumberId }) => phoneNumberId),
    },
    { lock: true },
  );
  const byId = new Map(numbers.map((number) => [number.id, number]));
  return ({ id, agentId }) =>
    preferReady(
      ownOf.get(id)?.flatMap(({ phoneNumberId }) => byId.get(phoneNumberId) ?? []) ??
        numbers.filter(({ outboundAgentId }) => outboundAgentId === agentId),
    );
}

/** Only of campaigns with a daily cap. */
async function countAttempts(
  tx: Tx,
  slots: readonly Pick<CampaignSlots, 'campaign' | 'day'>[],
): Promise<Map<string, number>> {
  const days = slots
    .filter(({ campaign }) => campaign.maxCallsPerDay !== null)
    .map(({ campaign, day }) => ({ campaign_id: campaign.id, day }));
  if (days.length === 0) return new Map();
  const rows = await tx.$queryRaw<{ campaign_id: string; attempts: number }[]>`
    SELECT d.campaign_id, d.attempts
    FROM jsonb_to_recordset(${JSON.stringify(days)}::jsonb) AS r(campaign_id uuid, day date)
    JOIN campaign_days d ON d.campaign_id = r.campaign_id AND d.day = r.day`;
  return new Map(rows.map((row) => [row.campaign_id, row.attempts]));
}

/** Returns the number of active calls of each organization of these campaigns. */
export async function countActiveCalls(
  tx: Tx,
  slots: readonly CampaignSlots[],
): Promise<Map<string, number>> {
  const ids = [...new Set(slots.map(({ campaign }) => campaign.organizationId))];
  const rows = await tx.$queryRaw<{ organization_id: string; count: bigint }[]>`
    SELECT organization_id, count(*) AS count FROM ${SLOTS_IN_USE} AS used
    WHERE organization_id = ANY(${ids}::uuid[]) GROUP BY organization_id`;
  return new Map(rows.map((row) => [row.organization_id, Number(row.count)]));
}
