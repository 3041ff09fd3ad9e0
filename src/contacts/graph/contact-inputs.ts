/** Inputs and enums of contacts. */
import { ContactOutcome } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import type { InputBuilder } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { MAX_LENGTH, MAX_METADATA_ENTRIES } from '../fields.ts';
import type { PersonField } from '../person-columns.ts';
import { MAX_CONFLICTS, MAX_CONTACTS } from '../selection.ts';

const NOT_JUDGED =
  'Never set. Define interest in the `successCriteria` of the agent, and use `Call.outcome`.';

export const ContactOutcomeEnum = builder.enumType('ContactOutcome', {
  description: 'Outcome of a call of a campaign to a contact.',
  values: {
    [ContactOutcome.CONTACTED]: {
      description: 'The call was answered, as far as known not by an answering machine.',
    },
    [ContactOutcome.VOICEMAIL]: { description: 'An answering machine answered.' },
    [ContactOutcome.NO_ANSWER]: {
      description: 'Nobody answered, the line was busy, or the number could not be reached.',
    },
    [ContactOutcome.ESCALATED]: {
      description: 'The call was transferred to a member of your staff.',
      deprecationReason: 'Never set.',
    },
    [ContactOutcome.INTERESTED]: {
      description: 'The person showed interest.',
      deprecationReason: NOT_JUDGED,
    },
    [ContactOutcome.NOT_INTERESTED]: {
      description: 'The person declined.',
      deprecationReason: NOT_JUDGED,
    },
  } as const,
});

export const ContactFilterInput = builder.inputType('ContactFilter', {
  description: 'Filters for contacts. All of them must match.',
  fields: (t) => ({
    folderId: t.id({ description: 'Contacts of this folder (`fld_…`).' }),
    search: t.string({
      description:
        'Substring of the name, phone number, email address or keywords. Ignores case and accents, and spaces, parentheses and hyphens in phone numbers. A search with fewer than three consecutive letters or digits matches the beginnings of words only. Lists ignore a blank search; mutations refuse it.',
    }),
    name: t.string({
      description:
        'Substring of the first name, a space and the last name. Matches in the same way as `search`.',
    }),
    lastCallOutcome: t.field({
      type: [ContactOutcomeEnum],
      description:
        'Outcomes of the last call to include. Default, and when empty: all contacts, also those without one.',
    }),
    phoneNumber: t.field({ type: 'E164', description: 'Contacts with exactly this phone number.' }),
    createdFrom: t.field({
      type: 'DateTime',
      description: 'Contacts created at or after this time.',
    }),
    createdBefore: t.field({
      type: 'DateTime',
      description: 'Contacts created before this time.',
    }),
  }),
});

/** The input fields of a person other than the phone number. */
export function personFields(t: InputBuilder) {
  return {
    firstName: t.string({ description: `First name, at most ${MAX_LENGTH.firstName} characters.` }),
    lastName: t.string({ description: `Last name, at most ${MAX_LENGTH.lastName} characters.` }),
    email: t.string({ description: 'Email address, at most 254 characters.' }),
    companyName: t.string({
      description: `Company that the person works for, at most ${MAX_LENGTH.companyName} characters.`,
    }),
    industry: t.string({
      description: `Industry of the company, at most ${MAX_LENGTH.industry} characters.`,
    }),
    location: t.string({
      description: `Location of the person as free text, at most ${MAX_LENGTH.location} characters.`,
    }),
    pinCode: t.string({ description: `Postal code, at most ${MAX_LENGTH.pinCode} characters.` }),
    keywords: t.string({ description: 'Comma-separated tags, at most 1,000 characters.' }),
    timezone: t.string({
      description:
        'Time zone of the person: an IANA name such as `Europe/Berlin`, a Windows name such as `W. Europe Standard Time`, or an abbreviation such as `EST`, which stands for a place, New York, also in summer. Ambiguous abbreviations, such as `MST`, are refused. It is stored as an IANA name. If set, campaigns call only when their calling window is open in this zone too.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      description: `Custom keys with text values: at most ${MAX_METADATA_ENTRIES} keys, with values of at most 2,000 characters. Numbers and booleans become text.`,
    }),
  } satisfies Record<Exclude<PersonField, 'phoneNumber'>, unknown>;
}

export const ContactRowInput = builder.inputType('ContactRowInput', {
  description: 'Contact to create with `createContacts`.',
  fields: (t) => ({
    phoneNumber: t.string({
      required: true,
      description:
        'Phone number, either with a country calling code or in the national format of `defaultCountry`. Spaces and punctuation are ignored.',
    }),
    ...personFields(t),
  }),
});

export const ContactDuplicateRule = builder.enumType('ContactDuplicateRule', {
  description: 'Handling of rows whose phone number is already in the folder.',
  values: {
    REFUSE: { description: 'Create nothing, and list every such row in `userErrors`.' },
    SKIP: { description: 'Leave the existing contact unchanged.' },
    UPDATE: {
      description: `Update the existing contact. Fields that are empty in the row keep their values, and metadata is merged by key, which is refused if the contact would have more than ${MAX_METADATA_ENTRIES} keys.`,
    },
  } as const,
});

export const ContactMoveDuplicateRule = builder.enumType('ContactMoveDuplicateRule', {
  description: 'Handling of contacts whose phone number is already in the target folder.',
  values: {
    REFUSE: {
      description: `Move nothing. \`details\` of the error lists up to ${MAX_CONFLICTS} such contacts.`,
    },
    SKIP: { description: 'Leave such contacts in their folder, and move the others.' },
  } as const,
});

const ContactsOfFolderInput = builder.inputType('ContactsOfFolderInput', {
  description: 'Contacts of one folder.',
  fields: (t) => ({
    folderId: t.id({ required: true, description: 'ID of the folder (`fld_…`).' }),
    filter: t.field({
      type: ContactFilterInput,
      description: 'Filters to apply. Default: **all contacts** of the folder.',
    }),
  }),
});

export const ContactSelectionInput = builder.inputType('ContactSelectionInput', {
  description: 'Selection of contacts. Give **exactly one** field.',
  isOneOf: true,
  fields: (t) => ({
    ids: t.idList({
      maxItems: MAX_CONTACTS,
      description: `IDs of contacts (\`ctc_…\`), 1 to ${formatNumber(MAX_CONTACTS)}.`,
    }),
    in: t.field({
      type: ContactsOfFolderInput,
      description: 'Contacts of a folder that match a filter. Their number is not limited.',
    }),
  }),
});
