import type { Prisma } from '../generated/prisma/client.ts';
import { CallDirection, PhoneNumberProvider } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { literal } from '../infra/like.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { inboundAddress } from './inbound-address.ts';
import { numberSync } from './loaders.ts';

const PhoneNumberProviderEnum = builder.enumType('PhoneNumberProvider', {
  description: 'Who carries the calls of a number. The calls are billed by them, to you.',
  values: {
    [PhoneNumberProvider.TWILIO]: {
      description: 'A Twilio account. Ultravox keeps one for all organizations of this server.',
    },
    [PhoneNumberProvider.TELNYX]: {
      description: 'A Telnyx account. Ultravox keeps one for all organizations of this server.',
    },
    [PhoneNumberProvider.SIP]: {
      description: 'A SIP trunk of any carrier or exchange, as many as you like.',
    },
  } as const,
});

export const PhoneNumberDirectionEnum = builder.enumType('PhoneNumberDirection', {
  description: 'The two slots of a phone number. Each has its own agent, or none.',
  values: {
    [CallDirection.INBOUND]: { description: 'The agent that answers when the number is called.' },
    [CallDirection.OUTBOUND]: {
      description: 'The agent whose calls show the number as caller ID.',
    },
  } as const,
});

/** A number in the pool of a campaign, or one that it has called from. */
function usedBy(campaignId: string): Prisma.PhoneNumberWhereInput {
  return { OR: [{ campaigns: { some: { campaignId } } }, { calls: { some: { campaignId } } }] };
}

export const PhoneNumberNode = builder.prismaNode('PhoneNumber', {
  description:
    'A number at your own carrier, imported so that agents can answer it and call from it.',
  authScopes: { readCall: true },
  nullable: true,
  id: { field: 'id', description: '`num_` and a UUID.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    ...(viewer!.onlyCallId ? { calls: { some: { id: viewer!.onlyCallId } } } : {}),
    ...(viewer!.onlyCampaignId ? { AND: usedBy(viewer!.onlyCampaignId) } : {}),
  }),
  fields: (t) => ({
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'The number itself, in E.164 form.',
    }),
    name: t.exposeString('name', {
      nullable: true,
      description: 'What you call it; null when it was never given a name.',
    }),
    provider: t.expose('provider', {
      type: PhoneNumberProviderEnum,
      description: 'Which carrier its calls go through; this never changes.',
    }),
    sipServer: t.exposeString('sipServer', {
      nullable: true,
      description: 'Host, port and transport of the SIP trunk; null with other providers.',
    }),
    sipUsername: t.exposeString('sipUsername', {
      nullable: true,
      description:
        'The user name at the SIP trunk; null with other providers. The password is never shown.',
    }),
    inboundAgent: t.relation('inboundAgent', {
      nullable: true,
      authScopes: { read: true },
      description: 'Answers calls to the number; null when nobody does.',
    }),
    outboundAgent: t.relation('outboundAgent', {
      nullable: true,
      authScopes: { read: true },
      description: 'Calls from the number; null when nobody does.',
    }),
    status: t.field({
      type: SyncStatusEnum,
      nullable: true,
      select: { provider: true, releasedAt: true },
      description:
        'Whether Ultravox has the carrier account that the number needs; all numbers of one account share it. A SIP number is ACTIVE at once. Null once released.',
      resolve: async (number, _args, { app, viewer, execution }) =>
        (await numberSync({ app, viewer: viewer!, execution }, number))?.status ?? null,
    }),
    syncError: t.string({
      nullable: true,
      select: { provider: true, releasedAt: true },
      description:
        'Why the carrier account is not at Ultravox, or not with its newest credentials; null when all is well.',
      resolve: async (number, _args, { app, viewer, execution }) =>
        (await numberSync({ app, viewer: viewer!, execution }, number))?.syncError ?? null,
    }),
    inboundAddress: t.string({
      nullable: true,
      authScopes: { read: true },
      select: { provider: true, inboundAgent: { select: { ultravoxId: true } } },
      description:
        'What to set at the carrier so that calls reach the inbound agent. Twilio and Telnyx: the address of the voice webhook (TeXML application at Telnyx). SIP: the URI to send calls to. It changes with the agent. Null without an inbound agent, before that agent is at Ultravox, or while the SIP domain cannot be found out.',
      resolve: ({ provider, inboundAgent }, _args, { app }) =>
        inboundAgent?.ultravoxId ? inboundAddress(app, provider, inboundAgent.ultravoxId) : null,
    }),
    releasedAt: t.expose('releasedAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When it was released; null while it is in use. A released number is only seen from its calls.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was imported.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When its name or agents last changed.',
    }),
  }),
});

export const PhoneNumberConnection = connectionOf(PhoneNumberNode);

const inUse = { where: { releasedAt: null }, orderBy: { id: 'asc' } } as const;
/** Agents have a handful of numbers: what one is taken to cost. */
const NUMBERS_OF_AN_AGENT = { field: 1, multiplier: 10 };

builder.prismaObjectField('Agent', 'inboundPhoneNumbers', (t) =>
  t.relation('inboundPhoneNumbers', {
    query: inUse,
    complexity: NUMBERS_OF_AN_AGENT,
    description: 'The numbers it answers, in the order in which they were imported.',
  }),
);
builder.prismaObjectField('Agent', 'outboundPhoneNumbers', (t) =>
  t.relation('outboundPhoneNumbers', {
    query: inUse,
    complexity: NUMBERS_OF_AN_AGENT,
    description:
      'The numbers it calls from, in the order in which they were imported. Calls without a `fromNumber` use the one not used for longest.',
  }),
);

const PhoneNumberFilter = builder.inputType('PhoneNumberFilter', {
  description: 'Which numbers to list; all of it has to hold.',
  fields: (t) => ({
    search: t.string({
      description:
        'Part of the name, or of the number: spaces, brackets and dashes between digits do not matter.',
    }),
    provider: t.field({ type: PhoneNumberProviderEnum, description: 'Only numbers of this kind.' }),
    agentId: t.id({
      description: 'An `agt_…` id: only numbers that this agent answers or calls from.',
    }),
    assigned: t.boolean({
      description: 'True: only numbers with an agent in either slot. False: only those with none.',
    }),
  }),
});

const PhoneNumberOrderField = builder.enumType('PhoneNumberOrderField', {
  description: 'What a list of phone numbers can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When it was imported.' },
    NAME: { value: 'name', description: 'Its name.' },
    PHONE_NUMBER: { value: 'phoneNumber', description: 'The number, digit by digit.' },
  } as const,
});

const PhoneNumberOrder = builder.inputType('PhoneNumberOrder', {
  description: 'How to order phone numbers.',
  fields: (t) => ({
    field: t.field({
      type: PhoneNumberOrderField,
      required: true,
      description: 'What to compare.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way round.',
    }),
  }),
});

function matching(filter: typeof PhoneNumberFilter.$inferInput): Prisma.PhoneNumberWhereInput {
  const conditions: Prisma.PhoneNumberWhereInput[] = [];
  const { search, provider, agentId, assigned } = filter;
  if (search) {
    const digits = search.replace(/[\s().\-/]/g, '');
    conditions.push({
      OR: [
        { name: { contains: literal(search), mode: 'insensitive' } },
        ...(/^\+?\d+$/.test(digits) ? [{ phoneNumber: { contains: digits } }] : []),
      ],
    });
  }
  if (provider) conditions.push({ provider });
  if (agentId) {
    const id = requireId('Agent', agentId);
    conditions.push({ OR: [{ inboundAgentId: id }, { outboundAgentId: id }] });
  }
  if (typeof assigned === 'boolean') {
    const free = { inboundAgentId: null, outboundAgentId: null };
    conditions.push(assigned ? { NOT: free } : free);
  }
  return { AND: conditions };
}

builder.queryFields((t) => ({
  phoneNumber: t.withAuth({ read: true }).prismaField({
    type: PhoneNumberNode,
    nullable: true,
    description: 'One phone number; null when there is none with this id, or it was released.',
    args: { id: t.arg.id({ required: true, description: 'A `num_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.phoneNumber.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('PhoneNumber', id), releasedAt: null },
      }),
  }),
  phoneNumbers: t.withAuth({ read: true }).prismaConnection(
    {
      type: PhoneNumberNode,
      cursor: 'id',
      description:
        'Your phone numbers, newest first unless ordered otherwise, without released ones.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: PhoneNumberFilter, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: PhoneNumberOrder, description: 'Absent: newest first.' }),
      },
      totalCount: (_connection, { filter }, { app, viewer }) =>
        app.db.phoneNumber.count({
          where: { ...ownedBy(viewer!), releasedAt: null, ...matching(filter ?? {}) },
        }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? {
          field: 'createdAt' as const,
          direction: 'desc' as const,
        };
        return app.db.phoneNumber.findMany({
          ...query,
          where: { ...ownedBy(viewer), releasedAt: null, ...matching(args.filter ?? {}) },
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    PhoneNumberConnection,
  ),
}));
