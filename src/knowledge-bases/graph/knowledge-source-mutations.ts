/** Mutations of the sources of knowledge bases. */
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { MAX_DOCUMENT_BYTES } from '../documents.ts';
import {
  addDocumentSource,
  addWebSource,
  deleteKnowledgeSource,
  MAX_DEPTH,
  MAX_DESCRIPTION,
  MAX_DOCUMENTS,
  MAX_NAME,
  MAX_URLS,
} from '../sources.ts';
import { KnowledgeSourceNode } from './knowledge-source.ts';

mutation('addDocumentSource', {
  description:
    'Adds a document to a knowledge base. Agents can search it once its `indexingStatus` is READY.',
  scope: 'write',
  input: (t) => ({
    knowledgeBaseId: t.id({ required: true, description: 'ID of the knowledge base (`knb_…`).' }),
    name: t.string({ required: true, description: `Display name, 1 to ${MAX_NAME} characters.` }),
    description: t.string({
      description: `Description of the content, at most ${formatNumber(MAX_DESCRIPTION)} characters.`,
    }),
    filename: t.string({
      required: true,
      description:
        'Name of the file, 1 to 255 characters. Its extension gives the type: .pdf, .docx, .doc, .txt, .md, .markdown, .pptx, .ppt or .epub.',
    }),
    contentType: t.string({
      description:
        'MIME type of the file. It must match the extension. Default: derived from the extension.',
    }),
    content: t.string({
      required: true,
      description: `Content of the file in base64, at most ${MAX_DOCUMENT_BYTES / 2 ** 20} MB before encoding.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeSource: await addDocumentSource(app, viewer, input),
  }),
  payload: {
    knowledgeSource: { type: KnowledgeSourceNode, description: 'The added source.' },
  },
});

mutation('addWebSource', {
  description:
    'Adds web pages to a knowledge base: the given URLs and, up to `maxDepth`, the pages of the same domain that they link to. Agents can search them once `indexingStatus` is READY.',
  scope: 'write',
  input: (t) => ({
    knowledgeBaseId: t.id({ required: true, description: 'ID of the knowledge base (`knb_…`).' }),
    name: t.string({ required: true, description: `Display name, 1 to ${MAX_NAME} characters.` }),
    description: t.string({
      description: `Description of the content, at most ${formatNumber(MAX_DESCRIPTION)} characters.`,
    }),
    urls: t.field({
      type: ['Url'],
      maxItems: MAX_URLS,
      required: true,
      description: `URLs to start from: 1 to ${MAX_URLS} public https:// URLs.`,
    }),
    maxDepth: t.int({
      description: `Maximum depth of links to follow, 1 to ${MAX_DEPTH}. Default: 1, only the start URLs.`,
    }),
    maxDocuments: t.int({
      description: `Maximum number of pages to read, 1 to ${MAX_DOCUMENTS}. Default: chosen by Ultravox.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeSource: await addWebSource(app, viewer, input),
  }),
  payload: {
    knowledgeSource: { type: KnowledgeSourceNode, description: 'The added source.' },
  },
});

mutation('deleteKnowledgeSource', {
  description: 'Deletes a source of a knowledge base, here and at Ultravox.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the source (`src_…`).' }) }),
  run: async (input, { app, viewer }) => ({
    deletedKnowledgeSourceId: publicId(
      'KnowledgeSource',
      await deleteKnowledgeSource(app, viewer, input.id),
    ),
  }),
  payload: {
    deletedKnowledgeSourceId: { type: 'ID', description: 'ID of the deleted source.' },
  },
});
