/** What can be done with campaigns. */
import type { InputFieldBuilder } from '@pothos/core';
import { ColumnMappingInput } from '../contacts/import-schema.ts';
import { personFields } from '../contacts/mutations-schema.ts';
import type { Campaign } from '../generated/prisma/client.ts';
import { builder } from '../graphql/builder.ts';
import { toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import {
  CampaignScheduleTypeEnum,
  CampaignWarningCodeEnum,
  PhoneRotationStrategyEnum,
} from './enums.ts';
import type { ForecastProblem } from './forecast.ts';
import { cancelCampaign, pauseCampaign, resumeCampaign, scheduleCampaign } from './lifecycle.ts';
import { CampaignNode } from './schema.ts';
import {
  addCampaignContacts,
  type CampaignWithContacts,
  type ChangedCampaign,
  createCampaign,
  deleteCampaigns,
  updateCampaign,
} from './service.ts';
import type { RowProblem } from './sources.ts';

type Fields = InputFieldBuilder<(typeof builder)['$inferSchemaTypes'], 'InputObject'>;

const CampaignContactRowInput = builder.inputType('CampaignContactRowInput', {
  description: 'One contact to be called, without being kept as a contact.',
  fields: (t) => ({
    phoneNumber: t.string({
      required: true,
      description:
        'Whom to call: with a country code, or as it is dialled in `defaultCountry`. Spaces and signs do not matter.',
    }),
    clientId: t.string({
      description:
        'Your own id for it, 1 to 200 characters. A row whose `clientId` is in the campaign already adds nothing; without one that goes by the number.',
    }),
    ...personFields(t),
  }),
});

/** Whom to call, in any of four ways. */
function sourceFields(t: Fields) {
  return {
    contactFolderId: t.id({
      description: 'An `fld_…` id: all contacts that are in the folder now are copied.',
    }),
    contactIds: t.idList({ description: 'Up to 10,000 `ctc_…` ids: these contacts are copied.' }),
    contacts: t.field({
      type: [CampaignContactRowInput],
      description:
        'Up to 10,000 rows: all of them, or none when one is wrong. For more, upload a file.',
    }),
    contactsFile: t.field({
      type: 'Upload',
      description:
        'A CSV with a header, of at most 50 MB and 100,000 rows, as `importContacts` reads it; a column `clientId` or `client_id` holds your own ids. Rows that cannot be used are in `problems` and the others are added. See the type Upload for how to send it.',
    }),
    mapping: t.field({
      type: [ColumnMappingInput],
      description:
        'For a file: what its columns are. Those that are not here are told by their names, and any other goes into the metadata.',
    }),
    defaultCountry: t.string({
      description:
        'For rows and files: ISO 3166-1 alpha-2 code, such as `US`, of the country of numbers that name none. Absent: such numbers are refused.',
    }),
  };
}

/** The start differs too much for one text. */
const START = {
  create:
    'Nobody is called before this instant, which must not be in the past. Absent: as soon as the window is open.',
  update:
    'Only before the campaign has started. Nobody is called before this instant, which must not be in the past. Absent: stays; null: at once (IMMEDIATE), as soon as the window is open.',
};

/**
 * How and when to call, but for the zone and the kind of schedule, which stay. What is absent has its
 * default in a new campaign and stays as it is in an update, where null stands for the default.
 */
function settingsFields(t: Fields, use: 'create' | 'update') {
  const absent = use === 'create' ? 'Absent' : 'Absent: stays; null';
  const absentOrEmpty = use === 'create' ? 'Absent or empty' : 'Absent: stays; null or empty';
  return {
    phoneNumberIds: t.idList({
      description: `\`num_…\` ids of the numbers to call from, in order. ${absentOrEmpty}: the outbound numbers of the agent.`,
    }),
    phoneRotationStrategy: t.field({
      type: PhoneRotationStrategyEnum,
      description: `Which of several numbers a call is made from. ${absent}: RANDOM.`,
    }),
    scheduledAt: t.field({ type: 'DateTime', description: START[use] }),
    startTime: t.string({
      description: `When the daily window opens, \`HH:MM\` in \`timezone\`. ${absent}: at midnight.`,
    }),
    endTime: t.string({
      description: `When the daily window closes, \`HH:MM\` in \`timezone\`; no call begins at or after it. Before \`startTime\`: on the next day. Must not equal it. ${absent}: at the end of the day.`,
    }),
    workingDays: t.intList({
      description: `On which days the window opens, 1 (Monday) to 7 (Sunday), at least one. ${absent}: \`[1, 2, 3, 4, 5]\`.`,
    }),
    maxConcurrentCalls: t.int({
      description: `How many of its calls there may be at once, 1 to 100. The limits of your organization and of Ultravox hold as well. ${absent}: 10.`,
    }),
    maxCallsPerDay: t.int({
      description: `How many calls, retries included, on one calendar day of \`timezone\`: 1 to 1,000,000, spread evenly over the window. ${absent}: no limit.`,
    }),
    retryFailed: t.boolean({
      description: `Whether to call again who was not reached (no answer, busy, unreachable, connection lost). Never after a conversation, a rejection or for an invalid number. ${absent}: false.`,
    }),
    maxRetryAttempts: t.int({
      description: `How often at most after the first call, for each contact: 0 to 3. It counts only with \`retryFailed\`. ${absent}: 0.`,
    }),
    retryDelay: t.field({
      type: 'Duration',
      description: `The wait before the first retry, doubling with each further one: \`1s\` to \`604800s\` (a week). ${absent}: \`900s\`, a quarter of an hour.`,
    }),
  };
}

const CampaignWarningType = builder.objectRef<ForecastProblem>('CampaignWarning').implement({
  description: 'Something to know about a schedule that was taken all the same.',
  fields: (t) => ({
    code: t.field({
      type: CampaignWarningCodeEnum,
      description: 'For programs to act on.',
      resolve: ({ code }) => code,
    }),
    message: t.exposeString('message', {
      description: 'For people: how far it does not fit, and what would help.',
    }),
    contacts: t.exposeInt('contacts', { description: 'How many contacts are concerned.' }),
  }),
});

const CampaignContactProblemType = builder
  .objectRef<RowProblem>('CampaignContactProblem')
  .implement({
    description: 'A row of a file that could not be used.',
    fields: (t) => ({
      row: t.exposeInt('row', {
        description: 'Which row: 1 is the first after the header. Empty rows are not counted.',
      }),
      phoneNumber: t.exposeString('phoneNumber', {
        nullable: true,
        description: 'What stood where the phone number should be.',
      }),
      reason: t.exposeString('reason', { description: 'What is wrong with it, for people.' }),
    }),
  });

type Payload<Shape extends object> = Parameters<
  Parameters<typeof mutation<never, Shape>>[1]['payload']
>[0];

const campaignField = (t: Payload<{ campaign: Campaign }>, description: string) =>
  t.field({
    type: CampaignNode,
    nullable: true,
    description,
    resolve: (payload) => payload.campaign ?? null,
  });

const warningsField = (t: Payload<ChangedCampaign>) =>
  t.field({
    type: [CampaignWarningType],
    nullable: true,
    description:
      'Where list and schedule do not fit each other well; empty when they do. It was done all the same.',
    resolve: (payload) => payload.warnings ?? null,
  });

function addedFields(t: Payload<CampaignWithContacts>) {
  return {
    addedCount: t.int({
      nullable: true,
      description: 'How many contacts were added.',
      resolve: ({ added }) => added?.addedCount ?? null,
    }),
    duplicateCount: t.int({
      nullable: true,
      description:
        'How many were not, because their `clientId` or number was in the campaign already or came earlier in the same list; the first counts.',
      resolve: ({ added }) => added?.duplicateCount ?? null,
    }),
    problemCount: t.int({
      nullable: true,
      description: 'How many rows of the file could not be used.',
      resolve: ({ added }) => added?.problemCount ?? null,
    }),
    problems: t.field({
      type: [CampaignContactProblemType],
      nullable: true,
      description: 'The first 100 of them.',
      resolve: ({ added }) => added?.problems ?? null,
    }),
  };
}

mutation('createCampaign', {
  description:
    'Makes a campaign: an agent, whom to call, and when. Give **at most one** of `contactFolderId`, `contactIds`, `contacts` and `contactsFile`; a campaign has at most 100,000 contacts. Without `scheduleType` and `scheduledAt` it is a DRAFT, which may still be without contacts, and nobody is called before `scheduleCampaign`. `IMMEDIATE` starts it at once, `scheduledAt` when that time has come; both need contacts, an ACTIVE agent and a number to call from. WINDOW_TOO_SMALL: the schedule leaves no time for the list; see `campaignForecast`. When only some contacts have a zone in which the window never opens, these are SKIPPED as NEVER_OPEN, and planned again when an edit of the schedule makes room for them. Then watch `campaignProgress`. The prompt of the agent is given what is known of each contact: `{{first_name}}`, `{{last_name}}`, `{{email}}`, `{{company_name}}`, `{{industry}}`, `{{location}}`, `{{pin_code}}`, `{{keywords}}`, `{{phone_number}}`, and its metadata by their keys.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: 'What to call it; 1 to 255 characters.' }),
    agentId: t.id({
      required: true,
      description: 'Who talks, an `agt_…` id. It cannot be changed later.',
    }),
    ...sourceFields(t),
    scheduleType: t.field({
      type: CampaignScheduleTypeEnum,
      description:
        'IMMEDIATE to start at once, SCHEDULED (the default with a `scheduledAt`) to start then. Absent, without `scheduledAt`: a draft.',
    }),
    timezone: t.string({
      description:
        'IANA zone, such as "Europe/Berlin", by which window, working days and the daily limit go. Default `UTC`.',
    }),
    ...settingsFields(t, 'create'),
  }),
  run: (input, { app, viewer }) => createCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The new campaign; DRAFT, SCHEDULED or ACTIVE.'),
    ...addedFields(t),
    warnings: warningsField(t),
  }),
});

mutation('updateCampaign', {
  description:
    'Changes what is sent of a campaign that is not over (DRAFT, SCHEDULED, ACTIVE or PAUSED) and leaves the rest; null puts a setting back to its default. `scheduledAt` can be changed until it has started. A change of the schedule plans again everybody who has not been called; running calls, and those that are done, stay as they are. Agent, contacts and zone stay: for these see `addCampaignContacts` and `scheduleCampaign`.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `cmp_…` id.' }),
    name: t.string({ description: 'Another name; 1 to 255 characters. Not null.' }),
    ...settingsFields(t, 'update'),
  }),
  run: (input, { app, viewer }) => updateCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign as it is now.'),
    warnings: warningsField(t),
  }),
});

mutation('scheduleCampaign', {
  description:
    'Starts a DRAFT: now, or at its `scheduledAt`. Every contact gets its time (`scheduledAt`). Needs contacts, an ACTIVE agent and a number to call from. It becomes ACTIVE, or SCHEDULED until its time has come; calls are placed only inside its window.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `cmp_…` id of a draft.' }),
    scheduledAt: t.field({
      type: 'DateTime',
      description:
        'When to start, not in the past. Absent: the start it has, if that is ahead, else now; null: now.',
    }),
    timezone: t.string({
      description: 'Another IANA zone for the campaign. Absent or null: it stays.',
    }),
  }),
  run: (input, { app, viewer }) => scheduleCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign, ACTIVE or SCHEDULED.'),
    warnings: warningsField(t),
  }),
});

mutation('addCampaignContacts', {
  description:
    'Adds contacts to the end of a campaign that is not over (DRAFT, SCHEDULED, ACTIVE or PAUSED), from **exactly one** of `contactFolderId`, `contactIds`, `contacts` and `contactsFile`, up to 100,000 in all. Who is in the campaign already is counted in `duplicateCount` and added no second time, so sending the same again is safe. If the campaign is scheduled they get their times at once.',
  scope: 'write',
  input: (t) => ({
    campaignId: t.id({ required: true, description: 'The `cmp_…` id.' }),
    ...sourceFields(t),
  }),
  run: (input, { app, viewer }) => addCampaignContacts(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign with them.'),
    ...addedFields(t),
    warnings: warningsField(t),
  }),
});

const ID_DESCRIPTION = 'The `cmp_…` id.';

mutation('pauseCampaign', {
  description:
    'Places no more calls for a SCHEDULED or ACTIVE campaign; those that run go on to their end and count. It stays PAUSED until `resumeCampaign`.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await pauseCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({ campaign: campaignField(t, 'The campaign, PAUSED.') }),
});

mutation('resumeCampaign', {
  description:
    'Goes on with a PAUSED campaign: SCHEDULED while its start is still ahead, else ACTIVE. Whose time has passed meanwhile comes first, under the same limits.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await resumeCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({ campaign: campaignField(t, 'The campaign, ACTIVE or SCHEDULED.') }),
});

mutation('cancelCampaign', {
  description:
    'Stops a campaign that is not over, for good. Whoever was still to be called is CANCELLED; calls that run go on to their end. To stop for a while: `pauseCampaign`.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await cancelCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({ campaign: campaignField(t, 'The campaign, CANCELLED.') }),
});

mutation('deleteCampaigns', {
  description:
    'Deletes campaigns with their contacts: all of them, or none when one is not there or is ACTIVE (cancel it first). Their calls stay.',
  scope: 'write',
  input: (t) => ({
    ids: t.idList({ required: true, description: '1 to 100 `cmp_…` ids.' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedCampaignIds: await deleteCampaigns(app, viewer, input.ids),
  }),
  payload: (t) => ({
    deletedCampaignIds: t.idList({
      nullable: true,
      description: 'The ids that are no longer there.',
      resolve: ({ deletedCampaignIds }) =>
        deletedCampaignIds?.map((id) => toPublicId('Campaign', id)) ?? null,
    }),
  }),
});
