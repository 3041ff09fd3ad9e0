/** Campaigns as they are read and watched; how they are made and changed is in `mutations-schema.ts`. */
import { AgentNode } from '../agents/schema.ts';
import {
  CallConnection,
  CallFilterInput,
  CallNode,
  CallOrderInput,
  callsOrder,
  callsWhere,
} from '../calls/schema.ts';
import { ContactFolderNode } from '../contacts/schema.ts';
import { RequestError } from '../errors.ts';
import type { Campaign, Prisma } from '../generated/prisma/client.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { literal } from '../infra/like.ts';
import type { Viewer } from '../organizations/viewer.ts';
import { PhoneNumberNode } from '../phone-numbers/schema.ts';
import {
  CampaignContactSourceEnum,
  CampaignDecisionReasonEnum,
  CampaignScheduleTypeEnum,
  CampaignStatusEnum,
  PhoneRotationStrategyEnum,
} from './enums.ts';
import { loadContactFolder } from './loaders.ts';
import { formatTime } from './schedule.ts';
import { watchCampaign } from './service.ts';
import { visibleCampaigns } from './visibility.ts';

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
      'How many contacts are how far. The parts add up to `total` at any instant; they cost nothing to ask for.',
    authScopes: { readCampaign: true },
    fields: (t) => ({
      total: t.exposeInt('totalCount', { description: 'All contacts of the campaign.' }),
      pending: t.exposeInt('pendingCount', {
        description: 'Still to be called, now or later, retries included: PENDING and SCHEDULED.',
      }),
      calling: t.exposeInt('callingCount', {
        description:
          'On the phone, or being dialled. Calls that have just ended count until they are settled.',
      }),
      called: t.int({
        description: 'Called to the end: completed and failed together.',
        resolve: ({ completedCount, failedCount }) => completedCount + failedCount,
      }),
      completed: t.exposeInt('completedCount', { description: 'Answered and talked.' }),
      failed: t.exposeInt('failedCount', { description: 'Not reached, and not tried again.' }),
      skipped: t.exposeInt('skippedCount', {
        description: 'Not called, with a reason such as the do-not-call list.',
      }),
      cancelled: t.exposeInt('cancelledCount', { description: 'Called off before the end.' }),
    }),
  });

export const CampaignNode = builder.prismaNode('Campaign', {
  nullable: true,
  description:
    'Calls of one agent to many contacts on a schedule. Made with `createCampaign`; `campaignForecast` says beforehand how it would go, `campaignProgress` shows it while it runs, and `decisions` of a contact say why it was or was not called.',
  authScopes: { readCampaign: true },
  id: { field: 'id', description: '`cmp_` and a UUID.' },
  findUnique: (id, { viewer }) => {
    const { id: only, ...visible } = visibleCampaigns(viewer!);
    // Flat unless it cannot be: only such look-ups does Prisma put together to one statement.
    return { id, ...visible, ...(only ? { AND: { id: only } } : {}) };
  },
  fields: (t) => ({
    name: t.exposeString('name', { description: 'For people; need not be unique.' }),
    status: t.expose('status', { type: CampaignStatusEnum, description: 'Where it is.' }),
    statusReason: t.exposeString('statusReason', {
      nullable: true,
      description:
        'For people: why it was paused or failed, when nobody asked for it; null otherwise.',
    }),
    agent: t.relation('agent', { description: 'Who talks in all of its calls.' }),
    phoneNumbers: t.field({
      type: [PhoneNumberNode],
      description:
        'Its own pool of numbers to call from, in order. Empty: the outbound numbers of the agent, whichever these are at the time of a call.',
      complexity: { field: 1, multiplier: 10 },
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
      description: 'Which of the numbers the next call is made from.',
    }),
    contactSource: t.expose('contactSource', {
      type: CampaignContactSourceEnum,
      description: 'Where its contacts came from when it was made.',
    }),
    contactFolder: t.field({
      type: ContactFolderNode,
      nullable: true,
      authScopes: { read: true },
      select: { contactFolderId: true },
      description:
        'The folder its contacts were copied from; null with another source, or once the folder is gone. Later changes of the folder do not change the campaign.',
      resolve: ({ contactFolderId }, _args, { app, viewer, execution }) =>
        contactFolderId
          ? loadContactFolder({ app, viewer: viewer!, execution }, contactFolderId)
          : null,
    }),
    scheduleType: t.expose('scheduleType', {
      type: CampaignScheduleTypeEnum,
      description:
        'Whether it begins at once or at `scheduledAt`. On a DRAFT it means nothing yet: `scheduleCampaign` settles it.',
    }),
    scheduledAt: t.expose('scheduledAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Nobody is called before; null when it begins at once.',
    }),
    timezone: t.exposeString('timezone', {
      description: 'IANA zone by whose clock and calendar window, working days and cap go.',
    }),
    startTime: t.string({
      nullable: true,
      select: { startMinute: true },
      description: 'When the daily window opens, as `HH:MM`; null: at midnight.',
      resolve: ({ startMinute }) => (startMinute === null ? null : formatTime(startMinute)),
    }),
    endTime: t.string({
      nullable: true,
      select: { endMinute: true },
      description:
        'When it closes, as `HH:MM`: no call begins at or after it, and running ones go on. Before `startTime`: on the next day. Null: at the end of the day.',
      resolve: ({ endMinute }) => (endMinute === null ? null : formatTime(endMinute)),
    }),
    workingDays: t.exposeIntList('workingDays', {
      description:
        'Days of the week on which its window opens, 1 (Monday) to 7 (Sunday). Hours after midnight belong to the day on which the window opened.',
    }),
    maxConcurrentCalls: t.exposeInt('maxConcurrentCalls', {
      description: 'How many of its calls there are at most at once.',
    }),
    maxCallsPerDay: t.exposeInt('maxCallsPerDay', {
      nullable: true,
      description:
        'How many calls it places at most on one calendar day of its zone, retries included. With it the calls of a day are spread evenly over the window; null: no limit, and everybody is due as the window opens.',
    }),
    retryFailed: t.exposeBoolean('retryFailed', {
      description:
        'Whether who was not reached (no answer, busy, unreachable, connection lost) is called again.',
    }),
    maxRetryAttempts: t.exposeInt('maxRetryAttempts', {
      description: 'How often at most, for each contact, after the first call.',
    }),
    retryDelay: t.field({
      type: 'Duration',
      select: { retryDelaySeconds: true },
      description: 'The wait before the first retry. It doubles with each further one.',
      resolve: ({ retryDelaySeconds }) => `${retryDelaySeconds}s`,
    }),
    counts: t.field({
      type: CampaignCountsType,
      select: COUNTS,
      description: 'How many of its contacts are how far.',
      resolve: (campaign) => campaign,
    }),
    holdReason: t.expose('holdReason', {
      type: CampaignDecisionReasonEnum,
      nullable: true,
      description:
        'What keeps everybody who is due from being called, such as WINDOW_CLOSED; null when nothing does.',
    }),
    nextDispatchAt: t.expose('nextDispatchAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When it next looks for somebody to call; null while it does not run, or only the end of a call can change anything.',
    }),
    calls: t.relatedConnection(
      'calls',
      {
        description:
          'The calls it has placed, newest first unless ordered otherwise, retries included.',
        cursor: 'id',
        totalCount: true,
        complexity: connectionCost,
        args: {
          filter: t.arg({ type: CallFilterInput, description: 'Which of them. Absent: all.' }),
          orderBy: t.arg({ type: CallOrderInput, description: 'Absent: newest first.' }),
        },
        query: (args, { viewer }) => {
          checkPage(args);
          return { where: callsWhere(viewer!, args.filter), orderBy: callsOrder(args.orderBy) };
        },
      },
      CallConnection,
    ),
    startedAt: t.expose('startedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it first became ACTIVE; null before.',
    }),
    endedAt: t.expose('endedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was completed, failed or was cancelled; null before.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When anything about it last changed, its counts included.',
    }),
  }),
});

export const CampaignConnection = connectionOf(CampaignNode);

const CampaignFilterInput = builder.inputType('CampaignFilter', {
  description: 'Which campaigns; everything given must hold.',
  fields: (t) => ({
    status: t.field({
      type: [CampaignStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
    agentId: t.id({ description: 'Only those of this agent, an `agt_…` id.' }),
    name: t.string({ description: 'Part of the name, in upper or lower case.' }),
  }),
});

const CampaignOrderInput = builder.inputType('CampaignOrder', {
  description: 'The order of a list of campaigns.',
  fields: (t) => ({
    field: t.field({
      type: builder.enumType('CampaignOrderField', {
        description: 'What campaigns can be ordered by.',
        values: {
          CREATED_AT: { value: 'createdAt', description: 'When they were made.' },
          NAME: { value: 'name', description: 'Their names.' },
          SCHEDULED_AT: {
            value: 'scheduledAt',
            description: 'When they were to begin; those without come last, whichever way it goes.',
          },
        } as const,
      }),
      required: true,
      description: 'What counts.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

function campaignsWhere(
  viewer: Viewer,
  filter: typeof CampaignFilterInput.$inferInput | null | undefined,
): Prisma.CampaignWhereInput {
  return {
    ...visibleCampaigns(viewer),
    ...(filter?.status?.length ? { status: { in: [...filter.status] } } : {}),
    ...(filter?.agentId ? { agentId: requireId('Agent', filter.agentId) } : {}),
    ...(filter?.name ? { name: { contains: literal(filter.name), mode: 'insensitive' } } : {}),
  };
}

function campaignsOrder(
  order: typeof CampaignOrderInput.$inferInput | null | undefined,
): Prisma.CampaignOrderByWithRelationInput[] {
  const { field, direction } = order ?? { field: 'createdAt', direction: 'desc' };
  return [
    field === 'scheduledAt'
      ? { scheduledAt: { sort: direction, nulls: 'last' } }
      : { [field]: direction },
    { id: direction },
  ];
}

builder.queryFields((t) => ({
  campaign: t.withAuth({ readCampaign: true }).prismaField({
    type: CampaignNode,
    nullable: true,
    description: 'A campaign by its id; null when there is none, or no longer.',
    args: { id: t.arg.id({ required: true, description: 'A `cmp_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.campaign.findFirst({
        ...query,
        where: { AND: [visibleCampaigns(viewer), { id: requireId('Campaign', id) }] },
      }),
  }),
  campaigns: t.withAuth({ read: true }).prismaConnection(
    {
      type: CampaignNode,
      cursor: 'id',
      description: 'Your campaigns, newest first unless ordered otherwise, without deleted ones.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: CampaignFilterInput, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: CampaignOrderInput, description: 'Absent: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.campaign.count({ where: campaignsWhere(viewer!, filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        return app.db.campaign.findMany({
          ...query,
          where: campaignsWhere(viewer, args.filter),
          orderBy: campaignsOrder(args.orderBy),
        });
      },
    },
    CampaignConnection,
  ),
}));

builder.prismaObjectField(AgentNode, 'campaigns', (t) =>
  t.relatedConnection(
    'campaigns',
    {
      description: 'The campaigns in which it talks, newest first unless ordered otherwise.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: CampaignFilterInput, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: CampaignOrderInput, description: 'Absent: newest first.' }),
      },
      query: (args, { viewer }) => {
        checkPage(args);
        return {
          where: campaignsWhere(viewer!, args.filter),
          orderBy: campaignsOrder(args.orderBy),
        };
      },
    },
    CampaignConnection,
  ),
);

builder.prismaObjectFields(CallNode, (t) => ({
  campaign: t.field({
    type: CampaignNode,
    nullable: true,
    authScopes: { readCampaign: true },
    description:
      'The campaign that placed it; null for any other call, or once the campaign was deleted.',
    select: (_args, _context, nested) => ({ campaign: nested({ select: { deletedAt: true } }) }),
    // The members asked for come along with the one selected here.
    resolve: ({ campaign }) => (campaign?.deletedAt === null ? (campaign as Campaign) : null),
  }),
  attempt: t.exposeInt('attempt', {
    nullable: true,
    description:
      'Which attempt at its contact of the campaign it is: 1 is the first call. Null outside of campaigns, and when it was given up before it was dialled.',
  }),
}));

builder.subscriptionField('campaignProgress', (t) =>
  t.withAuth({ readCampaign: true }).field({
    type: CampaignNode,
    description:
      'A campaign as it is now, and again whenever it has come on, at most four times a second. Ends once the campaign has ended and its last call with it. A picture that is missed is made up for by the next; for each single call see `callEvents(campaignId:)`.',
    args: { campaignId: t.arg.id({ required: true, description: 'A `cmp_…` id.' }) },
    subscribe: async (_root, args, { app, viewer }) => {
      const pictures = await watchCampaign(app, viewer, requireId('Campaign', args.campaignId));
      if (!pictures) throw new RequestError('BAD_USER_INPUT', 'There is no such campaign.');
      return pictures;
    },
    resolve: (campaign) => campaign,
  }),
);
