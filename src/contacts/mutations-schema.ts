import type { InputFieldBuilder } from '@pothos/core';
import { builder } from '../graphql/builder.ts';
import { toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { createContactFolder, deleteContactFolder, updateContactFolder } from './folders.ts';
import { ContactFilterInput, ContactFolderNode, ContactNode } from './schema.ts';
import { deleteContacts, MAX_CONTACTS, moveContacts } from './selection.ts';
import { createContact, createContacts, updateContact } from './service.ts';

mutation('createContactFolder', {
  description: 'Makes an empty folder.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: 'What to call it; 1 to 100 characters.' }),
    description: t.string({ description: 'What it is for; at most 1,000 characters.' }),
  }),
  run: async (input, { app, viewer }) => ({
    contactFolder: await createContactFolder(app, viewer, input),
  }),
  payload: (t) => ({
    contactFolder: t.field({
      type: ContactFolderNode,
      nullable: true,
      description: 'The new folder.',
      resolve: (payload) => payload.contactFolder ?? null,
    }),
  }),
});

mutation('updateContactFolder', {
  description: 'Changes the name or the description of a folder; what is not sent stays.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `fld_…` id.' }),
    name: t.string({ description: 'The new name; 1 to 100 characters.' }),
    description: t.string({ description: 'At most 1,000 characters; null takes it away.' }),
  }),
  run: async (input, { app, viewer }) => ({
    contactFolder: await updateContactFolder(app, viewer, input),
  }),
  payload: (t) => ({
    contactFolder: t.field({
      type: ContactFolderNode,
      nullable: true,
      description: 'The folder as it is now.',
      resolve: (payload) => payload.contactFolder ?? null,
    }),
  }),
});

mutation('deleteContactFolder', {
  description:
    'Deletes a folder **and every contact in it**, irreversibly, and with it its imports. Campaigns made from it keep their copies of the contacts.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `fld_…` id.' }) }),
  run: async (input, { app, viewer }) => {
    const { id, contactCount } = await deleteContactFolder(app, viewer, input);
    return {
      deletedContactFolderId: toPublicId('ContactFolder', id),
      contactCount,
    };
  },
  payload: (t) => ({
    deletedContactFolderId: t.id({
      nullable: true,
      description: 'The folder that is gone.',
      resolve: (payload) => payload.deletedContactFolderId ?? null,
    }),
    contactCount: t.int({
      nullable: true,
      description: 'How many contacts went with it.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});

type Fields = InputFieldBuilder<(typeof builder)['$inferSchemaTypes'], 'InputObject'>;

/** What can be told about a person, beside the number. */
export function personFields(t: Fields) {
  return {
    firstName: t.string({ description: 'Given name; at most 100 characters.' }),
    lastName: t.string({ description: 'Family name; at most 100 characters.' }),
    email: t.string({ description: 'E-mail address; at most 254 characters.' }),
    companyName: t.string({ description: 'Where the person works; at most 200 characters.' }),
    industry: t.string({ description: 'Line of business; at most 200 characters.' }),
    location: t.string({ description: 'Where the person is, in any words; at most 200.' }),
    pinCode: t.string({ description: 'Postal code; at most 20 characters.' }),
    keywords: t.string({ description: 'Tags separated by commas; at most 1,000 characters.' }),
    timezone: t.string({
      description:
        'IANA zone, such as "Europe/Berlin": campaigns then call only when the hour is allowed there too.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Your own keys with text values; at most 100, of at most 2,000 characters.',
    }),
  };
}

mutation('createContact', {
  description:
    'Adds one contact to a folder. ALREADY_EXISTS when its number is in the folder; `details` names that contact.',
  scope: 'write',
  input: (t) => ({
    folderId: t.id({ required: true, description: 'The `fld_…` id of the folder it goes into.' }),
    phoneNumber: t.field({ type: 'E164', required: true, description: 'Whom to call.' }),
    ...personFields(t),
  }),
  run: async (input, { app, viewer }) => ({ contact: await createContact(app, viewer, input) }),
  payload: (t) => ({
    contact: t.field({
      type: ContactNode,
      nullable: true,
      description: 'The new contact.',
      resolve: (payload) => payload.contact ?? null,
    }),
  }),
});

const ContactRowInput = builder.inputType('ContactRowInput', {
  description: 'One contact among many.',
  fields: (t) => ({
    phoneNumber: t.string({
      required: true,
      description:
        'Whom to call: with a country code, or as it is dialled in `defaultCountry`. Spaces and signs do not matter.',
    }),
    ...personFields(t),
  }),
});

const ContactDuplicateRule = builder.enumType('ContactDuplicateRule', {
  description: 'What to do with a row whose number is in the folder already.',
  values: {
    REFUSE: { description: 'Do nothing at all, and name each such row in `userErrors`.' },
    SKIP: { description: 'Leave the contact that is there as it is.' },
    UPDATE: {
      description:
        'Write what the row says over the contact that is there. Fields that the row leaves empty stay; metadata is taken over key by key.',
    },
  } as const,
});

mutation('createContacts', {
  description: `Adds up to ${MAX_CONTACTS} contacts to a folder: all of them, or none when a row is wrong. For more, import a CSV.`,
  scope: 'write',
  input: (t) => ({
    folderId: t.id({ required: true, description: 'The `fld_…` id of the folder they go into.' }),
    contacts: t.field({
      type: [ContactRowInput],
      required: true,
      description: `1 to ${MAX_CONTACTS} contacts. A number that comes twice is a duplicate as well.`,
    }),
    defaultCountry: t.string({
      description: 'ISO 3166-1 code, such as "US", of phone numbers without a country code.',
    }),
    onDuplicate: t.field({
      type: ContactDuplicateRule,
      required: true,
      defaultValue: 'REFUSE',
      description: 'What to do with numbers that are in the folder already.',
    }),
  }),
  run: (input, { app, viewer }) => createContacts(app, viewer, input),
  payload: (t) => ({
    contacts: t.field({
      type: [ContactNode],
      nullable: true,
      complexity: { field: 1, multiplier: MAX_CONTACTS },
      description: 'For each row its contact, in the same order, whether new or not.',
      resolve: (payload) => payload.contacts ?? null,
    }),
    createdCount: t.int({
      nullable: true,
      description: 'How many contacts are new.',
      resolve: (payload) => payload.createdCount ?? null,
    }),
    updatedCount: t.int({
      nullable: true,
      description: 'How many rows were written over a contact that was there.',
      resolve: (payload) => payload.updatedCount ?? null,
    }),
    skippedCount: t.int({
      nullable: true,
      description: 'How many rows were left out because their number was there.',
      resolve: (payload) => payload.skippedCount ?? null,
    }),
  }),
});

mutation('updateContact', {
  description:
    'Changes a contact; what is not sent stays, and null takes away. Campaigns that have copied it do not follow.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `ctc_…` id.' }),
    phoneNumber: t.field({
      type: 'E164',
      description: 'Another number; ALREADY_EXISTS when the folder has it. Not null.',
    }),
    ...personFields(t),
  }),
  run: async (input, { app, viewer }) => ({ contact: await updateContact(app, viewer, input) }),
  payload: (t) => ({
    contact: t.field({
      type: ContactNode,
      nullable: true,
      description: 'The contact as it is now.',
      resolve: (payload) => payload.contact ?? null,
    }),
  }),
});

const ContactsOfFolderInput = builder.inputType('ContactsOfFolderInput', {
  description: 'Contacts of one folder.',
  fields: (t) => ({
    folderId: t.id({ required: true, description: 'The `fld_…` id of the folder.' }),
    filter: t.field({
      type: ContactFilterInput,
      description: 'Which of them. Absent: **all of them**.',
    }),
  }),
});

const ContactSelectionInput = builder.inputType('ContactSelectionInput', {
  description: 'Which contacts: exactly one member.',
  isOneOf: true,
  fields: (t) => ({
    ids: t.idList({ description: `1 to ${MAX_CONTACTS} \`ctc_…\` ids.` }),
    in: t.field({
      type: ContactsOfFolderInput,
      description: 'Those of a folder that a filter lets through, however many.',
    }),
  }),
});

mutation('moveContacts', {
  description: 'Moves contacts to another folder. Those that are in it already stay.',
  scope: 'write',
  input: (t) => ({
    contacts: t.field({
      type: ContactSelectionInput,
      required: true,
      description: 'Which contacts.',
    }),
    folderId: t.id({ required: true, description: 'The `fld_…` id of the folder they go to.' }),
    onDuplicate: t.field({
      type: builder.enumType('ContactMoveDuplicateRule', {
        description: 'What to do with a contact whose number is in the other folder already.',
        values: {
          REFUSE: { description: 'Move nothing at all; `details` names up to 20 such contacts.' },
          SKIP: { description: 'Leave that contact where it is, and move the others.' },
        } as const,
      }),
      required: true,
      defaultValue: 'REFUSE',
      description: 'What to do with numbers that are in the other folder already.',
    }),
  }),
  run: (input, { app, viewer }) => moveContacts(app, viewer, input),
  payload: (t) => ({
    movedCount: t.int({
      nullable: true,
      description: 'How many were moved.',
      resolve: (payload) => payload.movedCount ?? null,
    }),
    skippedCount: t.int({
      nullable: true,
      description: 'How many stayed because their number was in the folder already.',
      resolve: (payload) => payload.skippedCount ?? null,
    }),
  }),
});

mutation('deleteContacts', {
  description:
    'Deletes contacts for good. Ids: all of them, or none when one is not there. Campaigns that have copied them keep their copies.',
  scope: 'write',
  input: (t) => ({
    contacts: t.field({
      type: ContactSelectionInput,
      required: true,
      description: 'Which contacts.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    contactCount: await deleteContacts(app, viewer, input.contacts),
  }),
  payload: (t) => ({
    contactCount: t.int({
      nullable: true,
      description: 'How many were deleted.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});
