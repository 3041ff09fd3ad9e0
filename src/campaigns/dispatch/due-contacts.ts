/** Loads the due contacts that a dispatch cycle may call, in a fair order. */
import type { Tx } from '../../app.ts';
import { type SlotLimits, shareOrder } from '../../calls/placement/slot-shares.ts';
import { type CampaignContact, Prisma } from '../../generated/prisma/client.ts';
import { columnsAs } from '../../infra/rows/columns.ts';
import { type EarlierCalls, earlierCallsOf } from '../outcomes/earlier-calls.ts';

const COLUMNS = columnsAs(
  'campaign_contacts',
  Object.values(Prisma.CampaignContactScalarFieldEnum),
);

/** A due contact, with the data that decides whether it is called. */
export interface CheckedContact
  extends Pick<CampaignContact, 'id' | 'timezone' | 'attempts'>,
    EarlierCalls {
  /** Whether its number is on the do-not-call list. */
  onDoNotCallList: boolean;
}

export interface DueContact extends CampaignContact, CheckedContact {
  /** Caller ID of its newest call, if that call was withdrawn. */
  withdrawnNumberId: string | null;
}

/** Number of calls that one campaign may place now. */
export interface Allowance {
  campaignId: string;
  organizationId: string;
  /** Maximum number of calls of the campaign. */
  calls: number;
  /** Number of active calls of the campaign. */
  campaignCalls: number;
  /** Number of active calls of the organization, and of those that come before its contacts. */
  organizationCalls: number;
  /** Number of calls of the organization claimed in the last minute, and of those that come before its contacts. */
  recentCalls: number;
  /** Number of free slots of the organization. */
  organizationSlots: number;
  /** When the organization last used a slot, in milliseconds since the epoch; null if never. */
  lastUsedAt: number | null;
}

/** SQL columns of a `CheckedContact` other than those of the row of `campaign_contacts`. */
const CHECKED = Prisma.sql`EXISTS (
    SELECT 1 FROM do_not_call_entries e
    WHERE e.organization_id = campaign_contacts.organization_id
      AND e.phone_number = ANY(phone_number_forms(campaign_contacts.phone_number))
  ) AS "onDoNotCallList",
  ${earlierCallsOf(Prisma.sql`campaign_contacts.id`, Prisma.sql`campaign_contacts.attempts`)}`;

/**
 * Returns at most `free` due contacts: of organizations in the order of `shareSlots`, then of campaigns with the fewest
 * active calls, then those that have waited longest. So slots are shared evenly even if only one is ever free.
 */
export async function loadDueContacts(
  tx: Tx,
  allowances: readonly Allowance[],
  { free, limitedBy, now }: Pick<SlotLimits, 'free' | 'limitedBy'> & { now: Date },
): Promise<DueContact[]> {
  if (allowances.length === 0 || free <= 0) return [];
  const rows = allowances.map((one, place) => ({
    id: one.campaignId,
    organization_id: one.organizationId,
    place,
    calling: one.campaignCalls,
    allowance: Math.min(one.calls, free, one.organizationSlots),
    busy: one.organizationCalls,
    room: one.organizationSlots,
    recent: one.recentCalls,
    last_used: one.lastUsedAt ?? 0,
  }));
  const order = shareOrder(limitedBy, {
    active: Prisma.sql`n.busy + n.organization_rank`,
    recent: Prisma.sql`n.recent + n.organization_rank`,
    lastUsed: Prisma.sql`n.last_used`,
  });
  return tx.$queryRaw<DueContact[]>`
    WITH due AS (
      SELECT d.id, d.phone_number, a.calling + d.rank AS rank, a.place, a.organization_id,
        a.busy, a.room, a.recent, a.last_used
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS a(
        id uuid, organization_id uuid, place int, calling int, allowance int, busy int, room int,
        recent int, last_used float)
      CROSS JOIN LATERAL (
        SELECT cc.id, cc.phone_number,
          row_number() OVER (ORDER BY cc.next_eligible_at, cc.position) AS rank
        FROM (
          SELECT id, phone_number, next_eligible_at, position FROM campaign_contacts
          WHERE campaign_id = a.id AND next_eligible_at <= ${now}::timestamptz
          ORDER BY next_eligible_at, position LIMIT a.allowance
        ) cc
      ) d
    ), numbered AS (
      SELECT t.*, row_number() OVER (
        PARTITION BY t.organization_id ORDER BY t.rank, t.place) AS organization_rank
      FROM due t
    ), fair AS (
      SELECT n.*, row_number() OVER (
        ORDER BY ${order}, n.rank, n.place) AS number
      FROM numbered n WHERE n.organization_rank <= n.room
    )
    SELECT ${COLUMNS}, ${CHECKED},
      CASE WHEN newest.attempt IS NULL THEN newest.phone_number_id END AS "withdrawnNumberId"
    -- Limited, since the planner expects any number of due contacts, and would read the whole table for them.
    FROM (SELECT * FROM fair ORDER BY number LIMIT ${free}) chosen
    JOIN campaign_contacts ON campaign_contacts.id = chosen.id
    LEFT JOIN LATERAL (
      SELECT a.attempt, k.phone_number_id
      FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
      WHERE a.campaign_contact_id = chosen.id ORDER BY k.created_at DESC, k.id DESC LIMIT 1
    ) newest ON true
    ORDER BY chosen.number`;
}

/** Returns up to `limit` due contacts of a campaign, longest waiting first. */
export async function firstDueContacts(
  tx: Tx,
  campaignId: string,
  limit: number,
  now: Date,
): Promise<CheckedContact[]> {
  return tx.$queryRaw<CheckedContact[]>`
    SELECT campaign_contacts.id, campaign_contacts.timezone, campaign_contacts.attempts, ${CHECKED}
    FROM (
      SELECT * FROM campaign_contacts
      WHERE campaign_id = ${campaignId}::uuid AND next_eligible_at <= ${now}::timestamptz
      ORDER BY next_eligible_at, position LIMIT ${limit}
    ) AS campaign_contacts`;
}
