/** Files in and out: imports of contacts and of the do-not-call list, and exports. */
import type { InputFieldBuilder } from '@pothos/core';
import { RequestError } from '../errors.ts';
import { ContactImportStatus } from '../generated/prisma/enums.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { requireId } from '../graphql/ids.ts';
import { mutation } from '../graphql/mutation.ts';
import { OrderDirectionEnum } from '../graphql/order.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { exportContacts, importProblemsLink, LINK_MINUTES } from './export.ts';
import { cancelContactImport, importContacts, watchContactImport } from './import.ts';
import { importDoNotCall, type RowProblem } from './import-do-not-call.ts';
import type { ImportColumn, ImportField, ImportMapping } from './import-mapping.ts';
import { ContactFilterInput, ContactFolderNode } from './schema.ts';

const ContactImportStatusEnum = builder.enumType('ContactImportStatus', {
  description: 'How far an import is. It ends as COMPLETED, FAILED or CANCELLED.',
  values: {
    [ContactImportStatus.PENDING]: { description: 'The file is here, no row of it is read yet.' },
    [ContactImportStatus.RUNNING]: { description: 'Rows are being imported.' },
    [ContactImportStatus.COMPLETED]: {
      description: 'Every row was read; the bad ones are in `problems`.',
    },
    [ContactImportStatus.FAILED]: {
      description:
        'It ended before the end of the file. `failure` says why; what was imported stays.',
    },
    [ContactImportStatus.CANCELLED]: { description: 'You stopped it; what was imported stays.' },
  } as const,
});

const FIELDS: Record<string, { value: ImportField; description: string }> = {
  PHONE_NUMBER: { value: 'phoneNumber', description: 'The number to call; needed.' },
  FIRST_NAME: { value: 'firstName', description: 'The first name.' },
  LAST_NAME: { value: 'lastName', description: 'The last name.' },
  NAME: {
    value: 'name',
    description: 'The whole name: "Ada Lovelace" and "Lovelace, Ada" are divided into both.',
  },
  EMAIL: { value: 'email', description: 'The e-mail address.' },
  COMPANY_NAME: { value: 'companyName', description: 'Where the person works.' },
  INDUSTRY: { value: 'industry', description: 'What the company does.' },
  LOCATION: { value: 'location', description: 'Where the person is, as free text.' },
  PIN_CODE: { value: 'pinCode', description: 'The postal code.' },
  KEYWORDS: { value: 'keywords', description: 'Tags, separated by commas.' },
  TIMEZONE: {
    value: 'timezone',
    description: 'An IANA zone, such as "Europe/Berlin": the person is called only when it allows.',
  },
};
const ContactImportFieldEnum = builder.enumType('ContactImportField', {
  description: 'What a column of a file can say about a contact.',
  values: FIELDS as { [name: string]: { value: ImportField; description: string } },
});

const ContactImportColumnType = builder.objectRef<ImportColumn>('ContactImportColumn').implement({
  description: 'What became of a column of the file. Without a field and a key it is left out.',
  fields: (t) => ({
    column: t.exposeString('column', { description: 'Its name, as the header has it.' }),
    field: t.field({
      type: ContactImportFieldEnum,
      nullable: true,
      description: 'The field of the contact that it is.',
      resolve: ({ field }) => field,
    }),
    metadataKey: t.exposeString('metadataKey', {
      nullable: true,
      description: "The key under which it goes into the contact's metadata.",
    }),
  }),
});

const ContactImportProblemType = builder.prismaObject('ContactImportProblem', {
  description: 'A row of the file that could not be imported.',
  fields: (t) => ({
    row: t.exposeInt('row', {
      description: 'Which row: 1 is the first after the header. Empty rows are not counted.',
    }),
    phoneNumber: t.exposeString('phoneNumber', {
      nullable: true,
      description: 'What stood where the phone number should be, at most 60 characters of it.',
    }),
    reason: t.exposeString('reason', { description: 'What is wrong with it, for people.' }),
  }),
});

const ContactImportProblemConnection = connectionOf(ContactImportProblemType);

const count = (what: string) => ({ description: `${what} Final once the import has ended.` });

export const ContactImportNode = builder.prismaNode('ContactImport', {
  nullable: true,
  description:
    'A CSV on its way into a folder. `rowsRead` is always the sum of the four counts beside it.',
  authScopes: { read: true },
  id: { field: 'id', description: '`imp_` and a UUID.' },
  findUnique: (id, { viewer }) => ({ id, organizationId: viewer!.organizationId }),
  fields: (t) => ({
    folder: t.relation('folder', { description: 'Where the contacts go.' }),
    filename: t.exposeString('filename', { description: 'As it was uploaded.' }),
    status: t.expose('status', { type: ContactImportStatusEnum, description: 'How far it is.' }),
    mapping: t.field({
      type: [ContactImportColumnType],
      description: 'The columns of the file in their order, and what each one is taken for.',
      select: { mapping: true },
      resolve: ({ mapping }) => (mapping as unknown as ImportMapping).columns,
    }),
    defaultCountry: t.exposeString('defaultCountry', {
      nullable: true,
      description: 'The country of numbers that name none, ISO 3166-1 alpha-2.',
    }),
    updateExisting: t.exposeBoolean('updateExisting', {
      description: 'Whether a number that is there already is updated; otherwise it is skipped.',
    }),
    sizeBytes: t.float({
      description: 'Size of the text, in bytes as UTF-8.',
      select: { sizeBytes: true },
      resolve: ({ sizeBytes }) => Number(sizeBytes),
    }),
    bytesRead: t.float({
      description: 'How much of the text is done; divided by `sizeBytes` it is the progress.',
      select: { bytesRead: true },
      resolve: ({ bytesRead }) => Number(bytesRead),
    }),
    rowsRead: t.exposeInt('rowsRead', count('Rows that are done, whatever came of them.')),
    importedCount: t.exposeInt('importedCount', count('Rows that made a new contact.')),
    updatedCount: t.exposeInt(
      'updatedCount',
      count('Rows that updated a contact, one made by an earlier row of the file included.'),
    ),
    skippedCount: t.exposeInt(
      'skippedCount',
      count('Rows whose number was there already, or in an earlier row of the file.'),
    ),
    failedCount: t.exposeInt('failedCount', count('Rows that are in `problems`.')),
    failure: t.exposeString('failure', {
      nullable: true,
      description: 'Why it ended before the end of the file; null when it did not.',
    }),
    problems: t.relatedConnection(
      'problems',
      {
        description: 'The rows that could not be imported, in the order of the file.',
        cursor: 'importId_row',
        totalCount: true,
        complexity: connectionCost,
        query: (args) => {
          checkPage(args);
          return { orderBy: { row: 'asc' } };
        },
      },
      ContactImportProblemConnection,
    ),
    problemsUrl: t.field({
      type: 'Url',
      nullable: true,
      description: `A CSV of \`problems\`, for a browser or curl without a key; the link lasts ${LINK_MINUTES} minutes. Null when there are none.`,
      select: { id: true, organizationId: true, failedCount: true },
      resolve: (row, _args, { app, publicUrl }) =>
        row.failedCount === 0 ? null : `${publicUrl}${importProblemsLink(app, row).path}`,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was uploaded.' }),
    startedAt: t.expose('startedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When the first row was read.',
    }),
    finishedAt: t.expose('finishedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it ended, in whatever way.',
    }),
  }),
});

const ContactImportConnection = connectionOf(ContactImportNode);

const ContactImportFilter = builder.inputType('ContactImportFilter', {
  description: 'Which imports; everything given must hold.',
  fields: (t) => ({
    folderId: t.id({ description: 'Only those into this folder, an `fld_…` id.' }),
    status: t.field({
      type: [ContactImportStatusEnum],
      description: 'Only those that are in one of these states.',
    }),
  }),
});

const ContactImportOrder = builder.inputType('ContactImportOrder', {
  description: 'The order of a list of imports.',
  fields: (t) => ({
    field: t.field({
      type: builder.enumType('ContactImportOrderField', {
        description: 'What imports can be ordered by.',
        values: {
          CREATED_AT: { value: 'createdAt', description: 'When they were uploaded.' },
          SIZE: { value: 'sizeBytes', description: 'The size of the file.' },
        } as const,
      }),
      required: true,
      description: 'By what.',
    }),
    direction: t.field({
      type: OrderDirectionEnum,
      required: true,
      description: 'Which way.',
    }),
  }),
});

function matching(
  viewer: Viewer,
  filter: typeof ContactImportFilter.$inferInput | null | undefined,
) {
  return {
    ...ownedBy(viewer),
    ...(filter?.folderId ? { folderId: requireId('ContactFolder', filter.folderId) } : {}),
    ...(filter?.status ? { status: { in: [...filter.status] } } : {}),
  };
}

builder.queryFields((t) => ({
  contactImport: t.withAuth({ read: true }).prismaField({
    type: ContactImportNode,
    nullable: true,
    description: 'One import; null when there is none with this id in your organization.',
    args: { id: t.arg.id({ required: true, description: 'An `imp_…` id.' }) },
    resolve: (query, _root, { id }, { app, viewer }) =>
      app.db.contactImport.findFirst({
        ...query,
        where: { ...ownedBy(viewer), id: requireId('ContactImport', id) },
      }),
  }),
  contactImports: t.withAuth({ read: true }).prismaConnection(
    {
      type: ContactImportNode,
      cursor: 'id',
      description: 'The imports of your organization, newest first unless ordered otherwise.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: ContactImportFilter, description: 'Which ones; absent: all.' }),
        orderBy: t.arg({ type: ContactImportOrder, description: 'Absent: newest first.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.contactImport.count({ where: matching(viewer!, filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        const { field, direction } = args.orderBy ?? { field: 'createdAt', direction: 'desc' };
        return app.db.contactImport.findMany({
          ...query,
          where: matching(viewer, args.filter),
          orderBy: [{ [field]: direction }, { id: direction }],
        });
      },
    },
    ContactImportConnection,
  ),
}));

builder.prismaObjectField(ContactFolderNode, 'imports', (t) =>
  t.relatedConnection(
    'imports',
    {
      description: 'What was imported into it, newest first.',
      cursor: 'id',
      totalCount: true,
      complexity: connectionCost,
      query: (args) => {
        checkPage(args);
        return { orderBy: [{ createdAt: 'desc' }, { id: 'desc' }] };
      },
    },
    ContactImportConnection,
  ),
);

builder.subscriptionField('contactImportProgress', (t) =>
  t.withAuth({ read: true }).field({
    type: ContactImportNode,
    description:
      'An import as it is now, and again whenever it has come on, at most four times a second. Ends after the picture in which the import has ended. A picture that is missed is made up for by the next.',
    args: { importId: t.arg.id({ required: true, description: 'An `imp_…` id.' }) },
    subscribe: async (_root, { importId }, { app, viewer }) => {
      const pictures = await watchContactImport(app, viewer, requireId('ContactImport', importId));
      if (!pictures) throw new RequestError('BAD_USER_INPUT', 'There is no such import.');
      return pictures;
    },
    resolve: (row) => row,
  }),
);

export const ColumnMappingInput = builder.inputType('ContactColumnMapping', {
  description: 'What a column is to be taken for. With neither field nor key it is left out.',
  fields: (t) => ({
    column: t.string({ required: true, description: 'Its name in the header.' }),
    field: t.field({ type: ContactImportFieldEnum, description: 'A field of the contact.' }),
    metadataKey: t.string({ description: 'A key of the metadata, 1 to 100 characters.' }),
  }),
});

const defaultCountry = (
  t: InputFieldBuilder<(typeof builder)['$inferSchemaTypes'], 'InputObject'>,
) =>
  t.string({
    description:
      'ISO 3166-1 alpha-2, such as `US`: where numbers belong that name no country. Absent: such numbers are refused.',
  });

mutation('importContacts', {
  description:
    'Imports a CSV into a folder. Answers as soon as the file is here; the rows follow, see `contactImportProgress`. The request is multipart/form-data, see the type Upload. The file begins with a header, is UTF-8 (or UTF-16 with a byte order mark), separated by comma, semicolon, tab or |, and has at most 1,000,000 rows. Bad rows are reported and the others imported.',
  scope: 'write',
  input: (t) => ({
    folderId: t.id({ required: true, description: 'Where to, an `fld_…` id.' }),
    file: t.field({ type: 'Upload', required: true, description: 'The CSV, at most 200 MB.' }),
    mapping: t.field({
      type: [ColumnMappingInput],
      description:
        'What columns are. Those that are not here are told by their names (phone, mobile, first name, e-mail, company …), and any other goes into the metadata under its name.',
    }),
    defaultCountry: defaultCountry(t),
    updateExisting: t.boolean({
      defaultValue: false,
      description:
        'For a number that is in the folder already, or in an earlier row: true takes over what the row says (empty cells leave what is there), false leaves the contact as it is.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    contactImport: await importContacts(app, viewer, input),
  }),
  payload: (t) => ({
    contactImport: t.field({
      type: ContactImportNode,
      nullable: true,
      description: 'The import, which has just begun.',
      resolve: (payload) => payload.contactImport ?? null,
    }),
  }),
});

mutation('cancelContactImport', {
  description:
    'Stops an import. The contacts that it has made by then stay; one that is stopped already stays so.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `imp_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    contactImport: await cancelContactImport(app, viewer, input),
  }),
  payload: (t) => ({
    contactImport: t.field({
      type: ContactImportNode,
      nullable: true,
      description: 'The import, which is stopped.',
      resolve: (payload) => payload.contactImport ?? null,
    }),
  }),
});

mutation('exportContacts', {
  description:
    'Makes a link to a CSV of contacts, read as they are when the link is followed. A cell that a spreadsheet would run as a formula has an apostrophe before it, which `importContacts` takes off again.',
  scope: 'read',
  input: (t) => ({
    filter: t.field({
      type: ContactFilterInput,
      description: 'Which contacts, such as those of a folder; absent: all of your organization.',
    }),
  }),
  run: (input, { app, viewer }) => exportContacts(app, viewer, input.filter ?? {}),
  payload: (t) => ({
    url: t.field({
      type: 'Url',
      nullable: true,
      description: `The link, which needs no key and lasts ${LINK_MINUTES} minutes.`,
      resolve: ({ path }, _args, { publicUrl }) => (path ? `${publicUrl}${path}` : null),
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the link ends.',
      resolve: (payload) => payload.expiresAt ?? null,
    }),
    contactCount: t.int({
      nullable: true,
      description: 'How many contacts that would be now.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});

const DoNotCallImportProblemType = builder
  .objectRef<RowProblem>('DoNotCallImportProblem')
  .implement({
    description: 'A row whose number could not be read.',
    fields: (t) => ({
      row: t.exposeInt('row', {
        description: 'Which row: 1 is the first with a number. Empty rows are not counted.',
      }),
      phoneNumber: t.exposeString('phoneNumber', {
        nullable: true,
        description: 'What stood there, at most 60 characters of it.',
      }),
      reason: t.exposeString('reason', { description: 'What is wrong with it.' }),
    }),
  });

mutation('importDoNotCall', {
  description:
    'Puts all numbers of a file on the do-not-call list: a CSV with a column of phone numbers, or a bare list with one number in a line, at most 1,000,000. Answers when they are on the list. Sending the file again adds nothing. The request is multipart/form-data, see the type Upload.',
  scope: 'write',
  input: (t) => ({
    file: t.field({ type: 'Upload', required: true, description: 'The list, at most 200 MB.' }),
    reason: t.string({
      description: 'Why none of them may be called, at most 500 characters. Absent: theirs stay.',
    }),
    source: t.string({
      description: 'Where the list comes from, at most 100 characters. Absent: theirs stay.',
    }),
    defaultCountry: defaultCountry(t),
  }),
  run: (input, { app, viewer }) => importDoNotCall(app, viewer, input),
  payload: (t) => ({
    addedCount: t.int({
      nullable: true,
      description: 'How many are new on the list.',
      resolve: (payload) => payload.addedCount ?? null,
    }),
    presentCount: t.int({
      nullable: true,
      description: 'How many were on it already, or came more than once.',
      resolve: (payload) => payload.presentCount ?? null,
    }),
    failedCount: t.int({
      nullable: true,
      description: 'How many rows have no number that can be dialled.',
      resolve: (payload) => payload.failedCount ?? null,
    }),
    problems: t.field({
      type: [DoNotCallImportProblemType],
      nullable: true,
      description: 'The first 1,000 of the rows that failed.',
      resolve: (payload) => payload.problems ?? null,
    }),
  }),
});
