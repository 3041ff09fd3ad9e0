/** Loaders for campaign lookups that Prisma's relations do not cover. */
import type { RowsQuery } from '../../graphql/lists/page.ts';
import { batched } from '../../graphql/reading/batched.ts';
import { rowLoader } from '../../graphql/reading/row-loader.ts';
import { visibleId } from '../../graphql/reading/visible-id.ts';
import { ownedBy } from '../../viewer.ts';
import {
  countDecisions,
  type DecisionPosition,
  type DecisionScope,
  type DecisionWithZone,
  readDecisions,
} from '../contacts/decisions.ts';
import { visibleCampaignContacts } from '../visibility.ts';

/** Folders from which campaigns were created; null for deleted folders. */
export const loadContactFolder = rowLoader('ContactFolder', ownedBy);

/** Contacts from which campaign contacts were copied; null for deleted contacts. */
export const loadContact = rowLoader('Contact', ownedBy);

/** The ID of a campaign contact that the viewer may see. */
export const visibleCampaignContactId = visibleId('CampaignContact', visibleCampaignContacts);

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

/** Pages of decisions. Those with the same position and size are read together. */
export const loadDecisionPage = batched<
  { scope: DecisionScope; query: RowsQuery<DecisionPosition> },
  DecisionWithZone[]
>(async ({ app, viewer }, keys) => {
  const found = new Map<(typeof keys)[number], DecisionWithZone[]>();
  for (const group of Map.groupBy(keys, ({ query }) => JSON.stringify(query)).values()) {
    const scopes = group.map(({ scope }) => scope);
    const pages = await readDecisions(app, viewer, scopes, group[0]!.query);
    group.forEach((key, index) => {
      found.set(key, pages[index] ?? []);
    });
  }
  return keys.map((key) => found.get(key) ?? []);
});

export const loadDecisionCount = batched<DecisionScope, number>(({ app, viewer }, scopes) =>
  countDecisions(app, viewer, scopes),
);
