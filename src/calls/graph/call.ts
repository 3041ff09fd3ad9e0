/** Calls: the type, its list and its lookup. */
import { AgentNode } from '../../agents/graph/agent.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { PhoneNumberNode } from '../../phone-numbers/graph/phone-number.ts';
import { durationOf, fromNumberOf, moneyOf, toNumberOf } from '../record.ts';
import { callsWhere } from '../search.ts';
import { visibleCalls } from '../service.ts';
import type { CallSettings } from '../settings.ts';
import {
  AnalysisStatusEnum,
  AnsweredByEnum,
  CallBillingStatusEnum,
  CallDirectionEnum,
  CallEndReasonEnum,
  CallMediumEnum,
  CallStatusEnum,
} from './call-enums.ts';

interface MoneyShape {
  amount: string;
  currency: string;
}

export const MoneyType = builder.objectRef<MoneyShape>('Money').implement({
  description: 'Exact amount of money.',
  authScopes: { readCall: true },
  fields: (t) => ({
    amount: t.expose('amount', {
      type: 'Decimal',
      description: 'Amount in units of the currency, such as `0.05`.',
    }),
    currency: t.exposeString('currency', { description: 'ISO 4217 code, such as `USD`.' }),
  }),
});

const CallSettingsType = builder.objectRef<CallSettings>('CallSettings').implement({
  description: 'Settings of one call. Null fields follow the agent.',
  authScopes: { readCall: true },
  fields: (t) => ({
    recordingEnabled: t.boolean({
      nullable: true,
      description: 'Whether the call is recorded.',
      resolve: (settings) => settings.recordingEnabled ?? null,
    }),
    greeting: t.string({
      nullable: true,
      description: 'First message of the agent.',
      resolve: (settings) => settings.greeting ?? null,
    }),
    maxDuration: t.field({
      type: 'Duration',
      nullable: true,
      description: 'Maximum duration of the call.',
      resolve: (settings) => settings.maxDuration ?? null,
    }),
    joinTimeout: t.field({
      type: 'Duration',
      nullable: true,
      description: 'Maximum ringing time.',
      resolve: (settings) => settings.joinTimeout ?? null,
    }),
  }),
});

export const CallNode = builder.prismaNode('Call', {
  select: { id: true },
  nullable: true,
  description:
    'Call between an agent and a person. Follow it live with the subscription `callEvents`.',
  authScopes: { readCall: true },
  id: { field: 'id', description: 'Node ID, `cal_` followed by a UUID.' },
  findUnique: (id, { viewer }) => {
    const { id: only, ...visible } = visibleCalls(viewer!);
    // Flat where possible: Prisma batches only flat lookups into one statement.
    return { id, ...visible, ...(only ? { AND: { id: only } } : {}) };
  },
  fields: (t) => ({
    status: t.expose('status', { type: CallStatusEnum, description: 'Status of the call.' }),
    endReason: t.expose('endReason', {
      type: CallEndReasonEnum,
      nullable: true,
      description: 'Reason for the end of the call. Null until it has ended.',
    }),
    failure: t.exposeString('failure', {
      nullable: true,
      description:
        'Human-readable explanation of a failure that `endReason` does not fully describe. Null otherwise.',
    }),
    direction: t.expose('direction', {
      type: CallDirectionEnum,
      description: 'Direction of the call.',
    }),
    medium: t.expose('medium', {
      type: CallMediumEnum,
      description: 'Channel that carries the audio.',
    }),
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      nullable: true,
      description:
        'Phone number of the person, never a number of the organization (see `number`). Null for test calls, and when the caller withheld it.',
    }),
    fromNumber: t.field({
      type: 'E164',
      nullable: true,
      description:
        'Phone number that calls: a number of the organization on an outbound call, the person’s number on an inbound call.',
      select: { direction: true, phoneNumber: true, ownNumber: true },
      resolve: fromNumberOf,
    }),
    toNumber: t.field({
      type: 'E164',
      nullable: true,
      description: 'Phone number that is called.',
      select: { direction: true, phoneNumber: true, ownNumber: true },
      resolve: toNumberOf,
    }),
    agent: t.relation('agent', {
      description: 'Agent of the call. A deleted agent has `deletedAt` set.',
    }),
    number: t.relation('number', {
      nullable: true,
      description:
        'Phone number of the organization on the call. Null for test calls, and when Ultravox did not report it.',
    }),
    variables: t.field({
      type: 'JSONObject',
      description: 'Values of the placeholders in the prompt of the agent.',
      select: { variables: true },
      resolve: (call) => call.variables,
    }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Key-value pairs given at creation.',
      select: { metadata: true },
      resolve: (call) => call.metadata,
    }),
    settings: t.field({
      type: CallSettingsType,
      description: 'Settings of this call.',
      select: { settings: true },
      resolve: (call) => call.settings as CallSettings,
    }),
    recordingEnabled: t.exposeBoolean('recordingEnabled', {
      description: 'Whether the call is recorded: the setting of the call, otherwise of the agent.',
    }),
  }),
});

/** Times and billing. */
builder.prismaObjectFields(CallNode, (t) => ({
  createdAt: t.expose('createdAt', {
    type: 'DateTime',
    description: 'Time at which the call was created.',
  }),
  ringingAt: t.expose('ringingAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time at which the phone began to ring. Null until then.',
  }),
  answeredAt: t.expose('answeredAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time at which the call was answered. Null if it was not answered.',
  }),
  endedAt: t.expose('endedAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time at which the call ended. Null until then.',
  }),
  endRequestedAt: t.expose('endRequestedAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Time at which the end of the call was requested: by `endCall`, or because its phone number was found on the do-not-call list after the call was sent. Null if it was not requested, or if the call ended at once.',
  }),
  durationSeconds: t.float({
    nullable: true,
    description:
      'Seconds from the answer to the end. Null unless the call was answered and has ended.',
    select: { answeredAt: true, endedAt: true },
    resolve: durationOf,
  }),
  billingStatus: t.expose('billingStatus', {
    type: CallBillingStatusEnum,
    description: 'Billing status at Ultravox.',
  }),
  billedDurationSeconds: t.exposeInt('billedDurationSeconds', {
    nullable: true,
    description:
      'Billed seconds, in increments of six. Null until the call is billed. 0 if it was never placed.',
  }),
  cost: t.field({
    type: MoneyType,
    nullable: true,
    description:
      'Billed duration multiplied by the price per minute. Null until the call is billed.',
    select: { costAmount: true, costCurrency: true },
    resolve: moneyOf,
  }),
}));

export const CallFilterInput = builder.inputType('CallFilter', {
  description: 'Filters for calls. All of them must match.',
  fields: (t) => ({
    status: t.field({
      type: [CallStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
    endReason: t.field({
      type: [CallEndReasonEnum],
      description:
        'End reasons to include. Default, and when empty: all calls, also those that have not ended.',
    }),
    direction: t.field({ type: CallDirectionEnum, description: 'Direction of the call.' }),
    medium: t.field({
      type: [CallMediumEnum],
      description: 'Media to include. Default, and when empty: all.',
    }),
    agentId: t.id({ description: 'ID of the agent (`agt_…`).' }),
    phoneNumberId: t.id({ description: 'ID of the organization’s phone number (`num_…`).' }),
    numberId: t.id({
      description: 'ID of the organization’s phone number (`num_…`).',
      deprecationReason: useInstead('phoneNumberId'),
    }),
    campaignId: t.id({ description: 'ID of the campaign that placed the call (`cmp_…`).' }),
    phoneNumber: t.field({
      type: 'E164',
      description:
        'Phone number of the person, in either direction. For a number of the organization, use `phoneNumberId`.',
    }),
    createdFrom: t.field({ type: 'DateTime', description: 'Calls created at or after this time.' }),
    createdBefore: t.field({ type: 'DateTime', description: 'Calls created before this time.' }),
    endedFrom: t.field({
      type: 'DateTime',
      description:
        'Calls that ended at or after this time. Calls that have not ended do not match.',
    }),
    endedBefore: t.field({
      type: 'DateTime',
      description: 'Calls that ended before this time. Calls that have not ended do not match.',
    }),
    minDurationSeconds: t.float({
      description: 'Calls that were answered, have ended, and lasted at least this long.',
    }),
    maxDurationSeconds: t.float({
      description: 'Calls that were answered, have ended, and lasted at most this long.',
    }),
    minCost: t.field({
      type: 'Decimal',
      description:
        'Billed calls with at least this cost, in the currency of the call, such as `0.05`.',
    }),
    maxCost: t.field({
      type: 'Decimal',
      description:
        'Billed calls with at most this cost, in the currency of the call, such as `0.05`.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Key-value pairs that the metadata must contain, such as `{ "orderId": "17" }`.',
    }),
    transcript: t.string({
      description:
        'Words spoken in the call. All of them must occur, in any order. Case and accents are ignored: `cafe` finds “Café”. Quotes, wildcards and parts of words are not supported.',
    }),
    answeredBy: t.field({ type: AnsweredByEnum, description: 'Who answered.' }),
    doNotCallRequested: t.boolean({
      description: 'Whether the person asked not to be called again.',
    }),
    dncRequested: t.boolean({
      description: 'Whether the person asked not to be called again.',
      deprecationReason: useInstead('doNotCallRequested'),
    }),
    analysisStatus: t.field({
      type: AnalysisStatusEnum,
      description: 'Status of the analysis of an answered and ended call.',
    }),
    successful: t.boolean({
      description:
        'Whether the outcome is a success by the criteria of the agent. Calls without an outcome match neither value.',
    }),
  }),
});

export const calls = new List({
  type: CallNode,
  items: 'calls',
  visible: visibleCalls,
  filter: { type: CallFilterInput, where: callsWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    DURATION: {
      column: 'durationMs',
      where: { durationMs: { not: null } },
      description:
        'Sort by the time from answer to end. **Calls that were not answered or have not ended are not included.**',
    },
    COST: {
      column: 'costAmount',
      where: { costAmount: { not: null } },
      description: 'Sort by cost. **Calls that are not billed are not included.**',
    },
    ENDED_AT: {
      column: 'endedAt',
      nullsLast: true,
      description: 'Sort by end time. Calls that have not ended come last in both directions.',
    },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

calls.query('calls', { description: 'Calls of the organization.', authScopes: { read: true } });

calls.related(AgentNode, 'calls', { relation: 'calls', description: 'Calls of the agent.' });

calls.related(PhoneNumberNode, 'calls', {
  relation: 'calls',
  description: 'Calls over the phone number.',
});

addLookup('call', {
  type: CallNode,
  where: visibleCalls,
  description: 'Looks up a call by ID. Null if the organization has no such call.',
  authScopes: { readCall: true },
});
