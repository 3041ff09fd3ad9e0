/** Batches what Prisma's relations do not cover, so that a list of contacts costs as much as one. */
import DataLoader from 'dataloader';
import type { App } from '../app.ts';
import type {
  Call,
  CampaignContact,
  CampaignDecision,
  Contact,
  ContactFolder,
} from '../generated/prisma/client.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { visibleCampaignContacts } from './visibility.ts';

interface Reader {
  app: App;
  viewer: Viewer;
  execution: object;
}

/**
 * One loader per execution, all of whose reads are for one viewer. It remembers nothing, because a
 * mutation may follow another in one execution.
 */
function batched<Key, Value>(
  read: (reader: Reader, keys: readonly Key[]) => Promise<Value[]>,
): (reader: Reader, key: Key) => Promise<Value> {
  const loaders = new WeakMap<object, DataLoader<Key, Value>>();
  return (reader, key) => {
    let loader = loaders.get(reader.execution);
    if (!loader) {
      loader = new DataLoader((keys) => read(reader, keys), { cache: false });
      loaders.set(reader.execution, loader);
    }
    return loader.load(key);
  };
}

/** In the order of the ids, with null for what is not there. */
function inOrder<Row, Id extends keyof Row>(rows: Row[], id: Id, ids: readonly Row[Id][]) {
  const byId = new Map(rows.map((row) => [row[id], row]));
  return ids.map((one) => byId.get(one) ?? null);
}

/** The folders that campaigns were made from; they may be gone. */
export const loadContactFolder = batched<string, ContactFolder | null>(
  async ({ app, viewer }, ids) => {
    const where = { ...ownedBy(viewer), id: { in: [...new Set(ids)] } };
    return inOrder(await app.db.contactFolder.findMany({ where }), 'id', ids);
  },
);

/** What contacts of campaigns were copied from; it may be gone. */
export const loadContact = batched<string, Contact | null>(async ({ app, viewer }, ids) => {
  const where = { ...ownedBy(viewer), id: { in: [...new Set(ids)] } };
  return inOrder(await app.db.contact.findMany({ where }), 'id', ids);
});

/** Whether contacts of campaigns may be seen. */
export const isCampaignContactVisible = batched<string, boolean>(async ({ app, viewer }, ids) => {
  const rows = await app.db.campaignContact.findMany({
    where: { ...visibleCampaignContacts(viewer), id: { in: [...new Set(ids)] } },
    select: { id: true },
  });
  const visible = new Set(rows.map(({ id }) => id));
  return ids.map((id) => visible.has(id));
});

/** Contacts of campaigns by their ids. */
export const loadCampaignContact = batched<string, CampaignContact | null>(
  async ({ app, viewer }, ids) => {
    const where = { ...visibleCampaignContacts(viewer), id: { in: [...new Set(ids)] } };
    return inOrder(await app.db.campaignContact.findMany({ where }), 'id', ids);
  },
);

/** The newest call for each contact of a campaign. */
export const loadLastCall = batched<string, Call | null>(async ({ app, viewer }, ids) => {
  const newest = await app.db.$queryRaw<{ id: string }[]>`
    SELECT c.id FROM unnest(${[...new Set(ids)]}::uuid[]) AS k(id)
    CROSS JOIN LATERAL (
      SELECT id FROM calls
      WHERE campaign_contact_id = k.id AND deleted_at IS NULL
      ORDER BY created_at DESC, id DESC LIMIT 1
    ) c`;
  const where = { ...ownedBy(viewer), deletedAt: null, id: { in: newest.map(({ id }) => id) } };
  return inOrder(await app.db.call.findMany({ where }), 'campaignContactId', ids);
});

/** A decision, with the zone in which it is told. */
export type ToldDecision = Pick<
  CampaignDecision,
  'id' | 'callId' | 'outcome' | 'reason' | 'until' | 'at'
> & { timezone: string };

/** Those about a whole campaign, and those about one contact that has waited in it. */
export interface DecisionScope {
  campaignId: string;
  contact: { id: string; createdAt: Date; finishedAt: Date | null } | null;
}

/** A place in the order of decisions. */
export interface DecisionPlace {
  at: Date;
  id: string;
}

export interface DecisionPage {
  after: DecisionPlace | null;
  before: DecisionPlace | null;
  limit: number;
  /** Newest first, for `last`. */
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
/** What held for all contacts that waited, while this one did: not while it was being called. */
const SHARED = Prisma.sql`campaign_contact_id IS NULL AND campaign_id = k.campaign_id
  AND at >= coalesce(k.since, '-infinity') AND at <= coalesce(k.until, 'infinity')
  AND coalesce((
    SELECT own.outcome <> 'DIALLED' FROM campaign_decisions own
    WHERE own.campaign_contact_id = k.contact_id AND own.at <= campaign_decisions.at
    ORDER BY own.at DESC, own.id DESC LIMIT 1), true)`;

export const loadDecisionPage = batched<
  { scope: DecisionScope; page: DecisionPage },
  ToldDecision[]
>(async ({ app, viewer }, keys) => {
  const groups = Map.groupBy(keys, ({ page }) => JSON.stringify(page));
  const found = new Map<(typeof keys)[number], ToldDecision[]>();
  for (const group of groups.values()) {
    const { after, before, limit, inverted } = group[0]!.page;
    const order = inverted ? Prisma.sql`at DESC, id DESC` : Prisma.sql`at, id`;
    const place = Prisma.sql`
      ${after ? Prisma.sql`AND (at, id) > (${after.at}::timestamptz, ${after.id}::uuid)` : Prisma.empty}
      ${before ? Prisma.sql`AND (at, id) < (${before.at}::timestamptz, ${before.id}::uuid)` : Prisma.empty}`;
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
      found.set(key, (byPosition.get(index + 1) ?? []).map(told));
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

function told({ position: _position, call_id, ...row }: DecisionRow): ToldDecision {
  return { ...row, callId: call_id };
}
