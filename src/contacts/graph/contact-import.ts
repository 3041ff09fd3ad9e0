/** The ContactImport type, its queries and its progress subscription. */
import { RequestError } from '../../errors.ts';
import { builder } from '../../graphql/builder.ts';
import type { Context } from '../../graphql/context.ts';
import { EXPIRES_WITH_CREDENTIAL } from '../../graphql/credential-expiry.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { requireId } from '../../graphql/ids.ts';
import { List } from '../../graphql/lists/list.ts';
import { listCost } from '../../graphql/lists/page.ts';
import { readerOf } from '../../graphql/reading/batched.ts';
import { addLookup } from '../../graphql/reading/lookup.ts';
import { LINK_MINUTES } from '../../organizations/download-links.ts';
import { ownedBy } from '../../viewer.ts';
import { importReportLink } from '../export.ts';
import type { ImportColumn, ImportMapping } from '../import/column-mapping.ts';
import { MAX_COLUMNS } from '../import/header.ts';
import { duplicateRuleOf, watchContactImport } from '../import/service.ts';
import { importsWhere } from '../search.ts';
import { ContactFolderNode } from './contact-folder.ts';
import {
  ContactImportDuplicateRule,
  ContactImportFieldEnum,
  ContactImportFilter,
  ContactImportStatusEnum,
  FileEncodingEnum,
} from './contact-import-inputs.ts';

const ContactImportColumnType = builder.objectRef<ImportColumn>('ContactImportColumn').implement({
  description:
    'Mapping of a column of an imported file. A column with neither a field nor a metadata key is ignored.',
  fields: (t) => ({
    column: t.exposeString('column', { description: 'Name of the column in the header.' }),
    field: t.field({
      type: ContactImportFieldEnum,
      nullable: true,
      description: 'Contact field to which the column is mapped. Null if there is none.',
      resolve: ({ field }) => field,
    }),
    metadataKey: t.exposeString('metadataKey', {
      nullable: true,
      description:
        'Metadata key to which the column is mapped. With the field PHONE_NUMBER, the key of numbers that are not used because another column has a valid one. Null if there is none.',
    }),
  }),
});

const ContactImportProblemType = builder.prismaObject('ContactImportProblem', {
  select: { importId: true, row: true },
  description: 'Row of a file that could not be imported.',
  fields: (t) => ({
    row: t.exposeInt('row', {
      description:
        'Number of the row. Row 1 is the first after the header. Empty rows are not counted.',
    }),
    phoneNumber: t.exposeString('phoneNumber', {
      nullable: true,
      description:
        'Content of the phone number column, truncated to 60 characters. Null if it was empty or could not be read.',
    }),
    reason: t.exposeString('reason', {
      description: 'Human-readable reason why the row was not imported.',
    }),
  }),
});

const ContactImportWarningType = builder.prismaObject('ContactImportWarning', {
  select: { importId: true, row: true },
  description: 'Row of the file with cells that were ignored because their values are invalid.',
  fields: (t) => ({
    row: t.exposeInt('row', {
      description:
        'Number of the row. Row 1 is the first after the header. Empty rows are not counted.',
    }),
    phoneNumber: t.exposeString('phoneNumber', {
      nullable: true,
      description: 'Phone number of the contact.',
    }),
    reason: t.exposeString('reason', {
      description: 'Human-readable names of the ignored columns, with the reasons.',
    }),
  }),
});

/** Options of lists of rows, which are visible with their import, in file order. */
const ROWS_OF_THE_FILE = {
  visible: () => ({}),
  key: 'row',
  sort: { ROW: { column: 'row', description: 'Sort by row.' } },
  defaultSort: { field: 'ROW', direction: 'asc', description: 'the order of the file' },
} as const;

const contactImportProblems = new List({
  type: ContactImportProblemType,
  items: 'rows that could not be imported',
  ...ROWS_OF_THE_FILE,
});

const contactImportWarnings = new List({
  type: ContactImportWarningType,
  items: 'rows of which cells were ignored',
  ...ROWS_OF_THE_FILE,
});

const count = (what: string) => ({ description: `${what} Final once the import has ended.` });

export const ContactImportNode = builder.prismaNode('ContactImport', {
  select: { id: true },
  nullable: true,
  description:
    'Import of contacts from a CSV file into a folder. `rowsRead` is always the sum of `importedCount`, `updatedCount`, `skippedCount` and `failedCount`.',
  authScopes: { read: true },
  id: { field: 'id', description: 'Node ID, `imp_` followed by a UUID.' },
  findUnique: (id, { viewer }) => ({ id, ...ownedBy(viewer!) }),
  fields: (t) => ({
    folder: t.relation('folder', { description: 'Folder that receives the contacts.' }),
    filename: t.exposeString('filename', { description: 'Name of the uploaded file.' }),
    status: t.expose('status', {
      type: ContactImportStatusEnum,
      description: 'Status of the import.',
    }),
    mapping: t.field({
      type: [ContactImportColumnType],
      complexity: listCost(MAX_COLUMNS),
      description: 'Columns in the order of the file, with their mappings.',
      select: { mapping: true },
      resolve: ({ mapping }) => (mapping as unknown as ImportMapping).columns,
    }),
    encoding: t.field({
      type: FileEncodingEnum,
      description: 'Encoding in which the file was read.',
      select: { mapping: true },
      resolve: ({ mapping }) => (mapping as unknown as Partial<ImportMapping>).encoding ?? 'UTF_8',
    }),
    defaultCountry: t.exposeString('defaultCountry', {
      nullable: true,
      description:
        'Country of phone numbers without a country calling code, as an ISO 3166-1 alpha-2 code. Null if such numbers are invalid.',
    }),
    onDuplicate: t.field({
      type: ContactImportDuplicateRule,
      description: 'Handling of phone numbers that are already in the folder or in an earlier row.',
      select: { updateExisting: true },
      resolve: (contactImport) => duplicateRuleOf(contactImport),
    }),
    updateExisting: t.exposeBoolean('updateExisting', {
      description: 'Whether existing contacts are updated. Otherwise their rows are skipped.',
      deprecationReason: useInstead('onDuplicate'),
    }),
    sizeBytes: t.float({
      description: 'Size of the text in bytes, encoded as UTF-8.',
      select: { sizeBytes: true },
      resolve: ({ sizeBytes }) => Number(sizeBytes),
    }),
    bytesRead: t.float({
      description:
        'Number of bytes that have been processed. Divided by `sizeBytes`, the progress of the import.',
      select: { bytesRead: true },
      resolve: ({ bytesRead }) => Number(bytesRead),
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the file was uploaded.',
    }),
    startedAt: t.expose('startedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the import started. Null if it has not.',
    }),
    finishedAt: t.expose('finishedAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time at which the import completed, failed or was canceled. Null if it has not.',
    }),
  }),
});

const LINK_TERMS = `Requires no API key and expires after ${LINK_MINUTES} minutes, or with the API key or token of the request.`;

function reportUrl(context: Context, importId: string, report: 'problems' | 'warnings'): string {
  const { app, viewer } = readerOf(context);
  return `${context.publicUrl}${importReportLink(app, viewer, importId, report).path}`;
}

builder.prismaObjectFields(ContactImportNode, (t) => ({
  rowsRead: t.exposeInt('rowsRead', count('Number of rows that have been processed.')),
  importedCount: t.exposeInt('importedCount', count('Number of rows that created a contact.')),
  updatedCount: t.exposeInt(
    'updatedCount',
    count('Number of rows that updated a contact, including one created by an earlier row.'),
  ),
  skippedCount: t.exposeInt(
    'skippedCount',
    count(
      'Number of rows whose phone number was already in the folder or in an earlier row of the file.',
    ),
  ),
  failedCount: t.exposeInt(
    'failedCount',
    count('Number of rows that could not be imported. They are listed in `problems`.'),
  ),
  warningCount: t.exposeInt(
    'warningCount',
    count(
      'Number of rows with a valid phone number of which other cells were ignored, because their values are invalid. They are listed in `warnings`.',
    ),
  ),
  doNotCallCount: t.exposeInt(
    'doNotCallCount',
    count(
      'Number of rows whose phone numbers are on the do-not-call list because of an opt-out or consent column.',
    ),
  ),
  failure: t.exposeString('failure', {
    nullable: true,
    description:
      'Human-readable reason why the import ended before the end of the file. Null if it did not.',
  }),
  problemsUrl: t.field({
    type: 'Url',
    nullable: true,
    description: `URL of a CSV file of \`problems\`. ${LINK_TERMS} Null if there are none.`,
    extensions: EXPIRES_WITH_CREDENTIAL,
    select: { id: true, failedCount: true },
    resolve: ({ id, failedCount }, _args, context) =>
      failedCount === 0 ? null : reportUrl(context, id, 'problems'),
  }),
  warningsUrl: t.field({
    type: 'Url',
    nullable: true,
    description: `URL of a CSV file of \`warnings\`. ${LINK_TERMS} Null if there are none.`,
    extensions: EXPIRES_WITH_CREDENTIAL,
    select: { id: true, warningCount: true },
    resolve: ({ id, warningCount }, _args, context) =>
      warningCount === 0 ? null : reportUrl(context, id, 'warnings'),
  }),
}));

contactImportProblems.related(ContactImportNode, 'problems', {
  relation: 'problems',
  description: 'Rows that could not be imported, in the order of the file.',
  fixedSort: { field: 'ROW', direction: 'asc' },
});

contactImportWarnings.related(ContactImportNode, 'warnings', {
  relation: 'warnings',
  description: 'Rows with ignored cells, in the order of the file.',
  fixedSort: { field: 'ROW', direction: 'asc' },
});

const contactImports = new List({
  type: ContactImportNode,
  items: 'contact imports',
  visible: ownedBy,
  filter: { type: ContactImportFilter, where: importsWhere },
  sort: {
    CREATED_AT: { column: 'createdAt', description: 'Sort by upload time.' },
    SIZE: { column: 'sizeBytes', description: 'Sort by file size.' },
  },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

contactImports.query('contactImports', {
  description: 'Contact imports of the organization.',
  authScopes: { read: true },
});

contactImports.related(ContactFolderNode, 'imports', {
  relation: 'imports',
  description: 'Imports into the folder, newest first.',
  fixedSort: { field: 'CREATED_AT', direction: 'desc' },
});

addLookup('contactImport', {
  type: ContactImportNode,
  where: ownedBy,
  description: 'Looks up a contact import by ID. Null if the organization has no such import.',
  authScopes: { read: true },
});

builder.subscriptionField('contactImportProgress', (t) =>
  t.withAuth({ read: true }).field({
    type: ContactImportNode,
    description:
      'Sends a contact import immediately and then after changes, at most four times per second. Intermediate states may be skipped. Completes after the final state, or when the import is deleted with its folder.',
    args: { importId: t.arg.id({ required: true, description: 'ID of the import (`imp_…`).' }) },
    subscribe: async (_root, { importId }, { app, viewer }) => {
      const snapshots = await watchContactImport(app, viewer, requireId('ContactImport', importId));
      if (!snapshots) throw new RequestError('BAD_USER_INPUT', 'Contact import not found.');
      return snapshots;
    },
    resolve: (row) => row,
  }),
);
