/** Mutations of knowledge bases. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import {
  createKnowledgeBase,
  deleteKnowledgeBase,
  MAX_DESCRIPTION,
  MAX_NAME,
  updateKnowledgeBase,
} from '../service.ts';
import { KnowledgeBaseNode } from './knowledge-base.ts';

mutation('createKnowledgeBase', {
  description:
    'Creates an empty knowledge base. The returned knowledge base is usually ACTIVE. It is DRAFT when Ultravox could not be reached, in which case it is sent again automatically, and FAILED when Ultravox refused it, for example because the account has too many; `syncError` gives the reason.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: `Display name, 1 to ${MAX_NAME} characters.` }),
    description: t.string({
      description: `Description of the content, at most ${formatNumber(MAX_DESCRIPTION)} characters.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeBase: await createKnowledgeBase(app, viewer, input),
  }),
  payload: {
    knowledgeBase: { type: KnowledgeBaseNode, description: 'The created knowledge base.' },
  },
});

mutation('updateKnowledgeBase', {
  description:
    'Updates the name and description of a knowledge base. Omitted fields stay unchanged.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the knowledge base (`knb_…`).' }),
    name: t.string({ description: `New name, 1 to ${MAX_NAME} characters. Cannot be null.` }),
    description: t.string({
      description: `New description, at most ${formatNumber(MAX_DESCRIPTION)} characters. Null removes it.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeBase: await updateKnowledgeBase(app, viewer, input),
  }),
  payload: {
    knowledgeBase: { type: KnowledgeBaseNode, description: 'The updated knowledge base.' },
  },
});

mutation('deleteKnowledgeBase', {
  description:
    'Deletes a knowledge base and all of its sources, here and at Ultravox. Fails with IN_USE while agents use it; `details.agentIds` lists up to 100 of them.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the knowledge base (`knb_…`).' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedKnowledgeBaseId: publicId(
      'KnowledgeBase',
      await deleteKnowledgeBase(app, viewer, input.id),
    ),
  }),
  payload: {
    deletedKnowledgeBaseId: { type: 'ID', description: 'ID of the deleted knowledge base.' },
  },
});
