/** The mutation that exports the contacts of a campaign. */
import { ExportFormatEnum } from '../../graphql/export-format.ts';
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportCampaignContacts } from '../contacts/export.ts';
import { CampaignContactFilterInput } from './campaign-contact.ts';

mutation('exportCampaignContacts', {
  description:
    'Creates a download link for a file of the contacts of a campaign in the order of its list, with status, attempts and cost, and with outcome, reason, duration and extracted data of the last call. The file contains the state of all contacts at the beginning of the download.',
  scope: 'write',
  changesNothing: true,
  input: (t) => ({
    campaignId: t.id({ required: true, description: 'ID of the campaign (`cmp_…`).' }),
    filter: t.field({
      type: CampaignContactFilterInput,
      description: 'Contacts to export. Default: all contacts of the campaign.',
    }),
    format: t.field({ type: ExportFormatEnum, description: 'Format of the file. Default: CSV.' }),
  }),
  run: ({ campaignId, filter, format }, { app, viewer }) =>
    exportCampaignContacts(app, viewer, campaignId, {
      filter: filter ?? {},
      format: format ?? 'CSV',
    }),
  payload: (t) => ({
    ...downloadLinkFields(t),
    contactCount: t.int({
      nullable: true,
      description: 'Number of contacts that currently match the filter.',
      resolve: (payload) => payload.contactCount ?? null,
    }),
  }),
});
