/** Mutations of campaigns. */
import { ColumnMappingInput, encodingField } from '../../contacts/graph/contact-import-inputs.ts';
import { personFields } from '../../contacts/graph/contact-inputs.ts';
import { MAX_MAPPINGS } from '../../contacts/import/service.ts';
import type { Campaign } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { type InputBuilder, mutation, type PayloadBuilder } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { VARIABLES } from '../dispatch/attempts.ts';
import {
  MAX_CAMPAIGN_CONTACTS,
  MAX_CLIENT_ID,
  MAX_LISTED_CONTACTS,
  MAX_SOURCE_BYTES,
  type RowProblem,
} from '../enrollment/contact-sources.ts';
import { MAX_WAITING_PER_NEW } from '../enrollment/planning.ts';
import { cancelCampaign, pauseCampaign, resumeCampaign, scheduleCampaign } from '../lifecycle.ts';
import type { SimulationProblem } from '../schedule/simulation.ts';
import {
  addCampaignContacts,
  type CampaignWithContacts,
  type ChangedCampaign,
  createCampaign,
  deleteCampaigns,
  MAX_DELETED,
  updateCampaign,
} from '../service.ts';
import { MAX_NAME, MAX_NUMBERS } from '../settings.ts';
import { CampaignNode } from './campaign.ts';
import {
  CampaignScheduleTypeEnum,
  CampaignWarningCodeEnum,
  PhoneRotationStrategyEnum,
} from './campaign-enums.ts';

const PLACEHOLDERS = VARIABLES.filter(({ field }) => field !== 'phoneNumber')
  .map(({ name }) => `\`{{${name}}}\``)
  .join(', ');

const CampaignContactRowInput = builder.inputType('CampaignContactRowInput', {
  description: 'Contact of a campaign that is not stored as a contact of the organization.',
  fields: (t) => ({
    phoneNumber: t.string({
      required: true,
      description:
        'Phone number to call, either with a country calling code or in the national format of `defaultCountry`. Spaces and punctuation are ignored.',
    }),
    clientId: t.string({
      description: `Your own ID of the contact, 1 to ${MAX_CLIENT_ID} characters. White space around it is removed. A row is a duplicate if its \`clientId\` is already in the campaign or, without one, if its phone number is. So rows with different IDs may have the same phone number.`,
    }),
    ...personFields(t),
  }),
});

/** Input fields of the four sources of contacts. */
function sourceFields(t: InputBuilder) {
  return {
    contactFolderId: t.id({
      description:
        'ID of a contact folder (`fld_…`). All contacts that are currently in the folder are copied.',
    }),
    contactIds: t.idList({
      maxItems: MAX_LISTED_CONTACTS,
      description: `IDs of contacts (\`ctc_…\`) to copy, up to ${formatNumber(MAX_LISTED_CONTACTS)}.`,
    }),
    contacts: t.field({
      type: [CampaignContactRowInput],
      maxItems: MAX_LISTED_CONTACTS,
      description: `Rows, up to ${formatNumber(MAX_LISTED_CONTACTS)}. If one is invalid, none is added. For more rows, upload a file.`,
    }),
    contactsFile: t.field({
      type: 'Upload',
      description: `CSV file with a header, at most ${MAX_SOURCE_BYTES / 2 ** 20} MB and ${formatNumber(MAX_CAMPAIGN_CONTACTS)} rows, in the format of \`importContacts\`. A column \`clientId\` or \`client_id\` holds your own IDs. Invalid rows are returned in \`problems\`, and the others are added. Rows with an opt-out, also with an invalid contact but not with more cells than the header, are put on the do-not-call list with all of their phone numbers. The type \`Upload\` describes how to send a file.`,
    }),
    mapping: t.field({
      type: [ColumnMappingInput],
      maxItems: MAX_MAPPINGS,
      description:
        'Meaning of the columns of `contactsFile`. Columns that are not listed are recognized by their names; unrecognized columns go into the metadata.',
    }),
    encoding: encodingField(t),
    defaultCountry: t.string({
      description:
        'Country of phone numbers without a country calling code in `contacts` and `contactsFile`, as an ISO 3166-1 alpha-2 code such as `US`. Default: such numbers are invalid.',
    }),
  };
}

/** Descriptions of `scheduledAt`, by use. */
const START = {
  create:
    'Start of the campaign, not in the past. No call is placed before it. Default: as soon as the calling window is open.',
  update:
    'Start of the campaign, not in the past. No call is placed before it. Cannot be changed once the campaign has started. Null: as soon as the calling window is open; a SCHEDULED campaign becomes ACTIVE.',
};

/** What `updateCampaign` adds to the descriptions: the effect of a change on contacts that wait for a retry. */
const CHANGE = {
  retryFailed:
    ' Decided again when a planned retry is due: if retries have been turned off, the contact gets the final status of its last call instead.',
  retryVoicemail:
    ' Also applies to contacts that wait for a retry: if it is turned off, those whose voicemail answered are not called again. If it is turned on, contacts that are COMPLETED stay so.',
  maxRetryAttempts:
    ' A lower number also cancels planned retries beyond it. A higher one does not bring back contacts that have failed.',
  retryDelay:
    ' A new delay applies to calls that end after the change. Planned retries keep their times until the schedule changes, which plans them again with the new delay.',
};

/** Settings that `updateCampaign` can change. There, null resets a field to the same default. */
function settingsFields(t: InputBuilder, use: 'create' | 'update') {
  const change = (field: keyof typeof CHANGE) => (use === 'update' ? CHANGE[field] : '');
  return {
    phoneNumberIds: t.idList({
      maxItems: MAX_NUMBERS,
      description: `IDs of the phone numbers to call from (\`num_…\`), in order, without duplicates, up to ${MAX_NUMBERS}. Default, also for an empty list: the outbound numbers of the agent.`,
    }),
    phoneRotationStrategy: t.field({
      type: PhoneRotationStrategyEnum,
      description: 'Strategy for choosing the phone number of each call. Default: RANDOM.',
    }),
    scheduledAt: t.field({ type: 'DateTime', description: START[use] }),
    startTime: t.string({
      description:
        'Time of day at which the calling window opens, as `HH:MM` in the time zone of the campaign. Default: midnight.',
    }),
    endTime: t.string({
      description:
        'Time of day at which the calling window closes, as `HH:MM` in the time zone of the campaign. No call is placed in the last seconds before it (2 by default) or after it. A time before `startTime` is on the next day; the two must differ. Default: the end of the day.',
    }),
    workingDays: t.intList({
      maxItems: 7,
      description:
        'Days of the week on which the calling window opens, from 1 (Monday) to 7 (Sunday), at least one. Default: `[1, 2, 3, 4, 5]`.',
    }),
    maxConcurrentCalls: t.int({
      description:
        'Maximum number of concurrent calls of the campaign, 1 to 100. The limits of the organization and of Ultravox also apply. Default: 10.',
    }),
    maxCallsPerDay: t.int({
      description:
        'Maximum number of calls per calendar day in the time zone of the campaign, including retries, 1 to 1,000,000. The calls of a day are spread evenly over the calling window. Default: no limit.',
    }),
    retryFailed: t.boolean({
      description: `Whether to retry contacts that were not reached: no answer, busy, unreachable, a connection lost before anything was heard from the other side (or, with \`retryVoicemail\`, only a voicemail), or a call that was never created because placing it was interrupted. Never retried are conversations, rejections, invalid numbers, calls ended with \`endCall\`, and contacts who asked in a call of the campaign not to be called again (\`Call.doNotCallRequested\`). With Twilio and Telnyx, Ultravox reports busy lines, rejections and invalid numbers as NO_ANSWER, so they are retried. If the connection of an answered call is lost, its outcome is recorded once the transcript shows what was heard, at most two minutes after the end; without a transcript it is not retried.${change('retryFailed')} Default: false.`,
    }),
    retryVoicemail: t.boolean({
      description: `Whether to treat contacts whose voicemail answered as not reached and to retry them. The outcomes of answered calls are then recorded when the transcript and the analysis are available, usually seconds and at most two minutes after the end. Has no effect unless \`retryFailed\` is true.${change('retryVoicemail')} Default: false.`,
    }),
    maxRetryAttempts: t.int({
      description: `Maximum number of retries for each contact, 0 to 3. Has no effect unless \`retryFailed\` is true.${change('maxRetryAttempts')} Default: 0.`,
    }),
    retryDelay: t.field({
      type: 'Duration',
      description: `Delay before the first retry, \`1s\` to \`604800s\` (one week). It doubles with each further retry, but never grows beyond one day.${change('retryDelay')} Default: \`900s\`.`,
    }),
  };
}

const CampaignWarningType = builder.objectRef<SimulationProblem>('CampaignWarning').implement({
  description: 'Warning about a schedule that was accepted.',
  fields: (t) => ({
    code: t.field({
      type: CampaignWarningCodeEnum,
      description: 'Kind of mismatch.',
      resolve: ({ code }) => code,
    }),
    message: t.exposeString('message', {
      description: 'Human-readable description of the mismatch and of possible fixes.',
    }),
    contactCount: t.exposeInt('contacts', { description: 'Number of affected contacts.' }),
    contacts: t.exposeInt('contacts', {
      description: 'Number of affected contacts.',
      deprecationReason: useInstead('contactCount'),
    }),
  }),
});

const CampaignContactProblemType = builder
  .objectRef<RowProblem>('CampaignContactProblem')
  .implement({
    description: 'Row of a file that could not be added, or that has ignored cells.',
    fields: (t) => ({
      row: t.exposeInt('row', {
        description:
          'Number of the row. Row 1 is the first after the header. Empty rows are not counted.',
      }),
      phoneNumber: t.exposeString('phoneNumber', {
        nullable: true,
        description:
          'Content of the phone number column, truncated to 60 characters. Null if there is none.',
      }),
      reason: t.exposeString('reason', {
        description: 'Human-readable description of the problem.',
      }),
    }),
  });

const campaignField = (t: PayloadBuilder<{ campaign: Campaign }>, description: string) =>
  t.field({
    type: CampaignNode,
    nullable: true,
    description,
    resolve: (payload) => payload.campaign ?? null,
  });

const warningsField = (t: PayloadBuilder<ChangedCampaign>, more = '') =>
  t.field({
    type: [CampaignWarningType],
    nullable: true,
    description: `Mismatches between contacts and schedule that did not prevent the change. Empty if there are none.${more}`,
    resolve: (payload) => payload.warnings ?? null,
  });

function addedFields(t: PayloadBuilder<CampaignWithContacts>) {
  return {
    addedCount: t.int({
      nullable: true,
      description: 'Number of contacts added.',
      resolve: ({ added }) => added?.addedCount ?? null,
    }),
    duplicateCount: t.int({
      nullable: true,
      description:
        'Number of contacts not added because their `clientId` or, without one, their phone number was already in the campaign or occurred earlier in the same list.',
      resolve: ({ added }) => added?.duplicateCount ?? null,
    }),
    doNotCallCount: t.int({
      nullable: true,
      description:
        'Number of rows of the file whose phone numbers are on the do-not-call list because of an opt-out or consent column.',
      resolve: ({ added }) => added?.doNotCallCount ?? null,
    }),
    problemCount: t.int({
      nullable: true,
      description: 'Number of invalid rows of the file.',
      resolve: ({ added }) => added?.problemCount ?? null,
    }),
    problems: t.field({
      type: [CampaignContactProblemType],
      nullable: true,
      description: 'First 100 invalid rows of the file.',
      resolve: ({ added }) => added?.problems ?? null,
    }),
    rowWarningCount: t.int({
      nullable: true,
      description:
        'Number of valid rows of the file with cells that were ignored because their values are invalid.',
      resolve: ({ added }) => added?.warningCount ?? null,
    }),
    rowWarnings: t.field({
      type: [CampaignContactProblemType],
      nullable: true,
      description: 'First 100 rows of the file with ignored cells.',
      resolve: ({ added }) => added?.warnings ?? null,
    }),
  };
}

mutation('createCampaign', {
  description: `Creates a campaign from an agent, contacts and a schedule. Give **at most one** of \`contactFolderId\`, \`contactIds\`, \`contacts\` and \`contactsFile\`; a campaign has at most ${formatNumber(MAX_CAMPAIGN_CONTACTS)} contacts. Without \`scheduleType\` and \`scheduledAt\` the campaign is a DRAFT, may have no contacts yet, and calls nobody before \`scheduleCampaign\`. Otherwise it becomes ACTIVE or SCHEDULED, which requires contacts, an ACTIVE agent and a phone number to call from. Fails with WINDOW_TOO_SMALL if some contacts could not be called within five years; see \`campaignForecast\`. Contacts in whose time zone the calling window never opens are SKIPPED as NEVER_OPEN, as long as others can be called, and are planned again when the schedule changes. The prompt of the agent may use the placeholders ${PLACEHOLDERS} and \`{{phone_number}}\`, and the metadata keys of the contacts. The opt-outs of a file stay on the do-not-call list even if the mutation then fails, with WINDOW_TOO_SMALL or because of an invalid row. Follow the campaign with \`campaignProgress\`.`,
  scope: 'write',
  input: (t) => ({
    name: t.string({
      required: true,
      description: `Name of the campaign, 1 to ${MAX_NAME} characters.`,
    }),
    agentId: t.id({
      required: true,
      description: 'ID of the agent (`agt_…`). Cannot be changed later.',
    }),
    ...sourceFields(t),
    scheduleType: t.field({
      type: CampaignScheduleTypeEnum,
      description:
        'When to start. Default: SCHEDULED with a `scheduledAt`; otherwise the campaign is created as a DRAFT.',
    }),
    timezone: t.string({
      description:
        'IANA time zone of the calling window, the working days and the daily limit, such as `Europe/Berlin`. Default: `UTC`.',
    }),
    ...settingsFields(t, 'create'),
  }),
  run: (input, { app, viewer }) => createCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The created campaign, with status DRAFT, SCHEDULED or ACTIVE.'),
    ...addedFields(t),
    warnings: warningsField(t),
  }),
});

mutation('updateCampaign', {
  description:
    'Updates a campaign with status DRAFT, SCHEDULED, ACTIVE or PAUSED. Omitted fields stay unchanged, and null resets a field to its default. If the schedule changes, waiting contacts are planned again; active calls and finished contacts are not affected. Fails with WINDOW_TOO_SMALL, changing nothing, if the contacts do not fit the new schedule. The agent cannot be changed, and the time zone only with `scheduleCampaign`. To add contacts, use `addCampaignContacts`.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the campaign (`cmp_…`).' }),
    name: t.string({ description: `New name, 1 to ${MAX_NAME} characters. Cannot be null.` }),
    ...settingsFields(t, 'update'),
  }),
  run: (input, { app, viewer }) => updateCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The updated campaign.'),
    warnings: warningsField(t),
  }),
});

const ID_DESCRIPTION = 'ID of the campaign (`cmp_…`).';

mutation('scheduleCampaign', {
  description:
    'Schedules a DRAFT and plans its contacts. The campaign becomes ACTIVE, or SCHEDULED if its start is in the future. Requires contacts, an ACTIVE agent and a phone number to call from. Fails with WINDOW_TOO_SMALL if the contacts do not fit the schedule. Has no effect and returns no warnings if the campaign is already SCHEDULED or ACTIVE with the same start and time zone.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: ID_DESCRIPTION }),
    scheduledAt: t.field({
      type: 'DateTime',
      description:
        'Start of the campaign, not in the past. Default: its current `scheduledAt` if that is in the future, otherwise now. Null: now.',
    }),
    timezone: t.string({
      description: 'New IANA time zone of the campaign. Default: unchanged.',
    }),
  }),
  run: (input, { app, viewer }) => scheduleCampaign(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign, with status ACTIVE or SCHEDULED.'),
    warnings: warningsField(t),
  }),
});

mutation('addCampaignContacts', {
  description: `Adds contacts to the end of a campaign with status DRAFT, SCHEDULED, ACTIVE or PAUSED. Give **exactly one** of \`contactFolderId\`, \`contactIds\`, \`contacts\` and \`contactsFile\`; a campaign has at most ${formatNumber(MAX_CAMPAIGN_CONTACTS)} contacts. Contacts that are already in the campaign are not added again but counted in \`duplicateCount\`, so a request can be repeated safely. Unless the campaign is a DRAFT, the contacts are planned at once, and the mutation fails with WINDOW_TOO_SMALL if they do not fit the schedule. The opt-outs of a file stay on the do-not-call list even if the mutation then fails, with WINDOW_TOO_SMALL or because of an invalid row or the status of the campaign.`,
  scope: 'write',
  input: (t) => ({
    campaignId: t.id({ required: true, description: 'ID of the campaign (`cmp_…`).' }),
    ...sourceFields(t),
  }),
  run: (input, { app, viewer }) => addCampaignContacts(app, viewer, input),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign with the added contacts.'),
    ...addedFields(t),
    warnings: warningsField(
      t,
      ` Contacts that were waiting before are considered too, unless they are more than ${MAX_WAITING_PER_NEW} times as many as the added ones; \`campaignForecast\` always considers them.`,
    ),
  }),
});

mutation('pauseCampaign', {
  description:
    'Pauses a SCHEDULED or ACTIVE campaign until `resumeCampaign`. No more calls are placed; active calls continue and count. Has no effect on a PAUSED campaign.',
  scope: 'write',
  stops: true,
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await pauseCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({ campaign: campaignField(t, 'The campaign, with status PAUSED.') }),
});

mutation('resumeCampaign', {
  description:
    'Resumes a PAUSED campaign. It becomes ACTIVE, or SCHEDULED if it has not started and its start is in the future. Contacts that became due in the meantime are called first. Requires an ACTIVE agent and a phone number to call from. Has no effect on a SCHEDULED or ACTIVE campaign.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await resumeCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({
    campaign: campaignField(t, 'The campaign, with status ACTIVE or SCHEDULED.'),
  }),
});

mutation('cancelCampaign', {
  description:
    'Cancels a campaign with status DRAFT, SCHEDULED, ACTIVE or PAUSED. Waiting contacts are CANCELLED; active calls continue. Cannot be undone; to stop temporarily, use `pauseCampaign`. Has no effect on a CANCELLED campaign.',
  scope: 'write',
  stops: true,
  input: (t) => ({ id: t.id({ required: true, description: ID_DESCRIPTION }) }),
  run: async (input, { app, viewer }) => ({
    campaign: await cancelCampaign(app, viewer, input.id),
  }),
  payload: (t) => ({ campaign: campaignField(t, 'The campaign, with status CANCELLED.') }),
});

mutation('deleteCampaigns', {
  description:
    'Deletes campaigns and their contacts. Numbers, names and other personal data of the contacts are erased within a minute, or within a minute of the end of the last active call. Their calls are kept, with phone number and variables, and can be deleted with `deleteCalls`. If one of the campaigns does not exist or is ACTIVE, none is deleted; cancel an ACTIVE campaign first.',
  scope: 'write',
  input: (t) => ({
    ids: t.idList({
      required: true,
      maxItems: MAX_DELETED,
      description: `IDs of campaigns (\`cmp_…\`), 1 to ${MAX_DELETED}, without duplicates.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedCampaignIds: await deleteCampaigns(app, viewer, input.ids),
  }),
  payload: (t) => ({
    deletedCampaignIds: t.idList({
      nullable: true,
      description: 'IDs of the deleted campaigns.',
      resolve: ({ deletedCampaignIds }) =>
        deletedCampaignIds?.map((id) => publicId('Campaign', id)) ?? null,
    }),
  }),
});
