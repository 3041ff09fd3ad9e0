/** The type `Campaign`, its lists, its lookup and its subscription. */
import { AgentNode } from '../../agents/graph/agent.ts';
import { CallNode, calls } from '../../calls/graph/call.ts';
import { CallEndReasonEnum } from '../../calls/graph/call-enums.ts';
import { ContactFolderNode } from '../../contacts/graph/contact-folder.ts';
import { RequestError } from '../../errors.ts';
import { CallEndReason, type Campaign } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { requireId } from '../../graphql/ids.ts';
import { List } from '../../graphql/lists/list.ts';
import { listCost } from '../../graphql/lists/page.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { PhoneNumberNode } from '../../phone-numbers/graph/phone-number.ts';
import { formatTime } from '../schedule/schedule.ts';
import { campaignsWhere } from '../search.ts';
import { watchCampaign } from '../service.ts';
import { MAX_NUMBERS } from '../settings.ts';
import { visibleCampaigns } from '../visibility.ts';
import {
  CampaignContactSourceEnum,
  CampaignDecisionReasonEnum,
  CampaignScheduleTypeEnum,
  CampaignStatusEnum,
  PhoneRotationStrategyEnum,
} from './campaign-enums.ts';
import { loadContactFolder } from './loaders.ts';

const COUNTS = {
  totalCount: true,
  pendingCount: true,
  callingCount: true,
  completedCount: true,
  failedCount: true,
  skippedCount: true,
  cancelledCount: true,
} as const;

const CampaignCountsType = builder
  .objectRef<Pick<Campaign, keyof typeof COUNTS>>('CampaignCounts')
  .implement({
    description:
      'Number of contacts in each status. `pending`, `calling`, `called`, `skipped` and `cancelled` add up to `total`.',
    authScopes: { readCampaign: true },
    fields: (t) => ({
      total: t.exposeInt('totalCount', { description: 'Number of contacts of the campaign.' }),
      pending: t.exposeInt('pendingCount', {
        description:
          'Number of contacts waiting for their first call or for a retry: status PENDING or SCHEDULED.',
      }),
      calling: t.exposeInt('callingCount', {
        description:
          'Number of contacts in status CALLING. A contact is counted here until the outcome of its call is recorded, shortly after the call ends.',
      }),
      called: t.int({
        description:
          'Number of contacts that were called and need no further call: `completed` plus `failed`.',
        resolve: ({ completedCount, failedCount }) => completedCount + failedCount,
      }),
      completed: t.exposeInt('completedCount', {
        description: 'Number of contacts in status COMPLETED: a call was answered and has ended.',
      }),
      failed: t.exposeInt('failedCount', {
        description:
          'Number of contacts in status FAILED: the last call failed and is not retried.',
      }),
      skipped: t.exposeInt('skippedCount', {
        description:
          'Number of contacts in status SKIPPED: not called, for a reason such as the do-not-call list.',
      }),
      cancelled: t.exposeInt('cancelledCount', {
        description:
          'Number of contacts in status CANCELLED: the campaign or the call was canceled.',
      }),
    }),
  });

builder.prismaObject('CampaignEndReason', {
  select: { campaignId: true, endReason: true },
  description: 'Number of contacts of a campaign whose last attempt ended for one reason.',
  fields: (t) => ({
    endReason: t.expose('endReason', {
      type: CallEndReasonEnum,
      description: 'Reason for the end of the last attempt.',
    }),
    contactCount: t.exposeInt('contacts', { description: 'Number of contacts.' }),
    contacts: t.exposeInt('contacts', {
      description: 'Number of contacts.',
      deprecationReason: useInstead('contactCount'),
    }),
  }),
});

export const CampaignNode = builder.prismaNode('Campaign', {
  select: { id: true },
  nullable: true,
  description:
    'Calls from one agent to a list of contacts, on a schedule. Create a campaign with `createCampaign`, preview it with `campaignForecast` and follow it with `campaignProgress`. The `decisions` of a contact record why it was or was not called.',
  authScopes: { readCampaign: true },
  id: { field: 'id', description: 'Node ID, `cmp_` followed by a UUID.' },
  findUnique: (id, { viewer }) => {
    const { id: only, ...visible } = visibleCampaigns(viewer!);
    // Flat where possible: Prisma batches only flat lookups into one statement.
    return { id, ...visible, ...(only ? { AND: { id: only } } : {}) };
  },
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the campaign. Not necessarily unique.' }),
    status: t.expose('status', {
      type: CampaignStatusEnum,
      description: 'Status of the campaign.',
    }),
    statusReason: t.exposeString('statusReason', {
      nullable: true,
      description:
        'Human-readable reason why the campaign was paused automatically or failed. Null otherwise.',
    }),
    agent: t.relation('agent', { description: 'Agent of all calls of the campaign.' }),
    phoneNumbers: t.field({
      type: [PhoneNumberNode],
      description: `Phone numbers to call from, in order, at most ${MAX_NUMBERS}. Released numbers are not included. A campaign that was not given phone numbers calls from the outbound numbers of its agent; one whose numbers were all released has none to call from until \`phoneNumberIds\` is set again.`,
      complexity: listCost(MAX_NUMBERS),
      select: (_args, _context, nested) => ({
        phoneNumbers: {
          where: { phoneNumber: { releasedAt: null } },
          orderBy: { position: 'asc' as const },
          select: { phoneNumber: nested(true) },
        },
      }),
      resolve: (campaign) => campaign.phoneNumbers.map(({ phoneNumber }) => phoneNumber),
    }),
    phoneRotationStrategy: t.expose('phoneRotationStrategy', {
      type: PhoneRotationStrategyEnum,
      description: 'Strategy for choosing the phone number of each call.',
    }),
    contactSource: t.expose('contactSource', {
      type: CampaignContactSourceEnum,
      description: 'Source of the first contacts of the campaign.',
    }),
    contactFolder: t.field({
      type: ContactFolderNode,
      nullable: true,
      authScopes: { read: true },
      select: { contactFolderId: true },
      description:
        'Folder from which the first contacts were copied. Later changes to the folder do not affect the campaign. Null with another source, and after the folder was deleted.',
      resolve: ({ contactFolderId }, _args, context, info) =>
        contactFolderId ? loadContactFolder(context, info, contactFolderId) : null,
    }),
  }),
});

/** Schedule, limits and retries. */
builder.prismaObjectFields(CampaignNode, (t) => ({
  scheduleType: t.expose('scheduleType', {
    type: CampaignScheduleTypeEnum,
    description:
      'Whether the campaign starts immediately or at `scheduledAt`. Not final in status DRAFT: `scheduleCampaign` sets it.',
  }),
  scheduledAt: t.expose('scheduledAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Scheduled start. No call is placed before it. Null if the campaign starts immediately.',
  }),
  timezone: t.exposeString('timezone', {
    description: 'IANA time zone of the calling window, the working days and the daily limit.',
  }),
  startTime: t.string({
    nullable: true,
    select: { startMinute: true },
    description: 'Time of day at which the calling window opens, as `HH:MM`. Null means midnight.',
    resolve: ({ startMinute }) => (startMinute === null ? null : formatTime(startMinute)),
  }),
  endTime: t.string({
    nullable: true,
    select: { endMinute: true },
    description:
      'Time of day at which the calling window closes, as `HH:MM`. No call is placed in the last seconds before it (2 by default) or after it; active calls continue. A time before `startTime` is on the next day. Null means the end of the day.',
    resolve: ({ endMinute }) => (endMinute === null ? null : formatTime(endMinute)),
  }),
  workingDays: t.exposeIntList('workingDays', {
    description:
      'Days of the week on which the calling window opens, from 1 (Monday) to 7 (Sunday). Hours after midnight belong to the day on which the window opened.',
  }),
  maxConcurrentCalls: t.exposeInt('maxConcurrentCalls', {
    description: 'Maximum number of concurrent calls of the campaign.',
  }),
  maxCallsPerDay: t.exposeInt('maxCallsPerDay', {
    nullable: true,
    description:
      'Maximum number of calls per calendar day in `timezone`, including retries. The calls of a day are spread evenly over the window. Null means no limit: all contacts are due when the window opens.',
  }),
  retryVoicemail: t.exposeBoolean('retryVoicemail', {
    description:
      'Whether to treat contacts whose voicemail answered as not reached. They are retried if `retryFailed` is true.',
  }),
  retryFailed: t.exposeBoolean('retryFailed', {
    description:
      'Whether to retry contacts that were not reached: no answer, busy, unreachable, a connection lost before anything was heard from the other side (or with `retryVoicemail` only a voicemail), or a call that was never created because placing it was interrupted. With Twilio and Telnyx, Ultravox reports rejections and invalid numbers only as NO_ANSWER, so they are retried too.',
  }),
  maxRetryAttempts: t.exposeInt('maxRetryAttempts', {
    description: 'Maximum number of retries for each contact.',
  }),
  retryDelay: t.field({
    type: 'Duration',
    select: { retryDelaySeconds: true },
    description:
      'Delay before the first retry. It doubles with each further retry, but never grows beyond one day.',
    resolve: ({ retryDelaySeconds }) => `${retryDelaySeconds}s`,
  }),
}));

/** Progress of the campaign. */
builder.prismaObjectFields(CampaignNode, (t) => ({
  counts: t.field({
    type: CampaignCountsType,
    select: COUNTS,
    description: 'Number of contacts in each status.',
    resolve: (campaign) => campaign,
  }),
  endReasonCounts: t.relation('endReasons', {
    complexity: listCost(Object.keys(CallEndReason).length),
    description:
      'Number of contacts by the end reason of their last attempt, most frequent first. Contacts that wait for a retry are included; those whose first attempt has not ended are not.',
    query: {
      where: { contacts: { gt: 0 } },
      orderBy: [{ contacts: 'desc' }, { endReason: 'asc' }],
    },
  }),
  holdReason: t.expose('holdReason', {
    type: CampaignDecisionReasonEnum,
    nullable: true,
    description:
      'Reason why an ACTIVE campaign cannot call any contact at the moment: WINDOW_CLOSED, DAILY_CAP_REACHED or AGENT_NOT_READY. Null if none of these applies.',
  }),
  nextDispatchAt: t.expose('nextDispatchAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Time at which the campaign next looks for contacts to call. Null while it is not running, and while it waits for a call to end.',
  }),
  startedAt: t.expose('startedAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time at which the campaign first became ACTIVE. Null until then.',
  }),
  endedAt: t.expose('endedAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Time at which the campaign became COMPLETED, FAILED or CANCELLED. Null until then.',
  }),
  createdAt: t.expose('createdAt', {
    type: 'DateTime',
    description: 'Time at which the campaign was created.',
  }),
  updatedAt: t.expose('updatedAt', {
    type: 'DateTime',
    description: 'Time of the last change, including changes to `counts`.',
  }),
}));

const CampaignFilterInput = builder.inputType('CampaignFilter', {
  description: 'Filters for campaigns. All of them must match.',
  fields: (t) => ({
    status: t.field({
      type: [CampaignStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
    agentId: t.id({ description: 'ID of the agent (`agt_…`).' }),
    phoneNumberId: t.id({
      description:
        'ID of a phone number (`num_…`): campaigns that list it in `phoneNumbers`. Those that call from the outbound numbers of their agents do not match.',
    }),
    contactFolderId: t.id({
      description:
        'ID of a contact folder (`fld_…`): campaigns whose first contacts were copied from it.',
    }),
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    createdFrom: t.field({
      type: 'DateTime',
      description: 'Campaigns created at or after this time.',
    }),
    createdBefore: t.field({
      type: 'DateTime',
      description: 'Campaigns created before this time.',
    }),
    scheduledFrom: t.field({
      type: 'DateTime',
      description:
        'Campaigns whose `scheduledAt` is at or after this time. Those without one do not match.',
    }),
    scheduledBefore: t.field({
      type: 'DateTime',
      description:
        'Campaigns whose `scheduledAt` is before this time. Those without one do not match.',
    }),
  }),
});

const campaigns = new List({
  type: CampaignNode,
  items: 'campaigns',
  visible: visibleCampaigns,
  filter: { type: CampaignFilterInput, where: campaignsWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    NAME: { column: 'name', description: 'Sort by name.' },
    SCHEDULED_AT: {
      column: 'scheduledAt',
      nullsLast: true,
      description: 'Sort by scheduled start. Campaigns without one come last in both directions.',
    },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

campaigns.query('campaigns', {
  description: 'Campaigns of the organization. Deleted campaigns are not included.',
  authScopes: { read: true },
});

campaigns.related(AgentNode, 'campaigns', {
  relation: 'campaigns',
  description: 'Campaigns of the agent.',
});

calls.related(CampaignNode, 'calls', {
  relation: 'calls',
  description: 'Calls of the campaign, including retries.',
});

addLookup('campaign', {
  type: CampaignNode,
  where: visibleCampaigns,
  description:
    'Looks up a campaign by ID. Null if the organization has no such campaign or it was deleted.',
  authScopes: { readCampaign: true },
});

builder.prismaObjectFields(CallNode, (t) => ({
  campaign: t.field({
    type: CampaignNode,
    nullable: true,
    authScopes: { readCampaign: true },
    description:
      'Campaign that placed the call. Null for other calls, and after the campaign was deleted.',
    select: (_args, _context, nested) => ({ campaign: nested({ select: { deletedAt: true } }) }),
    // The row also contains the fields selected by the client.
    resolve: ({ campaign }) => (campaign?.deletedAt === null ? (campaign as Campaign) : null),
  }),
  attempt: t.int({
    nullable: true,
    description:
      'Number of the attempt to reach the campaign contact, starting at 1. Null for calls outside campaigns, and for calls withdrawn before they were dialed.',
    select: { campaignAttempt: { select: { attempt: true } } },
    resolve: ({ campaignAttempt }) => campaignAttempt?.attempt ?? null,
  }),
}));

builder.subscriptionField('campaignProgress', (t) =>
  t.withAuth({ readCampaign: true }).field({
    type: CampaignNode,
    description:
      'Sends the campaign immediately and then after changes, at most four times per second. Every message has the complete current state, so changes in quick succession share one message. Completes when the campaign and its last call have ended, or the campaign is deleted. For single calls, use `callEvents(campaignId:)`.',
    args: {
      campaignId: t.arg.id({ required: true, description: 'ID of the campaign (`cmp_…`).' }),
    },
    subscribe: async (_root, args, { app, viewer }) => {
      const snapshots = await watchCampaign(app, viewer, requireId('Campaign', args.campaignId));
      if (!snapshots) throw new RequestError('BAD_USER_INPUT', 'Campaign not found.');
      return snapshots;
    },
    resolve: (campaign) => campaign,
  }),
);
