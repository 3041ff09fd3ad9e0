/** The mutation that exports contacts. */
import { ExportFormatEnum } from '../../graphql/export-format.ts';
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportContacts, MAX_METADATA_COLUMNS } from '../export.ts';
import { ContactFilterInput } from './contact-inputs.ts';

mutation('exportContacts', {
  description: [
    'Creates a download link for a file of contacts in the order of their creation. The file contains the state of all contacts at the beginning of the download.',
    `A CSV has at most ${MAX_METADATA_COLUMNS} metadata keys.`,
    '`importContacts` reads it back as it was, except that texts that stand for nothing, such as `N/A` and `None`, become empty; white space around metadata is removed; metadata keys about opt-outs and consent are read as such; metadata keys with the names of call statistics, such as `call_count`, are ignored; and time zones stored as abbreviations are read as places (`EST`) or ignored with a warning (`MST`).',
  ].join(' '),
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
