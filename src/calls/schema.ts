import { AgentNode } from '../agents/schema.ts';
import { RequestError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { Checks } from '../infra/checks.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { PhoneNumberNode } from '../phone-numbers/schema.ts';
import {
  CallBillingStatusEnum,
  CallDirectionEnum,
  CallEndReasonEnum,
  CallMediumEnum,
  CallStatusEnum,
} from './enums.ts';
import { metadataEntries, visibleCalls } from './service.ts';
import type { CallSettings } from './settings.ts';

interface MoneyShape {
  amount: string;
  currency: string;
}

const MoneyType = builder.objectRef<MoneyShape>('Money').implement({
  description: 'An amount of money, exact.',
  authScopes: { readCall: true },
  fields: (t) => ({
    amount: t.expose('amount', { type: 'Decimal', description: 'In whole units, such as `0.05`.' }),
    currency: t.exposeString('currency', { description: 'ISO 4217, such as `USD`.' }),
  }),
});

const CallSettingsType = builder.objectRef<CallSettings>('CallSettings').implement({
  description: 'What was asked for this call alone; null members follow the agent.',
  authScopes: { readCall: true },
  fields: (t) => ({
    recordingEnabled: t.boolean({
      nullable: true,
      description: 'Whether it is recorded.',
      resolve: (settings) => settings.recordingEnabled ?? null,
    }),
    greeting: t.string({
      nullable: true,
      description: 'What the agent says first.',
      resolve: (settings) => settings.greeting ?? null,
    }),
    maxDuration: t.field({
      type: 'Duration',
      nullable: true,
      description: 'The longest the call may last.',
      resolve: (settings) => settings.maxDuration ?? null,
    }),
    joinTimeout: t.field({
      type: 'Duration',
      nullable: true,
      description: 'The longest it may ring.',
      resolve: (settings) => settings.joinTimeout ?? null,
    }),
  }),
});

export const CallNode = builder.prismaNode('Call', {
  nullable: true,
  description:
    'One conversation between an agent and a person. Follow it live with the subscription `callEvents`.',
  authScopes: { readCall: true },
  id: { field: 'id', description: '`cal_` and a UUID.' },
  findUnique: (id, { viewer }) => {
    const { id: only, ...visible } = visibleCalls(viewer!);
    // Flat unless it cannot be: only such look-ups does Prisma put together to one statement.
    return { id, ...visible, ...(only ? { AND: { id: only } } : {}) };
  },
  fields: (t) => ({
    status: t.expose('status', { type: CallStatusEnum, description: 'Where it is in its life.' }),
    endReason: t.expose('endReason', {
      type: CallEndReasonEnum,
      nullable: true,
      description: 'Why it ended; null until then.',
    }),
    failure: t.exposeString('failure', {
      nullable: true,
      description: 'For people: what went wrong, where the end reason does not say enough.',
    }),
    direction: t.expose('direction', { type: CallDirectionEnum, description: 'Who began it.' }),
    medium: t.expose('medium', { type: CallMediumEnum, description: 'How the voice travels.' }),
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      nullable: true,
      description:
        'The person on the other end, never a number of yours: that is `number`. Null in a browser, or when the caller is withheld.',
    }),
    fromNumber: t.field({
      type: 'E164',
      nullable: true,
      description:
        'The number that calls: yours on an outbound call, the person’s on an inbound one.',
      select: { direction: true, phoneNumber: true, ownNumber: true },
      resolve: (call) => (call.direction === 'OUTBOUND' ? call.ownNumber : call.phoneNumber),
    }),
    toNumber: t.field({
      type: 'E164',
      nullable: true,
      description: 'The number that is called.',
      select: { direction: true, phoneNumber: true, ownNumber: true },
      resolve: (call) => (call.direction === 'OUTBOUND' ? call.phoneNumber : call.ownNumber),
    }),
    agent: t.relation('agent', {
      description: 'Who talks. Still there, with `deletedAt`, after the agent was deleted.',
    }),
    number: t.relation('number', {
      nullable: true,
      description:
        'Your imported number on the call, whichever way it goes; null in a browser, or when it was not told.',
    }),
    variables: t.field({
      type: 'JSONObject',
      description: 'What filled the placeholders of the agent’s prompt.',
      select: { variables: true },
      resolve: (call) => call.variables,
    }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Your own keys and values, as given.',
      select: { metadata: true },
      resolve: (call) => call.metadata,
    }),
    settings: t.field({
      type: CallSettingsType,
      description: 'What was asked for this call alone.',
      select: { settings: true },
      resolve: (call) => call.settings as CallSettings,
    }),
    recordingEnabled: t.exposeBoolean('recordingEnabled', {
      description: 'Whether it is recorded: the call’s own setting, else the agent’s.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was asked for.' }),
    ringingAt: t.expose('ringingAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When dialling began.',
    }),
    answeredAt: t.expose('answeredAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When somebody answered; null if nobody did.',
    }),
    endedAt: t.expose('endedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it ended; null while it lives.',
    }),
    endRequestedAt: t.expose('endRequestedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When `endCall` was first asked for it.',
    }),
    durationSeconds: t.float({
      nullable: true,
      description: 'Seconds from the answer to the end; null until both are known.',
      select: { answeredAt: true, endedAt: true },
      resolve: ({ answeredAt, endedAt }) =>
        answeredAt && endedAt ? (endedAt.getTime() - answeredAt.getTime()) / 1000 : null,
    }),
    billingStatus: t.expose('billingStatus', {
      type: CallBillingStatusEnum,
      description: 'Whether Ultravox has billed it.',
    }),
    billedDurationSeconds: t.exposeInt('billedDurationSeconds', {
      nullable: true,
      description: 'Billed seconds, in steps of six; null until billed.',
    }),
    cost: t.field({
      type: MoneyType,
      nullable: true,
      description: 'Billed time at the price of a minute; null until billed.',
      select: { costAmount: true, costCurrency: true },
      resolve: ({ costAmount, costCurrency }) =>
        costAmount && costCurrency
          ? { amount: costAmount.toString(), currency: costCurrency }
          : null,
    }),
  }),
});

export const CallConnection = connectionOf(CallNode);

export const CallFilterInput = builder.inputType('CallFilter', {
  description: 'Which calls; everything given must hold.',
  fields: (t) => ({
    status: t.field({
      type: [CallStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
    direction: t.field({ type: CallDirectionEnum, description: 'Only calls begun this way.' }),
    agentId: t.id({ description: 'Only calls of this agent, an `agt_…` id.' }),
    numberId: t.id({ description: 'Only calls over this number of yours, a `num_…` id.' }),
    campaignId: t.id({ description: 'Only calls that this campaign placed, a `cmp_…` id.' }),
    phoneNumber: t.field({
      type: 'E164',
      description:
        'Only calls with this person, whoever called. For a number of yours: `numberId`.',
    }),
    createdFrom: t.field({ type: 'DateTime', description: 'Asked for at this instant or later.' }),
    createdBefore: t.field({ type: 'DateTime', description: 'Asked for before this instant.' }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Metadata that holds all of these, such as `{ "orderId": "17" }`.',
    }),
  }),
});

const CallOrderFieldEnum = builder.enumType('CallOrderField', {
  description: 'What calls can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When they were asked for, or came in.' },
  } as const,
});

export const CallOrderInput = builder.inputType('CallOrder', {
  description: 'The order of a list of calls.',
  fields: (t) => ({
    field: t.field({ type: CallOrderFieldEnum, required: true, description: 'What counts.' }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

export function callsWhere(
  viewer: Viewer,
  filter: typeof CallFilterInput.$inferInput | null | undefined,
): Prisma.CallWhereInput {
  return {
    ...visibleCalls(viewer),
    ...(filter?.status?.length ? { status: { in: filter.status } } : {}),
    ...(filter?.direction ? { direction: filter.direction } : {}),
    ...(filter?.agentId ? { agentId: requireId('Agent', filter.agentId) } : {}),
    ...(filter?.numberId ? { phoneNumberId: requireId('PhoneNumber', filter.numberId) } : {}),
    // Beside what the viewer may see, which can be the calls of one campaign.
    ...(filter?.campaignId
      ? { AND: { campaignId: requireId('Campaign', filter.campaignId) } }
      : {}),
    ...(filter?.phoneNumber ? { phoneNumber: requirePhoneNumber(filter.phoneNumber) } : {}),
    ...(filter?.createdFrom || filter?.createdBefore
      ? {
          createdAt: {
            ...(filter.createdFrom ? { gte: filter.createdFrom } : {}),
            ...(filter.createdBefore ? { lt: filter.createdBefore } : {}),
          },
        }
      : {}),
    ...(filter?.metadata
      ? { metadataEntries: { hasEvery: metadataEntries(filter.metadata) } }
      : {}),
  };
}

export function callsOrder(order: typeof CallOrderInput.$inferInput | null | undefined) {
  const { field, direction } = order ?? { field: 'createdAt', direction: 'desc' };
  return [{ [field]: direction }, { id: direction }];
}

/** A number nobody can have would find nothing, and look as if there had been no calls. */
function requirePhoneNumber(phoneNumber: string): string {
  const checks = new Checks();
  checks.phoneNumber(phoneNumber, ['filter', 'phoneNumber']);
  if (checks.problems[0]) throw new RequestError('BAD_USER_INPUT', checks.problems[0].message);
  return phoneNumber;
}

builder.queryFields((t) => ({
  call: t.withAuth({ readCall: true }).prismaField({
    type: CallNode,
    nullable: true,
    description: 'A call by its id; null when there is none.',
    args: { id: t.arg.id({ required: true, description: 'A `cal_…` id.' }) },
    resolve: (query, _root, args, { app, viewer }) =>
      app.db.call.findFirst({
        ...query,
        where: { AND: [visibleCalls(viewer), { id: requireId('Call', args.id) }] },
      }),
  }),
  calls: t.withAuth({ read: true }).prismaConnection(
    {
      type: CallNode,
      cursor: 'id',
      description: 'Your calls, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: CallFilterInput, description: 'Which of them.' }),
        orderBy: t.arg({ type: CallOrderInput, description: 'Default: newest first.' }),
      },
      totalCount: (_root, args, { app, viewer }) =>
        app.db.call.count({ where: callsWhere(viewer!, args.filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        return app.db.call.findMany({
          ...query,
          where: callsWhere(viewer, args.filter),
          orderBy: callsOrder(args.orderBy),
        });
      },
    },
    CallConnection,
  ),
}));

builder.prismaObjectField(AgentNode, 'calls', (t) =>
  t.relatedConnection(
    'calls',
    {
      description: 'Its calls, newest first unless ordered otherwise.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: CallFilterInput, description: 'Which of them.' }),
        orderBy: t.arg({ type: CallOrderInput, description: 'Default: newest first.' }),
      },
      query: (args, { viewer }) => {
        checkPage(args);
        return { where: callsWhere(viewer!, args.filter), orderBy: callsOrder(args.orderBy) };
      },
    },
    CallConnection,
  ),
);

builder.prismaObjectField(PhoneNumberNode, 'calls', (t) =>
  t.relatedConnection(
    'calls',
    {
      description: 'The calls over it, newest first unless ordered otherwise.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: CallFilterInput, description: 'Which of them.' }),
        orderBy: t.arg({ type: CallOrderInput, description: 'Default: newest first.' }),
      },
      query: (args, { viewer }) => {
        checkPage(args);
        return { where: callsWhere(viewer!, args.filter), orderBy: callsOrder(args.orderBy) };
      },
    },
    CallConnection,
  ),
);
