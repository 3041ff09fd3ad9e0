/** The Contact type and its queries. */
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { ownedBy } from '../../viewer.ts';
import { contactsWhere } from '../search.ts';
import { ContactFolderNode } from './contact-folder.ts';
import { ContactFilterInput, ContactOutcomeEnum } from './contact-inputs.ts';
import { loadDoNotCall } from './loaders.ts';

export const ContactNode = builder.prismaNode('Contact', {
  select: { id: true },
  description:
    'Person who can be called: a phone number with details about the person. Phone numbers are unique within a folder.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: 'Node ID, `ctc_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, ...ownedBy(viewer!) }),
  fields: (t) => ({
    folder: t.relation('folder', {
      description: 'Folder of the contact. Change it with `moveContacts`.',
    }),
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'Phone number of the contact.',
    }),
    firstName: t.exposeString('firstName', {
      nullable: true,
      description: 'First name. Null if unknown.',
    }),
    lastName: t.exposeString('lastName', {
      nullable: true,
      description: 'Last name. Null if unknown.',
    }),
    email: t.exposeString('email', {
      nullable: true,
      description: 'Email address. Null if unknown.',
    }),
    companyName: t.exposeString('companyName', {
      nullable: true,
      description: 'Company that the person works for. Null if unknown.',
    }),
    industry: t.exposeString('industry', {
      nullable: true,
      description: 'Industry of the company. Null if unknown.',
    }),
    location: t.exposeString('location', {
      nullable: true,
      description: 'Location of the person as free text. Null if unknown.',
    }),
    pinCode: t.exposeString('pinCode', {
      nullable: true,
      description: 'Postal code. Null if unknown.',
    }),
    keywords: t.exposeString('keywords', {
      nullable: true,
      description:
        'Tags, separated by a comma and a space. Included in searches. Null if there are none.',
    }),
    timezone: t.exposeString('timezone', {
      nullable: true,
      description:
        'IANA time zone of the person. Null if unknown. If set, campaigns call only when their calling window is open both in this zone and in the campaign’s.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      select: { metadata: true },
      description: 'Custom keys with text values. Empty object if there are none.',
      resolve: ({ metadata }) => metadata,
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the contact was created.',
    }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'Time of the last change to the contact.',
    }),
  }),
});

builder.prismaObjectFields(ContactNode, (t) => ({
  doNotCall: t.boolean({
    select: { phoneNumber: true },
    description:
      'Whether the phone number is on the do-not-call list of the organization. Such a number is never called.',
    resolve: ({ phoneNumber }, _args, { app, viewer, execution }) =>
      loadDoNotCall({ app, viewer: viewer!, execution }, phoneNumber),
  }),
  lastCallOutcome: t.expose('lastCallOutcome', {
    type: ContactOutcomeEnum,
    nullable: true,
    description:
      'Outcome of the last call counted in `callCount` that has one. A call without one, such as a rejected call, does not change it. Null if there is no such call.',
  }),
  callCount: t.exposeInt('callCount', {
    description:
      'Number of calls that campaigns have made to the contact. A call counts shortly after its end, if it rang and the campaign copied the contact from a folder or by its ID. Calls of `createCall` and calls to rows and files with the same phone number do not count.',
  }),
  lastCalledAt: t.expose('lastCalledAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'Time at which the last call counted in `callCount` began to ring. Null if there is none.',
  }),
}));

const contacts = new List({
  type: ContactNode,
  items: 'contacts',
  visible: ownedBy,
  filter: { type: ContactFilterInput, where: contactsWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' },
    PHONE_NUMBER: { column: 'phoneNumber', description: 'Sort by phone number, as text.' },
    FIRST_NAME: {
      column: 'firstName',
      nullsLast: true,
      description: 'Sort by first name. Contacts without one come last in both directions.',
    },
    LAST_NAME: {
      column: 'lastName',
      nullsLast: true,
      description: 'Sort by last name. Contacts without one come last in both directions.',
    },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

contacts.query('contacts', {
  description: 'Contacts of the organization, in all folders.',
  authScopes: { read: true },
});

contacts.related(ContactFolderNode, 'contacts', {
  relation: 'contacts',
  description: 'Contacts in the folder.',
});

addLookup('contact', {
  type: ContactNode,
  where: ownedBy,
  description: 'Looks up a contact by ID. Null if the organization has no such contact.',
  authScopes: { read: true },
});
