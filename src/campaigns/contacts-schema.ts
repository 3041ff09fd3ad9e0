/** The contacts of campaigns. */
import { CallEndReasonEnum } from '../calls/enums.ts';
import { CallConnection, CallNode, callsWhere } from '../calls/schema.ts';
import { ContactNode } from '../contacts/schema.ts';
import { RequestError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { Checks } from '../infra/checks.ts';
import { ownedBy } from '../organizations/viewer.ts';
import {
  CampaignContactStatusEnum,
  CampaignDecisionReasonEnum,
  CampaignSkipReasonEnum,
} from './enums.ts';
import { isCampaignContactVisible, loadContact, loadLastCall } from './loaders.ts';
import { CampaignNode } from './schema.ts';
import { waitingOf } from './waiting.ts';

/** An id that no row has. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** What `waitingOf` looks at. */
const WAITING = {
  status: true,
  nextEligibleAt: true,
  timezone: true,
  campaign: {
    select: {
      status: true,
      holdReason: true,
      nextDispatchAt: true,
      timezone: true,
      workingDays: true,
      startMinute: true,
      endMinute: true,
    },
  },
} as const;

export const CampaignContactNode = builder.prismaNode('CampaignContact', {
  nullable: true,
  description:
    'Somebody to be called in a campaign: a copy, so that later changes of the contact, or of its folder, change nothing here. It is in a campaign once, by its `clientId` or else by its number.',
  authScopes: { readCampaign: true },
  id: { field: 'id', description: '`cct_` and a UUID.' },
  // Whether it may be seen goes by its campaign. A condition on that here would keep Prisma from
  // reading several of them with one statement.
  findUnique: async (id, { app, viewer, execution }) => {
    const visible = await isCampaignContactVisible({ app, viewer: viewer!, execution }, id);
    return { id: visible ? id : NOBODY, ...ownedBy(viewer!) };
  },
  fields: (t) => ({
    campaign: t.relation('campaign', { description: 'The campaign that calls it.' }),
    contact: t.field({
      type: ContactNode,
      nullable: true,
      authScopes: { read: true },
      select: { contactId: true },
      description:
        'The contact it was copied from, as that is now; null when it came as a row or from a file, or once that contact is gone.',
      resolve: ({ contactId }, _args, { app, viewer, execution }) =>
        contactId ? loadContact({ app, viewer: viewer!, execution }, contactId) : null,
    }),
    position: t.exposeInt('position', {
      description: 'Its place in the list, from 0. The first are called first.',
    }),
    clientId: t.exposeString('clientId', {
      nullable: true,
      description: 'Your own id for it, when you gave one.',
    }),
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'The number that is called.',
    }),
    firstName: t.exposeString('firstName', { nullable: true, description: 'Given name.' }),
    lastName: t.exposeString('lastName', { nullable: true, description: 'Family name.' }),
    email: t.exposeString('email', { nullable: true, description: 'E-mail address.' }),
    companyName: t.exposeString('companyName', {
      nullable: true,
      description: 'The company the person works for.',
    }),
    industry: t.exposeString('industry', {
      nullable: true,
      description: 'The line of business of the company.',
    }),
    location: t.exposeString('location', {
      nullable: true,
      description: 'Where the person is, in any words.',
    }),
    pinCode: t.exposeString('pinCode', { nullable: true, description: 'Postal code.' }),
    keywords: t.exposeString('keywords', {
      nullable: true,
      description: 'Tags, separated by a comma and a space.',
    }),
    timezone: t.exposeString('timezone', {
      nullable: true,
      description:
        "IANA zone of the person. With one, it is called only when the window is open by the clock there as well as by the campaign's.",
    }),
    metadata: t.field({
      type: 'JSONObject',
      select: { metadata: true },
      description: 'Your own keys with text values; empty when there are none.',
      resolve: ({ metadata }) => metadata,
    }),
    status: t.expose('status', { type: CampaignContactStatusEnum, description: 'How far it is.' }),
    skipReason: t.expose('skipReason', {
      type: CampaignSkipReasonEnum,
      nullable: true,
      description: 'Why it is not called; null unless SKIPPED.',
    }),
    scheduledAt: t.expose('scheduledAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When the plan has it called; null before there is one. What happens is in `calledAt`.',
    }),
    nextEligibleAt: t.field({
      type: 'DateTime',
      nullable: true,
      select: WAITING,
      description:
        'From when on it may be called, as far as is known now: its own time, or when what holds back the whole campaign is over, whichever is later. In the past: as soon as a line is free. Null when it does not wait, or while the campaign does not run.',
      resolve: (contact, _args, { app }) => waitingOf(contact, contact.campaign, app.now()).until,
    }),
    waitingFor: t.field({
      type: CampaignDecisionReasonEnum,
      nullable: true,
      select: WAITING,
      description:
        'What keeps it from being called at this moment: the hour, the state of the campaign, or that all lines are taken; null when only its own time does. What was decided before is in `decisions`.',
      resolve: (contact, _args, { app }) => waitingOf(contact, contact.campaign, app.now()).reason,
    }),
    attempts: t.exposeInt('attempts', {
      description: 'How often it was called, with the call that runs.',
    }),
    endReason: t.expose('endReason', {
      type: CallEndReasonEnum,
      nullable: true,
      description: 'How the last attempt ended; null before the end of the first.',
    }),
    call: t.field({
      type: CallNode,
      nullable: true,
      select: { id: true },
      description: 'The newest call to it; null before the first.',
      resolve: ({ id }, _args, { app, viewer, execution }) =>
        loadLastCall({ app, viewer: viewer!, execution }, id),
    }),
    calls: t.relatedConnection(
      'calls',
      {
        description:
          'All calls to it, in the order of the attempts. One without an `attempt` was given up before it was dialled.',
        cursor: 'id',
        totalCount: true,
        complexity: connectionCost,
        query: (args, { viewer }) => {
          checkPage(args);
          return {
            where: callsWhere(viewer!, null),
            orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
          };
        },
      },
      CallConnection,
    ),
    calledAt: t.expose('calledAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was last called; null before the first time.',
    }),
    finishedAt: t.expose('finishedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it came to its end, in whatever way; null until then.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'When it was put into the campaign.',
    }),
  }),
});

const CampaignContactConnection = connectionOf(CampaignContactNode);

const CampaignContactFilterInput = builder.inputType('CampaignContactFilter', {
  description: 'Which contacts of the campaign; everything given must hold.',
  fields: (t) => ({
    status: t.field({
      type: [CampaignContactStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
    skipReason: t.field({
      type: CampaignSkipReasonEnum,
      description: 'Only those that were skipped for this.',
    }),
    phoneNumber: t.field({ type: 'E164', description: 'Only those with exactly this number.' }),
    clientId: t.string({ description: 'Only the one with this id of yours.' }),
  }),
});

const CampaignContactOrderInput = builder.inputType('CampaignContactOrder', {
  description: 'The order of the contacts of a campaign.',
  fields: (t) => ({
    field: t.field({
      type: builder.enumType('CampaignContactOrderField', {
        description: 'What contacts of a campaign can be ordered by, fast for any number of them.',
        values: {
          POSITION: { description: 'Their place in the list.' },
          NEXT_ELIGIBLE_AT: {
            description:
              'Their own time: who comes next. Only those that wait for a time have one, and **the others are left out**.',
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

type ContactsArgs = {
  filter?: typeof CampaignContactFilterInput.$inferInput | null | undefined;
  orderBy?: typeof CampaignContactOrderInput.$inferInput | null | undefined;
};

function contactsWhere({ filter, orderBy }: ContactsArgs): Prisma.CampaignContactWhereInput {
  const conditions: Prisma.CampaignContactWhereInput[] = [];
  if (filter?.status?.length) conditions.push({ status: { in: [...filter.status] } });
  if (filter?.skipReason) {
    conditions.push({ status: 'SKIPPED', skipReason: filter.skipReason });
  }
  if (filter?.phoneNumber) conditions.push({ phoneNumber: requireNumber(filter.phoneNumber) });
  // By the column that has an index.
  if (typeof filter?.clientId === 'string') {
    conditions.push({ identity: `id:${filter.clientId}` });
  }
  if (orderBy?.field === 'NEXT_ELIGIBLE_AT') conditions.push({ nextEligibleAt: { not: null } });
  return { AND: conditions };
}

function contactsOrder({
  orderBy,
}: ContactsArgs): Prisma.CampaignContactOrderByWithRelationInput[] {
  const direction = orderBy?.direction ?? 'asc';
  return orderBy?.field === 'NEXT_ELIGIBLE_AT'
    ? [{ nextEligibleAt: direction }, { position: direction }]
    : [{ position: direction }];
}

/** A number nobody can have would find nothing, and look as if it were not in the campaign. */
function requireNumber(phoneNumber: string): string {
  const checks = new Checks();
  checks.phoneNumber(phoneNumber, ['filter', 'phoneNumber']);
  if (checks.problems[0]) throw new RequestError('BAD_USER_INPUT', checks.problems[0].message);
  return phoneNumber;
}

builder.prismaObjectField(CampaignNode, 'contacts', (t) =>
  t.relatedConnection(
    'contacts',
    {
      description: 'Who is called in it, in the order of the list unless ordered otherwise.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      args: {
        filter: t.arg({
          type: CampaignContactFilterInput,
          description: 'Which of them. Absent: all.',
        }),
        orderBy: t.arg({
          type: CampaignContactOrderInput,
          description: 'Absent: as they stand in the list.',
        }),
      },
      query: (args) => {
        checkPage(args);
        return { where: contactsWhere(args), orderBy: contactsOrder(args) };
      },
    },
    CampaignContactConnection,
  ),
);

builder.prismaObjectField(CallNode, 'campaignContact', (t) =>
  t.field({
    type: CampaignContactNode,
    nullable: true,
    authScopes: { readCampaign: true },
    description:
      'Whom the campaign called with it; null for any other call, or once the campaign was deleted.',
    select: (_args, _context, nested) => ({
      campaign: { select: { deletedAt: true } },
      campaignContact: nested(true),
    }),
    resolve: ({ campaign, campaignContact }) =>
      campaign?.deletedAt === null ? campaignContact : null,
  }),
);
