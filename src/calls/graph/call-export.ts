/** The mutation that exports calls. */
import { ExportFormatEnum } from '../../graphql/export-format.ts';
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportCalls } from '../export.ts';
import { CallFilterInput } from './call.ts';

mutation('exportCalls', {
  description:
    'Creates a download link for a file of calls, newest first, with outcome, reason, duration, cost and extracted data. The file contains the state of all calls at the beginning of the download.',
  scope: 'write',
  changesNothing: true,
  input: (t) => ({
    filter: t.field({
      type: CallFilterInput,
      description: 'Calls to export. Default: all calls of the organization.',
    }),
    format: t.field({ type: ExportFormatEnum, description: 'Format of the file. Default: CSV.' }),
  }),
  run: ({ filter, format }, { app, viewer }) =>
    exportCalls(app, viewer, { filter: filter ?? {}, format: format ?? 'CSV' }),
  payload: (t) => ({
    ...downloadLinkFields(t),
    callCount: t.int({
      nullable: true,
      description: 'Number of calls that currently match the filter.',
      resolve: (payload) => payload.callCount ?? null,
    }),
  }),
});
