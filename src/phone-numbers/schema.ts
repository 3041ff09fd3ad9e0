import type { Prisma } from '../generated/prisma/client.ts';
import { CallDirection, PhoneNumberProvider } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { requireId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { literal } from '../infra/like.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { inboundAddress } from './inbound-address.ts';
import { numberSync } from './loaders.ts';
import {
  assignPhoneNumber,
  importPhoneNumber,
  releasePhoneNumber,
  renamePhoneNumber,
  unassignPhoneNumber,
} from './service.ts';

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

const PhoneNumberUseEnum = builder.enumType('PhoneNumberDirection', {
  description: 'The two slots of a phone number. Each has its own agent, or none.',
  values: {
    [CallDirection.INBOUND]: { description: 'The agent that answers when the number is called.' },
    [CallDirection.OUTBOUND]: {
      description: 'The agent whose calls show the number as caller ID.',
    },
  } as const,
});

export const PhoneNumberType = builder.prismaNode('PhoneNumber', {
  description:
    'A number at your own carrier, imported so that agents can answer it and call from it.',
  authScopes: { readCall: true },
  id: { field: 'id', description: '`num_` and a UUID.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    ...(viewer!.onlyCallId ? { calls: { some: { id: viewer!.onlyCallId } } } : {}),
  }),
  fields: (t) => ({
    phoneNumber: t.expose('phoneNumber', {
      type: 'PhoneNumber',
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
    type: PhoneNumberType,
    nullable: true,
    description: 'One phone number; null when there is none with this id, or it was released.',
    args: { id: t.arg.id({ required: true, description: 'A `num_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.phoneNumber.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('PhoneNumber', id), releasedAt: null },
      }),
  }),
  phoneNumbers: t.withAuth({ read: true }).prismaConnection({
    type: PhoneNumberType,
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
  }),
}));

const FURTHER =
  'Leave all members out for further numbers of an account that you have already brought.';

const TwilioAccountInput = builder.inputType('TwilioAccountInput', {
  description: `Credentials of a Twilio account. Giving the account again with another token replaces the token. ${FURTHER}`,
  fields: (t) => ({
    accountSid: t.string({ description: '"AC" and 32 hexadecimal digits.' }),
    authToken: t.string({ description: 'The auth token; kept encrypted and never shown again.' }),
  }),
});

const TelnyxAccountInput = builder.inputType('TelnyxAccountInput', {
  description: `Credentials of a Telnyx account. Giving the account again with other keys replaces the keys. ${FURTHER}`,
  fields: (t) => ({
    accountSid: t.string({ description: 'The id of the account (organization) at Telnyx.' }),
    apiKey: t.string({ description: 'An API key v2; kept encrypted and never shown again.' }),
    publicKey: t.string({
      description: 'The public key with which Telnyx signs its webhooks; kept encrypted too.',
    }),
    applicationSid: t.string({
      description: 'The id of the TeXML application of the number; at most 40 characters.',
    }),
  }),
});

const SipTrunkInput = builder.inputType('SipTrunkInput', {
  description: 'A SIP trunk, for this number alone. Nobody else has to use the same carrier.',
  fields: (t) => ({
    server: t.string({
      required: true,
      description:
        'Host, and if needed port and transport: "sip.example.com" or "sip.example.com:5061;transport=tls". UDP by default.',
    }),
    username: t.string({
      required: true,
      description: 'User name at the trunk; 1 to 100 characters.',
    }),
    password: t.string({
      required: true,
      description: '1 to 200 characters; kept encrypted and never shown again.',
    }),
  }),
});

const PhoneNumberProviderInput = builder.inputType('PhoneNumberProviderInput', {
  description: 'Who carries the number: exactly one member.',
  isOneOf: true,
  fields: (t) => ({
    twilio: t.field({
      type: TwilioAccountInput,
      description: 'Through Twilio. CARRIER_ACCOUNT_CONFLICT when Ultravox holds another account.',
    }),
    telnyx: t.field({
      type: TelnyxAccountInput,
      description: 'Through Telnyx. CARRIER_ACCOUNT_CONFLICT when Ultravox holds another account.',
    }),
    sip: t.field({ type: SipTrunkInput, description: 'Through a SIP trunk; always possible.' }),
  }),
});

mutation('importPhoneNumber', {
  description:
    'Brings in a number that you have at a carrier. With Twilio and Telnyx the account is handed to Ultravox: when that refuses it nothing is imported (ULTRAVOX_REFUSED); when it cannot be reached the number is there as DRAFT and this is done later by itself. Calls to the number come in once it has an inbound agent and the carrier sends them to its `inboundAddress`.',
  scope: 'write',
  input: (t) => ({
    phoneNumber: t.string({
      required: true,
      description: 'In E.164 form, such as "+14155550123".',
    }),
    name: t.string({ description: 'What to call it; 1 to 100 characters.' }),
    provider: t.field({
      type: PhoneNumberProviderInput,
      required: true,
      description: 'Who carries it, with the credentials.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await importPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberType,
      nullable: true,
      description: 'The imported number.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('renamePhoneNumber', {
  description: 'Gives a phone number another name.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    name: t.string({ required: true, description: 'The new name; 1 to 100 characters.' }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await renamePhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberType,
      nullable: true,
      description: 'The number under its new name.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('assignPhoneNumber', {
  description:
    'Puts an agent into one of the two slots of a number. An agent that is in that slot already is replaced; the other slot stays as it is. The agent need not be active yet.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    agentId: t.id({ required: true, description: 'The `agt_…` id of the agent.' }),
    direction: t.field({
      type: PhoneNumberUseEnum,
      required: true,
      description: 'Which slot. For both, use the mutation twice.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await assignPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberType,
      nullable: true,
      description:
        'The number with its new agent. After a change of the inbound agent set its `inboundAddress` at the carrier.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('unassignPhoneNumber', {
  description:
    'Empties one of the two slots of a number; that it is empty already does no harm. Calls that are running go on.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    direction: t.field({
      type: PhoneNumberUseEnum,
      required: true,
      description: 'Which slot; the other one stays as it is.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await unassignPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberType,
      nullable: true,
      description: 'The number with the slot empty.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('releasePhoneNumber', {
  description:
    'Removes a number here; at your carrier it stays yours. It leaves its agents and all lists, and is still seen from its calls. INVALID_STATE while a call on it has not ended. With the last number of a Twilio or Telnyx account that account is removed from Ultravox. Releasing it again changes nothing.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `num_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await releasePhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberType,
      nullable: true,
      description: 'The released number.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});
