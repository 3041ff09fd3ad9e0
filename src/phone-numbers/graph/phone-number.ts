/** Phone numbers: the type, its list and its lookup. */
import type { Prisma } from '../../generated/prisma/client.ts';
import { CallDirection, PhoneNumberProvider } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { SyncStatusEnum } from '../../sync/graph/sync-status.ts';
import { inboundAddress } from '../inbound-address.ts';
import { numbersWhere } from '../search.ts';
import { usedNumbers } from '../service.ts';
import { numberSync } from './loaders.ts';

const PhoneNumberProviderEnum = builder.enumType('PhoneNumberProvider', {
  description: 'Carrier of a phone number. The carrier bills you for its calls.',
  values: {
    [PhoneNumberProvider.TWILIO]: {
      description:
        'A Twilio account. Ultravox holds one account for all organizations of this server.',
    },
    [PhoneNumberProvider.TELNYX]: {
      description:
        'A Telnyx account. Ultravox holds one account for all organizations of this server.',
    },
    [PhoneNumberProvider.SIP]: {
      description: 'A SIP trunk of any carrier or PBX. The number of trunks is not limited.',
    },
  } as const,
});

export const PhoneNumberDirectionEnum = builder.enumType('PhoneNumberDirection', {
  description:
    'Direction of the calls of a phone number. Each direction has its own agent, or none.',
  values: {
    [CallDirection.INBOUND]: {
      description: 'Calls to the number, which the inbound agent answers.',
    },
    [CallDirection.OUTBOUND]: {
      description: 'Calls that the outbound agent places with the number as caller ID.',
    },
  } as const,
});

/**
 * Numbers that a campaign may call from: those of its pool and of its agent. Other numbers that it has called from are
 * found through its calls only, because a search of all its calls would take long.
 */
function usedBy(campaignId: string): Prisma.PhoneNumberWhereInput {
  const isOfAgent = { outboundAgent: { campaigns: { some: { id: campaignId } } } };
  return { OR: [{ campaigns: { some: { campaignId } } }, isOfAgent] };
}

export const PhoneNumberNode = builder.prismaNode('PhoneNumber', {
  select: { id: true },
  description:
    'Phone number of your carrier, imported so that agents can take and place calls with it.',
  authScopes: { readCall: true },
  nullable: true,
  id: { field: 'id', description: 'Node ID, `num_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    ...(viewer!.onlyCallId ? { calls: { some: { id: viewer!.onlyCallId, deletedAt: null } } } : {}),
    ...(viewer!.onlyCampaignId ? { AND: usedBy(viewer!.onlyCampaignId) } : {}),
  }),
  fields: (t) => ({
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'Phone number in E.164 format.',
    }),
    name: t.exposeString('name', {
      nullable: true,
      description: 'Display name. Null if none was given.',
    }),
    provider: t.expose('provider', {
      type: PhoneNumberProviderEnum,
      description: 'Carrier of the number. It never changes.',
    }),
    sipServer: t.exposeString('sipServer', {
      nullable: true,
      authScopes: { read: true },
      description: 'Host, port and transport of the SIP trunk. Null for other providers.',
    }),
    sipUsername: t.exposeString('sipUsername', {
      nullable: true,
      authScopes: { read: true },
      description:
        'Username for the SIP trunk. Null for other providers. The password is never returned.',
    }),
    inboundAgent: t.relation('inboundAgent', {
      nullable: true,
      authScopes: { read: true },
      description: 'Agent that answers calls to the number. Null if none is assigned.',
    }),
    outboundAgent: t.relation('outboundAgent', {
      nullable: true,
      authScopes: { read: true },
      description: 'Agent that places calls from the number. Null if none is assigned.',
    }),
    status: t.field({
      type: SyncStatusEnum,
      nullable: true,
      authScopes: { read: true },
      select: { provider: true, releasedAt: true },
      description:
        'Sync status of the carrier account, shared by all numbers of the account. Always ACTIVE for a SIP number. Null once the number is released.',
      resolve: async (number, _args, { app, viewer, execution }) =>
        (await numberSync({ app, viewer: viewer!, execution }, number))?.status ?? null,
    }),
    syncError: t.string({
      nullable: true,
      authScopes: { read: true },
      select: { provider: true, releasedAt: true },
      description:
        'Reason why the carrier account, or its latest credentials, are not at Ultravox. Null if there is none.',
      resolve: async (number, _args, { app, viewer, execution }) =>
        (await numberSync({ app, viewer: viewer!, execution }, number))?.syncError ?? null,
    }),
    inboundAddress: t.string({
      nullable: true,
      authScopes: { read: true },
      select: { provider: true, inboundAgent: { select: { remoteId: true } } },
      description:
        'Address to configure at the carrier so that calls reach the inbound agent: the URL of the voice webhook for Twilio and of the TeXML application for Telnyx, or the SIP URI to send calls to. It changes when another agent is assigned. Null without an inbound agent, while that agent is not at Ultravox, and while the SIP domain cannot be read.',
      resolve: ({ provider, inboundAgent }, _args, { app }) =>
        inboundAgent?.remoteId ? inboundAddress(app, provider, inboundAgent.remoteId) : null,
    }),
    releasedAt: t.expose('releasedAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time at which the number was released. Null while it is in use. A released number is reachable only through its calls and `node`.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the number was imported.',
    }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description:
        'Time of the last change of the name, an agent or, with `updatePhoneNumber`, the credentials.',
    }),
  }),
});

const PhoneNumberFilter = builder.inputType('PhoneNumberFilter', {
  description: 'Filters for phone numbers. All of them must match.',
  fields: (t) => ({
    search: t.string({
      description:
        'Substring of the name, case-insensitive, or of the number. Spaces, parentheses, dots, slashes and hyphens in a number are ignored.',
    }),
    provider: t.field({
      type: PhoneNumberProviderEnum,
      description: 'Phone numbers of this carrier.',
    }),
    agentId: t.id({
      description: 'ID of an agent (`agt_…`): phone numbers that it answers or calls from.',
    }),
    assigned: t.boolean({
      description: 'Whether an agent is assigned to at least one direction.',
    }),
  }),
});

export const phoneNumbers = new List({
  type: PhoneNumberNode,
  items: 'phone numbers',
  visible: usedNumbers,
  filter: { type: PhoneNumberFilter, where: numbersWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by import time.' },
    NAME: {
      column: 'name',
      nullsLast: true,
      description: 'Sort by name. Numbers without one come last in both directions.',
    },
    PHONE_NUMBER: { column: 'phoneNumber', description: 'Sort by phone number, as text.' },
    UPDATED_AT: { column: 'updatedAt', description: 'Sort by time of the last change.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

phoneNumbers.query('phoneNumbers', {
  description: 'Phone numbers of the organization. Released numbers are not included.',
  authScopes: { read: true },
});

addLookup('phoneNumber', {
  type: PhoneNumberNode,
  where: usedNumbers,
  description:
    'Looks up a phone number by ID. Null if the organization has no such number or it was released.',
  authScopes: { read: true },
});
