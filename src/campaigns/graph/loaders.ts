/** Loaders for campaign lookups that Prisma's relations do not cover. */
import type { CampaignDecision } from '../../generated/prisma/client.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import type { RowsQuery } from '../../graphql/lists/page.ts';
import { batched } from '../../graphql/reading/batched.ts';
import { rowLoader } from '../../graphql/reading/row-loader.ts';
import { ownedBy } from '../../viewer.ts';
import { visibleCampaignContacts } from '../visibility.ts';

/** Folders from which campaigns were created; null for deleted folders. */
export const loadContactFolder = rowLoader('ContactFolder', ownedBy);

/** Contacts from which campaign contacts were copied; null for deleted contacts. */
export const loadContact = rowLoader('Contact', ownedBy);

/** Whether the viewer may see campaign contacts. */
export const isCampaignContactVisible = batched<string, boolean>(async ({ app, viewer }, ids) => {
  const rows = await app.db.campaignContact.findMany({
    where: { ...visibleCampaignContacts(viewer), id: { in: [...new Set(ids)] } },
    select: { id: true },
  });
  const visible = new Set(rows.map(({ id }) => id));
  return ids.map((id) => visible.has(id));
});

/** Campaign contacts by UUID. */
export const loadCampaignContact = rowLoader('CampaignContact', visibleCampaignContacts);

/** The UUID of the latest call to each campaign contact. */
export const loadLastCallId = batched<string, string | null>(async ({ app }, ids) => {
  const newest = await app.db.$queryRaw<{ contact: string; call: string }[]>`
    SELECT k.id AS contact, c.id AS call FROM unnest(${[...new Set(ids)]}::uuid[]) AS k(id)
    CROSS JOIN LATERAL (
      SELECT id FROM calls
      WHERE campaign_contact_id = k.id AND deleted_at IS NULL
      ORDER BY created_at DESC, id DESC LIMIT 1
    ) c`;
  const calls = new Map(newest.map(({ contact, call }) => [contact, call]));
  return ids.map((id) => calls.get(id) ?? null);
});

/** A decision with the time zone of its campaign, which its message needs. */
export type DecisionWithZone = Pick<
  CampaignDecision,
  'id' | 'callId' | 'outcome' | 'reason' | 'until' | 'at'
> & { timezone: string };

/** Decisions about a whole campaign; with `contact`, also those about one of its contacts. */
export interface DecisionScope {
  campaignId: string;
  contact: { id: string; createdAt: Date; finishedAt: Date | null } | null;
}

/** A position in the order of decisions. */
export interface DecisionPosition {
  at: Date;
  id: string;
}

interface DecisionRow {
  position: number;
  id: string;
  call_id: string | null;
  outcome: CampaignDecision['outcome'];
  reason: CampaignDecision['reason'];
  until: Date | null;
  at: Date;
  timezone: string;
}

const OWN = Prisma.sql`campaign_contact_id = k.contact_id`;
/** Decisions about the whole campaign made while the contact was waiting, not while it was being called. */
const SHARED = Prisma.sql`campaign_contact_id IS NULL AND campaign_id = k.campaign_id
  AND at >= coalesce(k.since, '-infinity') AND at <= coalesce(k.until, 'infinity')
  AND coalesce((
    SELECT own.outcome <> 'DIALED' FROM campaign_decisions own
    WHERE own.campaign_contact_id = k.contact_id AND own.at <= campaign_decisions.at
    ORDER BY own.at DESC, own.id DESC LIMIT 1), true)`;

export const loadDecisionPage = batched<
  { scope: DecisionScope; query: RowsQuery<DecisionPosition> },
  DecisionWithZone[]
>(async ({ app, viewer }, keys) => {
  const groups = Map.groupBy(keys, ({ query }) => JSON.stringify(query));
  const found = new Map<(typeof keys)[number], DecisionWithZone[]>();
  for (const group of groups.values()) {
    const { after, before, limit, inverted, inclusive } = group[0]!.query;
    const [later, earlier] = inclusive
      ? [Prisma.sql`>=`, Prisma.sql`<=`]
      : [Prisma.sql`>`, Prisma.sql`<`];
    const order = inverted ? Prisma.sql`at DESC, id DESC` : Prisma.sql`at, id`;
    const place = Prisma.sql`
      ${after ? Prisma.sql`AND (at, id) ${later} (${after.at}::timestamptz, ${after.id}::uuid)` : Prisma.empty}
      ${before ? Prisma.sql`AND (at, id) ${earlier} (${before.at}::timestamptz, ${before.id}::uuid)` : Prisma.empty}`;
    const rows = await app.db.$queryRaw<DecisionRow[]>`
      SELECT k.position::int, d.id, d.call_id, d.outcome, d.reason, d.until, d.at, c.timezone
      FROM ${scopes(group.map(({ scope }) => scope))}
      JOIN campaigns c ON c.id = k.campaign_id AND c.organization_id = ${viewer.organizationId}::uuid
      CROSS JOIN LATERAL (
        SELECT * FROM (
          (SELECT * FROM campaign_decisions WHERE ${OWN} ${place} ORDER BY ${order} LIMIT ${limit})
          UNION ALL
          (SELECT * FROM campaign_decisions WHERE ${SHARED} ${place} ORDER BY ${order} LIMIT ${limit})
        ) AS either ORDER BY ${order} LIMIT ${limit}
      ) d`;
    const byPosition = Map.groupBy(rows, ({ position }) => position);
    group.forEach((key, index) => {
      found.set(key, (byPosition.get(index + 1) ?? []).map(toDecision));
    });
  }
  return keys.map((key) => found.get(key) ?? []);
});

export const loadDecisionCount = batched<DecisionScope, number>(async ({ app, viewer }, keys) => {
  const rows = await app.db.$queryRaw<{ position: number; count: number }[]>`
    SELECT k.position::int, (
      (SELECT count(*) FROM campaign_decisions WHERE ${OWN})
      + (SELECT count(*) FROM campaign_decisions WHERE ${SHARED})
    )::int AS count
    FROM ${scopes(keys)}
    JOIN campaigns c ON c.id = k.campaign_id AND c.organization_id = ${viewer.organizationId}::uuid`;
  const byPosition = new Map(rows.map(({ position, count }) => [position, count]));
  return keys.map((_key, index) => byPosition.get(index + 1) ?? 0);
});

function scopes(keys: readonly DecisionScope[]): Prisma.Sql {
  return Prisma.sql`unnest(
      ${keys.map(({ campaignId }) => campaignId)}::uuid[],
      ${keys.map(({ contact }) => contact?.id ?? null)}::uuid[],
      ${keys.map(({ contact }) => contact?.createdAt.toISOString() ?? null)}::timestamptz[],
      ${keys.map(({ contact }) => contact?.finishedAt?.toISOString() ?? null)}::timestamptz[]
    ) WITH ORDINALITY AS k(campaign_id, contact_id, since, until, position)`;
}

function toDecision({ position: _position, call_id, ...row }: DecisionRow): DecisionWithZone {
  return { ...row, callId: call_id };
}
