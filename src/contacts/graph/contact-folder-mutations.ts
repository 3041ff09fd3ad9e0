/** Mutations that create, update and delete contact folders. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import {
  createContactFolder,
  deleteContactFolder,
  MAX_DESCRIPTION,
  MAX_NAME,
  updateContactFolder,
} from '../folders.ts';
import { ContactFolderNode } from './contact-folder.ts';

mutation('createContactFolder', {
  description: 'Creates an empty contact folder.',
  scope: 'write',
  input: (t) => ({
    name: t.string({
      required: true,
      description: `Name of the folder, 1 to ${MAX_NAME} characters.`,
    }),
    description: t.string({
      description: `Description of the folder, at most ${formatNumber(MAX_DESCRIPTION)} characters.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    contactFolder: await createContactFolder(app, viewer, input),
  }),
  payload: {
    contactFolder: { type: ContactFolderNode, description: 'The created folder.' },
  },
});

mutation('updateContactFolder', {
  description: 'Updates a contact folder. Omitted fields stay unchanged.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the folder (`fld_…`).' }),
    name: t.string({ description: `New name, 1 to ${MAX_NAME} characters. Cannot be null.` }),
    description: t.string({
      description: `New description, at most ${formatNumber(MAX_DESCRIPTION)} characters. Null removes it.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    contactFolder: await updateContactFolder(app, viewer, input),
  }),
  payload: {
    contactFolder: { type: ContactFolderNode, description: 'The updated folder.' },
  },
});

mutation('deleteContactFolder', {
  description:
    'Permanently deletes a folder with **all of its contacts** and imports. Campaigns keep the contacts that they have copied from it.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the folder (`fld_…`).' }) }),
  run: async (input, { app, viewer }) => {
    const { id, contactCount } = await deleteContactFolder(app, viewer, input);
    return {
      deletedContactFolderId: publicId('ContactFolder', id),
      contactCount,
    };
  },
  payload: {
    deletedContactFolderId: { type: 'ID', description: 'ID of the deleted folder.' },
    contactCount: {
      type: 'Int',
      description: 'Number of contacts that were deleted with the folder.',
    },
  },
});
