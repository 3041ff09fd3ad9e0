import { IndexingStatus, KnowledgeSourceKind } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId, toPublicId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { ownedBy } from '../organizations/viewer.ts';
import { SyncStatusEnum } from '../sync/schema.ts';
import { isInSync } from '../sync/status.ts';
import {
  createKnowledgeBase,
  deleteKnowledgeBase,
  listedKnowledgeBases,
  updateKnowledgeBase,
} from './service.ts';
import {
  addDocumentSource,
  addWebSource,
  deleteKnowledgeSource,
  MAX_SOURCES,
  MAX_URLS,
} from './sources.ts';

const IndexingStatusEnum = builder.enumType('IndexingStatus', {
  description: 'How far Ultravox has come with reading what is to be looked up.',
  values: {
    [IndexingStatus.EMPTY]: { description: 'There is nothing in it to read.' },
    [IndexingStatus.INITIALIZING]: {
      description: 'Being read for the first time: nothing can be found yet.',
    },
    [IndexingStatus.READY]: { description: 'All of it can be found.' },
    [IndexingStatus.UPDATING]: {
      description: 'Being read again, or added to: what was there before can be found meanwhile.',
    },
  } as const,
});

const KnowledgeSourceKindEnum = builder.enumType('KnowledgeSourceKind', {
  description: 'Where the content of a source comes from.',
  values: {
    [KnowledgeSourceKind.DOCUMENT]: { description: 'A file, see `addDocumentSource`.' },
    [KnowledgeSourceKind.WEB]: { description: 'Pages of the web, see `addWebSource`.' },
  } as const,
});

export const KnowledgeBaseNode = builder.prismaNode('KnowledgeBase', {
  description:
    'Documents and web pages that an agent searches during a call to answer from. Make one empty, then add sources.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`knb_` and a UUID.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    deletedAt: null,
  }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'For people. Need not be unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'What is in it, for people.',
    }),
    status: t.expose('status', {
      type: SyncStatusEnum,
      description:
        'ACTIVE as soon as agents can be given it. Whether its content can be found is `indexingStatus`.',
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description: 'Why the latest change is not at Ultravox; null when all is well.',
    }),
    isInSync: t.boolean({
      description: 'Whether Ultravox has it exactly as it is here.',
      select: { revision: true, syncedRevision: true },
      resolve: isInSync,
    }),
    indexingStatus: t.expose('indexingStatus', {
      type: IndexingStatusEnum,
      description: 'How much of its content agents can find; follows Ultravox within seconds.',
    }),
    documentCount: t.exposeInt('documentCount', {
      description: 'How many files and pages have been read.',
    }),
    chunkCount: t.exposeInt('chunkCount', {
      description: 'Into how many passages they have been cut; agents are given the best of them.',
    }),
    sources: t.relatedConnection(
      'sources',
      {
        description: `What it is made of, newest first; at most ${MAX_SOURCES}.`,
        cursor: 'id',
        totalCount: true,
        complexity: connectionCost,
        query: (args) => {
          checkPage(args);
          return { where: { deletedAt: null }, orderBy: { id: 'desc' } };
        },
      },
      KnowledgeSourceConnection,
    ),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When its name or description last changed.',
    }),
  }),
});

export const KnowledgeSourceNode = builder.prismaNode('KnowledgeSource', {
  description: 'A document, or a set of web pages, in a knowledge base. To change one, replace it.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`src_` and a UUID.' },
  findUnique: (id, { viewer }) => ({
    id,
    organizationId: viewer!.organizationId,
    deletedAt: null,
  }),
  // Column by column: the bytes of a document that is on its way are none of a reader's concern.
  select: { id: true },
  fields: (t) => ({
    knowledgeBase: t.relation('knowledgeBase', { description: 'What it belongs to.' }),
    kind: t.expose('kind', {
      type: KnowledgeSourceKindEnum,
      description: 'A document, or pages of the web.',
    }),
    name: t.exposeString('name', { description: 'For people. Need not be unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'What it is about, for people.',
    }),
    urls: t.expose('urls', {
      type: ['Url'],
      description: 'The pages the reading begins with; empty for a document.',
    }),
    maxDepth: t.exposeInt('maxDepth', {
      nullable: true,
      description: 'How many links deep is read: 1 is the pages themselves. Null for a document.',
    }),
    maxDocuments: t.exposeInt('maxDocuments', {
      nullable: true,
      description: 'How many pages are read at most; null for a document or when Ultravox decides.',
    }),
    filename: t.exposeString('filename', {
      nullable: true,
      description: 'The name of the file; null for pages of the web.',
    }),
    contentType: t.exposeString('contentType', {
      nullable: true,
      description: 'The MIME type of the file; null for pages of the web.',
    }),
    sizeBytes: t.exposeInt('sizeBytes', {
      nullable: true,
      description: 'The size of the file; null for pages of the web.',
    }),
    status: t.expose('status', {
      type: SyncStatusEnum,
      description: 'ACTIVE as soon as Ultravox has it; a document is then no longer kept here.',
    }),
    syncError: t.exposeString('syncError', {
      nullable: true,
      description:
        'Why it is not at Ultravox; null when all is well. A refused source is deleted and added again.',
    }),
    isInSync: t.boolean({
      description: 'Whether Ultravox has it exactly as it is here.',
      select: { revision: true, syncedRevision: true },
      resolve: isInSync,
    }),
    indexingStatus: t.expose('indexingStatus', {
      type: IndexingStatusEnum,
      description: 'Whether agents can find what is in it; follows Ultravox within seconds.',
    }),
    documentCount: t.exposeInt('documentCount', {
      description: 'How many files or pages of it have been read.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was added.' }),
  }),
});

export const KnowledgeBaseConnection = connectionOf(KnowledgeBaseNode);
const KnowledgeSourceConnection = connectionOf(KnowledgeSourceNode);

const KnowledgeBaseFilterInput = builder.inputType('KnowledgeBaseFilter', {
  description: 'Which knowledge bases are wanted; what is given must all hold.',
  fields: (t) => ({
    name: t.string({ description: 'Part of the name, in any case.' }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'In any of these states. Empty is as if it were not given.',
    }),
  }),
});

const KnowledgeBaseOrderFieldEnum = builder.enumType('KnowledgeBaseOrderField', {
  description: 'What knowledge bases can be ordered by.',
  values: {
    CREATED_AT: { value: 'createdAt', description: 'When they were made.' },
    UPDATED_AT: { value: 'updatedAt', description: 'When name or description last changed.' },
    NAME: { value: 'name', description: 'Their names.' },
  } as const,
});

const KnowledgeBaseOrderInput = builder.inputType('KnowledgeBaseOrder', {
  description: 'The order of a list of knowledge bases.',
  fields: (t) => ({
    field: t.field({
      type: KnowledgeBaseOrderFieldEnum,
      required: true,
      description: 'What counts.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way it goes.',
    }),
  }),
});

builder.queryFields((t) => ({
  knowledgeBases: t.withAuth({ read: true }).prismaConnection(
    {
      type: KnowledgeBaseNode,
      cursor: 'id',
      description:
        'The knowledge bases of your organization, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: KnowledgeBaseFilterInput, description: 'Leaves out the others.' }),
        orderBy: t.arg({ type: KnowledgeBaseOrderInput, description: 'Default: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.knowledgeBase.count({ where: listedKnowledgeBases(viewer!, filter ?? {}) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? { field: 'createdAt', direction: 'desc' };
        return app.db.knowledgeBase.findMany({
          ...query,
          where: listedKnowledgeBases(viewer, args.filter ?? {}),
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    KnowledgeBaseConnection,
  ),
  knowledgeBase: t.withAuth({ read: true }).prismaField({
    type: KnowledgeBaseNode,
    nullable: true,
    description: 'One knowledge base; null when there is none with this id in your organization.',
    args: { id: t.arg.id({ required: true, description: 'A `knb_…` id.' }) },
    resolve: (query, _root, args, { app, viewer }) =>
      app.db.knowledgeBase.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('KnowledgeBase', args.id), deletedAt: null },
      }),
  }),
}));

mutation('createKnowledgeBase', {
  description:
    'Makes an empty knowledge base. It is ACTIVE in the answer unless Ultravox is away (then it follows by itself) or refuses it (`status` FAILED, `syncError`). Ultravox allows an account only so many.',
  scope: 'write',
  input: (t) => ({
    name: t.string({ required: true, description: 'For people; 1 to 255 characters.' }),
    description: t.string({ description: 'What is in it; at most 1000 characters.' }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeBase: await createKnowledgeBase(app, viewer, input),
  }),
  payload: (t) => ({
    knowledgeBase: t.field({
      type: KnowledgeBaseNode,
      nullable: true,
      description: 'The new knowledge base.',
      resolve: (payload) => payload.knowledgeBase ?? null,
    }),
  }),
});

mutation('updateKnowledgeBase', {
  description: 'Changes name or description. What is not sent stays.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `knb_…` id.' }),
    name: t.string({ description: '1 to 255 characters; cannot be null.' }),
    description: t.string({ description: 'At most 1000 characters; null clears it.' }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeBase: await updateKnowledgeBase(app, viewer, input),
  }),
  payload: (t) => ({
    knowledgeBase: t.field({
      type: KnowledgeBaseNode,
      nullable: true,
      description: 'The knowledge base as it is now.',
      resolve: (payload) => payload.knowledgeBase ?? null,
    }),
  }),
});

mutation('deleteKnowledgeBase', {
  description:
    'Deletes a knowledge base with all its sources, here and at Ultravox. Refused with IN_USE while agents use it; `details.agentIds` names up to 100 of them.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `knb_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    deletedKnowledgeBaseId: toPublicId(
      'KnowledgeBase',
      await deleteKnowledgeBase(app, viewer, input.id),
    ),
  }),
  payload: (t) => ({
    deletedKnowledgeBaseId: t.id({
      nullable: true,
      description: 'The id that is no longer there.',
      resolve: (payload) => payload.deletedKnowledgeBaseId ?? null,
    }),
  }),
});

mutation('addDocumentSource', {
  description:
    'Puts a document into a knowledge base. Agents find what is in it once its `indexingStatus` is READY.',
  scope: 'write',
  input: (t) => ({
    knowledgeBaseId: t.id({ required: true, description: 'The `knb_…` id.' }),
    name: t.string({ required: true, description: 'For people; 1 to 255 characters.' }),
    description: t.string({ description: 'What it is about; at most 1000 characters.' }),
    filename: t.string({
      required: true,
      description:
        'With an ending that says what it is: .pdf, .docx, .doc, .txt, .md, .pptx, .ppt or .epub.',
    }),
    contentType: t.string({
      description: 'The MIME type. Default: what the file name says; it must not disagree.',
    }),
    content: t.string({
      required: true,
      description: 'The file in base64; at most 10 MB before encoding.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeSource: await addDocumentSource(app, viewer, input),
  }),
  payload: (t) => ({
    knowledgeSource: t.field({
      type: KnowledgeSourceNode,
      nullable: true,
      description: 'The new source.',
      resolve: (payload) => payload.knowledgeSource ?? null,
    }),
  }),
});

mutation('addWebSource', {
  description:
    'Puts pages of the web into a knowledge base: these, and what they link to on the same site. Agents find what is on them once the `indexingStatus` is READY.',
  scope: 'write',
  input: (t) => ({
    knowledgeBaseId: t.id({ required: true, description: 'The `knb_…` id.' }),
    name: t.string({ required: true, description: 'For people; 1 to 255 characters.' }),
    description: t.string({ description: 'What they are about; at most 1000 characters.' }),
    urls: t.field({
      type: ['Url'],
      required: true,
      description: `The pages to begin with: 1 to ${MAX_URLS} public https:// addresses.`,
    }),
    maxDepth: t.int({
      description: 'How many links deep to read, 1 to 10. Default 1: the pages themselves.',
    }),
    maxDocuments: t.int({
      description: 'How many pages to read at most, 1 to 200. Default: Ultravox decides.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    knowledgeSource: await addWebSource(app, viewer, input),
  }),
  payload: (t) => ({
    knowledgeSource: t.field({
      type: KnowledgeSourceNode,
      nullable: true,
      description: 'The new source.',
      resolve: (payload) => payload.knowledgeSource ?? null,
    }),
  }),
});

mutation('deleteKnowledgeSource', {
  description: 'Takes a source out of its knowledge base, here and at Ultravox.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `src_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    deletedKnowledgeSourceId: toPublicId(
      'KnowledgeSource',
      await deleteKnowledgeSource(app, viewer, input.id),
    ),
  }),
  payload: (t) => ({
    deletedKnowledgeSourceId: t.id({
      nullable: true,
      description: 'The id that is no longer there.',
      resolve: (payload) => payload.deletedKnowledgeSourceId ?? null,
    }),
  }),
});
