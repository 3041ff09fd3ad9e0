/** How a campaign would go, before anybody is called. */
import { resolveArrayConnection } from '@pothos/plugin-relay';
import { ContactNode } from '../contacts/schema.ts';
import { builder, checkPage, connectionCost, DEFAULT_PAGE, MAX_PAGE } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { toPublicId } from '../graphql/ids.ts';
import { CampaignContactNode } from './contacts-schema.ts';
import { CampaignWarningCodeEnum } from './enums.ts';
import type { ForecastProblem } from './forecast.ts';
import {
  type CampaignForecast,
  type ForecastCampaignHour,
  type ForecastContact,
  forecastCampaign,
} from './forecasts.ts';
import { loadCampaignContact, loadContact } from './loaders.ts';
import { CALL_SECONDS } from './planning.ts';
import { CampaignNode } from './schema.ts';
import { isCampaignTerminal } from './status.ts';

/** A forecast goes through every contact, like a page of a hundred objects and more. */
const FORECAST_COST = 100;
const DEFAULT_CONTACTS = 10;

const ForecastContactType = builder
  .objectRef<ForecastContact>('CampaignForecastContact')
  .implement({
    description: 'Somebody who would be called.',
    fields: (t) => ({
      phoneNumber: t.expose('phoneNumber', { type: 'E164', description: 'The number.' }),
      firstName: t.exposeString('firstName', { nullable: true, description: 'Given name.' }),
      lastName: t.exposeString('lastName', { nullable: true, description: 'Family name.' }),
      contact: t.field({
        type: ContactNode,
        nullable: true,
        description: 'The contact, where it is one; null for rows and files.',
        resolve: ({ contactId }, _args, { app, viewer, execution }) =>
          contactId ? loadContact({ app, viewer: viewer!, execution }, contactId) : null,
      }),
      campaignContact: t.field({
        type: CampaignContactNode,
        nullable: true,
        description: 'The contact of the campaign; null when the forecast is not about one.',
        resolve: ({ campaignContactId }, _args, { app, viewer, execution }) =>
          campaignContactId
            ? loadCampaignContact({ app, viewer: viewer!, execution }, campaignContactId)
            : null,
      }),
    }),
  });

const ForecastHourType = builder.objectRef<ForecastCampaignHour>('CampaignForecastHour').implement({
  description: 'What would happen in one hour of the clock in the zone of the campaign.',
  fields: (t) => ({
    from: t.expose('from', {
      type: 'DateTime',
      description: 'When the hour begins, or what a clock change leaves of it.',
    }),
    calls: t.exposeInt('calls', { description: 'How many calls would begin in it.' }),
    contacts: t.field({
      type: [ForecastContactType],
      description:
        'The first of those who would be called in it; empty when only a `contactCount` was given.',
      args: {
        first: t.arg.int({
          description: `How many of them at most, 1 to ${MAX_PAGE}; ${DEFAULT_CONTACTS} if not given.`,
        }),
      },
      complexity: ({ first }) => ({
        field: 1,
        multiplier: Math.max(1, first ?? DEFAULT_CONTACTS),
      }),
      resolve: (hour, args) => {
        checkPage(args);
        return hour.contacts(args.first ?? DEFAULT_CONTACTS);
      },
    }),
  }),
});

const ForecastHourConnection = connectionOf(ForecastHourType);

const ForecastProblemType = builder
  .objectRef<ForecastProblem>('CampaignForecastProblem')
  .implement({
    description: 'In what way contacts and schedule do not fit each other.',
    fields: (t) => ({
      code: t.field({
        type: CampaignWarningCodeEnum,
        description: 'For programs to act on.',
        resolve: ({ code }) => code,
      }),
      isFatal: t.boolean({
        description:
          'True: these contacts would not be called within years. A campaign is then refused with WINDOW_TOO_SMALL, except for NEVER_OPEN when others can be called: these are skipped. False: they are only called later than planned.',
        resolve: ({ severity }) => severity === 'ERROR',
      }),
      contacts: t.exposeInt('contacts', { description: 'How many contacts are concerned.' }),
      message: t.exposeString('message', {
        description: 'For people: how far it does not fit, and what would help.',
      }),
    }),
  });

const CampaignForecastType = builder.objectRef<CampaignForecast>('CampaignForecast').implement({
  description:
    'When whom would be called, if nobody has to be called twice and calls take as long as expected. Nothing is saved.',
  fields: (t) => ({
    fits: t.exposeBoolean('fits', {
      description: 'Whether everybody is called in the window in which the plan has them due.',
    }),
    calls: t.exposeInt('calls', {
      description: 'How many contacts would be called, within five years.',
    }),
    firstCallAt: t.expose('firstCallAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When the first call would begin; null when there is none.',
    }),
    lastCallAt: t.expose('lastCallAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When the last call would begin; null when there is none.',
    }),
    endsAt: t.expose('endsAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When the last call would be over, at the earliest; null when there is none.',
    }),
    problems: t.field({
      type: [ForecastProblemType],
      description: 'What does not fit; empty when everything does.',
      resolve: ({ problems }) => problems,
    }),
    hours: t.connection(
      {
        type: ForecastHourType,
        description: 'Hour by hour, without the hours in which nobody would be called.',
        complexity: connectionCost,
        resolve: ({ hours }, args) => {
          checkPage(args);
          const connection = resolveArrayConnection(
            { args, defaultSize: DEFAULT_PAGE, maxSize: MAX_PAGE },
            [...hours],
          );
          return { ...connection, args, totalCount: hours.length } as never;
        },
      },
      ForecastHourConnection,
    ),
  }),
});

const CampaignForecastInput = builder.inputType('CampaignForecastInput', {
  description:
    'Whom to call, by **exactly one** of `campaignId`, `contactFolderId`, `contactIds` and `contactCount`, and when, as in `createCampaign`. With `campaignId`, absent is what the campaign has and null is the default.',
  fields: (t) => ({
    campaignId: t.id({
      description:
        'A `cmp_…` id: what is left of this campaign. What else is given stands in for its own settings, so that a change can be tried out.',
    }),
    contactFolderId: t.id({ description: 'An `fld_…` id: the contacts of this folder.' }),
    contactIds: t.idList({ description: 'Up to 10,000 `ctc_…` ids: these contacts.' }),
    contactCount: t.int({
      description: 'So many contacts, 1 to 100,000, whoever they are; without zones of their own.',
    }),
    scheduledAt: t.field({
      type: 'DateTime',
      description:
        'When to start, not in the past. Absent: now; with `campaignId`, the start the campaign has, if that is ahead.',
    }),
    timezone: t.string({
      description:
        'IANA zone of the campaign. Absent: `UTC`; with `campaignId`, what the campaign has.',
    }),
    startTime: t.string({
      description:
        'When the daily window opens, `HH:MM`. Absent: at midnight; with `campaignId`, what the campaign has.',
    }),
    endTime: t.string({
      description:
        'When it closes, `HH:MM`; before `startTime`: on the next day. Absent: at the end of the day; with `campaignId`, what the campaign has.',
    }),
    workingDays: t.intList({
      description:
        'Days of the week, 1 (Monday) to 7 (Sunday). Absent: `[1, 2, 3, 4, 5]`; with `campaignId`, what the campaign has.',
    }),
    maxConcurrentCalls: t.int({
      description: 'Calls at once, 1 to 100. Absent: 10; with `campaignId`, what the campaign has.',
    }),
    maxCallsPerDay: t.int({
      description:
        'Calls on one calendar day, 1 to 1,000,000. Absent: no limit; with `campaignId`, what the campaign has.',
    }),
    callSeconds: t.int({
      description: `How many seconds a call is expected to take, ringing included: 1 to 7200. Default ${CALL_SECONDS}.`,
    }),
  }),
});

builder.queryField('campaignForecast', (t) =>
  t.withAuth({ read: true }).field({
    type: CampaignForecastType,
    description:
      'When whom would be called, hour by hour, and whether list and schedule fit each other: for a campaign (`campaignId`), a folder (`contactFolderId`), contacts (`contactIds`) or so many of them (`contactCount`). Rows or a file need a draft first: `createCampaign` without a schedule, then its `campaignId`. Saves nothing and calls nobody. Wrong input: the error BAD_USER_INPUT, with all that is wrong in `extensions.problems`.',
    complexity: { field: FORECAST_COST, multiplier: 1 },
    args: {
      input: t.arg({
        type: CampaignForecastInput,
        required: true,
        description: 'See the members of the type.',
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
      'How what is left of it would go; null once it is over. As if a PAUSED one were resumed now, and a draft scheduled now.',
    complexity: { field: FORECAST_COST, multiplier: 1 },
    select: { id: true, status: true },
    resolve: ({ id, status }, _args, { app, viewer }) =>
      isCampaignTerminal(status)
        ? null
        : forecastCampaign(app, viewer!, { campaignId: toPublicId('Campaign', id) }),
  }),
);
