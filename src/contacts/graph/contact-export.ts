/** The mutation that exports contacts as a CSV file. */
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportContacts } from '../export.ts';
import { ContactFilterInput } from './contact-inputs.ts';

mutation('exportContacts', {
  description:
    'Creates a download link for a CSV file of contacts. The contacts are read when the link is followed. Requires the scope `WRITE`. Cells that a spreadsheet could interpret as a formula are prefixed with an apostrophe, which `importContacts` removes.',
  scope: 'write',
  input: (t) => ({
    filter: t.field({
      type: ContactFilterInput,
      description: 'Contacts to export. Default: all contacts of the organization.',
    }),
  }),
  run: (input, { app, viewer }) => exportContacts(app, viewer, input.filter ?? {}),
  payload: (t) => ({
    ...downloadLinkFields(t),
    contactCount: t.int({
      nullable: true,
      description: 'Number of contacts that currently match the filter.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});
