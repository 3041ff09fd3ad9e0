/** Mutations that create, update, move and delete contacts. */
import { listCost } from '../../graphql/lists/page.ts';
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { deleteContacts, MAX_CONTACTS, moveContacts } from '../selection.ts';
import { createContact, createContacts, updateContact } from '../service.ts';
import { ContactNode } from './contact.ts';
import { defaultCountryField } from './contact-import-inputs.ts';
import {
  ContactDuplicateRule,
  ContactMoveDuplicateRule,
  ContactRowInput,
  ContactSelectionInput,
  personFields,
} from './contact-inputs.ts';

mutation('createContact', {
  description:
    'Creates a contact in a folder. Fails with `ALREADY_EXISTS` if the folder has a contact with the same phone number; `details.contactId` is the ID of that contact.',
  scope: 'write',
  input: (t) => ({
    folderId: t.id({ required: true, description: 'ID of the folder (`fld_…`).' }),
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'Phone number of the contact.',
    }),
    ...personFields(t),
  }),
  run: async (input, { app, viewer }) => ({ contact: await createContact(app, viewer, input) }),
  payload: {
    contact: { type: ContactNode, description: 'The created contact.' },
  },
});

mutation('createContacts', {
  description: `Creates up to ${formatNumber(MAX_CONTACTS)} contacts in a folder: all of them, or none if a row is invalid. Use \`importContacts\` for longer lists.`,
  scope: 'write',
  input: (t) => ({
    folderId: t.id({ required: true, description: 'ID of the folder (`fld_…`).' }),
    contacts: t.field({
      type: [ContactRowInput],
      maxItems: MAX_CONTACTS,
      required: true,
      description: `Contacts to create, 1 to ${formatNumber(MAX_CONTACTS)}. A phone number that is listed twice counts as a duplicate.`,
    }),
    defaultCountry: defaultCountryField(t),
    onDuplicate: t.field({
      type: ContactDuplicateRule,
      required: true,
      defaultValue: 'REFUSE',
      description: 'Handling of phone numbers that are already in the folder.',
    }),
  }),
  run: (input, { app, viewer }) => createContacts(app, viewer, input),
  payload: (t) => ({
    contacts: t.field({
      type: [ContactNode],
      nullable: true,
      complexity: listCost(MAX_CONTACTS),
      description:
        'One contact for each row, in the order of the rows: created, updated or unchanged.',
      resolve: (payload) => payload.contacts ?? null,
    }),
    createdCount: t.int({
      nullable: true,
      description: 'Number of created contacts.',
      resolve: (payload) => payload.createdCount ?? null,
    }),
    updatedCount: t.int({
      nullable: true,
      description: 'Number of rows that updated an existing contact.',
      resolve: (payload) => payload.updatedCount ?? null,
    }),
    skippedCount: t.int({
      nullable: true,
      description: 'Number of rows that were skipped because their phone number existed.',
      resolve: (payload) => payload.skippedCount ?? null,
    }),
  }),
});

mutation('updateContact', {
  description:
    'Updates a contact. Omitted fields stay unchanged, null clears a field, and `metadata` replaces all keys. Copies of the contact in campaigns do not change.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the contact (`ctc_…`).' }),
    phoneNumber: t.field({
      type: 'E164',
      description:
        'New phone number. Cannot be null. Fails with `ALREADY_EXISTS` if another contact of the folder has it.',
    }),
    ...personFields(t),
  }),
  run: async (input, { app, viewer }) => ({ contact: await updateContact(app, viewer, input) }),
  payload: {
    contact: { type: ContactNode, description: 'The updated contact.' },
  },
});

mutation('moveContacts', {
  description:
    'Moves contacts to another folder. Contacts that are already in that folder are not counted.',
  scope: 'write',
  input: (t) => ({
    contacts: t.field({
      type: ContactSelectionInput,
      required: true,
      description: 'Contacts to move.',
    }),
    folderId: t.id({ required: true, description: 'ID of the target folder (`fld_…`).' }),
    onDuplicate: t.field({
      type: ContactMoveDuplicateRule,
      required: true,
      defaultValue: 'REFUSE',
      description: 'Handling of phone numbers that are already in the target folder.',
    }),
  }),
  run: (input, { app, viewer }) => moveContacts(app, viewer, input),
  payload: {
    movedCount: { type: 'Int', description: 'Number of moved contacts.' },
    skippedCount: {
      type: 'Int',
      description:
        'Number of contacts that were not moved because the target folder has their phone number.',
    },
  },
});

mutation('deleteContacts', {
  description:
    'Permanently deletes contacts. When selected by ID, all of them are deleted, or none if one does not exist. Campaigns keep the contacts that they have copied.',
  scope: 'write',
  input: (t) => ({
    contacts: t.field({
      type: ContactSelectionInput,
      required: true,
      description: 'Contacts to delete.',
    }),
  }),
  run: (input, { app, viewer }) => deleteContacts(app, viewer, input.contacts),
  payload: (t) => ({
    contactCount: t.int({
      nullable: true,
      description: 'Number of deleted contacts.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
    deletedContactIds: t.idList({
      nullable: true,
      description:
        'IDs of the deleted contacts, when they were selected by ID. Null when they were selected by a folder and a filter, since their number is not limited.',
      resolve: ({ deletedIds }) => deletedIds?.map((id) => publicId('Contact', id)) ?? null,
    }),
  }),
});
