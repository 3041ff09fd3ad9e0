/** The mutation that exports contacts. */
import { ExportFormatEnum } from '../../graphql/export-format.ts';
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportContacts } from '../export.ts';
import { ContactFilterInput } from './contact-inputs.ts';

mutation('exportContacts', {
  description:
    'Creates a download link for a file of contacts in the order of their creation. The file contains the state of all contacts at the beginning of the download. `importContacts` reads the CSV back as it was, except for metadata that stands for nothing, such as `N/A`, and white space around metadata.',
  scope: 'write',
  changesNothing: true,
  input: (t) => ({
    filter: t.field({
      type: ContactFilterInput,
      description: 'Contacts to export. Default: all contacts of the organization.',
    }),
    format: t.field({ type: ExportFormatEnum, description: 'Format of the file. Default: CSV.' }),
  }),
  run: ({ filter, format }, { app, viewer }) =>
    exportContacts(app, viewer, { filter: filter ?? {}, format: format ?? 'CSV' }),
  payload: (t) => ({
    ...downloadLinkFields(t),
    contactCount: t.int({
      nullable: true,
      description: 'Number of contacts that currently match the filter.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});
