/** Sources of knowledge bases: the type and its list. */
import { KnowledgeSourceKind } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addSyncFields } from '../../sync/graph/sync-fields.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import { IndexingStatusEnum } from './indexing-status.ts';

const KnowledgeSourceKindEnum = builder.enumType('KnowledgeSourceKind', {
  description: 'Origin of the content of a source.',
  values: {
    [KnowledgeSourceKind.DOCUMENT]: {
      description: 'An uploaded file, added with `addDocumentSource`.',
    },
    [KnowledgeSourceKind.WEB]: { description: 'Web pages, added with `addWebSource`.' },
  } as const,
});

export const KnowledgeSourceNode = builder.prismaNode('KnowledgeSource', {
  description:
    'Document or set of web pages in a knowledge base. Sources cannot be changed; delete one and add another.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: 'Node ID, `src_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, ...ownedAndNotDeleted(viewer!) }),
  select: { id: true },
  fields: (t) => ({
    knowledgeBase: t.relation('knowledgeBase', {
      description: 'Knowledge base that contains the source.',
    }),
    kind: t.expose('kind', {
      type: KnowledgeSourceKindEnum,
      description: 'Whether the source is a document or a set of web pages.',
    }),
    name: t.exposeString('name', { description: 'Display name. Not necessarily unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description of the content. Null if there is none.',
    }),
    urls: t.expose('urls', {
      type: ['Url'],
      description: 'URLs that the crawl starts from. Empty for a document.',
    }),
    maxDepth: t.exposeInt('maxDepth', {
      nullable: true,
      description:
        'Maximum depth of links to follow. 1 means only the start URLs. Null for a document.',
    }),
    maxDocuments: t.exposeInt('maxDocuments', {
      nullable: true,
      description:
        'Maximum number of pages to read. Null for a document, and when Ultravox decides.',
    }),
    filename: t.exposeString('filename', {
      nullable: true,
      description: 'Name of the file. Null for web pages.',
    }),
    contentType: t.exposeString('contentType', {
      nullable: true,
      description: 'MIME type of the file. Null for web pages.',
    }),
    sizeBytes: t.exposeInt('sizeBytes', {
      nullable: true,
      description: 'Size of the file, in bytes. Null for web pages.',
    }),
    indexingStatus: t.expose('indexingStatus', {
      type: IndexingStatusEnum,
      description:
        'Status of the search index, which shows whether agents can search the content. Updated within about a minute of a change at Ultravox.',
    }),
    documentCount: t.exposeInt('documentCount', {
      description: 'Number of documents or pages that Ultravox has read.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the source was added.',
    }),
  }),
});

addSyncFields('KnowledgeSource', {
  status:
    'Sync status. Once it is ACTIVE, the source is at Ultravox and this server no longer stores its document.',
  syncError:
    'Reason why the source is not at Ultravox. Null if there is none. A refused source cannot be corrected; delete it and add it again.',
});

export const knowledgeSources = new List({
  type: KnowledgeSourceNode,
  items: 'sources of a knowledge base',
  visible: ownedAndNotDeleted,
  sort: { CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' } },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});
