/** Knowledge bases: the type, its list and its lookup. */
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { addSyncFields } from '../../sync/graph/sync-fields.ts';
import { SyncStatusEnum } from '../../sync/graph/sync-status.ts';
import { nameAndStatusWhere } from '../../sync/search.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import { MAX_SOURCES } from '../sources.ts';
import { IndexingStatusEnum } from './indexing-status.ts';
import { knowledgeSources } from './knowledge-source.ts';

export const KnowledgeBaseNode = builder.prismaNode('KnowledgeBase', {
  select: { id: true },
  description:
    'Set of documents and web pages that an agent searches during a call. It is created empty; add content with `addDocumentSource` and `addWebSource`.',
  authScopes: { read: true },
  nullable: true,
  id: {
    field: 'id',
    description: 'Node ID, `knb_` followed by a UUID. Passed in `knowledgeBaseIds` to agents.',
  },
  findUnique: (id, { viewer }) => ({ id, ...ownedAndNotDeleted(viewer!) }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Display name. Not necessarily unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description of the content. Null if there is none.',
    }),
    indexingStatus: t.expose('indexingStatus', {
      type: IndexingStatusEnum,
      description:
        'Status of the search index, which shows whether agents can search the content. Updated within about a minute of a change at Ultravox.',
    }),
    documentCount: t.exposeInt('documentCount', {
      description: 'Number of documents and pages that Ultravox has read.',
    }),
    chunkCount: t.exposeInt('chunkCount', {
      description:
        'Number of passages that the content was split into. A search returns the best matching passages.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the knowledge base was created.',
    }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'Time of the last change.',
    }),
  }),
});

addSyncFields('KnowledgeBase', {
  status:
    'Sync status. Agents can use the knowledge base once it is ACTIVE; `indexingStatus` shows whether its content can be searched.',
  syncError:
    'Reason why the latest revision is not at Ultravox: it was refused, or Ultravox could not be reached. Null if there is none.',
});

const KnowledgeBaseFilterInput = builder.inputType('KnowledgeBaseFilter', {
  description: 'Filters for knowledge bases. All of them must match.',
  fields: (t) => ({
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    status: t.field({
      type: [SyncStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
  }),
});

const knowledgeBases = new List({
  type: KnowledgeBaseNode,
  items: 'knowledge bases',
  visible: ownedAndNotDeleted,
  filter: { type: KnowledgeBaseFilterInput, where: nameAndStatusWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    UPDATED_AT: {
      column: 'updatedAt',
      description: 'Sort by time of the last change to the name or the description.',
    },
    NAME: { column: 'name', description: 'Sort by name.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

knowledgeBases.query('knowledgeBases', {
  description: 'Knowledge bases of the organization.',
  authScopes: { read: true },
});

knowledgeSources.related(KnowledgeBaseNode, 'sources', {
  relation: 'sources',
  description: `Sources of the knowledge base, at most ${MAX_SOURCES}.`,
});

addLookup('knowledgeBase', {
  type: KnowledgeBaseNode,
  where: ownedAndNotDeleted,
  description:
    'Looks up a knowledge base by ID. Null if the organization has no such knowledge base.',
  authScopes: { read: true },
});
