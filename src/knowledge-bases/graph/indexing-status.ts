/** The enum of the indexing status of knowledge bases and sources. */
import { IndexingStatus } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';

export const IndexingStatusEnum = builder.enumType('IndexingStatus', {
  description: 'State of the search index that Ultravox builds from the content.',
  values: {
    [IndexingStatus.EMPTY]: { description: 'There is no content to index.' },
    [IndexingStatus.INITIALIZING]: {
      description: 'Content is being indexed for the first time and cannot be searched yet.',
    },
    [IndexingStatus.READY]: { description: 'All content can be searched.' },
    [IndexingStatus.UPDATING]: {
      description:
        'New content is being indexed. Content that was indexed before can be searched meanwhile.',
    },
  } as const,
});
