/** The ContactFolder type and its queries. */
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { ownedBy } from '../../viewer.ts';
import { foldersWhere } from '../search.ts';

export const ContactFolderNode = builder.prismaNode('ContactFolder', {
  select: { id: true },
  description: 'List of contacts. A contact belongs to exactly one folder and is deleted with it.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: 'Node ID, `fld_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, ...ownedBy(viewer!) }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the folder. Not necessarily unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description of the folder. Null if it has none.',
    }),
    contactCount: t.exposeInt('contactCount', {
      description:
        'Number of contacts in the folder. Stored with the folder, so cheaper to query than `totalCount`.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the folder was created.',
    }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'Time of the last change to the name or the description.',
    }),
  }),
});

const ContactFolderFilter = builder.inputType('ContactFolderFilter', {
  description: 'Filters for contact folders.',
  fields: (t) => ({
    name: t.string({ description: 'Substring of the name, case-insensitive.' }),
    search: t.string({
      description: 'Substring of the name, case-insensitive.',
      deprecationReason: useInstead('name'),
    }),
  }),
});

const contactFolders = new List({
  type: ContactFolderNode,
  items: 'contact folders',
  visible: ownedBy,
  filter: { type: ContactFolderFilter, where: foldersWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    NAME: { column: 'name', description: 'Sort by name.' },
    CONTACT_COUNT: { column: 'contactCount', description: 'Sort by number of contacts.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

contactFolders.query('contactFolders', {
  description: 'Contact folders of the organization.',
  authScopes: { read: true },
});

addLookup('contactFolder', {
  type: ContactFolderNode,
  where: ownedBy,
  description: 'Looks up a contact folder by ID. Null if the organization has no such folder.',
  authScopes: { read: true },
});
