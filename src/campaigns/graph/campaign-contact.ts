/** The type `CampaignContact` and its lists. */
import type { App } from '../../app.ts';
import { CallNode, calls } from '../../calls/graph/call.ts';
import { CallEndReasonEnum } from '../../calls/graph/call-enums.ts';
import { loadCall } from '../../calls/graph/loaders.ts';
import { ContactNode } from '../../contacts/graph/contact.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { List } from '../../graphql/lists/list.ts';
import { readerOf } from '../../graphql/reading/batched.ts';
import { ownedBy } from '../../viewer.ts';
import { campaignContactsWhere } from '../contacts/search.ts';
import { waitingState } from '../contacts/waiting-reason.ts';
import { CampaignNode } from './campaign.ts';
import {
  CampaignContactStatusEnum,
  CampaignDecisionReasonEnum,
  CampaignSkipReasonEnum,
} from './campaign-enums.ts';
import { loadContact, loadLastCallId, visibleCampaignContactId } from './loaders.ts';

/** Columns that `waitingState` reads. */
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

type WaitingRow = Parameters<typeof waitingState>[0] & {
  campaign: Parameters<typeof waitingState>[1];
};

function waitingOf({ now, config }: App, contact: WaitingRow) {
  return waitingState(contact, contact.campaign, {
    now: now(),
    marginSeconds: config.CALLING_WINDOW_MARGIN_SECONDS,
  });
}

export const CampaignContactNode = builder.prismaNode('CampaignContact', {
  select: { id: true },
  nullable: true,
  description:
    'Contact of a campaign. It is a copy made when the contact was added, so later changes to the contact or its folder do not affect it. A campaign has each `clientId` once. A contact without one is added only if its phone number is not in the campaign yet.',
  authScopes: { readCampaign: true },
  id: { field: 'id', description: 'Node ID, `cct_` followed by a UUID.' },
  findUnique: async (id, context) => ({
    id: await visibleCampaignContactId(context, id),
    ...ownedBy(context.viewer!),
  }),
  fields: (t) => ({
    campaign: t.relation('campaign', { description: 'Campaign that calls the contact.' }),
    contact: t.field({
      type: ContactNode,
      nullable: true,
      authScopes: { read: true },
      select: { contactId: true },
      description:
        'Contact that this one was copied from, in its current state. Null if it came from a row or a file, and after the contact was deleted.',
      resolve: ({ contactId }, _args, context, info) =>
        contactId ? loadContact(context, info, contactId) : null,
    }),
    position: t.exposeInt('position', {
      description: 'Position in the campaign, starting at 0. Lower positions are called first.',
    }),
    clientId: t.exposeString('clientId', {
      nullable: true,
      description: 'Your own ID of the contact. Null if none was given.',
    }),
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'Phone number to call.',
    }),
    firstName: t.exposeString('firstName', {
      nullable: true,
      description: 'First name. Null if unknown.',
    }),
    lastName: t.exposeString('lastName', {
      nullable: true,
      description: 'Last name. Null if unknown.',
    }),
    email: t.exposeString('email', {
      nullable: true,
      description: 'Email address. Null if unknown.',
    }),
    companyName: t.exposeString('companyName', {
      nullable: true,
      description: 'Company that the person works for. Null if unknown.',
    }),
    industry: t.exposeString('industry', {
      nullable: true,
      description: 'Industry of the company. Null if unknown.',
    }),
    location: t.exposeString('location', {
      nullable: true,
      description: 'Location of the person as free text. Null if unknown.',
    }),
    pinCode: t.exposeString('pinCode', {
      nullable: true,
      description: 'Postal code. Null if unknown.',
    }),
    keywords: t.exposeString('keywords', {
      nullable: true,
      description: 'Tags, separated by a comma and a space. Null if there are none.',
    }),
    timezone: t.exposeString('timezone', {
      nullable: true,
      description:
        'IANA time zone of the person. Null if unknown. If set, the contact is called only while the calling window is open both in this zone and in the zone of the campaign.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      select: { metadata: true },
      description: 'Custom keys with text values. Empty object if there are none.',
      resolve: ({ metadata }) => metadata,
    }),
  }),
});

/** Progress of the contact. */
builder.prismaObjectFields(CampaignContactNode, (t) => ({
  status: t.expose('status', {
    type: CampaignContactStatusEnum,
    description: 'Status of the contact.',
  }),
  skipReason: t.expose('skipReason', {
    type: CampaignSkipReasonEnum,
    nullable: true,
    description:
      'Reason why the contact is not called, or not called again. Null unless its status is SKIPPED.',
  }),
  scheduledAt: t.expose('scheduledAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Planned time of the latest attempt, whether made or still ahead. Null until the contact is planned. For the actual time, see `calledAt`.',
  }),
  nextEligibleAt: t.field({
    type: 'DateTime',
    nullable: true,
    select: WAITING,
    description:
      'Earliest time at which the contact may be called, as far as known: its planned time, or the time at which the campaign may call again, whichever is later. If it is in the past, the contact is called as soon as a slot is free. Null if the contact is not waiting, and while the campaign is not running.',
    resolve: (contact, _args, { app }) => waitingOf(app, contact).until,
  }),
  waitingFor: t.field({
    type: CampaignDecisionReasonEnum,
    nullable: true,
    select: WAITING,
    description:
      'Reason why the contact cannot be called at the moment, such as WINDOW_CLOSED, CAMPAIGN_PAUSED or CONCURRENCY_REACHED. Null if it only waits for its planned time or is not waiting. Earlier reasons are in `decisions`.',
    resolve: (contact, _args, { app }) => waitingOf(app, contact).reason,
  }),
  attemptCount: t.exposeInt('attempts', {
    description: 'Number of attempts to call the contact, including a call in progress.',
  }),
  attempts: t.exposeInt('attempts', {
    description: 'Number of attempts to call the contact, including a call in progress.',
    deprecationReason: useInstead('attemptCount'),
  }),
  endReason: t.expose('endReason', {
    type: CallEndReasonEnum,
    nullable: true,
    description:
      'Reason for the end of the last attempt that has ended. Null until the first attempt has ended.',
  }),
  call: t.field({
    type: CallNode,
    nullable: true,
    select: { id: true },
    description: 'Latest call to the contact. Null before the first call.',
    resolve: async ({ id }, _args, context, info) => {
      const callId = await loadLastCallId(readerOf(context), id);
      return callId ? loadCall(context, info, callId) : null;
    },
  }),
  calledAt: t.expose('calledAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time of the latest attempt. Null before the first attempt.',
  }),
  finishedAt: t.expose('finishedAt', {
    type: 'DateTime',
    nullable: true,
    description: 'Time at which the contact reached a final status. Null until then.',
  }),
  createdAt: t.expose('createdAt', {
    type: 'DateTime',
    description: 'Time at which the contact was added to the campaign.',
  }),
}));

export const CampaignContactFilterInput = builder.inputType('CampaignContactFilter', {
  description: 'Filters for contacts of a campaign. All of them must match.',
  fields: (t) => ({
    status: t.field({
      type: [CampaignContactStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
    skipReason: t.field({
      type: CampaignSkipReasonEnum,
      description: 'Contacts that were skipped for this reason.',
    }),
    endReason: t.field({
      type: [CallEndReasonEnum],
      description:
        'End reasons of the last ended attempt to include. Default, and when empty: all contacts.',
    }),
    phoneNumber: t.field({ type: 'E164', description: 'Contacts with exactly this phone number.' }),
    clientId: t.string({ description: 'Contact with this `clientId`.' }),
  }),
});

const campaignContacts = new List({
  type: CampaignContactNode,
  items: 'contacts of a campaign',
  // Contacts are visible with their campaign.
  visible: () => ({}),
  filter: { type: CampaignContactFilterInput, where: campaignContactsWhere },
  key: 'position',
  sort: {
    POSITION: { column: 'position', description: 'Sort by position in the campaign.' },
    NEXT_ELIGIBLE_AT: {
      column: 'nextEligibleAt',
      nullsLast: true,
      description:
        'Sort by the planned time of each waiting contact. Contacts without one come last in both directions.',
    },
  },
  defaultSort: { field: 'POSITION', direction: 'asc', description: 'by position' },
});

campaignContacts.related(CampaignNode, 'contacts', {
  relation: 'contacts',
  description: 'Contacts of the campaign.',
});

calls.related(CampaignContactNode, 'calls', {
  relation: 'calls',
  description:
    'Calls to the contact. A call without an `attempt` was withdrawn before it was dialed.',
  defaultSort: { field: 'CREATED_AT', direction: 'asc', description: 'oldest first' },
});

builder.prismaObjectField(CallNode, 'campaignContact', (t) =>
  t.field({
    type: CampaignContactNode,
    nullable: true,
    authScopes: { readCampaign: true },
    description:
      'Campaign contact that was called. Null for other calls, and after the campaign was deleted.',
    select: (_args, _context, nested) => ({
      campaign: { select: { deletedAt: true } },
      campaignContact: nested(true),
    }),
    resolve: ({ campaign, campaignContact }) =>
      campaign?.deletedAt === null ? campaignContact : null,
  }),
);
