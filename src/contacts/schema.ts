import { RequestError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { ContactOutcome } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { Checks } from '../infra/checks.ts';
import { literal } from '../infra/like.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { loadDoNotCall } from './loaders.ts';
import { contactsWhere } from './search.ts';

const ContactOutcomeEnum = builder.enumType('ContactOutcome', {
  description: 'What came of the last call to a contact.',
  values: {
    [ContactOutcome.CONTACTED]: { description: 'A person answered and talked.' },
    [ContactOutcome.VOICEMAIL]: { description: 'A machine answered.' },
    [ContactOutcome.NO_ANSWER]: {
      description: 'Nobody answered, or the call did not get through.',
    },
    [ContactOutcome.ESCALATED]: {
      description: 'The person was handed over to one of your people.',
    },
    [ContactOutcome.INTERESTED]: { description: 'The person wants to hear more.' },
    [ContactOutcome.NOT_INTERESTED]: { description: 'The person does not want to hear more.' },
  } as const,
});

export const ContactFolderNode = builder.prismaNode('ContactFolder', {
  description: 'A list of contacts. Each contact is in one folder, and goes when the folder goes.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`fld_` and a UUID.' },
  findUnique: (id, { viewer }) => ({ id, organizationId: viewer!.organizationId }),
  fields: (t) => ({
    name: t.exposeString('name', { description: 'What you call it; need not be unique.' }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'What it is for; null when you have not said.',
    }),
    contactCount: t.exposeInt('contactCount', {
      description: 'How many contacts it holds. Costs nothing to ask for, unlike a `totalCount`.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', {
      type: 'DateTime',
      description: 'When its name or description last changed.',
    }),
  }),
});

export const ContactNode = builder.prismaNode('Contact', {
  description:
    'Somebody who can be called: a phone number, and what you know about the person. A number is at most once in a folder.',
  authScopes: { read: true },
  nullable: true,
  id: { field: 'id', description: '`ctc_` and a UUID.' },
  findUnique: (id, { viewer }) => ({ id, organizationId: viewer!.organizationId }),
  fields: (t) => ({
    folder: t.relation('folder', { description: 'Where it is kept; see `moveContacts`.' }),
    phoneNumber: t.expose('phoneNumber', { type: 'E164', description: 'Whom to call.' }),
    firstName: t.exposeString('firstName', { nullable: true, description: 'Given name.' }),
    lastName: t.exposeString('lastName', { nullable: true, description: 'Family name.' }),
    email: t.exposeString('email', { nullable: true, description: 'E-mail address.' }),
    companyName: t.exposeString('companyName', {
      nullable: true,
      description: 'The company the person works for.',
    }),
    industry: t.exposeString('industry', {
      nullable: true,
      description: 'The line of business of the company.',
    }),
    location: t.exposeString('location', {
      nullable: true,
      description: 'Where the person is, in any words.',
    }),
    pinCode: t.exposeString('pinCode', { nullable: true, description: 'Postal code.' }),
    keywords: t.exposeString('keywords', {
      nullable: true,
      description: 'Your tags, separated by a comma and a space. A search looks through them.',
    }),
    timezone: t.exposeString('timezone', {
      nullable: true,
      description:
        'IANA zone of the person. With one, campaigns call only when the hour is allowed there as well as in the campaign’s own zone.',
    }),
    metadata: t.field({
      type: 'JSONObject',
      select: { metadata: true },
      description: 'Your own keys with text values; empty when there are none.',
      resolve: ({ metadata }) => metadata,
    }),
    doNotCall: t.boolean({
      select: { phoneNumber: true },
      description: 'Whether the number is on the do-not-call list. If so, nothing here calls it.',
      resolve: ({ phoneNumber }, _args, { app, viewer, execution }) =>
        loadDoNotCall({ app, viewer: viewer!, execution }, phoneNumber),
    }),
    lastCallOutcome: t.expose('lastCallOutcome', {
      type: ContactOutcomeEnum,
      nullable: true,
      description: 'What came of the last call; null before the first.',
    }),
    callCount: t.exposeInt('callCount', { description: 'How many times it has been called.' }),
    lastCalledAt: t.expose('lastCalledAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was last called; null before the first time.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was added.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it last changed.' }),
  }),
});

export const ContactFolderConnection = connectionOf(ContactFolderNode);
export const ContactConnection = connectionOf(ContactNode);

export const ContactFilterInput = builder.inputType('ContactFilter', {
  description: 'Which contacts; everything given must hold.',
  fields: (t) => ({
    folderId: t.id({ description: 'Only those in this folder, an `fld_…` id.' }),
    search: t.string({
      description:
        'Part of the name, phone number, e-mail address or keywords, without regard to case and accents; spaces, brackets and dashes in a phone number do not matter. With fewer than three letters or digits in a row: the beginning of a word.',
    }),
    lastCallOutcome: t.field({
      type: [ContactOutcomeEnum],
      description: 'Only those whose last call had any of these outcomes.',
    }),
    phoneNumber: t.field({ type: 'E164', description: 'Only those with exactly this number.' }),
    createdFrom: t.field({ type: 'DateTime', description: 'Added at this instant or later.' }),
    createdBefore: t.field({ type: 'DateTime', description: 'Added before this instant.' }),
  }),
});

const ContactOrderInput = builder.inputType('ContactOrder', {
  description: 'How to order contacts.',
  fields: (t) => ({
    field: t.field({
      type: builder.enumType('ContactOrderField', {
        description: 'What a list of contacts can be ordered by, fast for any number of them.',
        values: {
          CREATED_AT: { value: 'createdAt', description: 'When it was added.' },
          PHONE_NUMBER: { value: 'phoneNumber', description: 'The number, digit by digit.' },
        } as const,
      }),
      required: true,
      description: 'What to compare.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way round.',
    }),
  }),
});

/** @throws RequestError for a filter that means nothing. */
function matching(
  viewer: Viewer,
  filter: typeof ContactFilterInput.$inferInput | null | undefined,
): Prisma.ContactWhereInput {
  const checks = new Checks();
  const where = contactsWhere(checks, filter, ['filter']);
  const [problem] = checks.problems;
  if (problem) {
    throw new RequestError('BAD_USER_INPUT', `\`${problem.path.join('.')}\`: ${problem.message}`);
  }
  return { ...ownedBy(viewer), ...where };
}

function ordered(order: typeof ContactOrderInput.$inferInput | null | undefined) {
  const { field, direction } = order ?? {
    field: 'createdAt' as const,
    direction: 'desc' as const,
  };
  return [{ [field]: direction }, { id: direction }];
}

builder.prismaObjectField(ContactFolderNode, 'contacts', (t) =>
  t.relatedConnection(
    'contacts',
    {
      description: 'The contacts in it, newest first unless ordered otherwise.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: ContactFilterInput, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: ContactOrderInput, description: 'Absent: newest first.' }),
      },
      query: (args, { viewer }) => {
        checkPage(args);
        return { where: matching(viewer!, args.filter), orderBy: ordered(args.orderBy) };
      },
    },
    ContactConnection,
  ),
);

const ContactFolderFilter = builder.inputType('ContactFolderFilter', {
  description: 'Which folders.',
  fields: (t) => ({
    search: t.string({ description: 'Part of the name, in upper or lower case.' }),
  }),
});

const ContactFolderOrder = builder.inputType('ContactFolderOrder', {
  description: 'How to order folders.',
  fields: (t) => ({
    field: t.field({
      type: builder.enumType('ContactFolderOrderField', {
        description: 'What a list of folders can be ordered by.',
        values: {
          CREATED_AT: { value: 'createdAt', description: 'When it was made.' },
          NAME: { value: 'name', description: 'Its name.' },
          CONTACT_COUNT: { value: 'contactCount', description: 'How many contacts it holds.' },
        } as const,
      }),
      required: true,
      description: 'What to compare.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way round.',
    }),
  }),
});

function foldersWhere(
  viewer: Viewer,
  filter: typeof ContactFolderFilter.$inferInput | null | undefined,
): Prisma.ContactFolderWhereInput {
  const search = filter?.search;
  return {
    ...ownedBy(viewer),
    ...(search ? { name: { contains: literal(search), mode: 'insensitive' } } : {}),
  };
}

builder.queryFields((t) => ({
  contactFolder: t.withAuth({ read: true }).prismaField({
    type: ContactFolderNode,
    nullable: true,
    description: 'One folder; null when there is none with this id.',
    args: { id: t.arg.id({ required: true, description: 'An `fld_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.contactFolder.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('ContactFolder', id) },
      }),
  }),
  contactFolders: t.withAuth({ read: true }).prismaConnection(
    {
      type: ContactFolderNode,
      cursor: 'id',
      description: 'Your folders, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: ContactFolderFilter, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: ContactFolderOrder, description: 'Absent: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.contactFolder.count({ where: foldersWhere(viewer!, filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? {
          field: 'createdAt' as const,
          direction: 'desc' as const,
        };
        return app.db.contactFolder.findMany({
          ...query,
          where: foldersWhere(viewer, args.filter),
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    ContactFolderConnection,
  ),
  contact: t.withAuth({ read: true }).prismaField({
    type: ContactNode,
    nullable: true,
    description: 'One contact; null when there is none with this id.',
    args: { id: t.arg.id({ required: true, description: 'A `ctc_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.contact.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('Contact', id) },
      }),
  }),
  contacts: t.withAuth({ read: true }).prismaConnection(
    {
      type: ContactNode,
      cursor: 'id',
      description: 'Your contacts of all folders, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: ContactFilterInput, description: 'Which of them. Absent: all.' }),
        orderBy: t.arg({ type: ContactOrderInput, description: 'Absent: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.contact.count({ where: matching(viewer!, filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        return app.db.contact.findMany({
          ...query,
          where: matching(viewer, args.filter),
          orderBy: ordered(args.orderBy),
        });
      },
    },
    ContactConnection,
  ),
}));
