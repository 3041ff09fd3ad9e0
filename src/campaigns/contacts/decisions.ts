/** Decisions: the reasons why contacts were or were not called. */
import type { App, Tx } from '../../app.ts';
import { type CampaignDecision, Prisma } from '../../generated/prisma/client.ts';
import { newId } from '../../infra/ids.ts';
import type { Viewer } from '../../viewer.ts';

export type NewDecision = Omit<
  CampaignDecision,
  'id' | 'campaignContactId' | 'callId' | 'until' | 'at'
> &
  Partial<Pick<CampaignDecision, 'campaignContactId' | 'callId' | 'until'>>;

/** Writes decisions, all with the same time. */
export async function recordDecisions(
  tx: Tx,
  at: Date,
  decisions: readonly NewDecision[],
): Promise<void> {
  if (decisions.length === 0) return;
  await tx.campaignDecision.createMany({
    data: decisions.map((decision) => ({ ...decision, id: newId(), at })),
  });
}

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

/** Part of a list of decisions, oldest first. */
export interface DecisionPart {
  after: DecisionPosition | null;
  before: DecisionPosition | null;
  /** Whether the decisions at `after` and `before` are included. */
  inclusive: boolean;
  limit: number;
  /** Whether to read from the end of the list. */
  inverted: boolean;
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

/** Reads the same part of the list of each scope. */
export async function readDecisions(
  app: App,
  { organizationId }: Pick<Viewer, 'organizationId'>,
  scopes: readonly DecisionScope[],
  { after, before, limit, inverted, inclusive }: DecisionPart,
): Promise<DecisionWithZone[][]> {
  const [later, earlier] = inclusive
    ? [Prisma.sql`>=`, Prisma.sql`<=`]
    : [Prisma.sql`>`, Prisma.sql`<`];
  const order = inverted ? Prisma.sql`at DESC, id DESC` : Prisma.sql`at, id`;
  const place = Prisma.sql`
    ${after ? Prisma.sql`AND (at, id) ${later} (${after.at}::timestamptz, ${after.id}::uuid)` : Prisma.empty}
    ${before ? Prisma.sql`AND (at, id) ${earlier} (${before.at}::timestamptz, ${before.id}::uuid)` : Prisma.empty}`;
  const rows = await app.db.$queryRaw<DecisionRow[]>`
    SELECT k.position::int, d.id, d.call_id, d.outcome, d.reason, d.until, d.at, c.timezone
    FROM ${rowsOf(scopes)}
    JOIN campaigns c ON c.id = k.campaign_id AND c.organization_id = ${organizationId}::uuid
    CROSS JOIN LATERAL (
      SELECT * FROM (
        (SELECT * FROM campaign_decisions WHERE ${OWN} ${place} ORDER BY ${order} LIMIT ${limit})
        UNION ALL
        (SELECT * FROM campaign_decisions WHERE ${SHARED} ${place} ORDER BY ${order} LIMIT ${limit})
      ) AS either ORDER BY ${order} LIMIT ${limit}
    ) d`;
  const byPosition = Map.groupBy(rows, ({ position }) => position);
  return scopes.map((_scope, index) => (byPosition.get(index + 1) ?? []).map(toDecision));
}

/** Number of decisions of each scope. */
export async function countDecisions(
  app: App,
  { organizationId }: Pick<Viewer, 'organizationId'>,
  scopes: readonly DecisionScope[],
): Promise<number[]> {
  const rows = await app.db.$queryRaw<{ position: number; count: number }[]>`
    SELECT k.position::int, (
      (SELECT count(*) FROM campaign_decisions WHERE ${OWN})
      + (SELECT count(*) FROM campaign_decisions WHERE ${SHARED})
    )::int AS count
    FROM ${rowsOf(scopes)}
    JOIN campaigns c ON c.id = k.campaign_id AND c.organization_id = ${organizationId}::uuid`;
  const byPosition = new Map(rows.map(({ position, count }) => [position, count]));
  return scopes.map((_scope, index) => byPosition.get(index + 1) ?? 0);
}

/** The scopes as the table `k`. */
function rowsOf(scopes: readonly DecisionScope[]): Prisma.Sql {
  return Prisma.sql`unnest(
      ${scopes.map(({ campaignId }) => campaignId)}::uuid[],
      ${scopes.map(({ contact }) => contact?.id ?? null)}::uuid[],
      ${scopes.map(({ contact }) => contact?.createdAt.toISOString() ?? null)}::timestamptz[],
      ${scopes.map(({ contact }) => contact?.finishedAt?.toISOString() ?? null)}::timestamptz[]
    ) WITH ORDINALITY AS k(campaign_id, contact_id, since, until, position)`;
}

function toDecision({ position: _position, call_id, ...row }: DecisionRow): DecisionWithZone {
  return { ...row, callId: call_id };
}
