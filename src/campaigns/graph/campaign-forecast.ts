/** The query `campaignForecast`, and the field `forecast` of a campaign. */
import { ContactNode } from '../../contacts/graph/contact.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { connectionOf } from '../../graphql/lists/connections.ts';
import { cursorWriter, readCursor } from '../../graphql/lists/cursors.ts';
import type { SortTerm } from '../../graphql/lists/keyset.ts';
import {
  type Connection,
  checkPageSize,
  connectionCost,
  connectionOfPage,
  MAX_PAGE_SIZE,
  type PageArgs,
  readPage,
} from '../../graphql/lists/page.ts';
import { type Reader, readerOf } from '../../graphql/reading/batched.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { MAX_CAMPAIGN_CONTACTS, MAX_LISTED_CONTACTS } from '../enrollment/contact-sources.ts';
import { CALL_SECONDS } from '../enrollment/planning.ts';
import {
  type CampaignForecast,
  type ForecastCampaignHour,
  type ForecastContact,
  forecastCampaign,
  MAX_CALL_SECONDS,
} from '../forecast.ts';
import type { SimulationProblem } from '../schedule/simulation.ts';
import { isCampaignTerminal } from '../status.ts';
import { CampaignNode } from './campaign.ts';
import { CampaignContactNode } from './campaign-contact.ts';
import { CampaignWarningCodeEnum } from './campaign-enums.ts';
import { loadCampaignContact, loadContact } from './loaders.ts';

/** A forecast simulates up to 100,000 contacts, which takes as long as reading 1,000 objects or longer. */
const FORECAST_COST = 1_000;
const DEFAULT_CONTACTS = 10;

const ForecastContactType = builder
  .objectRef<ForecastContact>('CampaignForecastContact')
  .implement({
    description: 'Contact that would be called.',
    fields: (t) => ({
      phoneNumber: t.expose('phoneNumber', {
        type: 'E164',
        description: 'Phone number of the contact.',
      }),
      firstName: t.exposeString('firstName', {
        nullable: true,
        description: 'First name. Null if unknown.',
      }),
      lastName: t.exposeString('lastName', {
        nullable: true,
        description: 'Last name. Null if unknown.',
      }),
      contact: t.field({
        type: ContactNode,
        nullable: true,
        description: 'Stored contact. Null for campaign contacts that came from rows or a file.',
        resolve: ({ contactId }, _args, context, info) =>
          contactId ? loadContact(context, info, contactId) : null,
      }),
      campaignContact: t.field({
        type: CampaignContactNode,
        nullable: true,
        description: 'Contact of the campaign. Null unless the forecast is for a campaign.',
        resolve: ({ campaignContactId }, _args, context, info) =>
          campaignContactId ? loadCampaignContact(context, info, campaignContactId) : null,
      }),
    }),
  });

const ForecastHourType = builder.objectRef<ForecastCampaignHour>('CampaignForecastHour').implement({
  description: "Calls that would begin in one hour, by the clock of the campaign's time zone.",
  fields: (t) => ({
    from: t.expose('from', {
      type: 'DateTime',
      description: 'Start of the hour. Clock changes may shorten an hour.',
    }),
    callCount: t.exposeInt('calls', {
      description: 'Number of calls that would begin in the hour.',
    }),
    calls: t.exposeInt('calls', {
      description: 'Number of calls that would begin in the hour.',
      deprecationReason: useInstead('callCount'),
    }),
    contacts: t.field({
      type: [ForecastContactType],
      description:
        'Contacts that would be called first in the hour. Empty if only a `contactCount` was given.',
      args: {
        first: t.arg.int({
          description: `Maximum number of contacts, 1 to ${MAX_PAGE_SIZE}. Default: ${DEFAULT_CONTACTS}.`,
        }),
      },
      complexity: ({ first }) => ({
        field: 1,
        multiplier: Math.max(1, first ?? DEFAULT_CONTACTS),
      }),
      resolve: (hour, args) => {
        checkPageSize('first', args.first);
        return hour.contacts(args.first ?? DEFAULT_CONTACTS);
      },
    }),
  }),
});

const ForecastHourConnection = connectionOf(ForecastHourType);

const ForecastProblemType = builder
  .objectRef<SimulationProblem>('CampaignForecastProblem')
  .implement({
    description: 'Mismatch between contacts and schedule.',
    fields: (t) => ({
      code: t.field({
        type: CampaignWarningCodeEnum,
        description: 'Kind of mismatch.',
        resolve: ({ code }) => code,
      }),
      isFatal: t.boolean({
        description:
          'Whether the affected contacts would not be called within five years. If so, mutations reject the schedule with WINDOW_TOO_SMALL, unless the code is NEVER_OPEN and other contacts can be called; the affected contacts are then SKIPPED. False if they are only called later than planned.',
        resolve: ({ severity }) => severity === 'ERROR',
      }),
      contactCount: t.exposeInt('contacts', { description: 'Number of affected contacts.' }),
      contacts: t.exposeInt('contacts', {
        description: 'Number of affected contacts.',
        deprecationReason: useInstead('contactCount'),
      }),
      message: t.exposeString('message', {
        description: 'Human-readable description of the mismatch and of possible fixes.',
      }),
    }),
  });

const CampaignForecastType = builder.objectRef<CampaignForecast>('CampaignForecast').implement({
  description:
    'Simulated calls of a campaign. The simulation assumes that no contact needs a retry and that every call takes `callSeconds`.',
  fields: (t) => ({
    fits: t.exposeBoolean('fits', {
      description: 'Whether every contact is called in the calling window for which it is planned.',
    }),
    callCount: t.exposeInt('calls', {
      description: 'Number of calls: one to each contact that would be called within five years.',
    }),
    calls: t.exposeInt('calls', {
      description: 'Number of calls: one to each contact that would be called within five years.',
      deprecationReason: useInstead('callCount'),
    }),
    firstCallAt: t.expose('firstCallAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Start of the first call. Null if there are no calls.',
    }),
    lastCallAt: t.expose('lastCallAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Start of the last call, of those within five years. Null if there are no calls.',
    }),
    endsAt: t.expose('endsAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Estimated end of the last call, including the calls after more than five years that `callCount` and `lastCallAt` leave out: those are estimated at the same pace. Null if there are no calls.',
    }),
    problems: t.field({
      type: [ForecastProblemType],
      description: 'Mismatches between contacts and schedule. Empty if there are none.',
      resolve: ({ problems }) => problems,
    }),
    hours: t.connection(
      {
        type: ForecastHourType,
        description: 'Hours in which calls would begin, in order.',
        complexity: connectionCost,
        resolve: ({ hours }, args, context) => hoursOf(hours, args, readerOf(context)) as never,
      },
      ForecastHourConnection,
    ),
  }),
});

const HOUR_ORDER: SortTerm[] = [{ column: 'from', direction: 'asc' }];

/** Paginates by the start of the hours, since each query computes a new forecast. */
function hoursOf(
  hours: readonly ForecastCampaignHour[],
  args: PageArgs,
  { app, viewer }: Reader,
): Connection<ForecastCampaignHour> {
  const scope = {
    list: 'CampaignForecast.hours',
    terms: HOUR_ORDER,
    organizationId: viewer.organizationId,
  };
  const page = readPage(args, (argument) => {
    const [from] = readCursor(app.cipher, scope, argument);
    return from as Date;
  });
  const { after, before } = page;
  const between = hours.filter(
    ({ from }) => (!after || from > after) && (!before || from < before),
  );
  const write = cursorWriter(app.cipher, scope);
  return connectionOfPage(page, {
    rows: () => (page.backwards ? between.toReversed() : between),
    cursorOf: ({ from }) => write([from]),
    hasOutside: (side) =>
      hours.some(({ from }) =>
        side === 'after' ? after !== null && from <= after : before !== null && from >= before,
      ),
    totalCount: () => hours.length,
  });
}

const CampaignForecastInput = builder.inputType('CampaignForecastInput', {
  description:
    'Contacts and schedule of a forecast. Give **exactly one** of `campaignId`, `contactFolderId`, `contactIds` and `contactCount`. With `campaignId`, omitted settings are those of the campaign, and null sets the default of `createCampaign`.',
  fields: (t) => ({
    campaignId: t.id({
      description:
        'ID of a campaign (`cmp_…`). Forecasts its waiting contacts. Other fields override its settings, to try out a change.',
    }),
    contactFolderId: t.id({
      description: 'ID of a contact folder (`fld_…`). Forecasts all its contacts.',
    }),
    contactIds: t.idList({
      maxItems: MAX_LISTED_CONTACTS,
      description: `IDs of contacts (\`ctc_…\`), up to ${formatNumber(MAX_LISTED_CONTACTS)}.`,
    }),
    contactCount: t.int({
      description: `Number of contacts, 1 to ${formatNumber(MAX_CAMPAIGN_CONTACTS)}. They have no time zones of their own.`,
    }),
    scheduledAt: t.field({
      type: 'DateTime',
      description:
        'Start of the campaign, not in the past. Default: now, or the start of the campaign if it is in the future.',
    }),
    timezone: t.string({
      description: 'IANA time zone of the campaign. Default: `UTC`.',
    }),
    startTime: t.string({
      description: 'Time of day at which the calling window opens, as `HH:MM`. Default: midnight.',
    }),
    endTime: t.string({
      description:
        'Time of day at which the calling window closes, as `HH:MM`. A time before `startTime` is on the next day. Default: the end of the day.',
    }),
    workingDays: t.intList({
      maxItems: 7,
      description:
        'Days of the week on which the calling window opens, from 1 (Monday) to 7 (Sunday). Default: `[1, 2, 3, 4, 5]`.',
    }),
    maxConcurrentCalls: t.int({
      description: 'Maximum number of concurrent calls, 1 to 100. Default: 10.',
    }),
    maxCallsPerDay: t.int({
      description: 'Maximum number of calls per calendar day, 1 to 1,000,000. Default: no limit.',
    }),
    callSeconds: t.int({
      description: `Expected duration of a call in seconds, including ringing, 1 to ${formatNumber(MAX_CALL_SECONDS)}. Default: ${CALL_SECONDS}.`,
    }),
  }),
});

builder.queryField('campaignForecast', (t) =>
  t.withAuth({ read: true }).field({
    type: CampaignForecastType,
    description:
      'Forecasts which contacts would be called in which hour, and whether the contacts fit the schedule. Nothing is saved and nobody is called. For rows or a file, create a draft with `createCampaign` and pass its ID as `campaignId`. Invalid input fails with BAD_USER_INPUT, and `extensions.problems` lists all problems.',
    complexity: { field: FORECAST_COST, multiplier: 1 },
    args: {
      input: t.arg({
        type: CampaignForecastInput,
        required: true,
        description: 'Contacts and schedule.',
      }),
    },
    resolve: (_root, { input }, { app, viewer }) => forecastCampaign(app, viewer, input),
  }),
);

builder.prismaObjectField(CampaignNode, 'forecast', (t) =>
  t.field({
    type: CampaignForecastType,
    nullable: true,
    authScopes: { read: true },
    description:
      'Forecast of the waiting contacts. Null once the campaign has ended. Assumes that a PAUSED campaign is resumed now, and that a DRAFT is scheduled now.',
    complexity: { field: FORECAST_COST, multiplier: 1 },
    select: { id: true, status: true },
    resolve: ({ id, status }, _args, { app, viewer }) =>
      isCampaignTerminal(status)
        ? null
        : forecastCampaign(app, viewer!, { campaignId: publicId('Campaign', id) }),
  }),
);
