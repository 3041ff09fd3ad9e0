import {
  type ApolloCache,
  type FieldPolicy,
  InMemoryCache,
  type TypePolicies,
} from '@apollo/client';
import { relayStylePagination } from '@apollo/client/utilities';

/** By the prefix of an ID. Add those that your pages read by ID or delete. */
const TYPES: Record<string, string> = {
  agt: 'Agent',
  cal: 'Call',
  cmp: 'Campaign',
  ctc: 'Contact',
};

function typeOf(id: string): string {
  return TYPES[id.slice(0, 3)] ?? 'Node';
}

/** Joins the pages of a list. Each filter and order is a list of its own. */
const pages = relayStylePagination(['filter', 'orderBy']);

/** Answers from the cache with an object that another query, such as a list, has read. */
const byId: FieldPolicy = {
  read: (known, { args, toReference }) =>
    known === undefined && args ? toReference({ __typename: typeOf(args.id), id: args.id }) : known,
};

export const typePolicies: TypePolicies = {
  Query: {
    fields: {
      agents: pages,
      calls: pages,
      campaigns: pages,
      contacts: pages,
      agent: byId,
      call: byId,
      campaign: byId,
      contact: byId,
      node: byId,
    },
  },
  Agent: { fields: { calls: pages, campaigns: pages } },
  Campaign: { fields: { calls: pages, contacts: pages } },
  Contact: { fields: { calls: pages } },
  // Has no ID.
  DoNotCallEntry: { keyFields: ['phoneNumber'] },
  // Parts of the object around them: what several queries select of them is kept together.
  CampaignCounts: { merge: true },
  CallFigures: { merge: true },
};

export function createCache(possibleTypes: Record<string, string[]>): InMemoryCache {
  return new InMemoryCache({ possibleTypes, typePolicies });
}

/** Takes deleted objects out of the cache, and so out of the lists: `deletedContactIds` and the like. */
export function removeFromCache(cache: ApolloCache, ids: readonly string[]): void {
  for (const id of ids) cache.evict({ id: `${typeOf(id)}:${id}` });
  cache.gc();
}
