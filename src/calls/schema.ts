import { AgentNode } from '../agents/schema.ts';
import { RequestError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import {
  CallBillingStatus,
  CallDirection,
  CallEndReason,
  CallMedium,
  CallStatus,
} from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { Checks } from '../infra/checks.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { PhoneNumberNode } from '../phone-numbers/schema.ts';
import {
  createCall,
  deleteCalls,
  endCall,
  metadataEntries,
  placementProblems,
  startTestCall,
  visibleCalls,
} from './service.ts';

const CallDirectionEnum = builder.enumType('CallDirection', {
  description: 'Who began it.',
  values: {
    [CallDirection.INBOUND]: { description: 'The person called the agent, or opened a test call.' },
    [CallDirection.OUTBOUND]: { description: 'The agent called the person.' },
  } as const,
});

const CallMediumEnum = builder.enumType('CallMedium', {
  description: 'How the voice travels.',
  values: {
    [CallMedium.TWILIO]: { description: 'Over the Twilio account of the number.' },
    [CallMedium.TELNYX]: { description: 'Over the Telnyx account of the number.' },
    [CallMedium.SIP]: { description: 'Over the SIP server of the number.' },
    [CallMedium.WEBRTC]: { description: 'In a browser, without a phone.' },
  } as const,
});

export const CallStatusEnum = builder.enumType('CallStatus', {
  description: 'Where a call is in its life. It only ever moves forward.',
  values: {
    [CallStatus.CREATED]: { description: 'Accepted; waits until Ultravox has room to dial it.' },
    [CallStatus.RINGING]: { description: 'The phone rings.' },
    [CallStatus.IN_PROGRESS]: { description: 'They talk.' },
    [CallStatus.COMPLETED]: { description: 'They talked and it is over.' },
    [CallStatus.FAILED]: { description: 'It never came to talking, or broke; see `endReason`.' },
    [CallStatus.CANCELLED]: { description: 'It was stopped before anybody answered.' },
  } as const,
});

export const CallEndReasonEnum = builder.enumType('CallEndReason', {
  description: 'Why a call ended.',
  values: {
    [CallEndReason.HANGUP]: { description: 'The person hung up.' },
    [CallEndReason.AGENT_HANGUP]: { description: 'The agent hung up, or `endCall` did.' },
    [CallEndReason.NO_ANSWER]: { description: 'Nobody answered in time.' },
    [CallEndReason.BUSY]: { description: 'The line was busy.' },
    [CallEndReason.REJECTED]: { description: 'The person declined.' },
    [CallEndReason.INVALID_NUMBER]: { description: 'There is no such number.' },
    [CallEndReason.UNREACHABLE]: { description: 'The destination could not be reached.' },
    [CallEndReason.MAX_DURATION]: { description: 'The longest allowed duration was reached.' },
    [CallEndReason.CONNECTION_ERROR]: { description: 'The connection was lost.' },
    [CallEndReason.SYSTEM_ERROR]: {
      description: 'A fault on the way to or at Ultravox; `failure` may say more.',
    },
    [CallEndReason.CANCELLED]: { description: 'Stopped by `endCall` before it was answered.' },
    [CallEndReason.UNKNOWN]: { description: 'The end was never reported and could not be learnt.' },
  } as const,
});

const CallBillingStatusEnum = builder.enumType('CallBillingStatus', {
  description: 'Whether the call has been billed by Ultravox.',
  values: {
    [CallBillingStatus.PENDING]: { description: 'Not yet; a live call always is.' },
    [CallBillingStatus.BILLED]: { description: 'Billed; `cost` says what.' },
    [CallBillingStatus.FREE]: { description: 'Ended without charge, for instance unanswered.' },
    [CallBillingStatus.REFUNDED]: { description: 'Billed and given back.' },
  } as const,
});

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

type Settings = {
  recordingEnabled?: boolean;
  greeting?: string;
  maxDuration?: string;
  joinTimeout?: string;
};

const CallSettingsType = builder.objectRef<Settings>('CallSettings').implement({
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
  findUnique: (id, { viewer }) => ({ id, AND: visibleCalls(viewer!) }),
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
      resolve: (call) => call.settings as Settings,
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

const CallFilterInput = builder.inputType('CallFilter', {
  description: 'Which calls; everything given must hold.',
  fields: (t) => ({
    status: t.field({
      type: [CallStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
    direction: t.field({ type: CallDirectionEnum, description: 'Only calls begun this way.' }),
    agentId: t.id({ description: 'Only calls of this agent, an `agt_…` id.' }),
    numberId: t.id({ description: 'Only calls over this number of yours, a `num_…` id.' }),
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

const CallOrderInput = builder.inputType('CallOrder', {
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

function callsWhere(
  viewer: Viewer,
  filter: typeof CallFilterInput.$inferInput | null | undefined,
): Prisma.CallWhereInput {
  return {
    ...visibleCalls(viewer),
    ...(filter?.status?.length ? { status: { in: filter.status } } : {}),
    ...(filter?.direction ? { direction: filter.direction } : {}),
    ...(filter?.agentId ? { agentId: requireId('Agent', filter.agentId) } : {}),
    ...(filter?.numberId ? { phoneNumberId: requireId('PhoneNumber', filter.numberId) } : {}),
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

function callsOrder(order: typeof CallOrderInput.$inferInput | null | undefined) {
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

const CallSettingsInput = builder.inputType('CallSettingsInput', {
  description: 'What this call alone should do; absent members follow the agent.',
  fields: (t) => ({
    recordingEnabled: t.boolean({ description: 'Whether it is recorded.' }),
    greeting: t.string({ description: 'What the agent says first; at most 2,000 characters.' }),
    maxDuration: t.field({
      type: 'Duration',
      description: 'The longest it may last, up to `86400s`.',
    }),
    joinTimeout: t.field({
      type: 'Duration',
      description: 'The longest it may ring, up to `600s`.',
    }),
  }),
});

mutation('createCall', {
  description:
    'Calls somebody. Answers once the phone rings, or with a call that is CREATED while Ultravox has no room; watch it with `callEvents`. Send it with an idempotency key, and a lost answer never makes the phone ring twice.',
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'Who talks: the `agt_…` id of an ACTIVE agent.' }),
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'Whom to call, in E.164 form.',
    }),
    fromNumber: t.field({
      type: 'E164',
      description:
        'The caller ID: one of the agent’s outbound numbers. Absent: the one of them that called longest ago.',
    }),
    variables: t.field({
      type: 'JSONObject',
      description:
        'Texts for the placeholders of the prompt, such as `{ "first_name": "Ada" }`. One without a text is left empty.',
    }),
    settings: t.field({ type: CallSettingsInput, description: 'What this call alone should do.' }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Your own keys with text values, to find the call again; at most 50.',
    }),
  }),
  run: async (input, { app, viewer }) => {
    const call = await createCall(app, viewer, input);
    return { call, userErrors: placementProblems(call) };
  },
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description:
        'The call. If Ultravox refused to dial it, it is FAILED, and `userErrors` and `failure` say why.',
      resolve: (payload) => payload.call ?? null,
    }),
  }),
});

mutation('startTestCall', {
  description: 'Talk to an agent in the browser, without a phone or a number.',
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'The `agt_…` id of an ACTIVE agent.' }),
    variables: t.field({
      type: 'JSONObject',
      description: 'Texts for the placeholders of the prompt.',
    }),
  }),
  run: (input, { app, viewer }) => startTestCall(app, viewer, input),
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description: 'The call; it is IN_PROGRESS once somebody has joined.',
      resolve: (payload) => payload.call ?? null,
    }),
    joinUrl: t.string({
      nullable: true,
      description: 'For Ultravox’s client SDK. Whoever has it can join: keep it to its user.',
      resolve: (payload) => payload.joinUrl ?? null,
    }),
  }),
});

mutation('endCall', {
  description:
    'Ends a call: cancels one that is not dialled yet, hangs up one that is live, and hangs up one that rings as soon as it is answered. Ending an ended call changes nothing.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `cal_…` id.' }) }),
  run: async (input, { app, viewer }) => ({ call: await endCall(app, viewer, input.id) }),
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description: 'The call as it is now; its end comes with an event.',
      resolve: (payload) => payload.call ?? null,
    }),
  }),
});

mutation('deleteCalls', {
  description:
    'Deletes ended calls for good, with recording and transcript. All of them, or none when one cannot go.',
  scope: 'write',
  input: (t) => ({
    ids: t.idList({ required: true, description: '1 to 100 `cal_…` ids, each once.' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedCallIds: (await deleteCalls(app, viewer, input.ids)).map((id) => `cal_${id}`),
  }),
  payload: (t) => ({
    deletedCallIds: t.idList({
      nullable: true,
      description: 'What was deleted.',
      resolve: (payload) => payload.deletedCallIds ?? null,
    }),
  }),
});
