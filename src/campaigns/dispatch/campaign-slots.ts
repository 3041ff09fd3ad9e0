/** Loads the campaigns of a dispatch cycle: locks them and counts the slots they may use. */
import type { App, Tx } from '../../app.ts';
import { lastEndOf } from '../../calls/placement/limits.ts';
import { releasedCallsOf } from '../../calls/placement/owned-calls.ts';
import { type SlotLimits, shareOrder } from '../../calls/placement/slot-shares.ts';
import { type Agent, type Campaign, Prisma } from '../../generated/prisma/client.ts';
import { type CallerId, callerIds, preferReady } from '../../phone-numbers/service.ts';
import { CALL_OWNER } from '../calls.ts';
import { lockFreeCampaigns } from '../locks.ts';
import { type EarlierCalls, earlierCallsOf } from '../outcomes/earlier-calls.ts';
import { campaignDay } from './eligibility.ts';

/** Maximum number of due campaigns in one cycle. */
export const MAX_CAMPAIGNS = 100;
const MAX_RELEASED = 200;

/** Columns of an agent that a dispatch cycle needs. */
export type DialingAgent = Pick<
  Agent,
  'id' | 'status' | 'remoteId' | 'deletedAt' | 'recordingEnabled' | 'maxDuration' | 'joinTimeout'
>;

/** A campaign that is locked until the transaction ends, with what it may use. */
export interface CampaignSlots {
  campaign: Campaign;
  agent: DialingAgent;
  /** Caller IDs, in the order of the pool. */
  numbers: readonly CallerId[];
  /** Whether these are numbers of its own, which may all be released, and not those of its agent. */
  hasOwnNumbers: boolean;
  /** Calendar day in the campaign's time zone, such as `2026-11-20`. */
  day: string;
  /** Number of attempts on that day. */
  attemptsToday: number;
}

/** A call of a campaign whose claim was released: it was certainly not sent. */
export interface ReleasedCall extends EarlierCalls {
  id: string;
  campaignId: string;
  campaignContactId: string;
  organizationId: string;
  phoneNumberId: string | null;
  /** The contact's own time zone. */
  timezone: string | null;
  /** Calendar day to which the attempt counts. */
  attemptDay: string | null;
  /** Not claimed again before this instant. */
  placeNotBefore: Date | null;
  /** Number of attempts of the contact before this one. */
  attemptsBefore: number;
}

/** The campaigns of a cycle, as a condition on the SQL expression of their ID. */
export type CampaignScope = (id: Prisma.Sql) => Prisma.Sql;

export const campaignsExcept =
  (ids: readonly string[]): CampaignScope =>
  (id) =>
    Prisma.sql`${id} <> ALL(${ids}::uuid[])`;

export const onlyCampaign =
  (campaignId: string): CampaignScope =>
  (id) =>
    Prisma.sql`${id} = ${campaignId}::uuid`;

/** IDs of campaigns that are due or have released calls. */
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

/**
 * Locks released calls, and returns them oldest first. If there are too many, those whose time has come, of
 * organizations in the order of `shareSlots`. Calls locked elsewhere are left to a later cycle.
 */
export async function lockReleasedCalls(
  tx: Tx,
  scope: CampaignScope,
  { limitedBy, organizations }: Pick<SlotLimits, 'limitedBy' | 'organizations'>,
  now: Date,
): Promise<ReleasedCall[]> {
  const usage = [...organizations].map(([id, { active, recent, waiting, lastUsedAt }]) => ({
    id,
    busy: active + waiting,
    recent: recent + waiting,
    last_used: lastUsedAt,
  }));
  const order = shareOrder(limitedBy, {
    active: Prisma.sql`coalesce(usage.busy, 0) + rank`,
    recent: Prisma.sql`coalesce(usage.recent, 0) + rank`,
    lastUsed: Prisma.sql`coalesce(usage.last_used, 0)`,
  });
  return tx.$queryRaw<ReleasedCall[]>`
    SELECT c.id, c.campaign_id AS "campaignId", c.campaign_contact_id AS "campaignContactId",
      c.organization_id AS "organizationId", c.phone_number_id AS "phoneNumberId", cc.timezone,
      cc.attempt_day::text AS "attemptDay", c.place_not_before AS "placeNotBefore",
      cc.attempts - 1 AS "attemptsBefore",
      ${earlierCallsOf(Prisma.sql`cc.id`, Prisma.sql`cc.attempts - 1`)}
    FROM ${releasedCallsOf(CALL_OWNER)} AS c
    JOIN campaign_contacts cc ON cc.id = c.campaign_contact_id
    WHERE c.id IN (
      SELECT ranked.id FROM (
        SELECT id, organization_id, created_at, waits, row_number() OVER (
          PARTITION BY organization_id ORDER BY waits, created_at, id) AS rank
        FROM (SELECT *, coalesce(place_not_before > ${now}::timestamptz, false) AS waits
          FROM ${releasedCallsOf(CALL_OWNER)} AS c) AS released
        WHERE ${scope(Prisma.sql`campaign_id`)}
      ) ranked
      LEFT JOIN jsonb_to_recordset(${JSON.stringify(usage)}::jsonb) AS usage(
        id uuid, busy int, recent int, last_used float) ON usage.id = ranked.organization_id
      ORDER BY waits, ${order}, created_at, ranked.id LIMIT ${MAX_RELEASED})
    ORDER BY c.created_at, c.id
    FOR NO KEY UPDATE OF c SKIP LOCKED`;
}

/**
 * Locks the campaigns of these calls and, if `free` is not 0, those that are due: round robin over organizations, least
 * recently dispatched first, without those of `fullOrganizations`. Campaigns that are locked elsewhere are skipped; the
 * holder of the lock enqueues another run.
 */
export async function acquireSlots(
  tx: Tx,
  {
    now,
    released,
    free,
    fullOrganizations,
    scope,
  }: {
    now: Date;
    released: readonly ReleasedCall[];
    free: number;
    /** IDs of the organizations without a free slot. */
    fullOrganizations: readonly string[];
    scope: CampaignScope;
  },
): Promise<{
  slots: CampaignSlots[];
  /** When the last call of each of their organizations ended; null if none has. */
  lastEnds: Map<string, Date | null>;
}> {
  const due =
    free > 0
      ? Prisma.sql`(c.status = 'SCHEDULED' OR (c.status = 'ACTIVE'
          AND c.organization_id <> ALL(${fullOrganizations}::uuid[])))`
      : Prisma.sql`c.status = 'SCHEDULED'`;
  const locked = await tx.$queryRaw<(Campaign & { lastEnd: Date | null })[]>`
    ${lockFreeCampaigns(
      Prisma.sql`id IN (
      SELECT unnest(${released.map(({ campaignId }) => campaignId)}::uuid[])
      UNION ALL (
        SELECT id FROM (
          SELECT c.id, c.next_dispatch_at, row_number() OVER (
            PARTITION BY c.organization_id ORDER BY c.next_dispatch_at, c.id) AS rank
          FROM campaigns c WHERE c.next_dispatch_at <= ${now}::timestamptz AND ${due}
            AND ${scope(Prisma.sql`c.id`)}
        ) ranked
        ORDER BY rank, next_dispatch_at, id LIMIT ${MAX_CAMPAIGNS}))`,
      Prisma.sql`${lastEndOf(Prisma.sql`campaigns.organization_id`)} AS "lastEnd"`,
    )}`;
  if (locked.length === 0) return { slots: [], lastEnds: new Map() };
  locked.sort((a, b) => dueTime(a) - dueTime(b) || (a.id < b.id ? -1 : 1));
  return {
    slots: await slotsOf(tx, locked, now),
    lastEnds: new Map(locked.map((one) => [one.organizationId, one.lastEnd])),
  };
}

function dueTime({ nextDispatchAt }: Campaign): number {
  return nextDispatchAt?.getTime() ?? Number.POSITIVE_INFINITY;
}

/** Reads the related rows of locked campaigns, and locks their caller IDs. */
async function slotsOf(
  tx: Tx,
  campaigns: readonly Campaign[],
  now: Date,
): Promise<CampaignSlots[]> {
  const campaignOf = new Map(campaigns.map((campaign) => [campaign.id, campaign]));
  const rows = campaigns.map((campaign) => ({
    id: campaign.id,
    agent_id: campaign.agentId,
    day: campaignDay(campaign, now),
  }));
  const parts = await tx.$queryRaw<
    (DialingAgent & {
      campaignId: string;
      day: string;
      attemptsToday: number;
      numberIds: string[];
    })[]
  >`
    SELECT r.id AS "campaignId", a.id, a.status::text, a.remote_id AS "remoteId", a.deleted_at AS "deletedAt",
      a.recording_enabled AS "recordingEnabled", a.max_duration AS "maxDuration",
      a.join_timeout AS "joinTimeout", r.day::text, ARRAY(
        SELECT phone_number_id::text FROM campaign_phone_numbers
        WHERE campaign_id = r.id ORDER BY position) AS "numberIds",
      coalesce((SELECT attempts FROM campaign_days d
        WHERE d.campaign_id = r.id AND d.day = r.day), 0) AS "attemptsToday"
    FROM ROWS FROM (jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS (id uuid, agent_id uuid, day date)) WITH ORDINALITY AS r(id, agent_id, day, place)
    JOIN agents a ON a.id = r.agent_id ORDER BY r.place`;
  const numbers = await callerIds(
    tx,
    {
      agentIds: parts.flatMap(({ id, numberIds }) => (numberIds.length === 0 ? id : [])),
      ids: parts.flatMap(({ numberIds }) => numberIds),
    },
    { lock: true },
  );
  const numberOf = new Map(numbers.map((number) => [number.id, number]));
  return parts.map(({ campaignId, day, attemptsToday, numberIds, ...agent }) => ({
    campaign: campaignOf.get(campaignId)!,
    agent,
    numbers: preferReady(
      numberIds.length > 0
        ? numberIds.flatMap((id) => numberOf.get(id) ?? [])
        : numbers.filter(({ outboundAgentId }) => outboundAgentId === agent.id),
    ),
    hasOwnNumbers: numberIds.length > 0,
    day,
    attemptsToday,
  }));
}
